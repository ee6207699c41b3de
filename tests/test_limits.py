"""docs/limits.md: what the package does not do, line by line, and that what is advised works."""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ot
import pytest
import scipy.integrate
import torch
import torchsde
from torch import Tensor

import sdeflow as sf
from tests.problems import close, f64, randn

PAGE = (Path(__file__).resolve().parents[1] / "docs/limits.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("| \n").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| you want")
]
X = randn(50, 2)
DECAY = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
EULER = sf.SDESolver("euler", steps=10)
VP = sf.VP()


def said(begins: str) -> list[str]:
    """The quotations of the row that begins so."""
    rows = [row for row in ROWS if row[0].startswith(begins)]
    assert len(rows) == 1, f"{len(rows)} rows of docs/limits.md begin with {begins!r}"
    return re.findall("“(.*?)”", rows[0][1])


def refused(begins: str, call: Callable[[], object]) -> None:
    """Assert that the call is refused in the words that the page quotes."""
    (words,) = said(begins)
    with pytest.raises((TypeError, ValueError, sf.SdeflowError), match=re.escape(words)):
        call()


def gradients() -> None:
    start = X.clone().requires_grad_()
    field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
    solver = sf.ODESolver("euler", steps=4)
    for sde in (sf.multistep(field), sf.ancestral(field, 0.0)):
        refused("gradients through", lambda sde=sde: solver.solve(sde, start, differentiable=True))
    end = sf.ODESolver("rk4", steps=8).solve(DECAY, start, differentiable=True).x[-1]
    (slope,) = torch.autograd.grad(end.sum(), start)
    assert close(slope, torch.full_like(X, math.exp(-1)), 1e-5)


def matrix_noise() -> None:
    grid = sf.Grid(-6.0, 6.0, (24, 24))
    start = sf.Density.from_samples(grid, X)
    sde = sf.SDE(lambda x, t: -x, lambda x, t: 1 + x[:, :, None] ** 2, 0.0, 1.0, noises=1)
    refused("a density under a diffusion", lambda: sf.evolve(sde, start, [0.0, 1.0]))
    assert sf.SDESolver(steps=4).solve(sde, X).x.isfinite().all()


def _with(diffusion: Callable[[Tensor, Tensor], Tensor]) -> sf.SDE:
    return sf.SDE(lambda x, t: -x, diffusion, 0.0, 1.0)


def calculus() -> None:
    refused("another calculus", lambda: sf.SDE(lambda x, t: x, None, 0, 1, calculus="anti-ito"))
    # Anti-Ito dx = g dW with g = x / 2 grows like e^{g g' t / x} = e^{t / 4}.
    sde = sf.SDE(lambda x, t: x / 4, lambda x, t: x / 2, 0.0, 1.0)
    end = sf.SDESolver("milstein", steps=20).solve(sde, torch.ones(20_000, 1).double()).x[-1]
    assert abs(float(end.mean()) - math.exp(1 / 4)) < 4 * float(end.std()) / 20_000**0.5 + 0.01


def memory() -> None:
    # x' = -x + z with dz = -z dt + sqrt(2) dW: Var x = 1 / 2 at rest.
    sde = sf.SDE(
        lambda x, t: torch.stack([x[:, 1] - x[:, 0], -x[:, 1]], 1),
        lambda x, t: f64([0.0, math.sqrt(2)]), 0.0, 12.0,
    )  # fmt: skip
    end = sf.SDESolver("heun", steps=120).solve(sde, randn(4000, 2)).x[-1]
    assert abs(float(end[:, 0].var()) - 0.5) < 0.06


def starts() -> None:
    late = sf.sdes.starting(DECAY, [0.0, 0.35])
    refused("start times", lambda: sf.ODESolver("rk4", steps=10).solve(late, X[:2]))
    times = torch.tensor([0.0, 0.35, 1.0])
    end = sf.ODESolver("rk4", times=times).solve(late, X[:2]).x[-1]
    assert close(end[1], X[1] * math.exp(-0.65), rtol=1e-2)


