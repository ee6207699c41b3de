"""`evolve` against exact densities: Gaussians moved by matrix exponentials, noised mixtures,
lognormals; conservation of mass; and what each diagnostic refuses.

The grids of 128^2 and 256^2 cells are in the slow tests.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.linalg import solve_continuous_lyapunov
from scipy.stats import lognorm
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import Rescaling
from sdeflow.fokker_planck.density_path import REFUSE
from tests.problems import (
    GRID_64,
    NO_LIMITS,
    OU,
    ROTATING_DRIFT,
    TILTED_GAUSSIAN,
    UNIT_INTERVAL,
    close,
    coarse_density,
    density_at_t_max,
    exact_density,
    f64,
    linear_sde,
    linear_sde_solution,
    lopsided,
    pair,
    reverse_span,
    ring,
    untrained,
)

F64 = torch.float64
PROCESSES = {"VP": sf.VP(), "VE": sf.VE(), "EDM": sf.EDM(), "Linear": sf.Linear()}


def reversed_error(process, mixture, eta, cells, steps, *, half=5.0, std=1.0, factor=1.0):
    """TV at t_min of the reverse SDE from the exact density at t_max; and the path."""
    rescaling = Rescaling(process, std, 0.25)
    sde = sf.reverse(sf.ExactField(process, mixture), eta)
    if factor != 1.0:
        sde = replace(sde, drift=lambda x, t, f=sde.drift: factor * f(x, t))
    densities = evolve(
        sde,
        density_at_t_max(process, mixture, rescaling, cells, half),
        reverse_span(process),
        steps=steps,
        rescaling=rescaling,
    )
    truth = exact_density(process, mixture, process.t_min, densities[-1].grid)
    return densities[-1].total_variation(truth), densities


# ------------------------------------------------------------------------ SDEs that keep Gaussians


def linear_error(mixture, matrix, noise, t, steps, half=5.0, cells=128, **options):
    grid = Grid(-half, half, (cells, cells))
    sde = linear_sde(f64(matrix), f64(noise), t)
    densities = evolve(sde, mixture.on_grid(grid), f64([0.0, t]), steps=steps, **options)
    truth = linear_sde_solution(mixture, f64(matrix), f64(noise), t).on_grid(grid)
    return densities[-1].total_variation(truth), densities


def test_brownian_motion_is_exact_in_one_step() -> None:
    mixture = sf.GaussianMixture.isotropic(f64([[0.3, -0.4]]), 0.5)
    error, densities = linear_error(
        mixture, [[0.0, 0.0], [0.0, 0.0]], [1.0, 0.7], 0.8, 1, half=8.0
    )
    assert error < 1e-11
    assert densities.diagnostics.negative_mass < 1e-12


def test_density_of_ornstein_uhlenbeck_is_exact() -> None:
    """Measured 2.0e-5 at 128^2 in 20 steps, and 4.5e-7 by its transition kernel, in one."""
    matrix, root = -torch.eye(2, dtype=F64), math.sqrt(2)
    sde = sf.sdes.ornstein_uhlenbeck(-matrix, root, 0.5)
    grid, times = Grid(-5.0, 5.0, (128, 128)), f64([0.0, 0.5])
    for mixture in (ring(), ring(equal=True)):
        truth = linear_sde_solution(mixture, matrix, f64([root, root]), 0.5).on_grid(grid)
        for time_grid, bound in ((torch.linspace(0, 0.5, 21, dtype=F64), 3e-5), (None, 1e-6)):
            densities = evolve(sde, mixture.on_grid(grid), times, time_grid=time_grid)
            assert densities[-1].total_variation(truth) <= bound
            assert abs(densities[-1].total() - densities[0].total()) <= 1e-12


def test_density_of_rotating_ornstein_uhlenbeck_is_exact() -> None:
    """Drift that is no gradient, noise that is not round. Measured 3.6e-5 at 128^2."""
    error, densities = linear_error(TILTED_GAUSSIAN, ROTATING_DRIFT, [1.0, 0.6], 1.0, 80)
    assert error <= 1e-4
    assert densities.diagnostics.courant == pytest.approx(2.0 / 80, rel=1e-6)
    backwards, _ = linear_error(
        TILTED_GAUSSIAN, (-f64(ROTATING_DRIFT) - 2 * torch.eye(2)).tolist(), [1.0, 0.6], 1.0, 100
    )
    assert backwards <= 1e-4


def test_density_with_noise_on_one_axis_is_gaussian() -> None:
    """Underdamped motion in a harmonic well: noise in the velocity alone. Measured 5.4e-5."""
    error, _ = linear_error(
        TILTED_GAUSSIAN, [[0.0, 1.0], [-1.0, -0.5]], [0.0, 1.0], 3.0, 100, half=6.0
    )
    assert error <= 1.2e-4


def test_transport_without_noise_rotates_the_density() -> None:
    sde = sf.SDE(lambda x, t: torch.stack([-x[:, 1], x[:, 0]], 1), None, 0.0, math.pi / 2)
    grid = Grid(-5.0, 5.0, (96, 96))
    densities = evolve(sde, TILTED_GAUSSIAN.on_grid(grid), f64([0.0, math.pi / 2]), steps=200)
    quarter = densities[0].mass.T.flip(0)  # (x, y) -> (-y, x)
    assert densities[-1].total_variation(Density(grid, quarter)) < 2e-3
    assert densities.diagnostics.negative_mass == 0


def test_stationary_density_without_detailed_balance_keeps_covariance_and_current() -> None:
    matrix, noise = f64(ROTATING_DRIFT), f64([1.0, 0.6])
    cov = torch.from_numpy(
        solve_continuous_lyapunov(matrix.numpy(), -torch.diag(noise**2).numpy())
    )
    mixture = sf.GaussianMixture(f64([1.0]), f64([[0.0, 0.0]]), cov[None])
    error, densities = linear_error(mixture, ROTATING_DRIFT, noise.tolist(), 1.0, 100)
    assert error < 1e-4
    assert close(densities[-1].covariance(), cov, rtol=2e-4)
    sde, p = linear_sde(matrix, noise, 1.0), densities[-1]
    x = p.grid.centres()
    height = mixture.log_prob(x).exp()
    still = x @ matrix.T + (x @ torch.linalg.inv(cov)) * noise**2 / 2  # f - D grad ln p
    ours = sf.fokker_planck.probability_current(sde, p, 0.5).reshape(-1, 2)
    assert close(ours, still * height[:, None], rtol=0, atol=2e-3 * float(height.max()))
    assert float((still * height[:, None]).abs().max()) > 0.3 * float(height.max())


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_divergence_of_the_current_is_the_rate_of_the_density(eta: float) -> None:
    """-div J is the rate of change of the exact density, in process time, at every eta."""
    process, mixture = sf.VP(), ring()
    grid, t, h = Grid(-5.0, 5.0, (160, 160)), 0.3, 1e-4
    p = [exact_density(process, mixture, s, grid).mass / grid.volume for s in (t - h, t, t + h)]
    sde = sf.reverse(sf.ExactField(process, mixture), eta)
    j = sf.fokker_planck.probability_current(sde, exact_density(process, mixture, t, grid), t)
    out = sum(torch.gradient(j[..., i], spacing=grid.width[i], dim=i)[0] for i in range(2))
    rate = (p[2] - p[0]) / (2 * h)
    inner = (slice(4, -4), slice(4, -4))
    assert close(-out[inner], rate[inner], rtol=0.02)
    forward = sf.fokker_planck.probability_current(
        sf.forward(process), exact_density(process, mixture, t, grid), t
    )
    assert close(forward, j, rtol=0.02)  # one density, one current


# --------------------------------------------------------------------------------- reverse in time


CASES = [("VP", 0.5), *((name, eta) for name in PROCESSES for eta in (1.0, 0.0))]


@pytest.mark.parametrize(("name", "eta"), CASES)
def test_reverse_sde_recovers_the_ring(name: str, eta: float) -> None:
    """64^2 and 100 steps: 2.7e-3 / 3.5e-3 / 3.8e-3 for VP in docs/sources.md, N20. The others
    spend more steps on the fine features, which such cells smooth a little at every step.
    """
    bound = {1.0: 2.9e-3, 0.5: 3.7e-3, 0.0: 4e-3}[eta] * (1.0 if name == "VP" else 1.35)
    error, densities = reversed_error(PROCESSES[name], ring(), eta, 64, 100)
    assert error <= bound
    assert densities[-1].error is not None
    assert error / 3 < densities[-1].error < 20 * error
    assert abs(densities[-1].total() - densities[0].total()) <= 1e-12
    assert float(densities[-1].mass.min()) >= 0


def test_wrong_score_increases_the_error() -> None:
    right, _ = reversed_error(sf.VP(), pair(), 1.0, 256, 200)
    wrong, _ = reversed_error(sf.VP(), pair(), 1.0, 256, 200, factor=1.02)
    assert right < 1e-3
    assert wrong > 10 * right


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PROCESSES)
def test_reverse_sde_recovers_the_ring_at_128(name: str) -> None:
    """Measured 2.5e-4 to 3.1e-4 / 3.1e-4 to 3.7e-4 / 3.8e-4 to 4.8e-4."""
    for eta, bound in ((1.0, 4e-4), (0.5, 5e-4), (0.0, 6e-4)):
        error, densities = reversed_error(PROCESSES[name], ring(equal=True), eta, 128, 200)
        assert error <= bound
        assert abs(densities[-1].total() - densities[0].total()) <= 1e-12


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PROCESSES)
def test_reverse_sde_recovers_the_ring_at_256(name: str) -> None:
    for eta, bound in ((1.0, 1.0e-4), (0.5, 1.2e-4), (0.0, 1.5e-4)):
        assert reversed_error(PROCESSES[name], ring(equal=True), eta, 256, 400)[0] <= bound


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_splitting_is_of_second_order_in_the_steps(eta: float) -> None:
    """Slope of ln TV over ln steps, on cells too fine to matter."""
    steps = [32, 64, 96]
    errors = [reversed_error(sf.VP(), pair(), eta, 1024, k)[0] for k in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -2.4 < slope < -1.7


def test_transport_is_of_second_order_in_the_cells() -> None:
    cells = [48, 96]
    errors = [reversed_error(sf.VP(), pair(), 1.0, n, 200)[0] for n in cells]
    assert np.polyfit(np.log(cells), np.log(errors), 1)[0] < -2


def test_grid_is_fixed_without_rescaling() -> None:
    process, mixture = sf.VP(), pair()
    sde = sf.reverse(sf.ExactField(process, mixture), 1.0)
    times = f64([process.t_max, 0.3, 0.05])
    densities = evolve(sde, density_at_t_max(process, mixture, None, 256), times, steps=300)
    assert len(densities) == 3
    assert close(densities.t, times)
    for p, t in zip(densities, times.tolist(), strict=True):
        assert p.grid == densities[0].grid
        assert p.total_variation(exact_density(process, mixture, t, p.grid)) < 1e-3


@pytest.mark.parametrize("eta", [None, 0.6])
def test_every_process_forward_and_reverse_is_exact(
    process: sf.processes.Process, eta: float | None
) -> None:
    """Forward (None) and reverse, against the exact density at each time; total 1, min 0."""
    mixture, rescaling = pair(), Rescaling(process, 1.0, 0.25)
    field = sf.ExactField(process, mixture)
    sde = sf.forward(process) if eta is None else sf.reverse(field, eta)
    ladder = torch.linspace(sde.t_start, sde.t_end, 4, dtype=F64)
    size = 6.0 * rescaling(sde.t_start)
    p = exact_density(process, mixture, sde.t_start, Grid(-size, size, (256,))).normalised()
    densities = evolve(sde, p, ladder, steps=80, rescaling=rescaling)
    for q, t in zip(densities, ladder.tolist(), strict=True):
        assert q.total_variation(exact_density(process, mixture, t, q.grid)) < 2e-3
        assert abs(q.total() - 1) <= 1e-12
        assert float(q.mass.min()) >= 0


def test_intermediate_times_do_not_change_the_result() -> None:
    process, mixture = sf.VP(), pair()
    sde, p = (
        sf.reverse(sf.ExactField(process, mixture), 1.0),
        density_at_t_max(process, mixture, None, 128),
    )
    grid = sde.times(100)
    often = evolve(sde, p, grid[::10], time_grid=grid)
    once = evolve(sde, p, grid[[0, -1]], time_grid=grid)
    assert torch.equal(often[-1].mass, once[-1].mass)
    half = evolve(sde, often[5], grid[[50, -1]], time_grid=grid)
    assert close(half[-1].mass, once[-1].mass, rtol=1e-12)


# ----------------------------------------------------------------- noise that depends on the state


def geometric(calculus: str, growth: float = 0.3, size: float = 0.3) -> sf.SDE:
    return sf.SDE(
        lambda x, t: growth * x, lambda x, t: size * x, 0.0, 1.0, calculus=calculus  # type: ignore[arg-type]
    )  # fmt: skip


def lognormal(grid: Grid, t: float, calculus: str) -> Tensor:
    """Cell masses of x e^{(growth - size^2 / 2) t + size W}; Stratonovich keeps the chain rule."""
    rate = 0.3 - (0.3**2 / 2 if calculus == "ito" else 0.0)
    sd = math.sqrt(0.2**2 + 0.3**2 * t)
    edges = grid.edges(0).numpy()
    return torch.from_numpy(np.diff(lognorm.cdf(edges, sd, scale=math.exp(rate * t))))


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_density_of_geometric_brownian_motion_is_lognormal(calculus: str) -> None:
    errors = []
    for cells in (256, 512):
        grid = Grid(0.0, 12.0, (cells,))
        p = Density(grid, lognormal(grid, 0.0, calculus))
        out = evolve(geometric(calculus), p, f64([0.0, 1.0]), steps=cells // 2)[-1]
        errors.append(float((out.mass - lognormal(grid, 1.0, calculus)).abs().sum()) / 2)
    assert errors[1] < 6e-4
    assert errors[0] / errors[1] > 3  # second order


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_density_with_state_dependent_noise_on_one_axis_is_a_product(calculus: str) -> None:
    """Geometric along x, Ornstein-Uhlenbeck along y: the density stays a product."""
    one, root = geometric(calculus), math.sqrt(2)
    sde = sf.SDE(
        lambda x, t: torch.stack([0.3 * x[:, 0], -x[:, 1]], 1),
        lambda x, t: torch.stack([0.3 * x[:, 0], root + 0 * x[:, 1]], 1),
        0.0, 1.0, calculus=one.calculus,
    )  # fmt: skip
    grid = Grid((0.0, -6.0), (10.0, 6.0), (120, 96))
    line = Grid((0.0,), (10.0,), (120,))
    across = Grid((-6.0,), (6.0,), (96,))
    y0, y1 = (
        sf.GaussianMixture.isotropic(f64([[m]]), s).on_grid(across).mass
        for m, s in ((1.0, 0.5), (math.exp(-1), math.sqrt(1 - 0.75 * math.exp(-2))))
    )
    p = Density(grid, lognormal(line, 0.0, calculus)[:, None] * y0)
    out = evolve(sde, p, f64([0.0, 1.0]), steps=100)[-1]
    truth = lognormal(line, 1.0, calculus)[:, None] * y1
    assert float((out.mass - truth).abs().sum()) / 2 < 4e-3
    forgot = lognormal(line, 1.0, {"ito": "stratonovich", "stratonovich": "ito"}[calculus])
    assert float((out.mass - forgot[:, None] * y1).abs().sum()) / 2 > 3e-2


# ------------------------------------------------------------------------------------ conservation


def waves(seed: int, dim: int, size: float) -> Callable[[Tensor, Tensor], Tensor]:
    rng = np.random.default_rng(seed)
    w, b = torch.from_numpy(rng.normal(0, 1.5, (6, dim))), torch.from_numpy(rng.uniform(0, 6, 6))
    a = torch.from_numpy(rng.normal(0, size, (6, dim)))
    return lambda x, t: torch.cos(x @ w.T + b + 3 * t) @ a


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(16,), (37,), (12, 20), (33, 18), (24, 24)]),
    steps=st.integers(1, 12),
    size=st.floats(0.0, 4.0),
    noise=st.sampled_from(["none", "additive", "axis", "ito", "stratonovich"]),
    down=st.booleans(),
    box=st.sampled_from([(-4.0, 4.0), (-0.3, 9.0), (-30.0, 1.0)]),
)
def test_mass_is_conserved_under_any_smooth_drift(
    seed, shape, steps, size, noise, down, box
) -> None:
    dim = len(shape)
    kinds = {
        "none": None,
        "additive": lambda x, t: f64(0.8) + 0.3 * t,
        "axis": lambda x, t: torch.eye(dim, dtype=F64)[0].expand_as(x),
        "ito": lambda x, t: 0.3 + torch.sin(x) ** 2,
        "stratonovich": lambda x, t: torch.sin(x),
    }
    span = (1.0, 0.0) if down else (0.0, 1.0)
    calculus = "stratonovich" if noise == "stratonovich" else "ito"
    sde = sf.SDE(waves(seed, dim, size), kinds[noise], *span, calculus=calculus)
    rng = np.random.default_rng(seed + 1)
    mass = torch.from_numpy(rng.random(shape) ** 3)
    p = Density(Grid(*box, shape), mass / mass.sum())
    refusal = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        out = evolve(sde, p, f64(span), steps=steps, refuse=NO_LIMITS)[-1]
        try:
            evolve(sde, p, f64(span), steps=steps)
        except SdeflowError as error:
            refusal = str(error)
    assert refusal is None or ("(refused above" in refusal and "\n" not in refusal)
    assert abs(out.total() - 1) <= 1e-12
    assert float(out.mass.min()) >= 0
    assert torch.isfinite(out.mass).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # rough drifts give warnings
@pytest.mark.parametrize("eta", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["exact", "untrained"])
def test_mass_is_conserved_for_every_process_and_field(
    process: sf.processes.Process, kind: str, eta: float | None
) -> None:
    """Every process, forward (None) and reverse, with an exact and with a learned field; most of
    the times are near t_min.
    """
    if eta is None and kind == "untrained":
        return  # noise is added without knowledge
    field = sf.ExactField(process, ring()) if kind == "exact" else untrained(process)
    sde = sf.forward(process) if eta is None else sf.reverse(field, eta)
    rescaling = Rescaling(process, 1.0, 0.1)
    times = torch.cat([f64([process.t_max]), sf.processes.log_snr_times(process, 24)[-4:]])
    times = times if eta is not None else times.flip(0)
    size = 5.0 * rescaling(times[0])
    p = exact_density(process, ring(), float(times[0]), Grid(-size, size, (32, 32))).normalised()
    for q in evolve(sde, p, times, steps=24, rescaling=rescaling, refuse=NO_LIMITS):
        assert abs(q.total() - 1) <= 1e-12
        assert float(q.mass.min()) >= 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "noise",
    [None, lambda x, t: f64(0.7), lambda x, t: 0.7 * (t > 0.12).double()],
    ids=["none", "additive", "begins"],
)
def test_reused_departure_points_do_not_change_the_result(noise) -> None:
    """The departure points are kept from step to step, except when the step changes, when the
    noise begins or when the drift changes with time.
    """
    grid, times = Grid(-5.0, 5.0, (32, 24)), f64([0.0, 0.1, 0.2, 0.3, 0.7, 0.75, 0.8, 1.0])
    p = TILTED_GAUSSIAN.on_grid(grid)
    still = sf.SDE(lambda x, t: torch.sin(x) - x @ f64(ROTATING_DRIFT).T / 4, noise, 0.0, 1.0)
    stirred = replace(still, drift=lambda x, t: still.drift(x, t) * (1 + 1e-14 * t))
    late = replace(still, drift=lambda x, t: still.drift(x, t) * (1 if t < 0.12 else -1))
    runs = [
        evolve(sde, p, times, time_grid=times, refuse=NO_LIMITS) for sde in (still, stirred, late)
    ]
    for a, b in zip(runs[0], runs[1], strict=True):
        assert close(a.mass, b.mass, rtol=1e-12)
    assert runs[0].diagnostics.courant == pytest.approx(runs[1].diagnostics.courant, rel=1e-9)
    assert close(runs[0][1].mass, runs[2][1].mass)
    assert runs[0][2].total_variation(runs[2][2]) > 0.05


# ------------------------------------------------------------------------------------- diagnostics


def spike() -> Density:
    mass = torch.zeros(64, 64, dtype=F64)
    mass[30, 31] = 1.0
    return Density(GRID_64, mass)


def narrow() -> Density:
    return sf.GaussianMixture.isotropic(f64([[1.5, 0.3]]), 0.2).on_grid(GRID_64)


def fast(x: Tensor, t: Tensor) -> Tensor:
    return torch.stack([30 * torch.sin(x[:, 0]), 0 * x[:, 1]], 1)


def spin(x: Tensor, t: Tensor) -> Tensor:
    """Two rotations; each step smooths narrow features a little."""
    return 12 * torch.stack([-x[:, 1], x[:, 0]], 1)


@pytest.mark.parametrize(
    ("sde", "density", "steps", "words"),
    [
        (
            replace(OU, drift=lambda x, t: -torch.sin(x)),
            spike(),
            100,
            "became negative and was set to zero.*finer cells",
        ),
        (replace(OU, drift=lambda x, t: 6 + 0 * x), None, 40, "reached the wall.*larger box"),
        (replace(OU, drift=fast), None, 10, "the Courant number of the steps, .*use more"),
        (
            replace(OU, drift=spin, diffusion=None),
            narrow(),
            200,
            "the error of the density is about .* by comparison with a",
        ),
    ],
    ids=["negative_mass", "boundary_mass", "courant", "error"],
)
def test_each_diagnostic_refuses_with_its_number(sde, density, steps, words) -> None:
    p = density or TILTED_GAUSSIAN.on_grid(GRID_64)
    with pytest.raises(SdeflowError, match=words) as refusal:
        evolve(sde, p, f64([0.0, 1.0]), steps=steps)
    assert "\n" not in str(refusal.value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert evolve(sde, p, f64([0.0, 1.0]), steps=steps, refuse=NO_LIMITS)[-1].total() > 0.99
    assert any(str(w.message).split()[0] in str(refusal.value) for w in caught)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_unresolved_modes_are_refused_or_warned_of(eta: float) -> None:
    """Cells two and a half of the modes' standard deviations wide leave a TV of 0.06. With a
    rescaling of the modes' width that is refused. Without it, noise makes negative mass, which is
    refused; the flow makes none, and the error estimate warns.
    """
    process, informed, uninformed = sf.VP(), Rescaling(sf.VP(), 1.0, 0.25), Rescaling(sf.VP(), 1.0)
    sde, p = (
        sf.reverse(sf.ExactField(process, ring()), eta),
        density_at_t_max(process, ring(), informed, 16),
    )
    words = r"became negative.*use finer cells" if eta else r"cells are 2\.5 times as wide.*use"
    with pytest.raises(SdeflowError, match=words) as refusal:
        evolve(sde, p, reverse_span(process), steps=100, rescaling=informed)
    assert "\n" not in str(refusal.value)
    if eta:
        with pytest.raises(SdeflowError, match=words):
            evolve(sde, p, reverse_span(process), steps=100, rescaling=uninformed)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        densities = evolve(sde, p, reverse_span(process), steps=100, rescaling=uninformed)
    assert any("by comparison with a coarser run" in str(w.message) for w in caught)
    assert math.isnan(densities.diagnostics.cells_per_feature)


def test_cells_per_feature_is_the_worst_of_the_times() -> None:
    """Cells of up to one standard deviation pass. Early, noise has widened every feature."""
    process, mixture = sf.EDM(), pair()
    rescaling = Rescaling(process, 1.0, 0.25)
    sde, late = sf.reverse(sf.ExactField(process, mixture), 0.0), reverse_span(process)
    early = f64([process.t_max, 1.0])
    for cells, times in ((56, late), (56, early), (36, early)):
        p = density_at_t_max(process, mixture, rescaling, cells)
        told = evolve(sde, p, times, steps=60, rescaling=rescaling).diagnostics.cells_per_feature
        narrow = mixture.noised(1.0, float(times[-1])).covariances[0, 0, 0].sqrt()
        wide = p.grid.width[0] * rescaling(times[-1]) / rescaling(times[0])
        assert told == pytest.approx(wide / float(narrow), rel=1e-9)
    p = density_at_t_max(process, mixture, rescaling, 36)
    for run in (
        lambda: evolve(sde, p, late, steps=60, rescaling=rescaling),
        lambda: sf.fokker_planck.sampler_density(
            sde,
            p,
            sf.processes.log_snr_times(process, 200),
            rescaling=rescaling,
            refuse=replace(REFUSE, negative_mass=1),
        ),
    ):
        with pytest.raises(SdeflowError, match=r"1\.1 times as wide.*\(refused above 1\)"):
            run()


def test_grid_that_misses_mass_is_refused() -> None:
    cut = sf.GaussianMixture.isotropic(f64([[4.0, 0.0]]), 0.6)
    with pytest.raises(ValueError, match=r"misses 0\.\d+ of the mass; widen it"):
        cut.on_grid(GRID_64)
    p = cut.on_grid(GRID_64, missing=0.1)
    with pytest.raises(SdeflowError, match="reached the wall of the grid; use a larger box"):
        evolve(OU, p, f64([0.0, 1.0]), steps=40)


@pytest.mark.parametrize("shape", [(65, 64), (6, 64)])
def test_odd_grids_warn_that_no_error_is_estimated(shape: tuple[int, int]) -> None:
    p = TILTED_GAUSSIAN.on_grid(Grid(-5.0, 5.0, shape))
    runs = (
        lambda **ask: evolve(OU, p, UNIT_INTERVAL, steps=20, refuse=NO_LIMITS, **ask),
        lambda **ask: sf.fokker_planck.sampler_density(
            OU, p, OU.times(4), refuse=NO_LIMITS, **ask
        ),
    )
    for run in runs:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(estimate=False)
        without = len(caught)
        assert not any("no error is estimated" in str(w.message) for w in caught)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            densities = run()
        assert len(caught) == without + 1
        told = [w for w in caught if "cannot be merged two by two; use even" in str(w.message)]
        assert [w.filename for w in told] == [__file__]
        assert densities[-1].error is None
        assert math.isnan(densities.diagnostics.error)


def test_well_resolved_run_does_not_warn() -> None:
    even = evolve(OU, TILTED_GAUSSIAN.on_grid(GRID_64), f64([0.0, 1.0]), steps=20)
    assert even.diagnostics.error == even[-1].error
    assert even[0].error == 0
    assert even.diagnostics.negative_mass < 1e-10


def test_density_path_prints_in_words() -> None:
    path = evolve(OU, TILTED_GAUSSIAN.on_grid(GRID_64), UNIT_INTERVAL, steps=20)
    assert repr(path) == (
        "path of 2 densities, t from 0 to 1, the last on 64 x 64 cells in [-5, 5] x [-5, 5]"
    )


# --------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: evolve(OU, coarse_density(), f64([0.0, 2.0])), ValueError, r"outside \[0, 1\]"),
        (lambda: evolve(OU, coarse_density(), f64([1.0, 0.0])), ValueError, "flip them"),
        (lambda: evolve(OU, coarse_density(), "01"), TypeError, "times must"),
        (lambda: evolve(OU, coarse_density(), [0.0, None]), TypeError, "times must"),
        (lambda: evolve(OU, coarse_density(), 1.0), ValueError, "at least two times in one row"),
        (
            lambda: evolve(coarse_density(), OU, UNIT_INTERVAL),
            TypeError,
            "sde must be an SDE, got Density",
        ),
        (
            lambda: evolve(OU, coarse_density().mass, UNIT_INTERVAL),
            TypeError,
            "must be a Density, got a tensor",
        ),
        (lambda: evolve(OU, None, UNIT_INTERVAL), TypeError, "must be a Density, got None"),
        (
            lambda: evolve(OU, coarse_density(), UNIT_INTERVAL, rescaling=2.0),
            TypeError,
            "must be a Rescaling, got 2.0",
        ),
        (
            lambda: evolve(OU, coarse_density(), UNIT_INTERVAL, steps=0),
            ValueError,
            "steps must be at least 1",
        ),
        (
            lambda: evolve(OU, coarse_density(), UNIT_INTERVAL, time_grid=f64([0.5])),
            ValueError,
            "time_grid must hold",
        ),
        (
            lambda: evolve(
                replace(OU, drift=lambda x, t: x[:, :1]), coarse_density(), UNIT_INTERVAL
            ),
            ValueError,
            r"the drift returned \(\d+, 1\)",
        ),
        (
            lambda: evolve(
                replace(OU, drift=lambda x, t: 1 / (x - x[0])), coarse_density(), UNIT_INTERVAL
            ),
            SdeflowError,
            "NaN or infinite at t = .* of the grid",
        ),
        (
            lambda: evolve(
                replace(OU, diffusion=lambda x, t: torch.eye(2).expand(len(x), 2, 2)),
                coarse_density(),
                UNIT_INTERVAL,
            ),
            ValueError,
            r"noise is \(\), \(d,\) or diagonal",
        ),
        (
            lambda: evolve(
                replace(OU, diffusion=lambda x, t: f64(math.inf)), coarse_density(), UNIT_INTERVAL
            ),
            SdeflowError,
            "the diffusion is NaN",
        ),
    ],
)
def test_evolve_refuses_wrong_arguments_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)


def test_reverse_sde_recovers_tilted_components() -> None:
    process, mixture = sf.VP(), lopsided()
    rescaling = Rescaling(process, 1.0, 0.15)
    sde = sf.reverse(sf.ExactField(process, mixture), 1.0)
    times = f64([process.t_max, 0.05])
    out = evolve(
        sde,
        density_at_t_max(process, mixture, rescaling, 64),
        times,
        steps=100,
        rescaling=rescaling,
    )[-1]
    assert out.total_variation(exact_density(process, mixture, 0.05, out.grid)) < 3e-3
