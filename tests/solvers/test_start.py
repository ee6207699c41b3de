"""A start that is not the noised data is told; the usual prior is not."""

import warnings
from collections.abc import Callable

import pytest
import torch

import sdeflow as sf

F64 = torch.float64
N = 5000


def data(mean: float, std: float) -> sf.GaussianMixture:
    return sf.GaussianMixture.isotropic(torch.tensor([[mean, 0.0]], dtype=F64), std)


def run(process: sf.processes.Process, mixture: sf.GaussianMixture, **start: object) -> None:
    field = sf.ExactField(process, mixture)
    x = process.prior(N, 2, 0, F64, **start)
    sf.ODESolver("euler", 2).solve(sf.reverse(field, 0.0), x)


@pytest.mark.parametrize(
    "process", [sf.VP(), sf.VE(), sf.EDM(), sf.Linear(), sf.processes.Tabulated.ddpm()], ids=repr
)
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_prior_of_each_process_is_right_for_data_of_about_unit_size(process, std):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(process, data(0.3, std))
        field = sf.ExactField(process, data(0.0, std))
        alpha = process(process.t_max).alpha
        x = process.prior(N, 2, 0, F64)
        sf.ODESolver("euler", 2).solve(sf.sdes.comoving(field), x / alpha)
        sf.SDESolver("euler", 2).solve(sf.ancestral(field), x)
        sf.ODESolver("dopri5").solve(sf.reverse(field, 0.0), x)


def test_guided_flow_by_a_recipe_says_that_nobody_has_tried_it():
    """Not where the steps were fitted, chosen by hand or noisy, nor between the two fields."""
    one, two = (sf.ExactField(sf.VP(), data(mean, 1.0)) for mean in (0.3, 0.0))
    x, run = sf.VP().prior(9, 2, 0, F64), sf.ODESolver("euler", 4)
    field = sf.GuidedField(one, two, 2.0)
    with pytest.warns(UserWarning, match="sf.sdes.calibrate") as seen:
        run.solve(sf.multistep(field), x)
    assert [w.filename for w in seen] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.solve(sf.sdes.calibrate(field, 4, pilot=16), x)
        run.solve(sf.multistep(field, order=2), x)
        run.solve(sf.multistep(sf.GuidedField(one, two, 1.0)), x)
        run.solve(sf.reverse(field, 0.0), x)
        sf.SDESolver("euler", 4, seed=0).solve(sf.multistep(field, 0.5), x)


def comoving_from_the_prior() -> None:
    field = sf.ExactField(sf.VP(), data(0.0, 0.5))
    x = field.process.prior(N, 2, 0, F64)
    sf.ODESolver("heun2", 2).solve(sf.sdes.comoving(field), x)


def short_table_from_unit_noise() -> None:
    table = sf.processes.Tabulated.ddpm(10)
    field = sf.ExactField(table, data(1.0, 0.5))
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    sf.SDESolver("euler", 3).solve(sf.ancestral(field), x)


def learned_far_off() -> None:
    process, mean = sf.VE(sigma_min=0.01, sigma_max=10.0), torch.tensor([20.0, 0.0])
    network = sf.MLP(width=4, depth=1)
    field = sf.LearnedField(process, network, data_std=1.0, data_mean=mean)
    sf.SDESolver("euler", 2).solve(sf.reverse(field), process.prior(N, 2, 0, torch.float32))


def learned_wide() -> None:
    process, network = sf.VE(sigma_min=0.01, sigma_max=10.0), sf.MLP(width=4, depth=1)
    field = sf.LearnedField(process, network, data_std=20.0)
    sf.SDESolver("euler", 2).solve(sf.reverse(field), process.prior(N, 2, 0, torch.float32))


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (comoving_from_the_prior, "divide it by alpha"),
        (short_table_from_unit_noise, "prior"),
        (learned_far_off, "widths off"),
        (learned_wide, "0.4[45] times the width"),
        (lambda: run(sf.VE(sigma_min=0.01, sigma_max=10.0), data(4.0, 1.0)), "median"),
        (
            lambda: run(sf.VE(sigma_min=0.01, sigma_max=10.0), data(0.0, 560.0)),
            "standard deviation 1",
        ),
        (lambda: run(sf.VP(), data(0.0, 1e4)), "standard deviation 1"),
        (
            lambda: run(sf.VE(sigma_min=0.01, sigma_max=10.0), data(0.0, 6e-8)),
            "ends at the noise level",
        ),
    ],
    ids=["comoving", "short table", "far mean", "learned wide", "mean", "wide", "wider", "narrow"],
)
def test_start_that_is_not_the_noised_data_is_told(do: Callable[[], None], says: str):
    with pytest.warns(UserWarning, match=says):
        do()


def test_exact_start_of_the_same_data_is_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = data(3.0, 20.0)
        run(sf.VE(sigma_min=0.01, sigma_max=10.0), mixture, data=mixture)
