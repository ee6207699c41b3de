"""As a training target the whole walk has hundreds of times less variance than its last step.

Says: "significantly reducing the variance of our training examples" (000).
Measured: in three walks the variance of n times the last step, around its mean given x_n, is
divided by that of the whole walk; a large ratio means that the naive training target is nearly all
noise.
Control: the naive target is made of the last two steps.
Source: docs/sources.md, N8: the ratio is 1 + n (n - 1) s^2 / Var(x_0 | x_n), 323, 143 and 111 in
three walks. Var(x_0 | x_n) is that of the exact posterior.
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, about
from benchmarks.claims.random_walk import normal
from benchmarks.claims.setting import SPIRAL, exact
from sdeflow.processes.schedules import EDM

SUBJECT, CONTROL = 1, 2  # how many of the last steps make the naive target
WALKS = ((100, 0.07, 323), (100, 0.01, 143), (64, 0.05, 111))  # steps, their size, ratio in N8


def measure(lab: Lab, last: int) -> Finding:
    """The ratio of the two targets' variances in three walks, by sampling and by formula."""
    checks = []
    for n, step, said in WALKS:
        ratio, formula, error = _ratio(n, step, last, lab.seed)
        name = f"variance of the target from one step / from the walk, n = {n}, s = {step:g}"
        checks += [
            Check(
                name,
                ratio,
                about(formula, 4 * error),
                "1 + n (n - 1) s^2 / Var(x_0 | x_n); within four standard errors",
            ),
            Check(
                f"{name}, compared with N8",
                ratio,
                about(said, 0.5 + 4 * error),
                "docs/sources.md, N8; half a unit and four standard errors",
            ),
        ]
    return Finding(checks)


def _ratio(n: int, step: float, last: int, seed: int) -> tuple[float, float, float]:
    """Variance of the target from the last steps over that from all; the formula; the error."""
    count = 50_000
    steps = torch.full((n,), step, dtype=torch.float64)
    recent = step * math.sqrt(last) * normal(count, seed)
    total = recent + step * math.sqrt(n - last) * normal(count, seed, 1)
    x = SPIRAL.sample(count, seed, torch.float64) + total
    field = exact(EDM())
    c = field.process(steps.norm())
    known = field.posterior(x, c.along(x))
    mean = c.sigma * known.noise
    a, b = (((v - mean) ** 2).mean(1) for v in (n / last * recent, total))
    ratio = float(a.mean() / b.mean())
    error = ratio * math.sqrt(sum(float(v.var() / v.mean() ** 2) for v in (a, b)) / count)
    formula = 1 + n * (n - 1) * step**2 / float(known.data_variance.mean() / 2)
    return ratio, formula, error
