"""The error at the end against the number of steps, with guide lines of each order.

Left, the probability flow; right, the reverse SDE, where all runs follow one Brownian path (strong
order). The error is the RMS distance per coordinate from the end of many small steps of the method
of the highest order. Runs go from noise level 10 to 0.2 data std, where the exact field is smooth,
with steps uniform in log SNR. Lines and bands: median and quartiles over eight clouds of 100.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.palette import SAMPLERS
from figures.problems import Problem
from sdeflow import plot
from sdeflow.processes import VP, log_snr_times
from sdeflow.sdes.sde import SDE

PANELS = (1, 2)
ASPECT = 0.85
EACH, FINE = 100, 1024
P = VP()
SMOOTH = VP(t_min=float(P.time_of(torch.tensor(0.2))), t_max=float(P.time_of(torch.tensor(10.0))))
TIMES = log_snr_times(SMOOTH, FINE)


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a panel without noise and one with, a curve for each method."""
    seeds, steps = (2, (8, 16, 32, 64)) if quick else (8, (8, 16, 32, 64, 128, 256))
    field = sf.ExactField(SMOOTH, problem.data)
    start = [SMOOTH.prior(EACH, 2, k, torch.float64, data=problem.data) for k in range(seeds)]
    flow, noisy = sf.reverse(field, 0.0), sf.reverse(field, 1.0)
    ddim, unit = sf.ancestral(field, 0.0), "error (data std)"
    methods = {"DDIM": (ddim, "euler"), "Heun": (flow, "heun2"), "RK4": (flow, "rk4")}
    left, right = fig.subplots(1, 2)
    plot.convergence(left, steps, errors(methods, start, steps), (1, 2, 4), unit, SAMPLERS)
    methods = {"Euler-Maruyama": (noisy, "euler"), "SRK": (noisy, "srk")}
    plot.convergence(right, steps, errors(methods, start, steps), (1, 1.5), unit, SAMPLERS)
    left.set_title("probability flow")
    right.set_title("reverse SDE, one Brownian path")


def errors(
    methods: dict[str, tuple[SDE, str]], start: list[torch.Tensor], steps: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """Name -> RMS distance per coordinate (K, seeds) from the last method's end in fine steps."""
    *_, best = methods.values()
    x = torch.cat(start)
    true = end(*best, x, FINE)
    found = {}
    for name, (sde, method) in methods.items():
        squares = torch.stack([(end(sde, method, x, k) - true).square().mean(1) for k in steps])
        found[name] = squares.view(len(steps), -1, EACH).mean(2).sqrt()
    return found


def end(sde: SDE, method: str, x: torch.Tensor, k: int) -> torch.Tensor:
    """The cloud after k steps, along the Brownian path of the fine steps if there is noise."""
    times = TIMES[:: FINE // k]
    if sde.diffusion is None:
        return sf.ODESolver(method, times=times).solve(sde, x).x[-1]
    return sf.SDESolver(method, times=times, fine=TIMES, seed=0).solve(sde, x).x[-1]
