"""Random numbers by address: any can be drawn alone, and they are independent normals."""

import itertools
import resource
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import sdeflow as sf
from sdeflow import random_streams as noise
from sdeflow.random_streams import BLOCK, KeyedNormals, Stream, normals, random_generator
from sdeflow.solvers.brownian import Brownian
from tests.problems import close, lopsided

DTYPES = (torch.float32, torch.float64)
MOTION = Stream.MOTION


def draw(n: int, d: int = 2, *, seed: int = 0, step: int = 0, first: int = 0, **more) -> Tensor:
    dtype = more.get("dtype", torch.float64)
    return KeyedNormals(seed, more.get("stream", MOTION), n, d, dtype, first).draw(step)


# ------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_those_of_numpys_philox_at_key_and_counter(dtype: torch.dtype) -> None:
    """numpy's own Philox with key = (seed, stream) and counter = (0, 0, step, block)."""
    kind = np.float64 if dtype == torch.float64 else np.float32
    for seed, stream, step, block in [(0, 0, 0, 0), (7, 1, 3, 0), (2**63 + 5, 4, 10**12, 2**33)]:
        counter = np.array([0, 0, step, block], dtype=np.uint64)
        bits = np.random.Philox(counter=counter, key=np.array([seed, stream], dtype=np.uint64))
        want = np.random.Generator(bits).standard_normal((5, 3), dtype=kind)
        more = {"stream": Stream(stream), "dtype": dtype}
        got = draw(5, 3, seed=seed, step=step, first=block * BLOCK, **more)
        assert np.array_equal(got.numpy(), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4095, 4096, 4097, 7001, 9999])
