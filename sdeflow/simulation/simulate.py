r"""Simulate clouds of any size in chunks, on one process or on many, with the same bits.

    density, moments = simulate(sde, start, n=10**8, reduce=[Histogram(grid), Moments()], seed=0)

The noise of a particle is a function of its number (see `random_streams`), so a cloud can be cut
anywhere. Each chunk is moved by the solver as ever and handed to reducers, in blocks of 4,096
particles. Memory does not grow with n. In a torchrun job each rank takes an equal part of the
particles; a run with `out=` that was interrupted continues where it ended, on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from tqdm import tqdm

from sdeflow._blocks import ROWS
from sdeflow._validation import (
    SdeflowError,
    check_cloud,
    check_int,
    check_kind,
    check_seed,
)
from sdeflow.distributed import Layout, barrier, layout
from sdeflow.provenance import alone
from sdeflow.random_streams import BLOCK
from sdeflow.sdes.sde import SDE, check_sde
from sdeflow.simulation.arguments import Motion, folder_of, functions_of, motion_of, seeded
from sdeflow.simulation.cloud_file import FILE, BlockDigests, close, create, open_cloud
from sdeflow.simulation.fingerprint import fingerprint
from sdeflow.simulation.forest import Forest
from sdeflow.simulation.parts import Parts, collected
from sdeflow.simulation.reducers import Reducer, State, check_state
from sdeflow.simulation.start import Draw, Start, draws, piece
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path, Save
from sdeflow.solvers.sde_solver import SDESolver


def simulate(
    sde: SDE | Motion,
    start: Start,
    n: int | None = None,
    reduce: Reducer | Sequence[Reducer] = (),
    *,
    solver: SDESolver | ODESolver | None = None,
    seed: int = 0,
    save: Save = 1,
    chunk: int = 65_536,
    out: str | FilePath | None = None,
    progress: bool = False,
) -> Any:
    """Move n particles in chunks, and return the result of each reducer.

    The results have the same bits for any chunk, any number of ranks and after any interruption,
    on one kind of machine and with one number of threads.

    Args:
        sde: each particle moves by itself; or a function (first, count) -> SDE, for a field that
            has a label of its own for each particle.
        start: a distribution; a process, whose prior is meant; a cloud (n, d); a path or a .zarr
            file, whose run goes on with other noise, as in `solve`; a .npy file; or a function
            (first, count) -> (count, d) that gives the particles from number `first` on. Of a
            distribution the first 4,096 particles are `sample(4096, seed)`, and later blocks have
            seeds of their own.
        n: the number of particles; by default all of a cloud, a path or a file.
        reduce: one reducer, or several.
        solver: by default `SDESolver()`; of fixed steps, and with no other seed than `seed`.
        seed: of the start and of the noise.
        save: the states of a path that reducers see, as in `solve`; by default the last.
        chunk: particles that are moved together, a multiple of 4,096.
        out: a folder that holds the state of the run, so that it can be continued; if its name
            ends in .zarr, the last cloud is written there too (see `open_cloud`).
        progress: show a bar.

    Returns:
        the result of the reducer, or a tuple with that of each; without reducers the `CloudFile`.

    Raises:
        ValueError: nothing is kept, or the solver has a seed of its own or adaptive steps.
        SdeflowError: particles depend on each other; `out` holds another simulation, or another
            process works there; a run fails.
    """
    reducers = [*reduce] if isinstance(reduce, Sequence) else [reduce]
    for reducer in reducers:
        check_kind(
            reducer, Reducer, "reduce", "such as Moments(), or derive your own from Reducer"
        )
    folder = folder_of(out)
    if not reducers and (folder is None or folder.suffix != FILE):
        raise ValueError("give reduce=[...], out='cloud.zarr' or both: else nothing is kept")
    if check_int(chunk, "chunk") % BLOCK:
        raise ValueError(f"chunk must be a multiple of {BLOCK}, got {chunk}")
    motion = motion_of(sde)
    draw, n = draws(start, check_sde(motion(0, 1)), n, check_seed(seed))
    solver = seeded(solver, seed)
    run = _Run(motion, solver, draw, save, n, functions_of(sde, start))
    with _held(folder):
        forest = _simulated(run, reducers, chunk, folder, progress)
    results = [r.finish(s) for r, s in zip(reducers, forest.total(), strict=False)]
    if not reducers:
        assert folder is not None
        return open_cloud(folder)
    return results[0] if isinstance(reduce, Reducer) else tuple(results)


@dataclass(frozen=True)
class _Run:
    """Moves any part of the particles."""

    motion: Motion
    solver: SDESolver | ODESolver
    draw: Draw
    save: Save
    n: int
    functions: tuple[object, ...]

    def part(self, first: int, count: int, dim: int | None = None) -> Path:
        """The path of `count` particles from number `first` on, of dimension `dim`."""
        # Matrix products of few rows are rounded in another way: move the particles before, too.
        if more := min(first, max(0, ROWS - count)):
            return piece(self.part(first - more, count + more, dim), more, more + count)
        sde, start = self.motion(first, count), self.draw(first, count)
        x = check_cloud(start.x[-1] if isinstance(start, Path) else start, "start", dim)
        if len(x) != count:
            raise ValueError(f"start gave {len(x)} particles from number {first} on, not {count}")
        try:
            if isinstance(self.solver, SDESolver):
                return self.solver.solve(sde, start, self.save, first=first)
            return self.solver.solve(sde, start, self.save)
        except SdeflowError as error:
            if first:
                error.args = (f"{error}; particle 0 is number {first} of the cloud",)
            raise

    def check_independent(self, probe: Path, path: Path) -> None:
        """Check that the first particles have the bits that they have alone."""
        if not path.x[:, : probe.x.shape[1]].equal(probe.x):
            raise SdeflowError(
                "the first particles move differently among more of them, so the cloud cannot be "
                "cut into chunks: forces act between particles, or the network looks at its "
                "batch; use solve"
            )


def _held(folder: FilePath | None) -> AbstractContextManager[None]:
    """Let no other job work in the folder, which is made."""
    if folder is None or not layout().is_writer:
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return alone(folder)


def _simulated(
    run: _Run, reducers: list[Reducer], chunk: int, folder: FilePath | None, progress: bool
) -> Forest:
    """The states of all blocks, on each rank."""
    probe, here = run.part(0, min(ROWS, run.n)), layout()
    job = fingerprint(run.n, probe, reducers, _reduced(reducers, probe), run.functions)
    parts = None if folder is None else Parts(folder, job, here)
    array = None
    if folder is not None and folder.suffix == FILE:
        array = create(folder, run.n, probe.x[-1], chunk, here)
        chunk, reducers = int(array.chunks[0]), [*reducers, BlockDigests()]
    forest = Forest(reducers)
    forest.absorb([] if parts is None else parts.read())
    gaps = forest.missing(-(-run.n // BLOCK))
    own = Forest(reducers)
    bar = _bar(run.n, gaps, progress and here.is_writer)
    try:
        for first, last in _shared(gaps, chunk // BLOCK, here):
            low, high = first * BLOCK, min(last * BLOCK, run.n)
            path = run.part(low, high - low, probe.x.shape[2])
            if not first:
                run.check_independent(probe, path)
            if array is not None:
                array[low:high] = path.x[-1].cpu().numpy()
            for k in range(first, last):
                block = piece(path, k * BLOCK - low, min((k + 1) * BLOCK, high) - low)
                own.add((0, k), _reduced(reducers, block))
            if parts is not None:
                parts.write(own)
            bar.update(min(bar.total - bar.n, (high - low) * here.size))  # ranks have equal parts
    finally:  # also after Ctrl-C
        bar.close()
        if parts is not None:
            parts.write(own, at_once=True)
    forest.absorb(collected(own, here))
    if parts is not None:
        parts.finish(forest)
    if folder is not None and array is not None and here.is_writer:
        close(folder, forest.total()[-1]["digests"], probe)
    barrier(here)
    return forest


def _bar(n: int, gaps: list[tuple[int, int]], shown: bool) -> tqdm:
    """A bar of the particles of all ranks."""
    done = max(0, n - sum(last - first for first, last in gaps) * BLOCK)
    return tqdm(
        total=n, initial=done, unit="particle", unit_scale=True, leave=False, disable=not shown
    )


def _reduced(reducers: Sequence[Reducer], path: Path) -> tuple[State, ...]:
    """The states of a block, which each reducer must leave as it is for those after it."""
    states, before = [], path.x[-1, :ROWS].clone()
    for reducer in reducers:
        states.append(check_state(reducer.reduce(path), reducer, "reduce"))
        if not before.equal(path.x[-1, :ROWS]):
            raise SdeflowError(f"{reducer} changes path.x in place; let it work on path.x.clone()")
    return tuple(states)


def _shared(gaps: list[tuple[int, int]], most: int, here: Layout) -> list[tuple[int, int]]:
    """The chunks [first, last) of missing blocks that are this rank's: neighbours, for few nodes.

    Chunks begin at multiples of `most` blocks, as those of a file do.
    """
    cuts = [
        (max(k, first), min(k + most, last))
        for first, last in gaps
        for k in range(first - first % most, last, most)
    ]
    return cuts[here.share(len(cuts))]
