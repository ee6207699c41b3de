"""The commands on pictures: a tiny run writes a sheet, and distances with their floors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.experiment import demo, folder, picture_demo, run, verify, view
from sdeflow.experiment.config import Config
from sdeflow.experiment.problem import problem, recipe

pytest.importorskip("sklearn", reason="the digits come with scikit-learn, the extra `images`")

TINY = Config("digits", steps=3, batch=8, width=8)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo of three steps."""
    place = tmp_path_factory.mktemp("digits")
    demo.demo(TINY, place, n=20)
    return place


def test_a_config_of_digits_has_the_sizes_of_pictures() -> None:
    config = Config("digits")
    assert config.sizes == (6000, 128, 2e-3, 16, 1)
    assert config.conditional
    assert config.predicts == "unit"
    assert Config().sizes == (4000, 512, 5e-3, 128, 4)
    assert Config().predicts == "noise"
    assert folder.command(config, Path("r")) == "sdeflow train --data digits --out r"
    assert folder.command(TINY, Path("r")) == (
        "sdeflow train --data digits --steps 3 --batch 8 --width 8 --out r"
    )
    with pytest.raises(ValueError, match="by a UNet, of a width that 8 divides"):
        Config("digits", width=12)
    with pytest.raises(ValueError, match="by a UNet, of a width that 8 divides"):
        Config("digits", depth=4)


def test_a_problem_of_digits_is_a_unet_on_centred_pictures() -> None:
    whole = problem(TINY)
    assert whole.field.shape == (1, 8, 8)
    assert whole.field.labels == 10
    assert recipe(TINY).drop == 0.2
    assert whole.standard.std == pytest.approx(1.0)
    assert float(whole.standard.mean.abs().max()) < 1e-12


def test_the_exact_field_copies_and_held_out_pictures_do_not() -> None:
    """What the column `copies` stands on: a draw is a copy, digits held out are none."""
    whole = problem(TINY)
    rest = picture_demo.unseen(whole)
    real = picture_demo.compared(whole, rest)
    assert real["copies"] == 0.0
    assert real["nearest"] == pytest.approx(1.0)
    assert real["energy"] == 0.0
    drawn = picture_demo.compared(whole, whole.standard.sample(50, 0))
    assert drawn["copies"] == 1.0
    assert drawn["nearest"] < 1e-3
    found = picture_demo.sampling_floors(whole, 50)
    assert drawn["sliced_w2"] < found["sliced_w2_floor"][0] + 5 * found["sliced_w2_floor"][1]


def test_the_demo_writes_a_report_with_floors_and_sheets(done: Path) -> None:
    report = json.loads((done / "report.json").read_text())
    text = (done / "report.md").read_text()
    names = [row["sampler"] for row in report["rows"]]
    assert names[:-1] == [sampler.name for sampler in demo.SAMPLERS]
    assert report["rows"][-1]["copies"] == 1.0
    assert "{:.3f} +- {:.3f}".format(*report["energy_floor"]) in text
    assert "need data of two coordinates" in text
    for name in ("figure.png", "cloud.png"):
        with Image.open(done / name) as image:
            assert min(image.size) > 100


def test_sample_writes_the_pictures_of_each_class_in_turn(done: Path) -> None:
    solver = sf.ODESolver("euler", 3)
    file = run.sample(done, 13, solver, 0.0, seed=1, out=done / "new.csv")
    table = np.loadtxt(file, delimiter=",", skiprows=1, usecols=range(64))
    assert [line.split(",")[-1] for line in file.read_text().split()] == [
        "class",
        *"0123456789012",
    ]
    assert (done / "cloud.csv").read_text().startswith("x0,x1,x2,")
    built = run.reopen(done)
    each = torch.arange(13) % 10
    noise = built.process.prior(13, 64, 1)
    want = solver.solve(sf.reverse(built.field.given(each), 0.0), noise, 1).x[-1]
    assert np.allclose(table, built.units.restore(want).numpy(), atol=1e-5)
    _, one = run.draw(built, 3, solver, seed=1, label=7)
    alone = solver.solve(sf.reverse(built.field.given(7), 0.0), noise[:3], 1).x[-1]
    assert torch.allclose(one[-1], built.units.restore(alone), atol=1e-5)


def test_what_is_for_the_plane_says_so(done: Path) -> None:
    for refused in (lambda: verify.check(done), lambda: view.view(done)):
        with pytest.raises(SdeflowError, match="two coordinates, but digits has 64"):
            refused()
    with pytest.raises(ValueError, match="name a class"):
        run.calibrate(done, 4)
    assert run.calibrate(done, 2, pilot=16, label=3).name
