"""Known samplers equal ours: the same network, the same noise, every state.

Four samplers, each compared with code that is not ours:

    ancestral, eta = 1      DDPM      diffusers' DDPMScheduler; Ho et al. 2020, Algorithm 2
    ancestral, eta = 0      DDIM      diffusers' DDIMScheduler; `euler` in the Brownian frame
    ancestral, 0 < eta < 1  DDIM-eta  diffusers' DDIMScheduler, the noise handed to it
    comoving, eta = 0       EDM       Karras et al. 2022, Algorithm 1 (no churn), levels of eq. 5

A difference is measured in units of the state (its largest entry, or 1 where that is smaller): a
network that was never trained lets the state grow with 1 / sqrt(alpha-bar), 157-fold over DDPM's
table.

diffusers keeps alpha-bar in float32, where 1 - alpha-bar_t / alpha-bar_s of one step (1e-4) has
three digits left: on 1000 steps that alone moves its states by 6e-5. So it is compared as shipped
on 10 and 50 steps; with its table replaced by the float64 one on any number; and on 1000 steps
we are compared with its chain in float64.
"""

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf

diffusers = pytest.importorskip("diffusers", reason="its schedulers are compared with ours")
scheduling_ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
DDIMScheduler, DDPMScheduler = diffusers.DDIMScheduler, diffusers.DDPMScheduler

N = 100
SEED = 11


class Smooth(nn.Module):
    """A smooth function of (x, t) that is neither small nor linear, and counts its calls."""

    def __init__(self, t_max: float, dtype: torch.dtype) -> None:
        super().__init__()
        fixed = torch.Generator().manual_seed(5)
        self.first = torch.randn(3, 32, generator=fixed, dtype=torch.float64).to(dtype)
        self.last = torch.randn(32, 2, generator=fixed, dtype=torch.float64).to(dtype) / 32**0.5
        self.t_max, self.calls = t_max, 0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        time = (t.to(x) / self.t_max).expand(len(x), 1)
        return torch.tanh(torch.cat([x, time], 1) @ self.first) @ self.last


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of any state on the path, in units of that state."""
    assert ours.shape == theirs.shape
    size = theirs.abs().amax((1, 2)).clamp_min(1)
    return float(((ours - theirs).abs().amax((1, 2)) / size).max())


def draws(dtype: torch.dtype, times: Tensor) -> sf.solvers.Brownian:
    return sf.solvers.Brownian(SEED, N, 2, dtype, times=times)


def start(dtype: torch.dtype) -> Tensor:
    return torch.randn(N, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


def ours(eta: float, times: Tensor, field: sf.fields.Field, x: Tensor) -> Tensor:
    """Every state, and x0_hat at the end: the last step of DDPM and DDIM goes to sigma = 0."""
    sde = sf.ancestral(field, eta)
    path = sf.SDESolver(times=times, seed=SEED).solve(sde, x, save=len(times))
    return torch.cat([path.x, field.data(path.x[-1], times[-1])[None]])


class Chain(NamedTuple):
    """A sampler that diffusers and we can run."""

    eta: float
    predicts: str
    spacing: str
    steps: int

    def field(self, dtype: torch.dtype) -> sf.LearnedField:
        network = Smooth(1000.0, dtype)
        return sf.LearnedField(
            sf.processes.Tabulated.ddpm(), network, sf.fields.Prediction(self.predicts)
        )

    def scheduler(self, exact: bool) -> DDPMScheduler | DDIMScheduler:
        """Of diffusers; `exact`: with the table in float64, which it cannot make itself."""
        kind = {"noise": "epsilon", "data": "sample"}[self.predicts]
        make = DDPMScheduler if self.eta == 1.0 else DDIMScheduler
        # Their defaults otherwise: variance_type fixed_small, set_alpha_to_one True.
        made = make(timestep_spacing=self.spacing, prediction_type=kind, clip_sample=False)
        made.set_timesteps(self.steps)
        if exact:
            betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
            made.alphas_cumprod = torch.cumprod(1 - betas, 0)
            made.one = made.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
        return made

    def ours(self, dtype: torch.dtype) -> Tensor:
        return ours(self.eta, self.scheduler(False).timesteps + 1, self.field(dtype), start(dtype))

    def theirs(
        self, dtype: torch.dtype, exact: bool, monkeypatch, drawn: torch.dtype | None = None
    ) -> Tensor:
        """Every state of diffusers' loop, in `dtype`, on normals and a start drawn as `drawn`."""
        scheduler, network = self.scheduler(exact), self.field(dtype).network
        noise = draws(drawn or dtype, scheduler.timesteps + 1)
        states = [start(drawn or dtype).to(dtype)]
        for k, t in enumerate(scheduler.timesteps):
            # Trailing steps end at t > 0: DDPM's z is zero, diffusers draws one of size 1e-10.
            last = k == self.steps - 1
            z = torch.zeros_like(states[0]) if last else noise(k, k + 1).to(dtype)
            monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, z=z, **__: z)
            given = {} if self.eta == 1.0 else {"eta": self.eta, "variance_noise": z}
            x = states[-1]
            states.append(scheduler.step(network(x, t + 1), t, x, **given).prev_sample)
        return torch.stack(states)


