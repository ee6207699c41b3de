"""`sdeflow simulate`: the particles of a run, as many as are asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow.command import cli
from sdeflow.experiment import run
from sdeflow.experiment.config import Config
from sdeflow.experiment.samplers import choose_solver
from sdeflow.random_streams import BLOCK
from sdeflow.sdes.multistep import multistep

N = 2 * BLOCK + 100


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with classes that are learned, for reading only."""
    folder = tmp_path_factory.mktemp("done") / "r"
    torch.set_num_threads(1)
    run.fit(Config("two_moons", conditional=True, steps=30, batch=8, width=8, depth=1), folder)
    return folder


def simulated(folder: Path, *words: str) -> tuple[dict, sf.Density]:
    cli.main(["simulate", str(folder), "--particles", str(N), "--steps", "2", *words])
    out = Path(words[words.index("--out") + 1]) if "--out" in words else folder / "simulation"
    return json.loads((out / "simulation.json").read_text()), sf.Density.load(out / "density.npz")


def test_one_class_is_that_of_sample(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Histogram and moments are those of the cloud of `draw`, in the data's units."""
    kept = ("--reduce", "histogram, moments,quantiles", "--class", "upper", "--out", str(tmp_path))
    found, density = simulated(done, *kept)
    built = run.reopen(done)
    _, x = run.draw(built, N, choose_solver("multistep", 2, 0.0), label="upper", motion=multistep)
    assert density.mass.equal(sf.Density.from_samples(density.grid, x[-1]).mass)
    assert np.allclose(found["mean"], x[-1].double().mean(0), rtol=1e-6)
    off = (x[-1].double() - built.units.centre).quantile(0.84, dim=0)
    assert np.allclose(found["quantiles"]["0.84"] - built.units.centre.numpy(), off, rtol=1 / 300)
    assert (tmp_path / "density.png").stat().st_size > 5000
    cli.main(["provenance", str(tmp_path / "density.npz")])
    assert sf.provenance.commit() in capsys.readouterr().out


def test_all_classes_whatever_the_chunk(done: Path, tmp_path: Path) -> None:
    """Each particle has a class of its own; without the option too."""
    one = simulated(
        done, "--chunk", "4096", "--scale", "2", "--method", "heun2", "--out", str(tmp_path / "a")
    )
    two = simulated(
        done, "--class", "all", "--scale", "2", "--method", "heun2", "--out", str(tmp_path / "b")
    )
    none = simulated(done, "--scale", "0", "--out", str(tmp_path / "c"))
    assert one[1].mass.equal(two[1].mass)
    assert one[0]["covariance"] == two[0]["covariance"] != none[0]["covariance"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--particles", "1.5"], "particles must be a whole number, got 1.5"),
        (["--reduce", "mean"], "'mean' cannot be kept; use histogram, moments, quantiles"),
        (["--class", "7"], "class"),
        (["--method", "dopri5", "--out", "other"], "cannot be cut into chunks"),
        (["--chunk", "1000"], "chunk must be a multiple of 4096"),
        (["--seed", "3"], "another simulation"),
        (["--out", "cloud.zarr"], "simulate keeps none; name a folder"),
        (["--cells", "100000", "--out", "other"], "cells must be at most"),
    ],
)
def test_what_is_refused(
    done: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    simulated(done)
    with pytest.raises(SystemExit) as end:
        cli.main(["simulate", str(done), "--particles", str(N), "--steps", "2", *words])
    assert end.value.code == 2
    assert why in capsys.readouterr().err
