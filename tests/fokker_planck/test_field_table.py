"""A field read from a table is the field: everywhere on the grid, at every noise level between."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.distributions.mixture import prior_density
from sdeflow.fields import Field
from sdeflow.fokker_planck import FieldTable, Rescaling, evolve, sampler_density, tabulate_field
from sdeflow.fokker_planck.field_table import (
    barycentric_weights,
    chebyshev_points,
    with_fewer_levels,
)
from sdeflow.integrations import DDPM, from_torch
from sdeflow.sdes.field_sde import FieldSDE
from tests.problems import OU, SMALL, close, f64, lopsided, pair, untrained

CELLS, STD = 32, 1.0


class Foreign(nn.Module):
    """A network of another program: eps at a whole timestep."""

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return torch.tanh(sample * (1 + timestep.reshape(-1, 1) / 1000))


def trained(process: sf.processes.Process, labels: int = 0) -> sf.LearnedField:
    """A tiny network after a short training."""
    data = sf.datasets.eight_gaussians()
    network = sf.MLP(width=16, depth=2, waves=4, labels=labels)
    field = sf.LearnedField(process, network, data_std=data.std)
    source = data.sample_labelled if labels else data.sample
    sf.fit(field, source, 60, config=SMALL)
    return field


def squares() -> sf.ExactField:
    """The checkerboard in the units of a check."""
    data = sf.datasets.checkerboard()
    return sf.ExactField(sf.VP(), data.standardised(data.units).distribution)


def guided() -> sf.GuidedField:
    field = trained(sf.VP(), labels=8)
    return sf.GuidedField(field.given(1), field.given(None), 2.0)


FIELDS: dict[str, Callable[[], Field]] = {
    "exact mixture, VP": lambda: sf.ExactField(sf.VP(), lopsided()),
    "exact mixture, VE": lambda: sf.ExactField(sf.VE(), lopsided()),
    "exact points, VE": lambda: sf.ExactField(sf.VE(), sf.datasets.spiral().distribution),
    "exact squares, VP": squares,
    "trained, VE": lambda: trained(sf.VE()),
    "trained, VP": lambda: trained(sf.VP()),
    "of a class, VE": lambda: trained(sf.VE(), labels=8).given(2),
    "guided, VP": guided,
    "foreign, DDPM": lambda: from_torch(
        Foreign(), DDPM(np.linspace(0.9999, 0.01, 1000), whole=False)
    ),
}


def setting(
    field: Field, level: float = 0.6, cells: int = CELLS, dim: int = 2
) -> tuple[Rescaling, sf.Density, Tensor]:
    """A rescaling, the prior's density at t_max, and the span down to a noise level."""
    process = field.process
    rescaling = Rescaling(process, STD, 0.5 * level)
    half = 5 * rescaling(process.t_max)
    grid = sf.Grid(-half, half, (cells,) * dim)
    return rescaling, prior_density(grid, process), f64([process.t_max, process.time_of(level)])


def table_of(field: Field, levels: int = 33, **more: float) -> FieldTable:
    rescaling, start, span = setting(field, **more)  # type: ignore[arg-type]
    return tabulate_field(field, start.grid, span, rescaling=rescaling, levels=levels)


# ------------------------------------------------------------------------------- the polynomial


def test_weights_give_every_polynomial_through_the_points() -> None:
    points = chebyshev_points(-2.0, 3.0, 9)
    assert points[0] == -2.0
    assert points[-1] == pytest.approx(3.0)
    for at in (-2.0, -1.37, 0.5, 2.99, float(points[4])):
        w = barycentric_weights(points, at)
        for power in range(9):
            assert w @ points**power == pytest.approx(at**power, rel=1e-12, abs=1e-11)


def test_every_second_point_is_a_point_of_the_half_table() -> None:
    assert np.allclose(chebyshev_points(-1.0, 4.0, 33)[::2], chebyshev_points(-1.0, 4.0, 17))


# ------------------------------------------------------------------------------------ the field


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("rescaled", [True, False])
def test_table_is_the_field_at_its_corners(dim: int, rescaled: bool) -> None:
    """At corners, every second corner and centres of doubled cells: four predictions, any time."""
    round_modes = sf.GaussianMixture.isotropic(f64([[1.0, 0.3], [-0.7, 0.9]]), 0.5)
    mixture = pair(0.5) if dim == 1 else round_modes
    field = sf.ExactField(sf.VP(), mixture)
    rescaling, start, span = setting(field, cells=16, dim=dim)
    grid = start.grid
    table = tabulate_field(field, grid, span, rescaling=rescaling if rescaled else None, levels=65)
    coarse = grid.coarser()
    for points in (grid.corners(), coarse.corners(), coarse.centres()):
        for t in (span[0], f64(0.7), f64(0.531), span[1]):
            x = points * (rescaling(t) / rescaling(span[0])) if rescaled else points
            for ask in ("data", "noise", "score", "velocity"):
                expected, got = getattr(field, ask)(x, t), getattr(table, ask)(x, t)
                assert close(got, expected, rtol=1e-7), (ask, t)
    assert table.answers.missed < 10 < table.answers.read
    assert table.answers.read == 48
    assert table.dim == dim


