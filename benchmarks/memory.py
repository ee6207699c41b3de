"""Measure the peak memory of 1,000,000 particles under the reverse SDE, final state only.

Each number of steps runs in a process of its own; growth is the peak of resident memory minus the
resident memory before the solve. The field is that of a single Gaussian, so that memory and time
are those of the solver and its noise.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import record

PROBE = """
import json, sys, torch, sdeflow as sf
n, steps = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
def status(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key)) / 1024
process = sf.VP()
field = sf.ExactField(process, sf.GaussianMixture.isotropic(torch.zeros(1, 2), 0.5))
def run(n, steps):
    return sf.SDESolver("euler", steps).solve(sf.reverse(field), process.prior(n, 2, 0), save=1)
run(1000, 4)
start = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
path = run(n, steps)
print(json.dumps({"n": n, "steps": steps, "seed": 0, "growth MB": status("VmHWM") - start,
                  "seconds": path.seconds, "std": float(path.x[-1].std())}))
"""


def growth(n: int, steps: int) -> dict[str, object]:
    """The growth of peak resident memory (MiB), in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(n), str(steps)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main(quick: bool) -> None:
    """Print the table and append its rows."""
    rows = [growth(1_000_000, steps) for steps in ((4, 16) if quick else (16, 64, 256))]
    print(record.table(rows))
    record.append("memory", rows)
