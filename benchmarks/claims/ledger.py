"""The ledger: what a claim is, how it is run, and the table that is written.

A claim is a function with one subject. Its docstring holds the lecture's sentence; its body
measures, and says whether the sentence is true of what was measured:

    @claim(broken=1.0)
    def s3(lab: Lab, kept: float = 0.0) -> Finding:
        '''Without its noise DDPM ends on one inside edge of the spiral.

        Says: "a single inside edge of the spiral" (000).
        Correction: the distance to the curve does not see it; spread and coverage do.
        Source: docs/sources.md, N3.
        '''

The subject is the last argument: by default the true thing, `broken` the same with one mistake in
it. A test runs every claim on its broken subject too and wants another verdict: what cannot fail
is no claim.

    holds                     what was said is what was measured
    holds with a correction   so it is, if the sentence is read as the correction says
    does not hold as said     what was measured is something else
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from tqdm import tqdm

from sdeflow import plot
from sdeflow._validation import SdeflowError
from sdeflow.fields.learned import LearnedField
from sdeflow.provenance import provenance, write_text
from sdeflow.training import checkpoint

PARTS = ("Says", "Correction", "Source")
Sense = Literal["at most", "at least", "about"]
HEAD = """# The claims

Every statement of the lectures on two-dimensional data, run and measured by
`sdeflow claims run all`. The lectures are (000), a guest video on image and video models; (001),
fast.ai's lesson 9B; (002), a video on flow matching; (003), an edited copy of (000). What they
cover, and the numbers N1, N2, ... that some claims compare with, are in [sources.md](sources.md).
"In our words" marks a summary where the rest is quoted. A claim rests on all its numbers, of which
the table shows the first; "at most" and "at least" are of its size, whatever its sign.
"""


class Ruling(StrEnum):
    """What a measurement says of a sentence."""

    HOLDS = "holds"
    CORRECTED = "holds with a correction"
    FAILS = "does not hold as said"


@dataclass(frozen=True)
class Finding:
    """What a claim measured.

    Attributes:
        what: what the number is, with its unit.
        value: the number.
        sense: "at most", "at least" or "about": where the number is expected, if the sentence is
            true of what was measured.
        floor: of what: a statistical floor, standard errors, or the number that theory gives.
        against: which of them the floor is, and how near "about" is.
        holds: whether what was said is what was measured.
        also: the other numbers, by name.
        draw: draws the figure, 3.4 by 2.6 inches unless `size` says otherwise.
    """

    what: str
    value: float
    sense: Sense
    floor: float
    against: str
    holds: bool
    also: dict[str, float] = field(default_factory=dict)
    draw: Callable[[plot.Figure], object] | None = None
    size: tuple[float, float] = (3.4, 2.6)


@dataclass(frozen=True)
class Lab:
    """Where claims are measured.

    Args:
        seed: of everything random.
        folder: keeps trained networks and figures; None keeps nothing.
    """

    seed: int = 0
    folder: Path | None = None

    def trained(
        self,
        name: str,
        make: Callable[[int], LearnedField],
        offset: int = 0,
        network: nn.Module | None = None,
    ) -> LearnedField:
        """The field that make(seed + offset) trains: once for all claims that ask for `name`.

        Args:
            network: of the same shape, to read the weights into, where it is not our `MLP`.
        """
        seed = self.seed + offset
        if self.folder is None:
            return make(seed)
        kept = self.folder / "fields" / f"{name}-{seed}.safetensors"
        source = _digest(make)
        try:
            if kept.with_suffix(".txt").read_text() == source:
                return checkpoint.load(kept, network)
        except OSError:
            pass
        made = make(seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(made, kept)
        write_text(kept.with_suffix(".txt"), source)
        return made


@dataclass(frozen=True)
class Record:
    """One row of the ledger."""

    id: str
    title: str
    says: str
    correction: str
    source: str
    what: str
    value: float
    sense: Sense
    floor: float
    against: str
    verdict: Ruling
    also: dict[str, float]
    figure: str | None
    seed: int
    seconds: float
    digest: str
    made: dict[str, str | int]


Measure = Callable[..., Finding]


@dataclass(frozen=True)
class Claim:
    """A sentence of the lectures, and the function that measures it.

    Attributes:
        id: the group's letter and a number: S3.
        measure: (lab, subject) -> Finding; without a subject it takes the true one.
        broken: a subject with a mistake in it.
        slow: it trains a network.
    """

    id: str
    measure: Measure
    broken: Any
    slow: bool

    @property
    def title(self) -> str:
        """The claim in one sentence: the docstring's first paragraph."""
        return _paragraphs(self.measure)[0]

    def part(self, name: str) -> str:
        """What the docstring says under "Says", "Correction" or "Source"; "" if nothing."""
        for text in _paragraphs(self.measure)[1:]:
            if text.startswith(f"{name}: "):
                return text.removeprefix(f"{name}: ")
        return ""

    @property
    def digest(self) -> str:
        """Of the text of the function: a record of another text is out of date."""
        return _digest(self.measure)

    def rule(self, finding: Finding) -> Ruling:
        """The verdict."""
        if not finding.holds:
            return Ruling.FAILS
        return Ruling.CORRECTED if self.part("Correction") else Ruling.HOLDS

    def run(self, lab: Lab) -> Record:
        """Measure on the true subject, and draw."""
        start = time.perf_counter()
        finding = self.measure(lab)
        figure = None
        if finding.draw is not None and lab.folder is not None:
            figure = f"{self.id}.png"
            with plot.figure(*finding.size) as fig:
                finding.draw(fig)
                about = {k: str(v) for k, v in provenance(lab.seed).items()}
                plot.write(fig, lab.folder / figure, {**about, "claim": self.id})
        return Record(
            id=self.id,
            title=self.title,
            says=self.part("Says"),
            correction=self.part("Correction"),
            source=self.part("Source"),
            what=finding.what,
            value=finding.value,
            sense=finding.sense,
            floor=finding.floor,
            against=finding.against,
            verdict=self.rule(finding),
            also=finding.also,
            figure=figure,
            seed=lab.seed,
            seconds=time.perf_counter() - start,
            digest=self.digest,
            made=provenance(lab.seed),
        )