def splittings() -> None:
    refused("BAOAB", lambda: sf.SDESolver("baoab"))
    sde = sf.sdes.underdamped(sf.sdes.harmonic(), t_end=4.0)
    x = sf.SDESolver("heun", 200, seed=1).solve(sde, torch.zeros(2000, 2).double()).x[-1]
    assert ((x**2).mean(0) - 1).abs().max() < 0.15


def jumps() -> None:
    names = set(inspect.signature(sf.SDE).parameters)
    assert not any("jump" in name or "delay" in name for name in names)


class Additive(torch.nn.Module):
    """dx = -x dt + B dW for torchsde."""

    noise_type, sde_type = "additive", "ito"
    matrix = f64([[1.0, 0.0], [0.8, 0.6]])

    def f(self, t: Tensor, x: Tensor) -> Tensor:
        return -x

    def g(self, t: Tensor, x: Tensor) -> Tensor:
        return self.matrix.expand(len(x), 2, 2)


def adaptive_noise() -> None:
    assert not {"rtol", "atol"} & set(inspect.signature(sf.SDESolver).parameters)
    sde, fine = sf.sdes.ornstein_uhlenbeck([[1.0]], 1.0), torch.linspace(0, 1, 81).double()
    rough, good = (
        sf.SDESolver("heun", times=fine[::k], fine=fine).solve(sde, X[:, :1]).x[-1] for k in (8, 1)
    )
    assert 0 < float((rough - good).abs().max()) < 0.1
    torchsde.sdeint(Additive(), X[:2], f64([0.0, 0.1]), dt=0.1, method="srk", adaptive=True)


def stiff() -> None:
    refused("an implicit", lambda: sf.ODESolver("Radau"))
    sde = sf.SDE(lambda x, t: -1e4 * (x - torch.cos(t)), None, 0.0, 1.0)

    def right(t: float, x: np.ndarray) -> np.ndarray:
        return sde.drift(torch.from_numpy(x).reshape(-1, 1), f64(t)).numpy().ravel()

    found = scipy.integrate.solve_ivp(right, (0.0, 1.0), np.ones(3), method="Radau")
    assert abs(found.y[:, -1] - math.cos(1)).max() < 1e-3


def multistep() -> None:
    refused("DPM-Solver", lambda: sf.SDESolver("dpmpp_2m"))
    diffusers = pytest.importorskip("diffusers", reason="the advice names its schedulers")
    assert diffusers.DPMSolverMultistepScheduler
    assert diffusers.UniPCMultistepScheduler
    flow = sf.sdes.comoving(sf.ExactField(VP, sf.datasets.ring().distribution))
    assert torch.isfinite(sf.ODESolver("heun2", steps=8).solve(flow, X).x).all()


def curved_walls() -> None:
    sde = sf.sdes.brownian(t_end=4.0)
    disc = sf.analysis.first_passage(
        sde, 0 * X, lambda x: 1 - (x**2).sum(1), sf.SDESolver(steps=400, seed=0)
    )
    assert abs(disc.mean().standard_score(0.5)) < 4  # R^2 / (2 d D)


def walls_and_grid() -> None:
    box = sf.sdes.Box(0.0, 1.0)
    sde = sf.sdes.langevin(lambda x: x.sum(1), walls=box)
    start = sf.Density(sf.Grid(-1.0, 2.0, (24,)), torch.ones(24) / 24)
    refused("walls that move", lambda: sf.evolve(sde, start, [0.0, 1.0]))


def three_dimensions() -> None:
    refused("densities in three", lambda: sf.Grid(0.0, 1.0, (8, 8, 8)))
    a, b = randn(300, 3, seed=1), randn(300, 3, seed=2)
    assert len(sf.diagnostics.two_sample_test(a, b)) > 0
    sf.Density.from_samples(sf.Grid(-5.0, 5.0, (8, 8)), a[:, :2])


def interaction() -> None:
    # Two particles a spring apart, in one dimension: the distance relaxes at rate 2.
    sde = sf.SDE(lambda x, t: x.flip(1) - x, None, 0.0, 1.0)
    end = sf.ODESolver().solve(sde, X).x[-1]
    assert close(end[:, 0] - end[:, 1], (X[:, 0] - X[:, 1]) * math.exp(-2), 1e-3)


