"""The demo: its samplers reach the data with the exact field; its report is what was measured."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import sdeflow as sf
from sdeflow.experiment import demo
from sdeflow.experiment.config import Config
from sdeflow.experiment.problem import problem
from tests.problems import randn

TINY = Config(steps=40, batch=16, width=8, depth=1)


def squeezed(table: str) -> str:
    """The table without the blanks that align its columns."""
    return re.sub(" +", " ", table)


@pytest.mark.parametrize("sampler", demo.SAMPLERS, ids=lambda s: s.name)
def test_every_sampler_with_the_exact_field_ends_at_the_data(sampler: demo.Sampler) -> None:
    """Every process: the cloud is as near to the data as another draw is, in four times the steps.

    In the demo's 64 steps DDPM's cloud is a tenth too narrow."""
    steps = 4 * sampler.solver.steps
    sampler = replace(sampler, solver=replace(sampler.solver, steps=steps))
    for process in ("VE", "VP", "Linear"):
        whole = problem(replace(TINY, process=process))
        x, nfe, seconds = sampler(whole.truth, 1000, 0)
        assert x.shape == (1000, 2)
        size = x.square()
        assert abs(float(size.mean()) - 1) < 5 * float(size.std()) / 2000**0.5, process
        x = x[:300]
        mean, sd = sf.diagnostics.sampling_floor(whole.standard.sample, 300, seed=9)
        assert sf.wasserstein(x, whole.standard.sample(300, 5)) < 1.5 * mean + 4 * sd, process
        assert nfe == steps * (2 if "heun" in sampler.name else 1)
        assert seconds > 0


def test_report_contains_the_measured_numbers() -> None:
    row = {"sampler": "S", "nfe": 7, "seconds": 0.5, "learned": 0.25}
    report = {
        "data": "d", "units": "whitened", "particles": 9,
        "sampling_floor": 0.125, "sampling_floor_sd": 0.01,
        "rows": [row], "seconds": 3.0, "training_seconds": 2.0,
    }  # fmt: skip
    text = squeezed(demo.markdown(report))
    assert "0.125 +- 0.010" in text
    assert "in data std (whitened)" in text
    assert "| S | 7 | 0.50 | 0.250 | unknown |" in text
    assert "noise loss" not in text
    more = {"loss": 0.5, "loss_irreducible": 0.3, "loss_excess": 0.2}
    text = squeezed(demo.markdown({**report, **more, "rows": [{**row, "exact": 0.2}]}))
    assert "| 0.5000 | 0.3000 | 0.2000 |" in text
    assert "| 0.250 | 0.200 |" in text


def test_demo_refuses_more_particles_than_wasserstein_takes(tmp_path: Path) -> None:
    """Its limit is that of the exact distance."""
    x = randn(demo.MAX_PARTICLES + 1, 2)
    with pytest.raises(ValueError, match="takes too long"):
        sf.wasserstein(x, x)
    for n, complaint in (
        (demo.MAX_PARTICLES + 1, "n must be at most 5000"),
        (1, "n must be at least 2"),
    ):
        with pytest.raises(ValueError, match=complaint):
            demo.demo(TINY, tmp_path / "r", n=n)
    assert not (tmp_path / "r").exists()
    assert demo.check_particles(demo.MAX_PARTICLES) == demo.MAX_PARTICLES
