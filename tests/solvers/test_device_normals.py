"""Normal numbers drawn where the cloud lies: by address, independent, the same in any chunk."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import sdeflow as sf
from sdeflow.random_streams import KeyedNormals, Stream
from sdeflow.solvers import device_normals
from sdeflow.solvers.device_normals import WORD, DeviceNormals, _philox
from tests.problems import f64, randn

DTYPES = (torch.float32, torch.float64)
CPU = torch.device("cpu")


def stream(n: int = 1000, d: int = 2, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    seed, purpose = more.pop("seed", 0), more.pop("stream", Stream.MOTION)
    return DeviceNormals(seed, purpose, n, d, dtype, device=CPU, **more)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((WORD,) * 4, (WORD,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_words_are_those_of_the_published_generator(
    counter: tuple[int, ...], key: tuple[int, ...], words: str
) -> None:
    """The known answers of Salmon et al.'s library Random123 for Philox 4x32-10."""
    low, high, *rest = counter
    i = (low + (high << 32) + 2**63) % 2**64 - 2**63  # as a signed number of 64 bits
    found = _philox(*(torch.tensor([v]) for v in (i, *rest, *key)))
    assert " ".join(f"{int(w):08x}" for w in found) == words


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 3])
def test_any_chunk_has_the_bits_of_the_whole(
    dtype: torch.dtype, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, steps = 103, [5, 2**63 + 7, 11]
    whole = [stream(n, d, dtype, steps=steps).draw(k) for k in range(3)]
    for first, m in ((0, 1), (0, 50), (1, 7), (50, 53), (102, 1)):
        part = stream(m, d, dtype, first=first, steps=steps)
        for k in (2, 0, 1):  # in any order, alone or with others
            assert torch.equal(part.draw(k), whole[k][first : first + m])
            assert torch.equal(part.read(k), whole[k][first : first + m])
    monkeypatch.setattr(device_normals, "PIECE", (4, 4))
    assert torch.equal(stream(n, d, dtype, steps=steps).draw(1), whole[1])
    half = stream(n, d, dtype, steps=steps, scales=f64([1.0, 0.5, 2.0])).read(1)
    assert torch.equal(half, whole[1] / 2)


def test_particles_far_out_have_numbers_of_their_own() -> None:
    """Beyond 2^32 groups of words the upper word of the counter rises."""
    low, high = (stream(4, first=k).draw(0) for k in (0, 2**33))
    assert not (low == high).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_normal(dtype: torch.dtype) -> None:
    z = torch.stack([stream(25_000, dtype=dtype, seed=9).draw(k) for k in range(4)]).flatten()
    assert z.dtype == dtype
    z = z.double()
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3
    moments = torch.stack([z.mean(), (z**2).mean() - 1, (z**3).mean(), (z**4).mean() - 3])
    errors = (f64([1.0, 2.0, 15.0, 96.0]) / len(z)).sqrt()
    assert (moments.abs() < 4 * errors).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_seeds_purposes_legs_and_columns_are_independent(dtype: torch.dtype) -> None:
    """No two of 24 rows, nor their squares, are correlated; each has 10,000 numbers."""
    others: list[dict[str, Any]] = [
        {}, {"seed": 1}, {"seed": 2**63}, {"stream": Stream.LEVY}, {"leg": 1}, {"first": 10_000},
    ]  # fmt: skip
    rows = torch.cat(
        [stream(10_000, 2, dtype, **more).draw(k).T for more in others for k in (0, 1)]
    ).double()
    for values in (rows, rows**2):
        found = torch.corrcoef(values)
        off = found[tuple(torch.triu_indices(len(rows), len(rows), 1))] * 100
        assert off.abs().max() < 4.5
        assert stats.kstest(off.numpy(), "norm").pvalue > 1e-3


def test_they_are_other_numbers_than_those_of_the_cpu() -> None:
    own, numpys = stream().draw(0), KeyedNormals(0, Stream.MOTION, 1000, 2, torch.float32).draw(0)
    assert abs(float((own * numpys).mean())) < 4 * 2000**-0.5


# --------------------------------------------------------------------------------- in a solver


def solved(x: Tensor, method: str = "euler", first: int = 0, **more: Any) -> Tensor:
    solver = sf.SDESolver(method, steps=4, seed=5, noise="device", **more)
    return solver.solve(sf.sdes.brownian(), x, first=first).x[-1]


def test_a_cloud_in_parts_is_the_cloud() -> None:
    x = randn(300, 2, dtype=torch.float32)
    whole = solved(x)
    assert torch.equal(torch.cat([solved(x[:77]), solved(x[77:], first=77)]), whole)
    assert not torch.equal(sf.SDESolver(steps=4, seed=5).solve(sf.sdes.brownian(), x).x[-1], whole)


def test_the_end_of_a_brownian_path_is_normal() -> None:
    end = solved(torch.zeros(20_000, 2))
    assert stats.kstest(end.flatten().numpy(), "norm").pvalue > 1e-3


def test_coarse_and_fine_steps_follow_one_path() -> None:
    times = torch.linspace(0, 1, 9)
    x = torch.zeros(50, 2, dtype=torch.float64)
    fine, coarse = (solved(x, times=t, fine=times) for t in (times, times[::4]))
    assert torch.allclose(fine, coarse, atol=1e-12)


def test_a_run_that_goes_on_has_new_noise() -> None:
    x, sde = torch.zeros(20_000, 1, dtype=torch.float64), sf.sdes.brownian()
    solver = sf.SDESolver(steps=2, seed=5, noise="device")
    one = solver.solve(sde, x)
    two = solver.solve(sde, one)
    steps = torch.stack([one.x[-1] - one.x[0], two.x[-1] - two.x[0]])[:, :, 0]
    assert abs(float(torch.corrcoef(steps)[0, 1])) < 4 * 20_000**-0.5


def test_the_solver_says_where_its_noise_is_drawn() -> None:
    assert "noise drawn where the cloud lies" in repr(sf.SDESolver(noise="device"))
    for noise in ("gpu", None, 1):
        with pytest.raises(ValueError, match='noise must be "cpu"'):
            sf.SDESolver(noise=noise)  # type: ignore[arg-type]