CHAINS = [
    Chain(*choice)
    for choice in itertools.product(
        (1.0, 0.5, 0.0), ("noise", "data"), ("leading", "trailing"), (10, 50, 1000)
    )
]


def chain_name(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, Chain) else str(value)


@pytest.mark.parametrize("chain", CHAINS, ids=chain_name)
def test_ancestral_equals_diffusers_in_float64(chain, monkeypatch):
    theirs = chain.theirs(torch.float64, True, monkeypatch)
    assert difference(chain.ours(torch.float64), theirs) <= 1e-10


@pytest.mark.parametrize("chain", CHAINS, ids=chain_name)
def test_ancestral_equals_diffusers_in_float32_on_the_same_table(chain, monkeypatch):
    theirs = chain.theirs(torch.float32, True, monkeypatch)
    assert difference(chain.ours(torch.float32), theirs) <= 1e-5


@pytest.mark.parametrize("chain", [c for c in CHAINS if c.steps < 1000], ids=chain_name)
def test_ancestral_equals_diffusers_as_shipped(chain, monkeypatch):
    theirs = chain.theirs(torch.float32, False, monkeypatch)
    assert difference(chain.ours(torch.float32), theirs) <= 1e-5


@pytest.mark.parametrize("chain", [c for c in CHAINS if c.steps == 1000], ids=chain_name)
def test_a_thousand_steps_in_float32_stay_near_the_float64_chain(chain, monkeypatch):
    truth = chain.theirs(torch.float64, True, monkeypatch, drawn=torch.float32)
    assert difference(chain.ours(torch.float32).double(), truth) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fifty_ddpm_steps_equal_the_textbook_loop(dtype):
    """Ho et al. 2020, Algorithm 2, with their sigma_t^2 = beta-tilde_t (section 3.2); T = 50."""
    betas = torch.linspace(1e-3, 0.2, 50, dtype=torch.float64)
    network, x = Smooth(50.0, dtype), start(dtype)
    noise = draws(dtype, torch.arange(50, 0, -1))
    field = sf.LearnedField(sf.processes.Tabulated.from_betas(betas), network)
    mine = ours(1.0, torch.arange(50, 0, -1), field, x)
    bars = [1.0]
    for beta in betas.tolist():
        bars.append(bars[-1] * (1 - beta))
    loop = [x]
    for k, t in enumerate(range(50, 0, -1)):
        beta, bar, before = float(betas[t - 1]), bars[t], bars[t - 1]
        z = noise(k, k + 1) if t > 1 else torch.zeros_like(x)
        mean = (loop[-1] - beta / math.sqrt(1 - bar) * network(loop[-1], torch.tensor(t))) / (
            math.sqrt(1 - beta)
        )
        loop.append(mean + math.sqrt((1 - before) / (1 - bar) * beta) * z)
    # Fifty steps of a few roundings each, amplified no more than the state itself.
    assert difference(mine, torch.stack(loop)) <= 1000 * torch.finfo(dtype).eps


# ------------------------------------------------------------------------------ the Brownian frame


def ring(dtype: torch.dtype = torch.float64) -> sf.GaussianMixture:
    angle = torch.arange(5, dtype=dtype) * 2 * math.pi / 5
    means = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    return sf.GaussianMixture.isotropic(means, 0.3, torch.arange(1, 6, dtype=dtype))