def test_first_k_of_n_particles_are_the_run_of_k(dtype: torch.dtype, k: int) -> None:
    long, short = (KeyedNormals(3, MOTION, n, 2, dtype) for n in (10_000, k))
    for step in (0, 1, 17):
        assert torch.equal(long.draw(step)[:k], short.draw(step))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_chunk_can_be_drawn_alone(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk sizes 1 to n, with small blocks so that every way to cross a block occurs."""
    monkeypatch.setattr(noise, "BLOCK", 16)
    n = 75
    whole = draw(n, 3, step=5, dtype=dtype)
    for size in range(1, n + 1):
        parts = [
            draw(min(size, n - first), 3, step=5, first=first, dtype=dtype)
            for first in range(0, n, size)
        ]
        assert torch.equal(torch.cat(parts), whole), size


@pytest.mark.parametrize("size", [777, 4096, 5000])
def test_any_chunk_of_full_blocks_can_be_drawn_alone(size: int) -> None:
    n = 12_345
    whole = draw(n, step=2)
    for first in range(0, n, size):
        got = draw(min(size, n - first), step=2, first=first)
        assert torch.equal(got, whole[first : first + size])


def test_steps_can_be_drawn_in_any_order() -> None:
    stream = KeyedNormals(1, MOTION, 5000, 2, torch.float32)
    forwards = [stream.draw(k) for k in range(6)]
    backwards = [stream.draw(k) for k in reversed(range(6))]
    assert all(map(torch.equal, forwards, reversed(backwards)))
    assert torch.equal(stream.draw(4), stream.draw(4))


@pytest.mark.parametrize("n", [1, 100, 5000, 20_000])
def test_read_equals_draw_in_any_order(n: int) -> None:
    """Fewer steps are drawn at once for a larger cloud; their numbers do not change."""
    together, alone = (KeyedNormals(1, MOTION, n, 2, torch.float32) for _ in range(2))
    for step in (0, 1, 3, 64, 129, 2, 64, 0):
        assert torch.equal(together.read(step), alone.draw(step)), step


def test_float16_is_float32_rounded() -> None:
    assert torch.equal(draw(9, dtype=torch.float16), draw(9, dtype=torch.float32).half())


def test_memory_of_a_long_run_does_not_grow() -> None:
    """2.5e5 steps of 8 particles; and their sum is a Brownian end point."""
    stream = KeyedNormals(5, MOTION, 8, 2, torch.float64)
    total, square = np.zeros((8, 2)), np.zeros((8, 2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = 250_000
    for k in range(steps):
        z = stream.draw(k).numpy()
        total += z
        if k % 100 == 0:
            square += z * z
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # kB; the increments themselves would be 32 MB, a tree of them far more
    assert np.abs(total / steps**0.5).max() < 4
    assert np.abs(square / (steps / 100) - 1).max() < 4 * (200 / steps) ** 0.5


# --------------------------------------------------------------------------------- distribution


@pytest.mark.parametrize("dtype", DTYPES)
def test_increments_are_normal_and_independent(dtype: torch.dtype) -> None:
    steps, n, d = 40, 5000, 2  # more particles than a block holds
    stream = KeyedNormals(11, MOTION, n, d, dtype)
    z = torch.stack([stream.draw(k) for k in range(steps)]).double()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    flat = z.flatten(1)
    for one, other in [
        (flat[1:], flat[:-1]),  # steps
        (z[:, 1:], z[:, :-1]),  # particles
        (z[:, BLOCK:], z[:, : n - BLOCK]),  # blocks
        (z[..., 0], z[..., 1]),  # coordinates
        (flat[1:] ** 2 - 1, flat[:-1] ** 2 - 1),
    ]:
        product = one * other
        assert abs(float(product.mean() / product.std())) * product.numel() ** 0.5 < 4


@pytest.mark.parametrize("h", [0.25, 3.0])
def test_increments_over_a_time_h_have_variance_h(h: float) -> None:
    """The solver gives a step its size: sqrt(h) W ~ N(0, h), also where W sums finer steps."""
    fine = torch.tensor([0.0, 0.1, 0.2, 0.7, 1.0], dtype=torch.float64) * h
    bm = Brownian(2, 20_000, 2, torch.float64, times=fine[[0, 4]], fine=fine)
    w = bm(torch.tensor(0.0), torch.tensor(1.0))
    assert stats.kstest((h**0.5 * w).flatten().numpy(), "norm", (0, h**0.5)).pvalue > 1e-3


def test_numbers_at_different_addresses_are_uncorrelated() -> None:
    """Seed, stream, step and block each give other numbers."""
    n = BLOCK
    addresses = list(itertools.product((0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2)))
    z = torch.stack(
        [
            draw(n, 1, seed=s, stream=Stream(p), step=k, first=b * BLOCK)[:, 0]
            for s, p, k, b in addresses
        ]
    )
    # 3240 pairs: the largest of them is near 3.6 standard errors.
    off = (z @ z.T / n).fill_diagonal_(0).abs() * n**0.5
    assert off.max() < 5
    pooled = (z @ z.T / n).triu(1).sum() / (z.shape[0] * (z.shape[0] - 1) / 2 / n) ** 0.5
    assert abs(pooled) < 4


@pytest.mark.parametrize("stream", Stream)
def test_streams_are_normal_uniform_and_uncorrelated(stream: Stream) -> None:
    z = normals(3, stream, 20_000, 1, torch.float64)
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3
    others = [normals(3, p, 20_000, 1, torch.float64) for p in Stream if p != stream]
    assert max(abs(float((z * o).mean())) * 20_000**0.5 for o in others) < 4
    uniform = random_generator(3, stream).random(20_000)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert np.array_equal(uniform[:501], random_generator(3, stream).random(501))
    # What the generator of the next step gives is not a shift of this one.
    assert not np.isin(random_generator(3, stream, 1).random(1000), uniform).any()


def test_streams_have_distinct_numbers() -> None:
    """Two names of one number would share random numbers."""
    assert len(set(Stream)) == len(Stream.__members__)


def test_public_functions_draw_from_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one seed for all, cloud, path, weights and training stay independent."""
    drawn: set[Stream] = set()
    state = noise._philox_state
    monkeypatch.setattr(noise, "_philox_state", lambda s, p: (drawn.add(p), state(s, p))[1])

    def used(call: Callable[[], object]) -> set[Stream]:
        drawn.clear()
        call()
        return set(drawn)

    truth = sf.ExactField(sf.VP(), lopsided())
    field = sf.LearnedField(sf.VP(), sf.MLP(width=4, depth=1, waves=2))
    x = lopsided().sample(30, 0)
    sde = sf.reverse(truth)
    data = {Stream.DATA, Stream.CHOICE}
    assert used(lambda: sf.VP().prior(3, 2, 0)) == {Stream.PRIOR}
    assert used(lambda: lopsided().sample(3, 0)) == data
    assert used(lambda: sf.datasets.two_moons().sample(3, 0)) == data
    assert used(lambda: sf.datasets.spiral(width=0.1).sample(3, 0)) == data
    assert used(lambda: sf.MLP()) == {Stream.WEIGHTS}
    assert used(lambda: sf.SDESolver(steps=2).solve(sde, x)) == {MOTION}
    assert used(lambda: sf.SDESolver("srk", steps=2).solve(sde, x)) == {MOTION, Stream.LEVY}
    assert used(lambda: sf.fit(field, lambda n, seed: x, 2)) == {Stream.TRAINING}
    assert used(lambda: sf.training.loss_decomposition(field, truth, levels=2, n=4)) == {
        *data,
        Stream.PROBE,
    }
    assert used(lambda: sf.diagnostics.sliced_wasserstein(x, x)) == {Stream.PROBE}


# ------------------------------------------------------------------------------------- Brownian


def step(bm: Brownian, k: int) -> tuple[Tensor, Tensor]:
    out = bm(torch.tensor(float(k)), torch.tensor(k + 1.0), return_U=True)
    assert isinstance(out, tuple)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_levy_area_of_a_unit_step_has_its_covariance(dtype: torch.dtype) -> None:
    """U = int_0^1 W du: E U^2 = int int min(u, v) = 1/3, E U W = int u du = 1/2."""
    n = 200_000
    w, u = (v.double().flatten() for v in step(Brownian(4, n, 1, dtype, levy=True), 3))
    for moment, want in (((w * w), 1.0), ((w * u), 1 / 2), ((u * u), 1 / 3)):
        assert abs(float(moment.mean()) - want) < 4 * float(moment.std()) / n**0.5
    assert stats.kstest(w.numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(u.numpy(), "norm", (0, 3**-0.5)).pvalue > 1e-3


@pytest.mark.parametrize("descending", [False, True])
def test_a_coarse_step_is_the_sum_of_its_fine_steps(descending: bool) -> None:
    """Chasles: U(0, T) = sum_j [U(t_j, t_j+1) + h_j (W(t_j) - W(0))], on an uneven grid."""
    fine = torch.cumsum(torch.tensor([0.0, 0.3, 0.05, 1.1, 0.2, 0.7, 0.01, 0.4]).double(), 0)
    if descending:
        fine = fine[-1] - fine
    gaps = fine.diff().abs()
    unit = Brownian(9, 5, 2, torch.float64, times=fine, levy=True)  # one unit step at a time
    grid = [0, 1, 4, 7]
    coarse = Brownian(9, 5, 2, torch.float64, times=fine[grid], fine=fine, levy=True)
    for k in range(3):
        length = gaps[grid[k] : grid[k + 1]].sum()
        path, area = torch.zeros(2, 5, 2, dtype=torch.float64)
        for j in range(grid[k], grid[k + 1]):
            w, u = step(unit, j)
            area = area + gaps[j] ** 1.5 * u + gaps[j] * path
            path = path + gaps[j] ** 0.5 * w
        w, u = step(coarse, k)
        assert close(w * length**0.5, path, 1e-13)
        assert close(u * length**1.5, area, 1e-13)
        assert torch.equal(coarse(torch.tensor(float(k))), w)


def test_levy_area_is_the_integral_of_the_path() -> None:
    """Against the trapezoidal sum over 4096 fine steps, whose error is sqrt(sum h^3 / 12)."""
    m = 4096
    fine = torch.linspace(0, 1, m + 1, dtype=torch.float64)
    bm = Brownian(1, 500, 1, torch.float64, times=fine[[0, m]], fine=fine, levy=True)
    path = [torch.zeros(500, 1, dtype=torch.float64)]
    unit = Brownian(1, 500, 1, torch.float64, times=fine)
    for j in range(m):
        path.append(path[-1] + unit(j, j + 1) / m**0.5)
    w, u = step(bm, 0)
    assert close(w, path[-1], 1e-12)
    error = (u - torch.trapezoid(torch.cat(path, 1), dx=1 / m)[:, None]) * m * 12**0.5
    assert stats.kstest(error.flatten().numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_brownian_has_the_interface_of_torchsde(dtype: torch.dtype) -> None:
    bm = Brownian(0, 7, 3, dtype, first=11)
    assert (bm.dtype, bm.device, bm.shape) == (dtype, torch.device("cpu"), (7, 3))
    assert bm.levy_area_approximation == "none"
    assert Brownian(0, 7, 3, dtype, levy=True).levy_area_approximation == "space-time"
    w = bm(torch.tensor(4.0), torch.tensor(5.0))
    assert isinstance(w, Tensor)
    assert w.dtype == dtype
    assert torch.equal(w, Brownian(0, 30, 3, dtype)(torch.tensor(4.0))[11:18])
    assert bm.step == 4
    with pytest.raises(ValueError, match="levy=True"):
        bm(torch.tensor(0.0), torch.tensor(1.0), return_U=True)
    with pytest.raises(ValueError, match="area=True"):
        bm(torch.tensor(0.0), torch.tensor(1.0), return_A=True)


@pytest.mark.parametrize("seed", [3, 2**63 + 1, 2**70])
def test_seeds_of_any_integer_type_are_equal(seed: int) -> None:
    """numpy's integers and a tensor's are the number they hold; beyond 64 bits it is taken mod."""
    draws = normals(seed, MOTION, 5, 2, torch.float64)
    kinds = [np.uint64(seed)] if seed < 2**64 else [seed % 2**64]
    if seed < 2**31:
        kinds += [np.int32(seed), np.int64(seed), torch.tensor(seed)]
    for kind in kinds:
        assert torch.equal(normals(kind, MOTION, 5, 2, torch.float64), draws)
        assert random_generator(kind, MOTION).random() == random_generator(seed, MOTION).random()
