"""Run claims and keep their numbers in claims.jsonl, one JSON line for each claim.

Each record is on disk before the next claim is run, so an interrupted run can be continued.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.claims.claim import Check, Claim, Finding, Lab, Verdict
from benchmarks.record import signed
from sdeflow import plot
from sdeflow._validation import SdeflowError
from sdeflow.provenance import alone, write_text

FILE = "claims.jsonl"


@dataclass(frozen=True)
class Outcome:
    """A check as it was recorded."""

    name: str
    value: float
    expected: str
    against: str
    holds: bool

    @classmethod
    def of(cls, check: Check) -> Outcome:
        """The outcome of a check."""
        return cls(check.name, check.value, str(check.expected), check.against, check.holds)


@dataclass(frozen=True)
class Record:
    """The texts and numbers of one claim, and the program that measured it."""

    id: str
    title: str
    says: str
    correction: str
    source: str
    verdict: Verdict
    checks: list[Outcome]
    notes: dict[str, float]
    figure: str | None
    seed: int
    seconds: float
    digest: str
    made: dict[str, str | int]
    measured: str = ""
    control: str = ""


def run(claim: Claim, lab: Lab) -> Record:
    """Measure a claim on its subject, and draw its figure into the lab's folder."""
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        finding = claim.measure(lab, claim.subject)
        figure = _draw(claim, finding, lab)
    return Record(
        id=claim.id,
        title=claim.title,
        says=claim.part("Says"),
        correction=claim.part("Correction"),
        source=claim.part("Source"),
        verdict=claim.verdict(finding),
        checks=[Outcome.of(check) for check in finding.checks],
        notes={name: float(value) for name, value in finding.notes.items()},
        figure=figure,
        seed=lab.seed,
        seconds=time.perf_counter() - start,
        digest=claim.digest,
        made=signed(lab.seed),
        measured=claim.part("Measured"),
        control=claim.part("Control"),
    )


def _draw(claim: Claim, finding: Finding, lab: Lab) -> str | None:
    """The name of the figure's file, if there is a figure and a folder for it."""
    if finding.draw is None or lab.folder is None:
        return None
    name = f"{claim.id}.{lab.format}"
    with plot.figure(*finding.size) as fig:
        finding.draw(fig)
        origin = {key: str(value) for key, value in signed(lab.seed).items()}
        plot.write(fig, lab.folder / name, {**origin, "claim": claim.id})
    return name


def chosen(claims: Sequence[Claim], ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids; all of them if "all" is among the ids.

    Raises:
        ValueError: there is no such claim.
    """
    wanted, known = [i.upper() for i in ids], {c.id: c for c in claims}
    for i in wanted:
        if i not in known and i != "ALL":
            raise ValueError(f"there is no claim {i!r}; there are {', '.join(known)}")
    return list(claims) if "ALL" in wanted else [known[i] for i in dict.fromkeys(wanted)]


def measured(claims: Sequence[Claim], lab: Lab, *, progress: bool = False) -> Iterator[Record]:
    """The record of each claim, read from the lab's folder or else measured.

    A record is read again only if the claim's file, the seed and the figure's format are the same.
    """
    known = {} if lab.folder is None else {r.id: r for r in read(lab.folder / FILE)}
    with tqdm(claims, disable=not progress, unit="claim") as bar:
        for c in bar:
            bar.set_description(c.id)
            old = known.get(c.id)
            if old is None or not _made_by(old, c, lab):
                known[c.id] = run(c, lab)
                if lab.folder is not None:
                    known = _added(known[c.id], lab.folder)
            yield known[c.id]


def _added(record: Record, folder: Path) -> dict[str, Record]:
    """Add a record to the file, which another process may have written meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, wait=True):
        known = {r.id: r for r in read(folder / FILE)} | {record.id: record}
        write(list(known.values()), folder / FILE)
    return known


def _made_by(old: Record, claim: Claim, lab: Lab) -> bool:
    """Whether a record has the claim's digest, the seed and the figure's format."""
    drawn = old.figure is None or old.figure.endswith(f".{lab.format}")
    return drawn and (old.seed, old.digest) == (lab.seed, claim.digest)


def read(path: Path) -> list[Record]:
    """The records in a file of JSON lines; an empty list if there is no file.

    Raises:
        SdeflowError: a line is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [_record(json.loads(line)) for line in path.read_text().splitlines()]
    except (ValueError, TypeError, KeyError) as error:
        raise SdeflowError(
            f"{path} is damaged ({error}); remove it and run the claims again"
        ) from None


def _record(row: dict) -> Record:
    checks = [Outcome(**check) for check in row["checks"]]
    return Record(**{**row, "verdict": Verdict(row["verdict"]), "checks": checks})


def write(records: Sequence[Record], path: Path) -> None:
    """Write one JSON line for each record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(asdict(r)) + "\n" for r in records))
