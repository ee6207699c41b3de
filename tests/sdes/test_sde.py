"""An SDE as an object: its span, its stepped form, and what happens when a part is replaced."""

from dataclasses import replace

import pytest
import torch

import sdeflow as sf
from tests.problems import close, f64, lopsided, randn

FIELD = sf.ExactField(sf.VP(), lopsided())


@pytest.mark.parametrize("steps", [7])
def test_replaced_drift_moves_particles_and_density_alike(steps: int) -> None:
    """No part of the SDE goes on with the drift that it was made with."""
    sde = sf.reverse(FIELD, 0.0)
    still = replace(sde, drift=lambda x, t: torch.zeros_like(x))
    x = randn(20, 2)
    assert torch.equal(sf.ODESolver("euler", steps).solve(still, x).x[-1], x)
    assert not torch.equal(sf.ODESolver("euler", steps).solve(sde, x).x[-1], x)


def test_replaced_diffusion_moves_particles() -> None:
    sde, x = sf.reverse(FIELD), randn(20, 2)
    quiet = replace(sde, diffusion=None)
    end = sf.ODESolver("euler", 30).solve(quiet, x).x[-1]
    plain = sf.SDE(sde.drift, None, sde.t_start, sde.t_end, time_grid=sde.time_grid)
    assert close(end, sf.ODESolver("euler", 30).solve(plain, x).x[-1], 1e-9)


def test_replaced_drift_drops_the_transition() -> None:
    """`evolve` would else take the kernel of the SDE as it was."""
    sde = sf.forward(sf.VP())
    assert sde.transition is not None
    assert replace(sde, t_end=0.5).transition is not None
    assert replace(sde, drift=lambda x, t: 0 * x).transition is None
    assert replace(sde, diffusion=None).transition is None
    assert sf.SDE(sde.drift, None, 0.0, 1.0, transition=sde.transition).transition is not None


def test_ancestral_sampling_refuses_a_drift_of_its_own() -> None:
    sde = replace(sf.ancestral(FIELD), drift=lambda x, t: 0 * x)
    with pytest.raises(ValueError, match="replace the drift of reverse"):
        sf.SDESolver("euler", 5).solve(sde, randn(4, 2))


def test_direction_is_that_of_the_span() -> None:
    sde = sf.reverse(FIELD)
    assert (sde.direction, sf.forward(sf.VP()).direction) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="flip them"):
        sde.check_times(f64([0.1, 0.2]))
    assert torch.equal(sde.check_times(f64([0.2, 0.1])), f64([0.2, 0.1]))