def test_what_is_not_in_the_table_is_asked_of_the_field_and_counted() -> None:
    field = sf.ExactField(sf.VE(), lopsided())
    rescaling, start, span = setting(field, cells=16)
    table = tabulate_field(field, start.grid, span, rescaling=rescaling)
    t, earlier = f64(0.8), f64(float(span[1]) / 2)
    here = start.grid.scaled(rescaling(t) / rescaling(span[0]))
    corners = here.corners()
    many = t.expand(len(corners))
    for x, when in (
        (here.centres(), t),
        (corners + 1e-3, t),
        (corners.flip(0), t),
        (corners[1:], t),
        (corners, f64(0.9)),  # of another time
        (table.grid.corners() * rescaling(earlier), earlier),  # below the levels
        (corners, many),
    ):
        missed = table.answers.missed
        assert close(table.noise(x, when), field.noise(x, when), rtol=1e-10)
        assert table.answers.missed == missed + 1
    assert table.answers.read == 0
    assert str(table.answers) == "0 of 7 evaluations read from the table, 7 missed it"
    sloped = corners.clone().requires_grad_()
    assert table.noise(sloped, t).requires_grad
    moved = corners.clone()
    moved[37] += 1e-3  # one point of all is enough
    assert torch.equal(table.noise(moved, t), table.noise(moved, t))
    assert table.answers.read == 0


def test_table_of_a_narrow_cloud_keeps_its_type() -> None:
    table = table_of(sf.ExactField(sf.VE(), lopsided(torch.float32)), levels=9)
    x = (table.grid.corners() * table.rescaling(f64(0.8))).float()  # type: ignore[misc]
    assert table.noise(x, 0.8).dtype == torch.float32


# ------------------------------------------------------------------------- densities from a table


@pytest.mark.parametrize("name", FIELDS)
def test_table_moves_the_density_of_the_field_within_its_estimate(name: str) -> None:
    """Table and full computation side by side, SDE and flow: the estimate is an upper bound, and
    far below the error of the scheme. The half table obeys its own estimate too.
    """
    field = FIELDS[name]()
    rescaling, start, span = setting(field)
    table = tabulate_field(field, start.grid, span, rescaling=rescaling)
    for eta in (1.0, 0.0):
        full, got, half = (
            evolve(sf.reverse(f, eta), start, span, steps=40, rescaling=rescaling, refuse=OPEN)
            for f in (field, table, table.sparser())
        )
        for found in (got, half):
            true = found[-1].total_variation(full[-1])
            assert 0 <= true <= found.diagnostics.table_error
        assert got.diagnostics.table_error < max(0.1 * full.diagnostics.error, 1e-5)
        assert got[-1].error == pytest.approx(full[-1].error, abs=got.diagnostics.table_error)
        assert math.isnan(full.diagnostics.table_error)
    assert table.answers.missed < 10 < table.answers.read


OPEN = replace(sf.fokker_planck.REFUSE, boundary_mass=1.0, error=1.0, courant=math.inf)


pytestmark = pytest.mark.filterwarnings(
    "ignore:.* of the mass reached the wall:RuntimeWarning",
    "ignore:the error of the density:RuntimeWarning",
    "ignore:the Courant number:RuntimeWarning",
    "ignore:with half the levels:RuntimeWarning",
    "ignore:.*sigma.* at the end:UserWarning",
)


def test_table_error_is_refused_above_its_limit() -> None:
    field = sf.ExactField(sf.VE(), sf.datasets.spiral().distribution)
    rescaling, start, span = setting(field)
    table = tabulate_field(field, start.grid, span, rescaling=rescaling, levels=5)
    strict = replace(OPEN, table_error=1e-3)
    with pytest.raises(SdeflowError, match=r"table.denser\(\)"):
        evolve(sf.reverse(table), start, span, steps=40, rescaling=rescaling, refuse=strict)
    with pytest.warns(RuntimeWarning, match="half the levels"):
        evolve(sf.reverse(table), start, span, steps=40, rescaling=rescaling, refuse=OPEN)


def test_guidance_that_begins_at_a_noise_level_is_not_smooth() -> None:
    """The field jumps there: no number of levels helps, and `half_error` says so."""
    mixture = lopsided()
    one = sf.ExactField(sf.VP(), mixture)
    other = sf.ExactField(sf.VP(), replace(mixture, weights=mixture.weights.flip(0)))
    jumps = sf.GuidedField(one, other, 3.0, interval=(0.8, 5.0))
    even = replace(jumps, interval=None)
    for levels in (33, 65):
        assert table_of(jumps, levels).half_error() > 0.01
    assert table_of(even).half_error() < 1e-3


