"""Compare devices: particles per second, share of the peak rate, share of the noise.

    python -m benchmarks devices            the CPU, and each GPU that torch finds

A run is the reverse SDE of a network in 10 multistep calls with noise, in float32. Beside the run,
its calls of the network and its normal numbers are timed alone, in turn; all are medians. The peak
rate is that of one large matrix product in float32 on the same device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import sdeflow as sf
from benchmarks import record
from sdeflow.solvers.brownian import Brownian

CALLS = 10
NETWORKS = ((2, 64), (4, 512))
"""Hidden layers and width."""

SIZE = 4096  # of the matrices of the peak rate
PARTICLES = 2**16, 2**22
"""Of a run on the CPU, and on a GPU."""

SHOWN = (
    "device", "network", "noise drawn", "particles per second", "of the CPU's", "share of peak",
    "network's share", "noise's share",
)  # fmt: skip


def devices() -> list[torch.device]:
    """The CPU, and each GPU that torch finds."""
    gpus = range(torch.cuda.device_count())
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in gpus)]


def name_of(device: torch.device) -> str:
    """The name of a device for the table."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def seconds_at(device: torch.device) -> float:
    """The time in seconds, when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def operations(network: torch.nn.Module, dim: int = 2) -> float:
    """Floating-point operations of the matrix products of one call for one particle."""
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(torch.zeros(256, dim), torch.zeros(()))
    return counted.get_total_flops() / 256


def peak(device: torch.device, rounds: int = 5) -> float:
    """Floating-point operations per second of a large matrix product in float32."""
    a = torch.ones(SIZE, SIZE, device=device)
    seconds = record.interleaved({"product": lambda: a @ a}, rounds, lambda: seconds_at(device))
    return 2 * SIZE**3 / statistics.median(seconds["product"])


def parts(
    device: torch.device, network: torch.nn.Module, place: str, n: int
) -> dict[str, Callable[[], object]]:
    """A run of n particles, and its parts alone."""
    process = sf.VP()
    field = sf.LearnedField(process, network.to(device), data_std=1.0)
    sde = sf.multistep(field, eta=1.0)
    solver = sf.SDESolver("euler", steps=CALLS, seed=0, noise=place)  # type: ignore[arg-type]
    x = process.prior(n, 2, 0, device=device)
    times = sde.times(CALLS)

    def calls() -> Tensor:
        table = field.table(times[:-1], process(times[:-1]), x)
        return [table(k)(x) for k in range(CALLS)][-1]

    def noise() -> object:
        w = Brownian(0, n, 2, x.dtype, device, times=times, noise=place)  # type: ignore[arg-type]
        return [w(k, k + 1) for k in range(CALLS)][-1]

    return {"run": lambda: solver.solve(sde, x, save=1), "network": calls, "noise": noise}


def measured(device: torch.device, n: int, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of one device, with a network each and the noise drawn by the CPU and by it."""
    most, rows = peak(device, rounds), []
    for depth, width in NETWORKS:
        network = sf.MLP(width=width, depth=depth)
        each = CALLS * operations(network)
        for place in ("cpu",) if device.type == "cpu" else ("cpu", "device"):
            with torch.no_grad():
                found = record.interleaved(
                    parts(device, network, place, n), rounds, lambda: seconds_at(device)
                )
            run, calls, noise = (statistics.median(found[k]) for k in ("run", "network", "noise"))
            rows.append({
                "device": name_of(device), "network": f"{depth} x {width}", "noise drawn": place,
                "particles": n, "particles per second": n / run,
                "share of peak": n * each / run / most, "peak TFLOP per second": most / 1e12,
                "network's share": calls / run, "noise's share": noise / run,
            })  # fmt: skip
    return rows


def recorded() -> list[dict[str, Any]]:
    """The latest row of each device, network and place, for the page."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in record.stored(record.RESULTS / "devices.jsonl"):
        found[tuple(row[name] for name in ("device", "network", "noise drawn"))] = row
    return [{name: row[name] for name in SHOWN} for row in found.values()]


def add_parser(names: Any) -> None:
    """Add the command to those of `python -m benchmarks`."""
    one: argparse.ArgumentParser = names.add_parser("devices")
    one.add_argument("--rounds", type=int, default=5)
    one.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """Print the table and append its rows."""
    rows: list[dict[str, Any]] = []
    for device in devices():
        rows += measured(device, PARTICLES[device.type != "cpu"], given.rounds)
    cpu = {row["network"]: row["particles per second"] for row in rows[: len(NETWORKS)]}
    for row in rows:
        row["of the CPU's"] = row["particles per second"] / cpu[row["network"]]
    print(record.table([{name: row[name] for name in SHOWN} for row in rows]))
    record.append("devices", rows)
