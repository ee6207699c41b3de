"""Rescaling: it changes coordinates and time, and not the density."""

import math

import pytest
import torch

import sdeflow as sf
from sdeflow import Grid, evolve
from sdeflow.fokker_planck import Rescaling
from tests.problems import (
    OU,
    UNIT_INTERVAL,
    close,
    coarse_density,
    density_at_t_max,
    f64,
    pair,
)

F64 = torch.float64


def test_density_does_not_depend_on_the_rescaling() -> None:
    """Two rescalings of one SDE: in x the moments are the same."""
    process, mixture = sf.EDM(), pair()
    sde = sf.reverse(sf.ExactField(process, mixture), 0.7)
    means = []
    for std in (0.8, 1.3):
        rescaling = Rescaling(process, std, 0.25)
        p = evolve(
            sde,
            density_at_t_max(process, mixture, rescaling, 512, 6.0),
            f64([80.0, 3.0, 0.5]),
            steps=400,
            rescaling=rescaling,
        )
        assert p[1].grid.high[0] == pytest.approx(6 * math.sqrt(std**2 + 9.0))
        means.append(torch.stack([torch.stack([q.mean()[0], q.covariance()[0, 0]]) for q in p]))
    assert close(means[0], means[1], rtol=1e-5)


@pytest.mark.parametrize("width", [0.0, 0.2])
def test_rescaled_time_has_an_inverse_and_closed_form_rates(
    process: sf.processes.Process, width: float
) -> None:
    rescaling = Rescaling(process, 1.3, width)
    t = torch.linspace(process.t_min, process.t_max, 50, dtype=F64)[1:-1]
    assert close(rescaling.time(rescaling.rescaled_time(t)), t, rtol=1e-8)
    slope = torch.autograd.functional.jacobian(rescaling.rescaled_time, t[20])
    assert rescaling.scale_and_rates(t[20])[2] == pytest.approx(float(slope), rel=1e-8)
    h = 1e-5 * float(t[20])
    growth = (math.log(rescaling(t[20] + h)) - math.log(rescaling(t[20] - h))) / (2 * h)
    assert rescaling.scale_and_rates(t[20])[1] == pytest.approx(growth, rel=1e-5, abs=1e-9)


def test_brownian_frame_is_rescaled_as_edm() -> None:
    """y = x / alpha is x_0 + rho eps, whatever the process was."""
    mixture = pair()
    sde = sf.sdes.comoving(sf.ExactField(sf.VP(), mixture), 0.5)
    rescaling = Rescaling(sf.EDM(t_min=1e-4, t_max=200.0), 1.0, 0.25)
    size = 6.0 * rescaling(sde.t_start)
    p = mixture.noised(1.0, sde.t_start).on_grid(Grid(-size, size, (384,)))
    out = evolve(sde, p, f64([sde.t_start, sde.t_end]), steps=120, rescaling=rescaling)[-1]
    truth = mixture.noised(1.0, sde.t_end).on_grid(out.grid)
    assert out.total_variation(truth) < 1e-3


def test_rescaling_prints_in_words() -> None:
    words = repr(Rescaling(sf.VP(), 1.5, 0.25))
    assert words.startswith("rescaling of VP")
    assert words.endswith(", std 1.5, width 0.25")


# --------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: evolve(OU, coarse_density(), UNIT_INTERVAL, rescaling=Rescaling(sf.Linear())),
            ValueError,
            "where this Linear process is defined",
        ),
        (lambda: Rescaling(sf.VP(), 0.0), ValueError, "std must be positive"),
    ],
)
def test_rescaling_refuses_wrong_arguments_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)
