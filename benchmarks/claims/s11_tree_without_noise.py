"""Without its noise line the pipeline makes the same picture from every seed.

Says: Stable Diffusion, its noise line removed, gives a "tiny sad blurry tree" (000, 003).
Correction: one picture from every seed, yes; whether it is blurred depends on the network. Around
a good one it is a prototype of its class, about as sharp as real digits are (S4).
Source: the real `StableDiffusionPipeline` and its schedulers, 50 steps on Stable Diffusion's
table, 40 seeds, around a UNet trained on digits and asked for a seven: no weights of Stable
Diffusion are run here. `one_picture` has the law of the exact denoiser of N(0, 1/4).
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

SUBJECT, BROKEN = 0.0, 1.0  # share of the noise line that is kept
NEEDS, SLOW = ("sklearn", "diffusers", "transformers"), True
SEVEN = 7


def measure(lab: Lab, kept: float) -> Finding:
    """The spread over seeds with the noise line, without it, and of DDIM."""
    painter = Painter(lab.trained("digits", digit_field), SEVEN, lab.seed)
    noisy, muted, flow = (
        painter.made(kind, share) for kind, share in (("DDPM", 1.0), ("DDPM", kept), ("DDIM", 0.0))
    )
    real = points(held_out()).given(SEVEN).points.float()
    left, law = left_of_gaussian(0.5, kept, lab.seed)
    typical, sharp = spread(real), gradient(real)
    return Finding(
        [
            Check("between two seeds, without the noise line / from a real seven to the nearest",
                  between_seeds(muted) / nearest(real), below(1.0), "nearer than data are"),
            Check("spread over seeds with noise / of real sevens", spread(noisy) / typical,
                  between(0.75, 1.25), "that of the data, to a quarter"),
            Check("the same of DDIM, which has no noise line", spread(flow) / typical,
                  between(0.75, 1.25), "that of the data, to a quarter"),
            Check("what is left of the starts, exact denoiser of N(0, 1/4)", left,
                  about(law, 0.05 * law), "the law of many steps; 500 are 5 % off at most"),
        ],
        notes={
            "spread over seeds without the noise line / with it": spread(muted) / spread(noisy),
            "gradient of a picture without noise / of real sevens": gradient(muted) / sharp,
            "the same with noise": gradient(noisy) / sharp,
            "the same of the mean of real sevens":
                gradient(real.mean(0, keepdim=True)) / sharp,
            "our chain without noise from the pipeline's (largest, pixels)":
                float((painter.ours() - painter.made("DDPM", 0.0)).abs().max()),
        },
        draw=lambda fig: drawings.pictures(
            fig, {"noise": noisy, "DDIM": flow, "no noise": muted}, span=(-1.0, 1.0)
        ),
        size=(3.4, 2.0),
    )  # fmt: skip