def test_denser_table_keeps_what_is_known() -> None:
    table = table_of(FIELDS["exact points, VE"](), levels=17)
    dense = table.denser()
    assert len(dense.levels) == 33
    assert np.array_equal(dense.sparser().values, table.values)
    assert np.allclose(dense.sparser().levels, table.levels)
    assert dense.half_error() < 0.1 * table.half_error()
    whole = table_of(FIELDS["exact points, VE"](), levels=33)
    assert np.allclose(dense.values, whole.values, atol=1e-10)


def test_sampler_reads_a_table_of_half_cells() -> None:
    """Its centres are corners there; the table's error is estimated, the density the field's."""
    field = sf.ExactField(sf.VP(), lopsided())
    rescaling, start, span = setting(field)
    fine = sf.Grid(start.grid.low, start.grid.high, (2 * CELLS, 2 * CELLS))
    table = tabulate_field(field, fine, span, rescaling=rescaling)
    sde = sf.ancestral(table)
    times = sde.times(40)
    times = torch.cat([times[times > span[1]], span[1:]])
    full, got = (
        sampler_density(sf.ancestral(f), start, times, rescaling=rescaling) for f in (field, table)
    )
    assert got[-1].total_variation(full[-1]) <= got.diagnostics.table_error < 1e-4
    # Centres of doubled cells are corners of the finer grid too, but no corners of every second.
    assert table.answers.read >= len(times) - 1


def test_only_a_table_has_fewer_levels() -> None:
    table = table_of(sf.ExactField(sf.VP(), lopsided()), levels=9)
    sde = sf.reverse(table, 0.5)
    fewer = with_fewer_levels(sde)
    assert isinstance(fewer, FieldSDE)
    assert len(fewer.field.levels) == 5  # type: ignore[attr-defined]
    assert fewer.eta == 0.5
    x = table.grid.corners()
    assert torch.equal(fewer.diffusion(x, f64(0.5)), sde.diffusion(x, f64(0.5)))  # type: ignore[misc]
    for none in (OU, sf.reverse(untrained(sf.VP())), replace(sde, drift=lambda x, t: -x)):
        assert with_fewer_levels(none) is None
    even = sf.reverse(table_of(sf.ExactField(sf.VP(), lopsided()), levels=8))
    assert with_fewer_levels(even) is None


# ------------------------------------------------------------------------------------- mistakes


class Broken(sf.ExactField):
    """NaN at late times."""

    def at(self, t: Tensor, c, like: Tensor):  # type: ignore[no-untyped-def]
        known = super().at(t, c, like)
        return (lambda x: known(x) * math.nan) if float(t) > 0.9 else known


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        ({"source": "f"}, TypeError, "source must be a Field"),
        ({"grid": 3}, TypeError, "grid must be a Grid"),
        ({"rescaling": 2.0}, TypeError, "rescaling must be a Rescaling"),
        ({"times": [0.5]}, ValueError, "at least two times"),
        ({"times": [2.0, 0.5]}, ValueError, "times"),
        ({"levels": 2}, ValueError, "levels must be at least 5"),
        ({"grid": sf.Grid(-5.0, 5.0, (4096, 4096))}, SdeflowError, "GiB; use fewer cells"),
        ({"source": sf.ExactField(sf.Linear(t_min=0.0), lopsided()), "times": [0.9, 0.0]},
         ValueError, "noise is 0 at an end"),
        ({"source": Broken(sf.VP(), lopsided())}, SdeflowError, "NaN or infinite at t"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_sentence(
    mistake: dict, error: type[Exception], words: str
) -> None:
    asked = {
        "source": sf.ExactField(sf.VP(), lopsided()),
        "grid": sf.Grid(-5.0, 5.0, (8, 8)),
        "times": [1.0, 0.5],
    }
    with pytest.raises(error, match=words):
        tabulate_field(**{**asked, **mistake})


def test_table_of_parts_that_do_not_fit_is_refused() -> None:
    table = table_of(sf.ExactField(sf.VP(), lopsided()), levels=9)
    with pytest.raises(ValueError, match="make a table by tabulate_field"):
        replace(table, grid=table.grid.coarser())
    with pytest.raises(TypeError, match="source must be a Field"):
        replace(table, source=None)
    assert repr(table).startswith("table of 9 noise levels, 32 x 32 cells")


def test_half_of_an_even_table_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be halved; make it of 2"):
        table_of(sf.ExactField(sf.VP(), lopsided()), levels=8).sparser()
