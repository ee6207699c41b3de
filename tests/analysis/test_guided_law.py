"""Guided sampling of Gaussians, where guided, conditional and tilted density are known.

N(0, a^2) guided away from N(0, b^2): the flow is linear in x, so that it ends in a Gaussian.
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
    """With the noise of the last level."""
    return math.hypot(std, PROCESS.t_min)


def guided_std(w: float) -> float:
    """The flow from N(0, t_max^2): d ln x / d v = w / 2 (a^2 + v) - (w - 1) / 2 (b^2 + v)."""

    def gone(v: float) -> float:
        return 0.5 * (w * math.log(A**2 + v) - (w - 1) * math.log(B**2 + v))

    return PROCESS.t_max * math.exp(gone(PROCESS.t_min**2) - gone(PROCESS.t_max**2))


def tilted_std(w: float) -> float:
    return (w / spread(A) ** 2 - (w - 1) / spread(B) ** 2) ** -0.5


@pytest.fixture(scope="module")
def guided_by_two() -> GuidedLaw:
    return sf.analysis.guided_law(pair(), GRID, n=4000, steps=120)


def test_three_densities_are_the_closed_forms(guided_by_two: GuidedLaw) -> None:
    for found, std in (
        (guided_by_two.guided, guided_std(W)),
        (guided_by_two.conditional, spread(A)),
        (guided_by_two.tilted, tilted_std(W)),
    ):
        off = found.total_variation(on_grid(std))
        assert off <= 1.5 * (found.error or 0.0) + 1e-6, std
        assert off < 1e-3
    assert guided_by_two.from_tilted[0] > 100 * guided_by_two.from_tilted[1]
    want = on_grid(guided_std(W)).total_variation(on_grid(tilted_std(W)))
    assert guided_by_two.from_tilted[0] == pytest.approx(want, abs=guided_by_two.from_tilted[1])
    want = on_grid(guided_std(W)).total_variation(on_grid(spread(A)))
    assert guided_by_two.from_conditional[0] == pytest.approx(
        want, abs=guided_by_two.from_conditional[1]
    )


def test_cloud_passes_against_the_guided_density_and_others_fail(guided_by_two: GuidedLaw) -> None:
    assert guided_by_two.verdict.passed()
    for other in (guided_by_two.tilted, guided_by_two.conditional):
        assert not sf.check_density(other.sample(4000, 1), guided_by_two.guided).passed()
    wrong = sf.analysis.guided_law(pair(1.1 * W), GRID, n=4000, steps=120)
    drawn = wrong.guided.sample(4000, 1)
    assert not sf.check_density(drawn, guided_by_two.guided).passed()


def test_fidelity_and_coverage_of_gaussians_are_the_closed_forms(guided_by_two: GuidedLaw) -> None:
    """Smallest sets are intervals of 1.96 standard deviations."""
    inside = torch.special.ndtr

    def held(std: float, edge: float) -> float:
        return float(2 * inside(torch.tensor(1.959964 * edge / std)) - 1)

    thin, true = guided_std(W), spread(A)
    assert guided_by_two.fidelity == pytest.approx(held(thin, true), abs=2e-3)
    assert guided_by_two.coverage == pytest.approx(
        held(true, thin), abs=0.04
    )  # to a cell at each end
    assert guided_by_two.coverage < 0.5 < 0.99 < guided_by_two.fidelity
    width = float(smallest_set(on_grid(0.7)).sum()) * GRID.width[0]
    assert width == pytest.approx(2 * 1.959964 * 0.7, abs=2 * GRID.width[0])


def test_three_densities_without_guidance_are_equal() -> None:
    """Up to the prior, N(0, t_max^2) in place of N(0, a^2 + t_max^2)."""
    unguided = sf.analysis.guided_law(pair(1.0), GRID, n=2000, steps=120)
    assert unguided.from_tilted[0] < 1e-3
    assert unguided.from_conditional[0] < 1e-3
    assert unguided.fidelity == pytest.approx(0.95, abs=5e-3)
    assert unguided.coverage == pytest.approx(0.95, abs=5e-3)


def test_guided_density_at_scale_one_is_that_of_the_conditional_field() -> None:
    """For every eta, up to the prior, N(0, t_max^2) in place of N(0, a^2 + t_max^2)."""
    true = pair().conditional.density(GRID, PROCESS.t_min)
    for eta in (0.0, 1.0):
        found = sf.analysis.guided_density(pair(1.0), GRID, eta=eta, steps=60)
        assert found.total_variation(true) < 2e-4, eta
    guided = sf.analysis.guided_density(pair(), GRID, steps=60)
    assert guided.total_variation(true) > 0.1


def test_guided_density_depends_on_eta(guided_by_two: GuidedLaw) -> None:
    """Other than for unguided fields. With eta = 1 dS/dv = 2 r S - 1 for the variance S."""
    noisy = sf.analysis.guided_law(pair(), GRID, eta=1.0, n=4000, steps=120)
    assert noisy.verdict.passed()
    v = torch.logspace(2 * math.log10(20.0), -4, 200_001, dtype=torch.float64)
    rate = W / (A**2 + v) - (W - 1) / (B**2 + v)
    growth = torch.cat([v.new_zeros(1), torch.cumulative_trapezoid(2 * rate, v)])
    source = torch.trapezoid(-torch.exp(-growth), v)
    std = float((torch.exp(growth[-1]) * (20.0**2 + source)).sqrt())
    assert noisy.guided.total_variation(on_grid(std)) < 1.5 * (noisy.guided.error or 0.0) + 1e-6
    assert noisy.guided.total_variation(guided_by_two.guided) > 0.1


class ExactUpTo(nn.Module):
    """A network that is exact up to a factor."""

    def __init__(self, field: sf.fields.Field, factor: float) -> None:
        super().__init__()
        self.known: Callable[[Tensor, Tensor], Tensor] = field.noise
        self.factor = factor

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.factor * self.known(x, t)


def test_a_learned_field_is_compared_with_given_exact_fields(guided_by_two: GuidedLaw) -> None:
    exact = pair()
    truth = {"conditional": exact.conditional, "against": exact.against}

    def learned(factor: float) -> sf.GuidedField:
        return replace(
            exact, conditional=sf.LearnedField(PROCESS, ExactUpTo(exact.conditional, factor))
        )

    with pytest.raises(TypeError, match="the exact field of `conditional` is not known"):
        sf.analysis.guided_law(learned(1.0), GRID)
    same, off = (
        sf.analysis.guided_law(learned(f), GRID, n=200, steps=120, **truth) for f in (1.0, 0.95)
    )
    assert same.guided.total_variation(guided_by_two.guided) < 1e-9
    assert off.guided.total_variation(guided_by_two.guided) > 0.02
    assert off.tilted.total_variation(guided_by_two.tilted) == 0


def test_tilts_by_one_and_by_zero_are_the_two_densities() -> None:
    c, u = on_grid(0.5), on_grid(1.5)
    assert sf.analysis.tilted(c, u, 1.0).total_variation(c) < 1e-9
    assert sf.analysis.tilted(c, u, 0.0).total_variation(u.normalised()) < 1e-6
    with pytest.raises(ValueError, match="different grids"):
        sf.analysis.tilted(c, u.coarsen(), 2.0)
    with pytest.raises(TypeError, match="must be a GuidedField"):
        sf.analysis.guided_law(pair().conditional, GRID)  # type: ignore[arg-type]


def test_guided_laws_print_themselves_in_words(guided_by_two: GuidedLaw) -> None:
    assert repr(guided_by_two).startswith(
        f"guided sampling, w = 2: fidelity {guided_by_two.fidelity:.3f}"
    )
    lines = str(guided_by_two).splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["conditional", "tilted"]
    assert str(guided_by_two).endswith(str(guided_by_two.verdict))
    assert guided_by_two._repr_markdown_() == str(guided_by_two)


def test_the_tilted_density_of_one_square_of_a_checkerboard_is_the_square() -> None:
    """There p_u is p_c / 8, and far away their masses are rounding errors, whose ratio is none."""
    checkerboard = sf.datasets.checkerboard().standardised().distribution
    grid = sf.Grid(-2.8, 2.8, (96, 96))
    c, u = (part.on_grid(grid, 1.0, 0.003) for part in (checkerboard.given(0), checkerboard))
    assert sf.analysis.tilted(c, u, 3.0).total_variation(c) < 0.02
