"""A video is made from noise in fifty steps, and the snapshots of the lecture can be taken.

Says: WAN 2.1 takes a random video through its transformer and adds what comes out back, 50 times;
we see steps "5, 10, 20, 30, 40, 50" (000, in our words but for the numbers).
Measured: the real pipeline's state after 5, 10, ..., 50 steps is compared with the same steps
written out by hand and with our flow on the same network; they agree to rounding, so the pipeline
is Euler's method for the flow.
Correction: what comes out is added back times the fall of the noise level, and early steps change
little: at shift 8, 0.92 of the noise is left after 20 steps of 50. The data appear in the last
ones.
Control: only half of what comes out is added back.
Source: the real `WanPipeline` and FlowMatchEuler, with a transformer of random weights (no video
of WAN is made here); our flow is that of `from_diffusers` by torchdiffeq's Euler.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from benchmarks.claims.claim import Check, Finding, Lab, above, at_most
from benchmarks.claims.real_pipelines import apart, wan
from sdeflow import plot
from sdeflow.fields.guided import GuidedField
from sdeflow.integrations import from_diffusers
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = 1.0, 0.5  # the part of the output that is added back
NEEDS = ("diffusers", "transformers")
STEPS, SHIFT, SCALE = 50, 8.0, 5.0
SHOWN = [5, 10, 20, 30, 40, 50]


def measure(lab: Lab, part: float) -> Finding:
    """The pipeline's latents after six of the steps, and the same made here in two ways."""
    pipe, states = wan(SHIFT, lab.seed), []
    good, bad = torch.randn(2, 1, 16, 32, generator=torch.Generator().manual_seed(lab.seed))
    size = {"height": 32, "width": 32}
    field, times = from_diffusers(pipe, good, bad, **size, frames=9, steps=STEPS)
    x = field.start(1, lab.seed)
    pipe(
        prompt_embeds=good, negative_prompt_embeds=bad, num_frames=9, guidance_scale=SCALE,
        num_inference_steps=STEPS, output_type="latent", latents=x.view(1, *field.shape).clone(),
        callback_on_step_end=lambda p, k, t, now: states.append(now["latents"].flatten(1)) or now,
        **size,
    )  # fmt: skip
    theirs = torch.stack([states[k - 1] for k in SHOWN])
    guided, y, hand = GuidedField(field.given(0), field, SCALE), x, []
    with torch.no_grad():
        for now, then in pairwise(times.tolist()):
            y = y + part * (then - now) * guided.velocity(y, now)
            hand.append(y)
    flow = ODESolver("euler", times=times).solve(reverse(guided, 0.0), x, save=times[SHOWN])
    left = times[SHOWN].tolist()
    return Finding(
        [
            Check(
                "steps written out by hand: largest difference from the pipeline / state",
                apart(torch.stack([hand[k - 1] for k in SHOWN]), theirs),
                at_most(5e-6),
                "rounding in float32",
            ),
            Check(
                "our flow on the pipeline's field: largest difference from the pipeline / state",
                apart(flow.x[-len(SHOWN) :], theirs),
                at_most(5e-6),
                "rounding in float32",
            ),
            Check("share of noise left after 20 of 50 steps", left[2], above(0.9), "shift 8"),
        ],
        notes={f"share of noise left after step {k}": s for k, s in zip(SHOWN, left, strict=True)}
        | {"calls of our flow; the pipeline makes 100, each of half the rows": flow.nfe},
        draw=lambda fig: _draw(fig, times.tolist(), left),
    )


def _draw(fig: plot.Figure, levels: list[float], left: list[float]) -> None:
    ax = fig.subplots()
    ax.plot(range(len(levels)), levels, color=plot.GREY, label="all steps")
    ax.plot(SHOWN, left, "o", color=plot.BLUE, label="snapshots of the lecture")
    ax.set(xlabel="step", ylabel=r"noise level $\sigma$ (1: noise, 0: a video)")
    ax.legend(loc="lower left")
