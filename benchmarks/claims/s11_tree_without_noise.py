"""Without its noise line the Stable Diffusion pipeline makes the same picture from every seed.

Says: Stable Diffusion, its noise line removed, gives a "tiny sad blurry tree" (000, 003).
Measured: the pictures of 40 seeds are compared: without the line of code that adds noise they must
differ less than real digits do, and with it, or by DDIM, as much as real ones.
Correction: one picture from every seed, yes; whether it is blurred depends on the network. With a
good one it is a prototype of its class, about as sharp as real digits are (S4).
Control: the noise line is kept.
Source: the real `StableDiffusionPipeline` and its schedulers, 50 steps on Stable Diffusion's
table, around a UNet trained on digits and asked for a seven; no weights of Stable Diffusion are
run here. `one_picture` has the closed form for the exact denoiser of N(0, 1/4).
"""

from __future__ import annotations

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, below, between
from benchmarks.claims.digits import digit_field, held_out, points
from benchmarks.claims.one_picture import (
    Painter,
    between_seeds,
    gradient,
    left_of_gaussian,
    nearest,
    spread,
)

SUBJECT, CONTROL = 0.0, 1.0  # share of the noise line that is kept
NEEDS, SLOW = ("sklearn", "diffusers", "transformers"), True
SEVEN = 7


def measure(lab: Lab, kept: float) -> Finding:
    """The spread over seeds with the noise line, without it, and of DDIM."""
    painter = Painter(lab.trained("digits", digit_field), SEVEN, lab.seed)
    noisy, noiseless, flow = (
        painter.made(kind, share) for kind, share in (("DDPM", 1.0), ("DDPM", kept), ("DDIM", 0.0))
    )
    real = points(held_out()).given(SEVEN).points.float()
    left, closed_form = left_of_gaussian(0.5, kept, lab.seed)
    typical, sharp = spread(real), gradient(real)
    return Finding(
        [
            Check("distance between seeds without the noise line / of real sevens to the nearest",
                  between_seeds(noiseless) / nearest(real), below(1.0), "nearer than data are"),
            Check("spread over seeds with the noise line / of real sevens",
                  spread(noisy) / typical, between(0.75, 1.25), "the data, to a quarter"),
            Check("spread over seeds by DDIM / of real sevens", spread(flow) / typical,
                  between(0.75, 1.25), "the data, to a quarter"),
            Check("share of the starts' spread that is left, exact denoiser of N(0, 1/4)", left,
                  about(closed_form, 0.05 * closed_form),
                  "closed form for many steps; 500 are 5 % off at most"),
        ],
        notes={
            "spread over seeds without the noise line / with it":
                spread(noiseless) / spread(noisy),
            "gradient of a picture without noise / of real sevens": gradient(noiseless) / sharp,
            "gradient of a picture with noise / of real sevens": gradient(noisy) / sharp,
            "gradient of the mean of real sevens / of real sevens":
                gradient(real.mean(0, keepdim=True)) / sharp,
            "largest difference between our chain without noise and the pipeline's (pixels)":
                float((painter.ours() - painter.made("DDPM", 0.0)).abs().max()),
        },
        draw=lambda fig: drawings.pictures(
            fig, {"noise": noisy, "DDIM": flow, "no noise": noiseless}, span=(-1.0, 1.0)
        ),
        size=(3.4, 2.0),
    )  # fmt: skip