PROCESSES = [
    sf.VP(),
    sf.processes.SubVP(),
    sf.VE(),
    sf.EDM(),
    sf.Linear(),
    sf.processes.Cosine(),
    sf.processes.Tabulated.ddpm(),
]


def named(process: sf.processes.Process) -> str:
    return type(process).__name__


def schedule(process: sf.processes.Process, t: Tensor) -> tuple[Tensor, Tensor]:
    c = process(t)
    return c.alpha, c.sigma


@pytest.mark.parametrize("process", PROCESSES, ids=named)
def test_ddim_equals_euler_in_the_brownian_frame(process):
    field = sf.ExactField(process, ring())
    times = sf.processes.log_snr_times(process, 20)
    alpha, sigma = schedule(process, times)
    x = sigma[0] * start(torch.float64)
    ddim = sf.ODESolver("euler", times=times).solve(sf.ancestral(field, 0.0), x, save=21)
    levels = sigma / alpha
    flow = sf.ODESolver("euler", times=levels).solve(
        sf.sdes.comoving(field), x / alpha[0], save=len(levels)
    )
    # The time of a level is found again from its log SNR: roundings (5e-11 for Cosine, whose sigma
    # at t_min is a difference of angles; else below 1e-12).
    assert difference(flow.x * alpha[:, None, None], ddim.x) <= 1e-9
    assert flow.nfe == ddim.nfe == 20


@pytest.mark.parametrize("process", PROCESSES, ids=named)
def test_ddim_equals_euler_on_the_straight_path(process):
    """Euler's step in t of x_t = (1 - t) x_0 + t eps, for the noise levels of any process."""
    field, flow = sf.ExactField(process, ring()), sf.ExactField(sf.Linear(), ring())
    # The levels that both processes have.
    times = sf.processes.log_snr_times(process, 30)
    straight = torch.sigmoid(-process.log_snr(times) / 2)  # t / (1 - t) = sigma / alpha
    known = (straight >= 1e-3) & (straight <= 0.999)
    times, straight = times[known], straight[known]
    assert len(times) > 10
    rescaling = (1 - straight) / schedule(process, times)[0]
    x = schedule(process, times)[1][0] * start(torch.float64)
    ddim = sf.ODESolver("euler", times=times).solve(sf.ancestral(field, 0.0), x, save=len(times))
    line = sf.ODESolver("euler", times=straight).solve(
        sf.reverse(flow, 0.0), x * rescaling[0], save=len(times)
    )
    assert difference(line.x, ddim.x * rescaling[:, None, None]) <= 1e-10


@pytest.mark.parametrize("levels", [10, 18, 40])
def test_heun_on_karras_levels_equals_edm(levels):
    """Karras et al. 2022, Algorithm 1 without churn; the last step, to sigma = 0, is Euler's."""
    network = Smooth(80.0, torch.float64)
    field = sf.LearnedField(sf.EDM(), network, sf.fields.Prediction.DATA)
    x = 80.0 * start(torch.float64)

    # Eq. 5, and Algorithm 1 line by line.
    low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
    t = [(high + i / (levels - 1) * (low - high)) ** 7 for i in range(levels)] + [0.0]
    edm = [x]
    for i in range(levels):
        here = edm[-1]
        d = (here - network(here, torch.tensor(t[i], dtype=torch.float64))) / t[i]
        there = here + (t[i + 1] - t[i]) * d
        if t[i + 1] != 0:
            d2 = (there - network(there, torch.tensor(t[i + 1], dtype=torch.float64))) / t[i + 1]
            there = here + (t[i + 1] - t[i]) * (d + d2) / 2
        edm.append(there)
    assert network.calls == 2 * levels - 1

    network.calls = 0
    times = sf.processes.karras_times(sf.EDM(), levels - 1)
    for sde in (sf.sdes.comoving(field), sf.reverse(field, 0.0)):  # for EDM, rho = t and y = x
        path = sf.ODESolver("heun2", times=times).solve(sde, x, save=levels)
        mine = torch.cat([path.x, field.data(path.x[-1], times[-1])[None]])
        assert difference(mine, torch.stack(edm)) <= 1e-10
        assert path.nfe + 1 == 2 * levels - 1
    assert network.calls == 2 * (2 * levels - 1)