def claim(broken: Any, *, slow: bool = False) -> Callable[[Measure], Claim]:
    """Make a claim of a function whose name is its id in small letters."""
    return lambda measure: Claim(measure.__name__.upper(), measure, broken, slow)


def gathered(module: dict[str, Any]) -> tuple[Claim, ...]:
    """The claims of a module, in the order in which they stand there."""
    return tuple(thing for thing in module.values() if isinstance(thing, Claim))


def _paragraphs(measure: Measure) -> list[str]:
    """Those of the docstring; each part starts one of its own, and line ends are spaces."""
    text = re.sub(rf"\n(?=({'|'.join(PARTS)}): )", "\n\n", inspect.getdoc(measure) or "")
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip()]


def _digest(thing: Callable[..., object]) -> str:
    return hashlib.sha256(textwrap.dedent(inspect.getsource(thing)).encode()).hexdigest()[:12]


# ------------------------------------------------------------------------------- running the table


def chosen(claims: Sequence[Claim], ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids, or of all for "all".

    Raises:
        ValueError: no such claim.
    """
    wanted = [i.upper() for i in ids]
    if wanted == ["ALL"]:
        return list(claims)
    known = {c.id: c for c in claims}
    for i in wanted:
        if i not in known:
            raise ValueError(f"there is no claim {i!r}; there are {', '.join(known)}")
    return [known[i] for i in wanted]


def measured(claims: Sequence[Claim], lab: Lab, *, progress: bool = False) -> Iterator[Record]:
    """The record of each claim, from the lab's folder where it is there and up to date.

    Each new record is on disk before the next claim is run, so an interrupted table goes on.
    """
    known = {} if lab.folder is None else {r.id: r for r in read(lab.folder / "claims.jsonl")}
    with tqdm(claims, disable=not progress, unit="claim") as bar:
        for c in bar:
            bar.set_description(c.id)
            old = known.get(c.id)
            if old is None or (old.seed, old.digest) != (lab.seed, c.digest):
                with torch.random.fork_rng(devices=[]):
                    known[c.id] = c.run(lab)
                if lab.folder is not None:
                    write(list(known.values()), lab.folder / "claims.jsonl")
            yield known[c.id]


def read(path: Path) -> list[Record]:
    """The records in a file of JSON lines; none if there is no file.

    Raises:
        SdeflowError: a line is damaged.
    """
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [Record(**{**row, "verdict": Ruling(row["verdict"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise SdeflowError(f"{path} is damaged ({error}); remove it") from None


def write(records: Sequence[Record], path: Path) -> None:
    """One JSON line for each record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(asdict(r)) + "\n" for r in records))


def markdown(records: Sequence[Record], figures: str = "") -> str:
    """The table, and below it what each claim says, corrects and measured.

    Args:
        records: the rows.
        figures: where the figures are, as a prefix of their names.
    """
    holds, corrected, fails = (sum(r.verdict == v for r in records) for v in Ruling)
    out = [
        HEAD,
        f"Claims that hold: {holds}; that hold with a correction: {corrected}; "
        f"that do not hold as said: {fails}.",
        "",
        "| id | claim | measured | number | expected | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for r in records:
        cells = (
            f"[{r.id}](#{r.id.lower()})", r.title, r.what, f"{r.value:.4g}",
            f"{r.sense} {r.floor:.4g} ({r.against})", r.verdict,
        )  # fmt: skip
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for r in records:
        out += ["", f"## {r.id}", "", f"{r.title} **{r.verdict.capitalize()}.**", ""]
        out += [f"- said: {r.says}"] if r.says else []
        out += [f"- correction: {r.correction}"] if r.correction else []
        out += [f"- {r.what}: {r.value:.4g}; expected: {r.sense} {r.floor:.4g} ({r.against})"]
        out += [f"- {name}: {value:.4g}" for name, value in r.also.items()]
        out += [f"- source: {r.source}"] if r.source else []
        out += [f"- figure: [{r.figure}]({figures}{r.figure})"] if r.figure else []
    return "\n".join(out) + "\n"
