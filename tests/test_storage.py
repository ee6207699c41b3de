"""Files of paths and densities: the same bits back, with what made them, or a refusal."""

import csv
import math
import zipfile
from functools import cache
from pathlib import Path as FilePath

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError
from sdeflow.fokker_planck import DensityPath
from sdeflow.solvers import Path
from sdeflow.storage import provenance_of

GRID = Grid((-1.0, 0.0), (1.0, 3.0), (4, 6))
DENSITY = Density(GRID, torch.arange(24).reshape(4, 6).double() / 300, 0.01)
PATH = Path(
    torch.tensor([0.0, 0.1 + 0.2], dtype=torch.float64), torch.randn(2, 5, 3), 7, 0.25, "finished",
    1, 2**62 + 1, 3, 0.1,
)  # fmt: skip
NARROW = sf.GaussianMixture.isotropic(torch.zeros(1, 1).double(), 0.5)
DENSITIES = sf.evolve(
    sf.sdes.brownian(t_end=0.1), NARROW.on_grid(Grid(-6.0, 6.0, (64,))), [0.0, 0.1]
)
REST = sf.fokker_planck.Diagnostics()
SUFFIXES = [".npz", ".h5"]


def needs(suffix: str) -> None:
    if suffix == ".h5":
        pytest.importorskip("h5py", reason="h5py of the extra `files` is not installed")


def same(a: Path, b: Path) -> None:
    for name in ("nfe", "seconds", "status", "steps", "seed", "leg", "began"):
        assert getattr(a, name) == getattr(b, name), name
    assert a.x.equal(b.x)
    assert a.t.equal(b.t)
    assert a.x.dtype is b.x.dtype
    assert (a.absorbed is None) == (b.absorbed is None)
    if a.absorbed is not None and b.absorbed is not None:
        assert a.absorbed.time.equal(b.absorbed.time)
        assert a.absorbed.wall.equal(b.absorbed.wall)


def test_seeds_of_numpy_and_moments_are_kept(tmp_path: FilePath) -> None:
    """A seed of numpy was none that JSON knows, after the run."""
    solver = sf.SDESolver(steps=2, seed=np.int64(3))
    solver.solve(sf.sdes.brownian(), torch.zeros(4, 2)).save(tmp_path / "run.npz")
    assert Path.load(tmp_path / "run.npz").seed == 3
    moments = sf.simulate(
        sf.sdes.brownian(), torch.zeros(4, 2), None, sf.simulation.Moments(), solver=solver, seed=3
    )
    moments.save(tmp_path / "moments.npz")
    read = sf.simulation.CloudMoments.load(tmp_path / "moments.npz")
    assert (read.n, read.central.equal(moments.central)) == (4, True)
    assert read.covariance.equal(moments.covariance)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_path_comes_back_bit_for_bit(tmp_path: FilePath, suffix: str, kind: torch.dtype) -> None:
    needs(suffix)
    file = tmp_path / f"run{suffix}"
    path = Path(PATH.t, PATH.x.to(kind), 7, 0.25, seed=2**62 + 1)
    path.save(file)
    same(Path.load(file), path)
    PATH.save(file)
    same(Path.load(str(file)), PATH)
    assert provenance_of(file)["sdeflow"] == sf.__version__


def test_a_path_goes_on_from_its_file_as_it_would_have_without(tmp_path: FilePath) -> None:
    walls = sf.sdes.Box(-1.0, 1.0, "absorbing")
    sde = sf.sdes.langevin(sf.sdes.double_well(), t_end=2.0, walls=walls)
    x = torch.zeros(500, 2)
    first = sf.SDESolver(times=sf.processes.uniform_times(0.0, 1.0, 8), seed=3).solve(sde, x)
    first.save(tmp_path / "first.npz")
    rest = sf.SDESolver(times=sf.processes.uniform_times(1.0, 2.0, 8), seed=3)
    a, b = rest.solve(sde, first), rest.solve(sde, Path.load(tmp_path / "first.npz"))
    assert a.x.equal(b.x)
    assert a.absorbed is not None
    assert b.absorbed is not None
    assert a.absorbed.time.equal(b.absorbed.time)
    assert bool((a.absorbed.wall >= 0).any())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_densities_come_back_bit_for_bit(tmp_path: FilePath, suffix: str) -> None:
    needs(suffix)
    file = tmp_path / f"p{suffix}"
    DENSITY.save(file)
    found = Density.load(file)
    assert found.mass.equal(DENSITY.mass)
    assert (found.grid, found.error) == (GRID, 0.01)
    DENSITIES.save(file)
    path = DensityPath.load(file)
    assert path.t.equal(DENSITIES.t)
    assert repr(path.diagnostics) == repr(DENSITIES.diagnostics)  # it may hold NaN
    for p, q in zip(path, DENSITIES, strict=True):
        assert p.mass.equal(q.mass)
        assert (p.grid, p.error) == (q.grid, q.error)
    with pytest.raises(SdeflowError, match="holds a DensityPath, not a Density"):
        Density.load(file)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_objects_make_equal_files(tmp_path: FilePath, suffix: str) -> None:
    needs(suffix)
    for name in ("a", "b"):
        DENSITY.save(tmp_path / f"{name}{suffix}")
    a, b = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
    assert a == b


