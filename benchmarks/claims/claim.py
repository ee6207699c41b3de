"""Define a claim: a sentence of a lecture, a measurement, and named checks that decide.

Each claim is one file of this package, named by its id and a few words. Its docstring is the
sentence and the parts `PARTS`. Its function measures, and returns a `Finding`:

    SUBJECT, CONTROL = 0.0, 1.0        # share of the noise that is kept
    def measure(lab: Lab, kept: float) -> Finding: ...

A control is the subject with one mistake put in on purpose. A test measures every claim on its
control too: at least one check that holds for the subject must fail there.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from torch import nn

from sdeflow import plot
from sdeflow.fields.learned import LearnedField
from sdeflow.provenance import write_text
from sdeflow.training import checkpoint

GROUPS = {
    "F": "the forward process: how noise turns data into noise",
    "R": "the reverse step: its distribution, the evidence bound, the score, the learned field",
    "S": "sampling: with noise (DDPM), without it (DDIM, the flow), of pictures and videos",
    "M": "flow matching: straight paths and the velocity along them",
    "G": "guidance: samples of a class, by a label or a prompt",
    "C": "CLIP: pictures and words as vectors that can be compared",
}
"""The letter of each group of claims, and what they are about."""
PARTS = ("Says", "Measured", "Correction", "Control", "Source")
"""Parts of a docstring: the lecture's words; in plain words, what is measured and what it means;
how the sentence must be read to be true; the control; where the numbers come from."""
T = TypeVar("T")
CURE = "pip install 'sdeflow[images]'"


class Verdict(StrEnum):
    """What the checks decide about a sentence.

    HOLDS: all checks hold. CORRECTED: all checks hold for the sentence as corrected. FAILS: at
    least one check fails.
    """

    HOLDS = "holds"
    CORRECTED = "holds with a correction"
    FAILS = "does not hold as said"


@dataclass(frozen=True)
class Bound:
    """The closed interval [low, high] in which a number is expected; NaN lies in none."""

    low: float
    high: float
    text: str

    def holds(self, value: float) -> bool:
        """Whether the value lies in the interval."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return self.text


def about(target: float, within: float) -> Bound:
    """The interval target +- within."""
    text = f"{float(target):.4g} +- {float(within):.2g}" if within else f"exactly {target:.4g}"
    return Bound(float(target) - float(within), float(target) + float(within), text)


def at_most(bound: float) -> Bound:
    """Every number up to the bound, negative ones too."""
    return Bound(-float("inf"), float(bound), f"at most {float(bound):.4g}")


def at_least(bound: float) -> Bound:
    """Every number from the bound on."""
    return Bound(float(bound), float("inf"), f"at least {float(bound):.4g}")


def above(bound: float) -> Bound:
    """Every number larger than the bound."""
    return Bound(math.nextafter(float(bound), math.inf), math.inf, f"above {float(bound):.4g}")


def below(bound: float) -> Bound:
    """Every number smaller than the bound."""
    return Bound(-math.inf, math.nextafter(float(bound), -math.inf), f"below {float(bound):.4g}")


def between(low: float, high: float) -> Bound:
    """The interval from low to high."""
    return Bound(float(low), float(high), f"between {float(low):.4g} and {float(high):.4g}")


