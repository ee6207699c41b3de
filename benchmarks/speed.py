"""Measure the time of samplers as a ratio to that of the network alone.

The reference ("floor2") is the network alone, with time features computed once per step
and rows in chunks of 512. Ratios are medians of paired ratios of interleaved runs in one process,
of process CPU time for one thread and of wall time for two. Network: MLP 3 x 256, SiLU; VP; noise
prediction. The first table has the time of a step without its network (`overhead`). `--quick` runs
one thread, in fewer rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

import sdeflow as sf
from benchmarks import overhead, record
from benchmarks.peers import PROCESS, diffusers_loop, level, plain_ode, plain_sde

STEPS = {256: 256, 4_096: 32, 65_536: 4}
CHUNK = 512

Runs = dict[str, tuple[Callable[[], object], int]]
"""The runs that are compared, and the network calls of each."""


def network_alone(network: sf.MLP, x: Tensor, steps: int) -> Callable[[], None]:
    """The network alone."""
    times = sf.processes.log_snr_times(PROCESS, steps)[:-1].float()
    bias = [network.condition(level(PROCESS(t))) for t in times]

    def run() -> None:
        for b in bias:
            for rows in x.split(CHUNK):
                network.body(rows, b)

    return run


def ours(network: sf.MLP, x: Tensor, steps: int) -> Runs:
    """Our solvers by the two engines, as a user calls them."""
    field = sf.LearnedField(PROCESS, network)
    sde, chain, flow = sf.reverse(field), sf.ancestral(field), sf.reverse(field, 0.0)
    half, quarter = max(1, steps // 2), max(1, steps // 4)
    return {
        "sdeflow, torchsde euler": (
            lambda: sf.SDESolver("euler", steps).solve(sde, x), steps),
        "sdeflow, torchsde euler, DDPM": (
            lambda: sf.SDESolver("euler", steps).solve(chain, x), steps),
        "sdeflow, torchdiffeq euler": (
            lambda: sf.ODESolver("euler", steps).solve(flow, x), steps),
        "sdeflow, torchdiffeq midpoint": (
            lambda: sf.ODESolver("midpoint", half).solve(flow, x), 2 * half),
        "sdeflow, torchdiffeq rk4": (
            lambda: sf.ODESolver("rk4", quarter).solve(flow, x), 4 * quarter),
    }  # fmt: skip


def variants(network: sf.MLP, x: Tensor, steps: int) -> Runs:
    """All runs that are compared."""
    return {
        "floor2": (network_alone(network, x, steps), steps),
        **ours(network, x, steps),
        "torchsde.sdeint, defaults": (plain_sde(network, x, steps), steps),
        "torchdiffeq.odeint, step_size": (plain_ode(network, x, steps), steps),
        "diffusers DDPM loop": (diffusers_loop(DDPMScheduler, network, x, steps), steps),
        "diffusers DDIM loop": (diffusers_loop(DDIMScheduler, network, x, steps), steps),
    }


def trained() -> sf.MLP:
    """Train a noise predictor on the spiral for a short time.

    Under an untrained one the cloud explodes, and activations of huge numbers are slow.
    """
    network = sf.MLP(2, width=256, depth=3, waves=0)
    field = sf.LearnedField(PROCESS, network)
    sf.fit(field, sf.datasets.spiral().sample, 500, 0)
    return network


def with_network(network: sf.MLP, n: int, threads: int, rounds: int) -> list[dict[str, object]]:
    """The time per network call as a ratio to the network alone, at one cloud size."""
    torch.set_num_threads(threads)
    steps = STEPS[n]
    x = PROCESS.prior(n, 2, 0)
    runs = variants(network, x, steps)
    timer = time.process_time if threads == 1 else time.perf_counter
    with torch.no_grad():
        seconds = record.interleaved({k: run for k, (run, _) in runs.items()}, rounds, timer)
    alone = [s / steps for s in seconds["floor2"]]
    return [
        {
            "question": "x floor2",
            "n": n,
            "threads": threads,
            "seed": 0,
            "variant": name,
            "ratio": record.ratio([s / runs[name][1] for s in spent], alone),
            "us per particle-call": min(spent) / runs[name][1] / n * 1e6,
        }
        for name, spent in seconds.items()
    ]


def main(quick: bool) -> None:
    """Print both tables and append their rows."""
    rounds, busy = 3 if quick else 9, record.load()
    idle = overhead.rows(5 * rounds)
    network = trained()
    rows = [
        row
        for threads in ((1,) if quick else (1, 2))
        for n in STEPS
        for row in with_network(network, n, threads, rounds)
    ]
    print(f"load of the machine: {busy} before, {record.load()} after\n")
    print(record.table(idle), record.table(rows), sep="\n\n")
    record.append("speed", idle + rows)