@cache
def written(suffix: str, folder: FilePath) -> bytes:
    DENSITY.save(folder / f"whole{suffix}")
    return (folder / f"whole{suffix}").read_bytes()


@given(st.integers(0, 10**6), st.integers(0, 7), st.booleans(), st.sampled_from(SUFFIXES))
def test_a_file_with_a_changed_bit_or_cut_short_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int, cut: bool, suffix: str
) -> None:
    needs(suffix)
    folder = tmp_path_factory.getbasetemp()
    file, data = folder / f"changed{suffix}", bytearray(written(suffix, folder))
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    file.write_bytes(data)
    try:
        found = Density.load(file)
    except SdeflowError:
        return
    assert found.mass.equal(DENSITY.mass)  # a bit of the container that says nothing
    assert (found.grid, found.error) == (GRID, 0.01)


def test_hdf5_never_reads_a_damaged_file(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may read one without end."""
    h5py = pytest.importorskip("h5py", reason="h5py of the extra `files` is not installed")
    file = tmp_path / "a.h5"
    DENSITY.save(file)
    data = file.read_bytes()

    def refused(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(h5py, "File", refused)
    for at in range(0, len(data), 97):
        file.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(SdeflowError, match="is damaged"):
            Density.load(file)


def test_tables_hold_every_number_to_the_last_digit(tmp_path: FilePath) -> None:
    PATH.to_csv(tmp_path / "run.csv")
    rows = list(csv.reader((tmp_path / "run.csv").read_text().splitlines()))
    assert rows[0] == ["t", "particle", "x1", "x2", "x3"]
    values = np.array(rows[1:], dtype=float)
    assert (values[:, 0] == np.repeat(PATH.t.numpy(), 5)).all()
    assert (values[:, 2:].reshape(2, 5, 3) == PATH.x.numpy()).all()
    DENSITY.to_csv(tmp_path / "p.csv")
    table = np.loadtxt(tmp_path / "p.csv", delimiter=",", skiprows=1)
    assert (table[:, :2] == GRID.centres().numpy()).all()
    assert (table[:, 2].reshape(4, 6) == DENSITY.mass.numpy()).all()
    assert np.array_equal(np.concatenate([v.ravel() for v in PATH.to_numpy()])[2:], PATH.x.ravel())


def test_a_table_of_densities_holds_those_of_all_times(tmp_path: FilePath) -> None:
    """On a grid that changes: of a rescaled run, and of times in a narrow type."""
    wide = DensityPath(torch.tensor([0.0, 0.5]), (DENSITY, DENSITY.scaled(2.0)), REST)
    for path in (DENSITIES, wide):
        path.to_csv(tmp_path / "p.csv")
        table = np.loadtxt(tmp_path / "p.csv", delimiter=",", skiprows=1)
        t, masses = path.to_numpy()
        assert (table[:, 0].reshape(2, -1) == t[:, None]).all()
        assert (table[:, -1] == masses.ravel()).all()
        centres = torch.cat([p.grid.centres() for p in path]).numpy()
        assert (table[:, 1:-1] == centres).all()
    assert (tmp_path / "p.csv").read_text().startswith("t,x1,x2,mass\n")
    several = DensityPath(torch.zeros(2), (DENSITY, DENSITIES[0]), REST)
    with pytest.raises(ValueError, match="different numbers of cells"):
        several.to_numpy()


def test_xarray_names_the_axes() -> None:
    pytest.importorskip("xarray", reason="xarray of the extra `files` is not installed")
    p = DENSITY.to_xarray()
    assert p.dims == ("x1", "x2")
    assert float(p.sel(x1=-0.75, x2=2.75, method="nearest")) == DENSITY.mass[0, 5]
    x = PATH.to_xarray()
    assert x.sizes == {"time": 2, "particle": 5, "axis": 3}
    assert math.isclose(float(x.time[1]), 0.3)
    several = DENSITIES.to_xarray()
    assert several.sizes == {"time": 2, "x1": 64}
    assert several.sel(time=0.1).data.tolist() == DENSITIES[1].mass.tolist()
    with pytest.raises(ValueError, match="the grid changes"):
        DensityPath(torch.zeros(2), (DENSITY, DENSITY.scaled(2.0)), REST).to_xarray()


def test_a_file_of_another_program_or_suffix_is_refused(tmp_path: FilePath) -> None:
    np.savez(tmp_path / "mine.npz", x=np.zeros(3))
    with pytest.raises(SdeflowError, match=r"was not written by sdeflow"):
        Path.load(tmp_path / "mine.npz")
    for size in (10**12, 10**30):  # more than the memory, and than a number of 64 bits
        about = {"descr": "<f8", "fortran_order": False, "shape": (size, 2)}
        with (
            zipfile.ZipFile(tmp_path / "large.npz", "w") as file,
            file.open("t.npy", "w") as array,
        ):
            np.lib.format.write_array_header_1_0(array, about)
        with pytest.raises(SdeflowError, match=r"was not written by sdeflow"):
            Path.load(tmp_path / "large.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz or \.h5"):
        DENSITY.save(tmp_path / "p.pt")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        DENSITY.to_csv(tmp_path / "p.txt")
    with pytest.raises(OSError, match=r"gone\.npz"):
        Density.load(tmp_path / "gone.npz")
