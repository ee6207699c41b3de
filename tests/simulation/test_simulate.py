"""A cloud that is cut, shared and interrupted anywhere gives the bits of one run."""

import random
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import sdeflow as sf
from sdeflow.random_streams import BLOCK
from sdeflow.simulation import Histogram, Keep, Moments, Quantiles, Reducer, Values
from sdeflow.simulation.forest import Forest
from sdeflow.simulation.reducers import State
from tests.problems import f64
from tests.ranks import in_ranks

GRID = sf.Grid(-3.0, 3.0, (16, 16))
OU = sf.sdes.ornstein_uhlenbeck([[1.0, 0.3], [0.0, 2.0]], 1.0)
START = sf.datasets.two_moons().distribution
SOLVER = sf.SDESolver("heun", steps=3)
N = 5 * BLOCK + 100
ALL = [Histogram(GRID), Moments(), Quantiles(), Keep(1)]


def flat(results: Any) -> list[Tensor]:
    """All numbers of the results of `ALL`."""
    density, moments, quantiles, cloud = results
    parts = [density.mass, moments.mean, moments.covariance, moments.central, quantiles, cloud]
    return [part.reshape(-1) for part in parts]


def equal(a: Any, b: Any) -> bool:
    return all(x.equal(y) for x, y in zip(flat(a), flat(b), strict=True))


def simulated(chunk: int = 65_536, n: int = N, **more: Any) -> Any:
    return sf.simulate(OU, START, n, ALL, solver=SOLVER, seed=7, chunk=chunk, **more)


@pytest.fixture(scope="module")
def whole() -> Any:
    return simulated()


# ---------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("chunk", [BLOCK, 3 * BLOCK])
def test_the_chunk_changes_no_bit(whole: Any, chunk: int) -> None:
    assert equal(whole, simulated(chunk))


def test_the_cloud_is_that_of_one_solve(whole: Any) -> None:
    prior = sf.VP().prior(N, 2, seed=7)
    field = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(f64([[0.0, 1.0]]), 0.5))
    sde, solver = sf.multistep(field), sf.SDESolver("euler", steps=3)
    kept = sf.simulate(sde, field.process, N, Keep(1), solver=solver, seed=7, chunk=2 * BLOCK)
    assert kept.equal(sf.SDESolver("euler", steps=3, seed=7).solve(sde, prior).x[-1])
    parts = [sf.VP().prior(300, 2, seed=7, first=first) for first in (0, 300)]
    assert torch.cat(parts).equal(prior[:600])


def test_a_chunk_of_few_particles_is_rounded_as_a_large_one() -> None:
    """In matrix products of one row the last digits were others."""
    matrix, start = torch.randn(37, 37), torch.randn(BLOCK + 1, 37)
    sde = sf.SDE(lambda x, t: -x @ matrix, lambda x, t: torch.tensor(0.1), 0.0, 1.0)
    kept = [
        sf.simulate(sde, start, None, Keep(1), solver=SOLVER, chunk=chunk)
        for chunk in (BLOCK, 2 * BLOCK)
    ]
    assert kept[0].equal(kept[1])


def test_each_particle_may_have_a_label() -> None:
    """A function of the particles' numbers gives the SDE, here of alternating classes."""
    labelled = sf.LearnedField(
        sf.VP(), sf.MLP(width=4, depth=1, waves=2, labels=2, seed=1), data_std=1.0
    )
    labels = torch.arange(N) % 2
    solver = sf.SDESolver("euler", steps=2, seed=7)

    def motion(first: int, count: int) -> sf.SDE:
        return sf.multistep(labelled.given(labels[first : first + count]))

    kept = sf.simulate(
        motion, labelled.process, N, Keep(1), solver=solver, seed=7, chunk=2 * BLOCK
    )
    whole = solver.solve(motion(0, N), labelled.process.prior(N, 2, seed=7)).x[-1]
    assert kept.equal(whole)