@dataclass(frozen=True)
class Check:
    """A measured number and the interval in which it is expected.

    Args:
        name: what the number is, with its unit; unique within a claim.
        value: the number (also a tensor of one element).
        expected: the interval in which it must lie.
        against: where the bound comes from: theory, a sampling floor, rounding, what was said.
    """

    name: str
    value: float
    expected: Bound
    against: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))

    @property
    def holds(self) -> bool:
        """Whether the number lies in the interval."""
        return self.expected.holds(self.value)


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim.

    Args:
        checks: the claim holds if all of them hold.
        draw: draws the figure.
        size: of the figure, in inches.
        notes: further numbers by name, which decide nothing.
    """

    checks: list[Check]
    draw: Callable[[plot.Figure], object] | None = None
    size: tuple[float, float] = (3.4, 2.6)
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lab:
    """The settings of a measurement: seed, folder and format of figures.

    Args:
        seed: of all random numbers.
        folder: where trained networks and figures are kept; None keeps nothing.
        format: of the figures.
    """

    seed: int = 0
    folder: Path | None = None
    format: str = "png"

    def trained(
        self,
        name: str,
        make: Callable[[int], LearnedField],
        offset: int = 0,
        network: nn.Module | None = None,
    ) -> LearnedField:
        """The field that make(seed + offset) trains, trained once for all claims by its name.

        Args:
            network: a network of the same shape to read the weights into, if it is not our `MLP`.
        """
        load = partial(checkpoint.load, network=network)
        return self.kept(name, make, checkpoint.save, load, offset)

    def kept(
        self,
        name: str,
        make: Callable[[int], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
        offset: int = 0,
    ) -> T:
        """The model that make(seed + offset) trains, trained once for all claims by its name."""
        seed = self.seed + offset
        if self.folder is None:
            return make(seed)
        kept = self.folder / "fields" / f"{name}-{seed}.safetensors"
        source = digest(recipe(make))
        try:
            if kept.with_suffix(".txt").read_text() == source:
                return load(kept)
        except OSError:
            pass
        made = make(seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save(made, kept)
        write_text(kept.with_suffix(".txt"), source)
        return made


Measure = Callable[[Lab, Any], Finding]


@dataclass(frozen=True)
class Claim:
    """A sentence of the lectures, and the function that measures it.

    Args:
        id: the group's letter and a number: S3.
        doc: the docstring: the claim in one sentence, then the `PARTS`.
        measure: (lab, subject) -> Finding.
        subject: what is measured.
        control: the same with one mistake in it.
        slow: whether it trains networks.
        source: the text of the claim's file.
        needs: packages of the extra `images` without which it cannot be measured.
    """

    id: str
    doc: str
    measure: Measure
    subject: Any
    control: Any
    slow: bool
    source: str
    needs: tuple[str, ...] = ()

    @classmethod
    def of(cls, module: ModuleType) -> Claim:
        """The claim of a module of this package."""
        return cls(
            id=module.__name__.rpartition(".")[2].partition("_")[0].upper(),
            doc=module.__doc__ or "",
            measure=module.measure,
            subject=module.SUBJECT,
            control=module.CONTROL,
            slow=getattr(module, "SLOW", False),
            source=Path(str(module.__file__)).read_text(),
            needs=getattr(module, "NEEDS", ()),
        )

    @property
    def title(self) -> str:
        """The claim in one sentence: the docstring's first paragraph."""
        return self._paragraphs()[0]

    @property
    def missing(self) -> str:
        """Why it cannot be measured here, in one sentence; "" if it can."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"{self.id} needs {' and '.join(absent)}: {CURE}" if absent else ""

    def part(self, name: str) -> str:
        """The docstring's part of this name, one of `PARTS`; "" if there is none."""
        for text in self._paragraphs()[1:]:
            if text.startswith(f"{name}: "):
                return text.removeprefix(f"{name}: ")
        return ""

    def _paragraphs(self) -> list[str]:
        """Paragraphs of the docstring, each in one line; each part starts a new one."""
        text = inspect.cleandoc(self.doc)
        text = re.sub(rf"\n(?=({'|'.join(PARTS)}): )", "\n\n", text)
        return [" ".join(p.split()) for p in re.split(r"\n\s*\n", text) if p.strip()]

    @property
    def digest(self) -> str:
        """The digest of the claim's file: a record with another digest is out of date."""
        return digest(self.source)

    def verdict(self, finding: Finding) -> Verdict:
        """The verdict that the checks give."""
        if not all(check.holds for check in finding.checks):
            return Verdict.FAILS
        return Verdict.CORRECTED if self.part("Correction") else Verdict.HOLDS


def recipe(make: Callable) -> str:
    """The text that decides what a function trains: its source, defaults and plain constants."""
    used = inspect.getclosurevars(make)
    constants = {
        name: value
        for name, value in sorted({**used.globals, **used.nonlocals}.items())
        if isinstance(value, bool | int | float | str | tuple)
        or (is_dataclass(value) and all(type(v) in (int, float) for v in vars(value).values()))
    }
    text = textwrap.dedent(inspect.getsource(make)) + f"{inspect.signature(make)}\n"
    return text + "".join(f"{name} = {value!r}\n" for name, value in constants.items())


def digest(text: str) -> str:
    """Twelve hexadecimal digits that change with the text, but not with its indentation."""
    return hashlib.sha256(textwrap.dedent(text).encode()).hexdigest()[:12]
