"""Split a loss into its irreducible part and the excess of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.flow_matching import (
    Draw,
    checkerboard_networks,
    mean_and_error,
    normals_of,
    reversed_time,
)
from benchmarks.claims.setting import CHECKERBOARD, FLOW, WIDE, exact
from sdeflow import plot
from sdeflow.fields.exact import ExactField
from sdeflow.random_streams import KeyedNormals, Stream, random_generator
from sdeflow.training.loss import uniform_time


@dataclass(frozen=True)
class Losses:
    """Losses of the velocity per coordinate, at draws sorted by time.

    Args:
        t: our times (n,).
        irreducible: the irreducible loss (n,).
        excess: the excess loss of each network, (n,) by name.
        batch: standard deviation of the exact field's loss over one batch of 64.
    """

    t: Tensor
    irreducible: Tensor
    excess: dict[str, Tensor]
    batch: float


def losses_on_checkerboard(lab: Lab, marginal: ExactField, n: int) -> Losses:
    """The losses of two networks on the checkerboard, where `marginal` is the true field."""
    data, noise = CHECKERBOARD.sample(n, lab.seed, torch.float64), normals_of(lab, n)
    g = random_generator(lab.seed, Stream.TRAINING)
    t = uniform_time(FLOW, (torch.arange(n).double() + torch.from_numpy(g.random(n))) / n)
    x = FLOW.perturb(data, t, noise)
    known = marginal.posterior(x, FLOW(t).along(x))
    irreducible = known.data_variance / (2 * t**2)
    networks, truth = checkerboard_networks(lab), marginal.velocity(x, t)
    with torch.no_grad():
        excess = {
            name: ((field.velocity(x.float(), t.float()) - truth) ** 2).mean(1)
            for name, field in networks.items()
        }
    batch = float(((noise - data - truth) ** 2).mean(1).std()) / 8
    return Losses(t, irreducible, excess, batch)


def irreducible_on_spiral(seed: int, levels: int = 64, n: int = 4000) -> tuple[float, float]:
    """The irreducible noise loss of the spiral over the lecture's levels, and its error."""
    field, each = exact(WIDE), []
    x0 = field.sample(n, seed).double()
    for k, t in enumerate(torch.linspace(0, 1, levels, dtype=torch.float64)):
        eps = KeyedNormals(seed, Stream.PROBE, n, 2, torch.float64).draw(k)
        x = WIDE.perturb(x0, t, eps)
        c = WIDE(t)
        each.append(field.posterior(x, c.along(x)).data_variance / (2 * c.sigma**2))
    mean, error = mean_and_error(torch.stack(each).mean(0)[:, None])
    return float(mean), float(error)


def draw_losses(losses: Losses) -> Draw:
    """Over the lecture's time: the irreducible, and above it the loss of each network."""

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        at, base = (
            torch.stack([v.mean() for v in x.chunk(50)])
            for x in (reversed_time(losses.t), losses.irreducible)
        )
        ax.fill_between(at, 0, base, color=plot.GREY, alpha=0.35, lw=0, label="irreducible")
        for (name, e), colour in zip(
            losses.excess.items(), (plot.VERMILION, plot.BLUE), strict=True
        ):
            over = torch.stack([v.mean() for v in e.chunk(50)])
            ax.plot(at, base + over, color=colour, label=name)
        ax.set(xlabel="t of the lecture (1: data)", ylabel="loss per coordinate", ylim=(0, None))
        ax.legend(loc="upper right")

    return draw