def test_ranks_change_no_bit(whole: Any, tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr of the extra `large` is not installed")
    out = tmp_path / "cloud.zarr"
    for found in in_ranks(2, _rank, str(out)):
        assert not isinstance(found, BaseException), found
        numbers = [*flat(whole), narrow()]
        assert all(np.array_equal(a, b) for a, b in zip(found, numbers, strict=True))
    cloud = sf.open_cloud(out)
    assert np.array_equal(cloud[:], whole[3].numpy())


def narrow() -> Tensor:
    """A cloud of a type that numpy does not have."""
    start = torch.zeros(N, 2, dtype=torch.bfloat16)
    return sf.simulate(OU, start, None, Keep(64), solver=SOLVER, chunk=BLOCK).float()


def _rank(out: str) -> list[np.ndarray]:
    return [part.numpy() for part in (*flat(simulated(BLOCK, out=out)), narrow())]


class Broken(Moments):
    """Moments of a run that is killed after so many blocks."""

    left = 0

    def reduce(self, path: sf.solvers.Path) -> State:
        Broken.left -= 1
        if not Broken.left:
            raise KeyboardInterrupt
        return super().reduce(path)


@pytest.mark.parametrize("name", ["run", "cloud.zarr"])
def test_an_interrupted_run_continues(whole: Any, tmp_path: Path, name: str) -> None:
    if name.endswith("zarr"):
        pytest.importorskip("zarr", reason="zarr of the extra `large` is not installed")
    reduce = [ALL[0], Broken(), *ALL[2:]]
    for left, chunk in ((2, BLOCK), (4, BLOCK), (5, 2 * BLOCK)):  # the first block is a probe
        Broken.left = left
        with pytest.raises(KeyboardInterrupt):
            sf.simulate(
                OU, START, N, reduce, solver=SOLVER, seed=7, chunk=chunk, out=tmp_path / name
            )
    if name.endswith("zarr"):
        with pytest.raises(sf.SdeflowError, match="has not finished; run it again to go on"):
            sf.open_cloud(tmp_path / name)
    Broken.left = 0
    for _ in range(2):  # the second time nothing is left to do
        found = sf.simulate(OU, START, N, reduce, solver=SOLVER, seed=7, out=tmp_path / name)
        assert equal(found, whole)


def test_only_missing_blocks_are_moved_again(tmp_path: Path) -> None:
    """Also where the first file is missing, since its rank was killed too early to write one."""

    def run() -> Any:
        return sf.simulate(OU, START, N, [Broken()], solver=SOLVER, chunk=BLOCK, out=tmp_path)

    parts = tmp_path / "parts"
    for left in (4, 3):  # the probe and two blocks, the probe and one block
        Broken.left = left
        with pytest.raises(KeyboardInterrupt):
            run()
        if left == 4:
            (parts / "0000.npz").rename(parts / "0001.npz")
    (parts / "notes.txt").write_text("of the user")
    Broken.left = 0
    run()
    assert -Broken.left == 1 + 3  # the probe, and the three blocks of six that were missing
    assert sorted(file.name for file in parts.iterdir()) == ["0000.npz", "notes.txt"]


def test_a_folder_of_another_simulation_is_refused(tmp_path: Path) -> None:
    simulated(n=1000, out=tmp_path)
    for n, seed in ((1001, 7), (1000, 8)):
        with pytest.raises(sf.SdeflowError, match=r"another simulation .* give another folder"):
            sf.simulate(OU, START, n, ALL, solver=SOLVER, seed=seed, out=tmp_path)
    (tmp_path / "parts" / "0000.npz").write_bytes(b"PK")
    with pytest.raises(sf.SdeflowError, match=r"0000\.npz is damaged"):
        simulated(n=1000, out=tmp_path)


@pytest.mark.parametrize("kind", [float, np.float32, np.int64, torch.tensor, lambda v: {v}])
def test_another_threshold_of_any_type_is_another_simulation(tmp_path: Path, kind: Any) -> None:
    """Which no particle has reached yet, so that only the function tells them apart."""

    def rare(threshold: Any) -> Values:
        return Values(lambda path: path.x[-1][:, :1] > max(threshold, key=float), Moments())

    def run(value: float) -> None:
        given = kind(value)
        threshold = given if isinstance(given, set) else [given]
        sf.simulate(OU, START, 500, rare(threshold), solver=SOLVER, out=tmp_path)

    run(90)
    run(90)
    with pytest.raises(sf.SdeflowError, match="another simulation"):
        run(80)


class Brackets(Reducer):
    """Writes down how the blocks were merged, as whole numbers: -1 opens a pair, -2 closes it."""

    def reduce(self, path: sf.solvers.Path) -> State:
        raise NotImplementedError

    def merge(self, left: State, right: State) -> State:
        ends = torch.tensor([-1]), torch.tensor([-2])
        return {"text": torch.cat([ends[0], left["text"], right["text"], ends[1]])}

    def finish(self, state: State) -> list[int]:
        return state["text"].tolist()


@pytest.mark.parametrize("blocks", [1, 2, 5, 7, 8, 13])
def test_blocks_are_merged_along_one_tree(blocks: int) -> None:
    """In any order of arrival, and after any cut into forests that are absorbed in any order."""
    texts, random_order = set(), random.Random(blocks)
    for _ in range(20):
        forests = [Forest([Brackets()]) for _ in range(3)]
        for k in random_order.sample(range(blocks), blocks):
            random_order.choice(forests).add((0, k), ({"text": torch.tensor([k])},))
        forest = Forest([Brackets()])
        for each in forests:
            forest.absorb([*each.nodes.items()])
            forest.absorb([*each.nodes.items()])  # what is there is not counted twice
        assert not forest.missing(blocks)
        (state,) = forest.total()
        texts.add(tuple(state["text"].tolist()))
    (text,) = texts
    assert [k for k in text if k >= 0] == [*range(blocks)]


def test_missing_blocks() -> None:
    forest = Forest([Brackets()])
    for k in (0, 1, 4, 9):
        forest.add((0, k), ({"text": torch.tensor([k])},))
    assert forest.missing(12) == [(2, 4), (5, 9), (10, 12)]


# ----------------------------------------------------------------------------------- the reducers


def test_reducers_agree_with_the_whole_cloud(whole: Any) -> None:
    density, moments, quantiles, cloud = whole
    assert density.mass.equal(sf.Density.from_samples(GRID, cloud).mass)
    x = cloud.double().numpy()
    assert np.allclose(moments.mean, x.mean(0), rtol=1e-13)
    assert np.allclose(moments.covariance, np.cov(x.T), rtol=1e-12)
    for p in (0, 1, 2, 3, 4):
        assert np.allclose(moments.central[p], stats.moment(x, p), rtol=1e-10, atol=1e-13)
    exact = np.quantile(x, Quantiles().levels, axis=0)
    assert np.abs(quantiles.numpy() - exact).max() < 1e-3
    assert (np.abs(quantiles.numpy() - exact) <= np.abs(exact) / 512 + 1e-4).all()


def test_moments_keep_their_digits_far_from_the_origin() -> None:
    sde = sf.SDE(lambda x, t: 0 * x, None, 0.0, 1.0)
    start = sf.GaussianMixture.isotropic(f64([[1e6, -1e6]]), 1.0)
    cloud, moments = sf.simulate(
        sde, lambda first, n: start.sample(n, seed=first).double(), N, [Keep(1), Moments(6)],
        solver=sf.ODESolver("euler", steps=1), chunk=BLOCK,
    )  # fmt: skip
    x = cloud.numpy() - cloud.numpy().mean(0)
    assert np.allclose(moments.central[2], (x**2).mean(0), rtol=1e-9)
    assert np.allclose(moments.central[6], (x**6).mean(0), rtol=1e-7)
    assert moments.mean_error == pytest.approx(np.ones(2) / N**0.5, rel=0.02)
    assert moments.variance_error == pytest.approx(np.ones(2) * (2 / N) ** 0.5, rel=0.05)


def test_quantiles_at_any_size_and_sign() -> None:
    """Within 1/512 of the number, from 1e-30 to 1e30, and infinite where the cloud is."""
    x = torch.logspace(-30, 30, 4001).repeat(2)
    x[::2] *= -1
    x[0], x[1] = torch.inf, -torch.inf
    levels = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    sde = sf.SDE(lambda x, t: 0 * x, None, 0.0, 1.0)
    values = Values(lambda path: x[path.x[-1, :, 0].long()], Quantiles(levels))
    start = torch.arange(len(x)).double()[:, None]
    found = sf.simulate(sde, start, None, values, solver=sf.ODESolver("euler", steps=1))[:, 0]
    assert torch.isinf(found[[0, -1]]).all()
    for level, q in zip(levels[1:-1], found[1:-1].tolist(), strict=True):
        below, upto = ((x <= q + side * abs(q) / 512).double().mean() for side in (-1, 1))
        assert below <= level + 1e-12
        assert upto >= level - 1e-12


def test_quantiles_of_numbers_that_float32_lacks_are_refused() -> None:
    start = torch.full((9, 1), 1e60, dtype=torch.float64)
    with pytest.raises(ValueError, match="numbers below 3e38"):
        sf.simulate(sf.sdes.brownian(), start, None, Quantiles(), solver=SOLVER)


class Highest(Reducer):
    """The largest coordinate: a reducer of a user's own."""

    def reduce(self, path: sf.solvers.Path) -> State:
        return {"top": path.x[-1].amax(0)}

    def merge(self, left: State, right: State) -> State:
        return {"top": torch.maximum(left["top"], right["top"])}

    def finish(self, state: State) -> Tensor:
        return state["top"]


def test_a_reducer_of_your_own(whole: Any) -> None:
    top = sf.simulate(OU, START, N, Highest(), solver=SOLVER, seed=7)
    assert top.equal(whole[3].amax(0))


def test_values_of_a_path_between_walls() -> None:
    """The share that absorbing walls leave, in blocks and in one run of solve."""
    walls = sf.sdes.Box([-1.0], [1.0], "absorbing")
    sde = sf.sdes.langevin(sf.sdes.harmonic(1.0), walls=walls, t_end=0.5)
    start = torch.zeros(2 * BLOCK, 1)

    def survives(path: sf.solvers.Path) -> Tensor:
        assert path.absorbed is not None
        return path.absorbed.wall < 0

    solver = sf.SDESolver(steps=8, seed=3)
    found = sf.simulate(sde, start, None, Values(survives, Moments()), solver=solver, seed=3)
    path = solver.solve(sde, start)
    expected = sf.analysis.survival(path, 0.5)
    assert float(found.mean) == float(expected.value)
    assert float(found.mean_error) == pytest.approx(float(expected.error), rel=1e-3)


# -------------------------------------------------------------------------------- what is refused


def test_particles_that_depend_on_each_other_are_not_cut() -> None:
    coupled = sf.SDE(lambda x, t: x.mean(0) - x, OU.diffusion, 0.0, 1.0)
    with pytest.raises(sf.SdeflowError, match="the cloud cannot be cut into chunks"):
        sf.simulate(coupled, START, BLOCK, Moments(), solver=SOLVER)
    flow = sf.SDE(lambda x, t: -(x**3), None, 0.0, 1.0)
    with pytest.raises(ValueError, match="cannot be cut into chunks; use a method of fixed steps"):
        sf.simulate(flow, START, BLOCK, Moments(), solver=sf.ODESolver("dopri5"))


def test_the_particle_of_a_failure_is_named() -> None:
    sde = sf.SDE(lambda x, t: torch.where(x > 3, torch.nan, 0 * x), None, 0.0, 1.0)
    start = torch.zeros(2 * BLOCK, 1)
    start[BLOCK + 5] = 4
    with pytest.raises(sf.SdeflowError, match=r"first in particle 5.*0 is number 4096"):
        sf.simulate(
            sde, start, None, Moments(), solver=sf.ODESolver("euler", steps=2), chunk=BLOCK
        )


def test_the_noise_goes_on_from_a_path_or_a_file(tmp_path: Path) -> None:
    """From the end of a run with the same seed: the noise that `solve` gives its path."""
    start = torch.zeros(2 * BLOCK, 1)
    path = sf.SDESolver(steps=2, seed=7).solve(sf.sdes.brownian(), start)
    then = sf.SDESolver(steps=2, seed=7).solve(sf.sdes.brownian(), path).x[-1]
    assert float(then.var()) == pytest.approx(2.0, rel=0.1)  # 4 if the noise were the same
    starts: list[Any] = [path]
    if find_spec("zarr"):
        out, solver = tmp_path / "cloud.zarr", sf.SDESolver(steps=2)
        cloud = sf.simulate(sf.sdes.brownian(), start, solver=solver, seed=7, out=out)
        starts += [cloud, out]
    for begun in starts:
        kept = sf.simulate(
            sf.sdes.brownian(), begun, None, Keep(1), solver=sf.SDESolver(steps=2), seed=7,
            chunk=BLOCK,
        )  # fmt: skip
        assert kept.equal(then)


def test_settings_that_the_first_particles_do_not_meet(tmp_path: Path) -> None:
    """A run is not continued with another threshold, grid or force far away; with levels it is."""

    def rare(x: float) -> Reducer:
        return Values(lambda path: path.x[-1, :, 0] > x, Moments())

    def moved(name: str, reducer: Reducer, wall: float = 50.0) -> Any:
        sde = sf.SDE(lambda x, t: torch.where(x > wall, -x, 0 * x), OU.diffusion, 0.0, 1.0)
        return sf.simulate(sde, START, 1000, reducer, solver=SOLVER, out=tmp_path / name)

    grids = [Histogram(sf.Grid(-edge, edge, (4, 4))) for edge in (100.0, 101.0)]
    for name, one, other in (
        ("rare", rare(50.0), rare(51.0)),
        ("grid", *grids),
        ("keep", Keep(512), Keep(1024)),
    ):
        moved(name, one)
        moved(name, one)
        with pytest.raises(sf.SdeflowError, match="holds another simulation"):
            moved(name, other)
    with pytest.raises(sf.SdeflowError, match="holds another simulation"):
        moved("keep", Keep(512), wall=51.0)
    line = sf.sdes.ornstein_uhlenbeck([[1.0]])  # its noise is a tensor of stride 0
    sf.simulate(line, torch.zeros(9, 1), None, Keep(1), solver=SOLVER)
    assert moved("levels", Quantiles((0.1, 0.9)))[1].equal(moved("levels", Quantiles(0.9))[0])


def label_each(first: int, count: int) -> sf.SDE:
    """For one particle only: the label of particle 0."""
    network = sf.MLP(width=4, depth=1, labels=2)
    return sf.reverse(sf.LearnedField(sf.VP(), network).given(torch.zeros(9).long()))


class Odd(Highest):
    """Reducers that return what no state is."""

    def __init__(self, state: Any, merged: Any = None) -> None:
        self.state, self.merged = state, merged

    def reduce(self, path: sf.solvers.Path) -> State:
        return self.state(path)

    def merge(self, left: State, right: State) -> State:
        return self.merged


def refused(**changed: Any) -> Any:
    given = {"sde": OU, "start": START, "n": 2 * BLOCK, "reduce": Moments(), "solver": SOLVER}
    return lambda: sf.simulate(**(given | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (refused(start=torch.zeros(9, 2), n=0), "n must be at least 1"),
        (refused(start=torch.zeros(9, 2), n=2.5), "n must be a whole number"),
        (refused(start=np.zeros((9, 2))), r"an array \(9, 2\); use torch.from_numpy"),
        (refused(start=sf.datasets.ring()), "pass its .distribution"),
        (refused(start=START.sample), "give the distribution itself"),
        (refused(start=sf.VP().prior), "give the process itself"),
        (refused(start=lambda n: torch.zeros(n, 2)), r"a function of \(first, count\)"),
        (refused(start=lambda a, n: torch.zeros(n, 3 if a else 2), chunk=BLOCK), "dimension 2"),
        (refused(sde=lambda n: OU), r"sde must be a function of \(first, count\)"),
        (refused(sde=label_each), "9 labels for 256 particles.*to simulate, a function"),
        (refused(sde=sf.SDE), "sde must be an SDE"),
        (refused(solver=sf.SDESolver(seed=9)), "the solver has the seed 9"),
        (refused(reduce=Values(lambda path: path.x[-1] + 1j, Moments())), "of complex numbers"),
        (refused(reduce=Values(lambda path: path.x[-1, :, :0], Moments())), "one row for each"),
        (refused(reduce=Odd(lambda path: 1.0)), "reduce of reducer Odd returned 1.0"),
        (refused(reduce=Odd(lambda path: {0: torch.ones(1)})), "names and tensors"),
        (refused(reduce=Odd(lambda path: {"a": torch.ones(1)})), "merge of .* returned None"),
        (
            refused(reduce=Odd(lambda path: {"a": torch.ones(1)}, {"b": torch.ones(1)})),
            r"the names \['b'\], not \['a'\]",
        ),
        (refused(reduce=Odd(lambda path: {"a": path.x.mul_(2)})), "changes path.x in place"),
        (refused(out="run.npz"), "must name a folder"),
    ],
)
def test_what_is_refused(mistake: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError, sf.SdeflowError), match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


# ------------------------------------------------------------------------------ clouds in a file


def test_a_cloud_in_a_file(tmp_path: Path) -> None:
    for package in ("zarr", "dask", "xarray"):
        pytest.importorskip(package, reason=f"{package} of an extra is not installed")
    out = tmp_path / "cloud.zarr"
    cloud = sf.simulate(OU, START, N, solver=SOLVER, seed=7, chunk=2 * BLOCK, out=out)
    kept = simulated()[3].numpy()
    assert np.array_equal(cloud[100:9000], kept[100:9000])
    assert np.array_equal(cloud.to_dask()[:, 0].compute(), kept[:, 0])
    assert np.array_equal(cloud.to_xarray().sel(axis=1).values, kept[:, 1])
    named = import_module("zarr").open_array(out / "x", mode="r").metadata.dimension_names
    assert named == ("particle", "axis")  # as xarray.open_zarr needs
    assert (len(cloud), cloud.provenance["torch"]) == (N, version("torch"))
    cloud.verify()
    about = out / "x" / "zarr.json"
    text = about.read_text()
    about.write_text(text.replace(f"{N},", f"{N - 1},"))
    with pytest.raises(sf.SdeflowError, match="damaged"):
        sf.open_cloud(out)
    about.write_text(text)
    mask = kept[:, 0] > 0
    for key in (
        -1, slice(5, -7), slice(None, None, -3), slice(2, 9, -1), mask, torch.from_numpy(mask),
        [3, -1, 3], (3, 1),
        (slice(None), -1), ([5, 2], [0, 1]), (slice(9, 2, -2), None), None, (..., 0), kept > 0,
    ):  # fmt: skip
        assert np.array_equal(cloud[key], kept[np.asarray(key) if torch.is_tensor(key) else key])
    for key in (N, -N - 1, [0, N], mask[1:], "x", 1.5, (0, 0, 0)):
        with pytest.raises(IndexError):
            cloud[key]
    assert np.array_equal(np.asarray(cloud), kept)
    assert np.array_equal(np.stack([*cloud]), kept)
    np.save(tmp_path / "cloud.npy", kept.astype(">f8"))
    shift = sf.SDE(lambda x, t: torch.ones_like(x), None, 0.0, 1.0)
    for start in (cloud, tmp_path / "cloud.npy"):
        moved = sf.simulate(shift, start, None, Keep(1), solver=sf.ODESolver("euler", steps=1))
        assert np.array_equal(moved, kept + 1)
    chunks = sorted(file for file in (out / "x" / "c").rglob("*") if file.is_file())
    data = bytearray(chunks[1].read_bytes())
    data[1000] ^= 1
    chunks[1].write_bytes(data)
    assert np.array_equal(sf.open_cloud(out)[:1000], kept[:1000])
    with pytest.raises(sf.SdeflowError, match="damaged"):
        sf.open_cloud(out).verify()
    attributes = (out / "zarr.json").read_text()
    (out / "zarr.json").write_text(attributes.replace('"leg"', '"log"'))
    with pytest.raises(sf.SdeflowError, match="damaged"):
        sf.open_cloud(out)
    (out / "zarr.json").write_text(attributes)
    chunks[1].unlink()
    with pytest.raises(sf.SdeflowError, match="lacks chunks"):
        sf.open_cloud(out)