def flat_space() -> None:
    z = torch.complex(X[:, :1], X[:, 1:])
    refused("complex numbers", lambda: EULER.solve(DECAY, z))
    turn = sf.SDE(lambda x, t: torch.stack([-x[:, 1], x[:, 0]], 1), None, 0.0, 1.0)  # z' = i z
    end = sf.ODESolver(rtol=1e-8, atol=1e-8).solve(turn, X).x[-1]
    wanted = z * complex(math.cos(1), math.sin(1))
    assert close(end, torch.cat([wanted.real, wanted.imag], 1), 1e-6)


def discrete() -> None:
    refused("tokens", lambda: EULER.solve(DECAY, torch.arange(10)[:, None]))


def pictures() -> None:
    field = sf.LearnedField(VP, sf.fields.UNet((1, 4, 4), 8), data_std=1.0)
    images = torch.randn(3, 1, 4, 4)
    refused("pictures as", lambda: field.noise(images, 0.5))
    assert field.shape == (1, 4, 4)
    assert field.noise(images.flatten(1), 0.5).shape == (3, 16)


def other_frameworks() -> None:
    refused("networks of JAX", lambda: sf.LearnedField(VP, lambda x, t: x))


def own_training() -> None:
    field = sf.LearnedField(VP, sf.MLP(width=8, depth=1), data_std=1.0)
    optimiser, x0 = torch.optim.SGD(field.network.parameters(), 0.1), X.float()
    eps, t = torch.randn_like(x0), 0.1 + 0.8 * torch.rand(len(x0))
    losses = []
    for _ in range(5):
        loss = sf.training.loss(field, x0, t, eps).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert torch.isfinite(sf.SDESolver(steps=4).solve(sf.reverse(field), x0).x).all()


def pairs() -> None:
    coupled = {"data_std": 1.0, "pairs": sf.fields.Pairs.COUPLED}
    field = sf.LearnedField(sf.Linear(), sf.MLP(width=8, depth=1), **coupled)
    sf.fit(field, lambda n, seed: X[:n], 2, coupling=sf.training.optimal_transport,
           config=sf.training.TrainingConfig(batch=50))  # fmt: skip
    refused("score and noise for coupled", lambda: sf.reverse(field))
    flow = sf.ODESolver("euler", steps=4).solve(sf.reverse(field, eta=0.0), X.float())
    assert torch.isfinite(flow.x).all()


def large_distances() -> None:
    large = torch.zeros(5001, 1)
    refused("the exact Wasserstein", lambda: sf.wasserstein(large, large))
    assert sf.diagnostics.sliced_wasserstein(large, large + 1) == pytest.approx(1.0)
    assert ot.sinkhorn2


def bits() -> None:
    first, again = (EULER.solve(sf.sdes.brownian(), X).x for _ in range(2))
    assert torch.equal(first, again)


TRIED: dict[str, Callable[[], None]] = {
    "gradients through": gradients,
    "a density under a diffusion": matrix_noise,
    "another calculus": calculus,
    "coloured noise": memory,
    "start times": starts,
    "BAOAB": splittings,
    "jumps": jumps,
    "adaptive steps": adaptive_noise,
    "an implicit method": stiff,
    "DPM-Solver": multistep,
    "curved or slanted": curved_walls,
    "walls that move": walls_and_grid,
    "densities in three": three_dimensions,
    "particles that interact": interaction,
    "complex numbers": flat_space,
    "tokens": discrete,
    "pictures as": pictures,
    "networks of JAX": other_frameworks,
    "mixed precision": own_training,
    "score and noise for coupled": pairs,
    "the exact Wasserstein": large_distances,
    "the same bits": bits,
}


@pytest.mark.parametrize("line", TRIED)
def test_limit_is_as_the_page_says(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said(line)
    TRIED[line]()


def test_every_line_is_tried() -> None:
    rows = [row[0] for row in ROWS if not row[0].startswith("---")]
    assert len(rows) == len(TRIED)
    for row in rows:
        assert sum(row.startswith(line) for line in TRIED) == 1, row
