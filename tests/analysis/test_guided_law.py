"""The guidance audit, against Gaussians: there the guided, the true and the tilted law are known.

N(0, a^2) guided away from N(0, b^2): the flow is linear in x, so it ends in a Gaussian.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.analysis.guidance import GuidedLaw, smallest_set

A, B, W = 0.5, 1.5, 2.0
GRID = sf.Grid((-6.0,), (6.0,), (400,))
PROCESS = sf.EDM(t_min=1e-2, t_max=20.0)


def gaussian(std: float) -> sf.GaussianMixture:
    return sf.GaussianMixture.isotropic(torch.zeros(1, 1, dtype=torch.float64), std)


def pair(scale: float = W) -> sf.GuidedField:
    return sf.GuidedField(*(sf.ExactField(PROCESS, gaussian(std)) for std in (A, B)), scale)


def on_grid(std: float) -> sf.Density:
    return gaussian(std).on_grid(GRID)


def spread(std: float) -> float:
    """Of the law with the last level's noise."""
    return math.hypot(std, PROCESS.t_min)


def guided_std(w: float) -> float:
    """The flow from N(0, t_max^2): d ln x / d v = w / 2 (a^2 + v) - (w - 1) / 2 (b^2 + v)."""

    def gone(v: float) -> float:
        return 0.5 * (w * math.log(A**2 + v) - (w - 1) * math.log(B**2 + v))

    return PROCESS.t_max * math.exp(gone(PROCESS.t_min**2) - gone(PROCESS.t_max**2))


def tilted_std(w: float) -> float:
    return (w / spread(A) ** 2 - (w - 1) / spread(B) ** 2) ** -0.5


@pytest.fixture(scope="module")
def audit() -> GuidedLaw:
    return sf.analysis.guided_law(pair(), GRID, n=4000, steps=120)


def test_the_three_laws_are_known(audit: GuidedLaw) -> None:
    for found, std in (
        (audit.guided, guided_std(W)),
        (audit.conditional, spread(A)),
        (audit.tilted, tilted_std(W)),
    ):
        off = found.total_variation(on_grid(std))
        assert off <= 1.5 * (found.error or 0.0) + 1e-6, std
        assert off < 1e-3
    assert audit.from_tilted[0] > 100 * audit.from_tilted[1]
    want = on_grid(guided_std(W)).total_variation(on_grid(tilted_std(W)))
    assert audit.from_tilted[0] == pytest.approx(want, abs=audit.from_tilted[1])
    want = on_grid(guided_std(W)).total_variation(on_grid(spread(A)))
    assert audit.from_conditional[0] == pytest.approx(want, abs=audit.from_conditional[1])


def test_the_cloud_is_of_the_guided_law_and_of_no_other(audit: GuidedLaw) -> None:
    assert audit.verdict.passed()
    for other in (audit.tilted, audit.conditional):
        assert not sf.check_density(other.sample(4000, 1), audit.guided).passed()
    wrong = sf.analysis.guided_law(pair(1.1 * W), GRID, n=4000, steps=120)
    drawn = wrong.guided.sample(4000, 1)
    assert not sf.check_density(drawn, audit.guided).passed()


def test_fidelity_and_coverage_of_gaussians(audit: GuidedLaw) -> None:
    """Smallest sets are intervals of 1.96 standard deviations."""
    inside = torch.special.ndtr

    def held(std: float, edge: float) -> float:
        return float(2 * inside(torch.tensor(1.959964 * edge / std)) - 1)

    thin, true = guided_std(W), spread(A)
    assert audit.fidelity == pytest.approx(held(thin, true), abs=2e-3)
    assert audit.coverage == pytest.approx(held(true, thin), abs=0.04)  # to a cell at each end
    assert audit.coverage < 0.5 < 0.99 < audit.fidelity
    law = on_grid(0.7)
    width = float(smallest_set(law).sum()) * GRID.width[0]
    assert width == pytest.approx(2 * 1.959964 * 0.7, abs=2 * GRID.width[0])


def test_without_guidance_the_three_are_one() -> None:
    """Up to the prior, N(0, t_max^2) in place of N(0, a^2 + t_max^2)."""
    audit = sf.analysis.guided_law(pair(1.0), GRID, n=2000, steps=120)
    assert audit.from_tilted[0] < 1e-3
    assert audit.from_conditional[0] < 1e-3
    assert audit.fidelity == pytest.approx(0.95, abs=5e-3)
    assert audit.coverage == pytest.approx(0.95, abs=5e-3)


def test_the_guided_law_depends_on_the_noise_of_the_run(audit: GuidedLaw) -> None:
    """As no true field's does. With eta = 1 the variance obeys dS/dv = 2 r S - 1, r doubled."""
    noisy = sf.analysis.guided_law(pair(), GRID, eta=1.0, n=4000, steps=120)
    assert noisy.verdict.passed()
    v = torch.logspace(2 * math.log10(20.0), -4, 200_001, dtype=torch.float64)
    rate = W / (A**2 + v) - (W - 1) / (B**2 + v)
    growth = torch.cat([v.new_zeros(1), torch.cumulative_trapezoid(2 * rate, v)])
    source = torch.trapezoid(-torch.exp(-growth), v)
    std = float((torch.exp(growth[-1]) * (20.0**2 + source)).sqrt())
    assert noisy.guided.total_variation(on_grid(std)) < 1.5 * (noisy.guided.error or 0.0) + 1e-6
    assert noisy.guided.total_variation(audit.guided) > 0.1


class Knows(nn.Module):
    """A network that happens to be exact, up to a factor."""

    def __init__(self, field: sf.fields.Field, factor: float) -> None:
        super().__init__()
        self.known: Callable[[Tensor, Tensor], Tensor] = field.noise
        self.factor = factor

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.factor * self.known(x, t)


def test_a_learned_field_is_audited_against_the_truth(audit: GuidedLaw) -> None:
    exact = pair()
    truth = {"conditional": exact.conditional, "against": exact.against}

    def learned(factor: float) -> sf.GuidedField:
        return replace(
            exact, conditional=sf.LearnedField(PROCESS, Knows(exact.conditional, factor))
        )

    with pytest.raises(TypeError, match="the truth of `conditional` is not known"):
        sf.analysis.guided_law(learned(1.0), GRID)
    same, off = (
        sf.analysis.guided_law(learned(f), GRID, n=200, steps=120, **truth) for f in (1.0, 0.95)
    )
    assert same.guided.total_variation(audit.guided) < 1e-9
    assert off.guided.total_variation(audit.guided) > 0.02
    assert off.tilted.total_variation(audit.tilted) == 0


def test_a_tilt_by_one_and_by_nothing() -> None:
    c, u = on_grid(0.5), on_grid(1.5)
    assert sf.analysis.tilted(c, u, 1.0).total_variation(c) < 1e-9
    assert sf.analysis.tilted(c, u, 0.0).total_variation(u.normalised()) < 1e-6
    with pytest.raises(ValueError, match="different grids"):
        sf.analysis.tilted(c, u.coarsen(), 2.0)
    with pytest.raises(TypeError, match="must be a GuidedField"):
        sf.analysis.guided_law(pair().conditional, GRID)  # type: ignore[arg-type]
