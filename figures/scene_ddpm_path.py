"""One path of DDPM in 63 steps, each of which is a step of the model and a step of noise.

The particle that the lecture shows moves from (-1.6, 1.8) at sigma = 1 to the spiral at sigma =
0.01 under the exact field; its random numbers are torch's, with seed 2. Right: the lengths of its
steps; dashed, the root mean square length of a step of noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.claims.setting import NARROW, PARTICLES, POINTS, exact, noiseless
from figures.problems import Problem
from sdeflow import plot

PANELS, PROBLEM = (1, 3), None
STEPS, PARTICLE = 63, 25
MODEL, NOISE = plot.BLUE, plot.ORANGE


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw the whole path, its end enlarged, and the lengths of both kinds of steps."""
    sde = noiseless(exact(NARROW), 1.0)
    walk = _walk(sde)
    whole, close, lengths = fig.subplots(1, 3)
    near = (walk[-1] - 0.12).tolist(), (walk[-1] + 0.12).tolist()
    box = plot.Window(*near)
    for ax, window in ((whole, plot.window(walk, POINTS)), (close, box)):
        low, high = torch.tensor(window.low), torch.tensor(window.high)
        inside = ((POINTS > low) & (POINTS < high)).all(1)
        plot.cloud(ax, POINTS[inside], plot.GREY, 5.0, label="data")
        for first, colour, label in ((1, NOISE, "noise"), (0, MODEL, "model")):
            for k in range(first, 2 * STEPS, 2):
                ax.plot(*walk[k : k + 2].T, color=colour, lw=0.8, label=label if k < 2 else None)
        ax.plot(*walk[0], "o", color=plot.BLACK, ms=3)
        ax.plot(*walk[-1], "s", color=plot.BLACK, ms=3)
        plot.frame(ax, window)
        ax.set_xlabel(f"window {2 * window.half:.2g} data units wide")
    whole.set_title("start (dot) to end (square)")
    close.set_title("the end, enlarged")
    whole.legend(loc="lower left", handlelength=1.0)
    sigma = NARROW(sde.times(STEPS)).sigma
    size, before, after = walk.diff(dim=0).norm(dim=1), sigma[:-1], sigma[1:]
    lengths.loglog(before, size[0::2], "s", color=MODEL, ms=2)
    lengths.loglog(before, size[1::2], "o", color=NOISE, ms=2)
    rms = 2**0.5 * after * (1 - (after / before) ** 2).sqrt()
    lengths.loglog(before, rms, "--", color=plot.BLACK, lw=0.8)
    lengths.set(xlabel=r"$\sigma$ (data units)", ylabel="length of a step (data units)")
    lengths.set_title("length of the steps")
    lengths.invert_xaxis()


def _walk(sde: sf.SDE) -> Tensor:
    """The particle after each model step and each noise step, (127, 2)."""
    torchs = torch.Generator().manual_seed(2)
    x = torch.randn(PARTICLES, 2, generator=torchs)
    steps, walk = sde.stepped(sde.times(STEPS), x), [x[PARTICLE]]
    for k in range(STEPS):
        mean = x + steps.drift(k, 0.0, x)
        x = mean + steps.diffusion(k, 0.0, x) * torch.randn(PARTICLES, 2, generator=torchs)
        walk += [mean[PARTICLE], x[PARTICLE]]
    return torch.stack(walk)
