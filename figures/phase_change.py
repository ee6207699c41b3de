"""Order parameters of the reverse process, against the time of VP and against the noise level.

Effective dimension: the number of directions, of two, in which the clean data are uncertain given
the noisy point. Class purity: the mean of sum_c P(c | x)^2 over the classes c, 1 where the class
is certain. Nearness to one point: the mean of the same sum over the data points, for data that are
points (taken without width). Dotted lines: speciation, where the noise is as wide as the data
(black); the peak of the effective dimension, or its value 1 for data that are not points; and the
level at which each other curve is half-way up. Means over five groups of 800 noised draws, from
the exact posterior; bands: +- 2 standard errors over the groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.analysis import (
    Curve,
    effective_dimension,
    inverse_participation_ratio,
    speciation,
)

PROBLEM = "spiral"
PANELS = (1, 2)
ASPECT = 0.8
GROUPS = 5


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the same curves against time and against noise level."""
    n, levels = (100, 32) if quick else (800, 60)
    rho = torch.logspace(1.5, -2.3, levels, dtype=torch.float64)
    process, data = problem.process, problem.data
    points = isinstance(data, sf.distributions.PointSet)
    field = sf.ExactField(process, replace(data, width=0.0) if points else data)
    dimension, spread = over_groups(effective_dimension, field, rho, n)
    high = dimension.peak() if points else dimension.crossing(1.0)
    curves = {"effective dimension": (dimension, spread, plot.BLUE, high)}
    purity, spread = over_groups(class_purity, field, rho, n)
    halfway = (1 + float(purity.value[0])) / 2
    curves["class purity"] = purity, spread, plot.VERMILION, purity.crossing(halfway)
    if points:
        share, spread = over_groups(inverse_participation_ratio, field, rho, n)
        curves["nearness to one point"] = share, spread, plot.GREEN, share.crossing(0.5)
    split = speciation(torch.cov(data.sample(100_000, 0).T))
    axes = fig.subplots(1, 2, sharey=True)
    scales = (lambda level: level.t(process)), (lambda level: level.rho)
    for ax, scale in zip(axes, scales, strict=True):
        ax.axvline(scale(split), color=plot.BLACK, ls=":", lw=0.8, label="speciation")
        for name, (curve, error, colour, level) in curves.items():
            at = [scale(sf.analysis.NoiseLevel(r)) for r in curve.rho.tolist()]
            ax.plot(at, curve.value, color=colour, label=name)
            ends = curve.value - 2 * error, curve.value + 2 * error
            ax.fill_between(at, *ends, color=colour, alpha=0.25, lw=0)
            ax.axvline(scale(level), color=colour, ls=":", lw=0.8)
    axes[0].set(xlabel="time $t$ (data to noise)", ylabel="number, or probability")
    axes[1].set(xscale="log", xlabel=r"noise level $\sigma/\alpha$ (data std)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def over_groups(
    of: Callable[[sf.ExactField, torch.Tensor, int, int], Curve], field: sf.ExactField,
    rho: torch.Tensor, n: int,
) -> tuple[Curve, torch.Tensor]:  # fmt: skip
    """The mean of a curve over groups of n draws, and its standard error."""
    values = torch.stack([of(field, rho, n, seed).value for seed in range(GROUPS)])
    return Curve(rho, values.mean(0)), values.std(0) / GROUPS**0.5


def class_purity(field: sf.ExactField, rho: torch.Tensor, n: int, seed: int) -> Curve:
    """E sum_c P(c | x)^2 for data with classes, by Bayes' rule on their noised densities."""
    x0, labels = field.distribution.sample_labelled(n, seed)
    share = torch.bincount(labels) / n
    classes = [field.given(c) for c in range(len(share))]
    value = []
    for r in rho.tolist():
        t = sf.analysis.NoiseLevel(r).t(field.process)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
        x = field.process.perturb(x0, torch.tensor(t), noise)
        log = torch.stack([share[c].log() + one.log_prob(x, t) for c, one in enumerate(classes)])
        value.append(torch.softmax(log, 0).square().sum(0).mean())
    return Curve(rho, torch.stack(value))
