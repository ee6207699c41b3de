"""How close the two engines come to the network alone, and how far plain calls and diffusers are.

floor2: the network alone, time features worked out once per step, rows in chunks
of 512. Everything is a ratio to floor2 of interleaved runs in one process, medians of paired
ratios, on process CPU time for one thread and wall time for two. Network: MLP 3 x 256, SiLU; VP;
noise prediction.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torchdiffeq
import torchsde
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

import sdeflow as sf
from benchmarks import record

STEPS = {256: 256, 4_096: 32, 65_536: 4}
CHUNK = 512
PROCESS = sf.VP()


class Free(nn.Module):
    """A network that costs nothing."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Zeros, made beforehand."""
        return self.out


def level(c: sf.processes.Coefficients) -> Tensor:
    """What our network sees for time: ln(sigma / alpha) / 4."""
    return torch.log(c.sigma / c.alpha) / 4


class Plain:
    """The reverse SDE of VP as one would first write it for torchsde: f, g and nothing else."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def f(self, s: Tensor, x: Tensor) -> Tensor:
        """Drift in s = t_max - t."""
        c = PROCESS(PROCESS.t_max - s)
        eps = self.network(x, level(c))
        rate = c.alpha_dot / c.alpha
        return -(rate * x + 2 * (c.sigma_dot - rate * c.sigma) * eps)

    def g(self, s: Tensor, x: Tensor) -> Tensor:
        """Diffusion, (n, d)."""
        return PROCESS.diffusion(PROCESS.t_max - s).expand_as(x)

    def flow(self, t: Tensor, x: Tensor) -> Tensor:
        """The probability flow in t, for torchdiffeq."""
        c = PROCESS(t)
        rate = c.alpha_dot / c.alpha
        return rate * x + (c.sigma_dot - rate * c.sigma) * self.network(x, level(c))


def variants(
    network: sf.MLP, x: Tensor, steps: int
) -> dict[str, tuple[Callable[[], object], int]]:
    """What is compared, and how often each calls the network."""
    field = sf.LearnedField(PROCESS, network)
    times = sf.processes.log_snr_times(PROCESS, steps)[:-1].float()
    bias = [network.condition(level(PROCESS(t))) for t in times]
    plain = Plain(network)
    span = PROCESS.t_max - PROCESS.t_min
    ends = torch.tensor([0.0, span])

    def floor() -> None:
        for b in bias:
            for rows in x.split(CHUNK):
                network.body(rows, b)

    def scheduler(kind: type) -> Callable[[], Tensor]:
        def run() -> Tensor:
            s = kind(clip_sample=False)
            s.set_timesteps(steps)
            noise = (1 / s.alphas_cumprod - 1).log() / 8
            y = x
            for k in s.timesteps:
                y = s.step(network(y, noise[k]), k, y).prev_sample
            return y

        return run

    def sde() -> object:
        return torchsde.sdeint(plain, x, ends, method="euler", dt=span / steps)

    def ode() -> object:
        ts = torch.tensor([PROCESS.t_max, PROCESS.t_min])
        return torchdiffeq.odeint(
            plain.flow, x, ts, method="euler", options={"step_size": span / steps}
        )

    half = max(1, steps // 2)
    return {
        "floor2": (floor, steps),
        "sdeflow, torchsde euler": (
            lambda: sf.SDESolver("euler", steps).solve(sf.reverse(field), x),
            steps,
        ),
        "sdeflow, torchsde euler, DDPM": (
            lambda: sf.SDESolver("euler", steps).solve(sf.ancestral(field), x),
            steps,
        ),
        "sdeflow, torchdiffeq euler": (
            lambda: sf.ODESolver("euler", steps).solve(sf.reverse(field, 0.0), x),
            steps,
        ),
        "sdeflow, torchdiffeq midpoint": (
            lambda: sf.ODESolver("midpoint", half).solve(sf.reverse(field, 0.0), x),
            2 * half,
        ),
        "sdeflow, torchdiffeq rk4": (
            lambda: sf.ODESolver("rk4", max(1, steps // 4)).solve(sf.reverse(field, 0.0), x),
            4 * max(1, steps // 4),
        ),
        "torchsde.sdeint, defaults": (sde, steps),
        "torchdiffeq.odeint, step_size": (ode, steps),
        "diffusers DDPM loop": (scheduler(DDPMScheduler), steps),
        "diffusers DDIM loop": (scheduler(DDIMScheduler), steps),
    }


def trained() -> sf.MLP:
    """A noise predictor on the spiral, briefly trained.

    An untrained one lets the cloud explode, and activations of huge numbers are slow.
    """
    network = sf.MLP(2, width=256, depth=3, waves=0)
    field = sf.LearnedField(PROCESS, network)
    for _ in sf.fit(field, sf.datasets.spiral().sample, 500, 0):
        pass
    return network


def with_network(network: sf.MLP, n: int, threads: int, rounds: int) -> list[dict[str, object]]:
    """Ratios to floor2 per network call, at one cloud size."""
    torch.set_num_threads(threads)
    steps = STEPS[n]
    x = PROCESS.prior(n, 2, 0)
    runs = variants(network, x, steps)
    clock = time.process_time if threads == 1 else time.perf_counter
    with torch.no_grad():
        seconds = record.interleaved({k: run for k, (run, _) in runs.items()}, rounds, clock)
    floor = [s / steps for s in seconds["floor2"]]
    return [
        {
            "question": "x floor2",
            "n": n,
            "threads": threads,
            "seed": 0,
            "variant": name,
            "ratio": record.ratio([s / runs[name][1] for s in spent], floor),
            "us per particle-call": min(spent) / runs[name][1] / n * 1e6,
        }
        for name, spent in seconds.items()
    ]


def overhead(rounds: int, n: int = 256, steps: int = 1000) -> list[dict[str, object]]:
    """Microseconds a step with a network that costs nothing."""
    torch.set_num_threads(1)
    field = sf.LearnedField(PROCESS, Free(torch.zeros(n, 2)))
    x = PROCESS.prior(n, 2, 0)
    runs = {
        "sdeflow, torchsde euler": lambda: sf.SDESolver("euler", steps).solve(
            sf.reverse(field), x
        ),
        "sdeflow, torchsde euler, DDPM": lambda: sf.SDESolver("euler", steps).solve(
            sf.ancestral(field), x
        ),
        "sdeflow, torchdiffeq euler": lambda: sf.ODESolver("euler", steps).solve(
            sf.reverse(field, 0.0), x
        ),
    }
    seconds = record.interleaved(runs, rounds, time.process_time)
    return [
        {
            "question": "us per step, free network",
            "n": n,
            "threads": 1,
            "seed": 0,
            "variant": name,
            "median": sorted(spent)[len(spent) // 2] / steps * 1e6,
            "best": min(spent) / steps * 1e6,
        }
        for name, spent in seconds.items()
    ]


def main(quick: bool) -> None:
    """Print both tables and append their rows."""
    rounds = 3 if quick else 9
    idle = overhead(5 * rounds)
    network = trained()
    rows = [
        row
        for threads in (1, 2)
        for n in STEPS
        for row in with_network(network, n, threads, rounds)
    ]
    print(record.table(idle), record.table(rows), sep="\n\n")
    record.append("speed", idle + rows)
