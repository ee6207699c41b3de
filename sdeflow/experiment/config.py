"""Choose the settings of a run: data, process, network, training and seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sdeflow._validation import check_finite, check_int, check_positive, shown
from sdeflow.distributions.columns import as_names, as_text
from sdeflow.distributions.datasets import SHAPED
from sdeflow.distributions.files import ARRAYS, TEXTS

ProcessName = Literal["VP", "SubVP", "VE", "EDM", "Linear", "Cosine"]
PredictionName = Literal["data", "noise", "score", "velocity", "unit"]
LIMITS = {"steps": 10**9, "batch": 10**6, "width": 4096, "depth": 100}


class Sizes(NamedTuple):
    """Settings of a run whose defaults depend on the data."""

    steps: int
    batch: int
    rate: float
    width: int
    depth: int


PLANE = Sizes(4000, 512, 5e-3, 128, 4)
PICTURES = Sizes(6000, 128, 2e-3, 16, 1)


@dataclass(frozen=True)
class Config:
    """The settings of a run.

    Args:
        data: name of a data set (`sdeflow info` lists them), or a file with points of any
            dimension (csv, npy, npz) or with a picture.
        columns: names of the coordinates of a file, such as x,y,z; by default all columns but the
            label. Without a header they are called 1, 2, ...
        label: name of the column of a file with classes, which are learned.
        process: noise process, with default constants in units of the data's standard deviation.
        predicts: quantity in which the loss is measured; by default noise, for digits "unit", the
            network output of EDM.
        conditional: learn the classes of labelled data; with label, and for digits, they are
            always learned.
        held_out: share of the rows of a file that are not learned, for tests of the samples; by
            default 0.2, for data of two coordinates 0.
        steps: number of training steps; by default 4000, for digits 6000.
        batch: number of samples in a training step; by default 512, for digits 128.
        rate: largest learning rate; by default 5e-3, for digits 2e-3.
        width: width of the hidden layers, by default 128; for digits channels, by default 16.
        depth: number of hidden layers; by default 4, for digits always 1.
        seed: seed of all random numbers.
    """

    data: str = "spiral"
    columns: str | None = None
    label: str | None = None
    process: ProcessName = "VE"
    predicts: PredictionName | None = None
    conditional: bool = False
    held_out: float | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    width: int | None = None
    depth: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings, and keep them as plain text and numbers, which JSON can hold."""
        if not isinstance(self.data, str | os.PathLike):
            raise TypeError(f"data must be a name or a file, got {type(self.data).__name__}")
        data = os.fspath(self.data)
        plain: dict[str, object] = {"data": os.path.abspath(data) if Path(data).suffix else data}
        shaped = data in SHAPED
        plain |= self._checked_table(data)
        for name, usual in (PICTURES if shaped else PLANE)._asdict().items():
            given = getattr(self, name)
            plain[name] = usual if given is None else _checked(name, given)
        if shaped and (plain["depth"] != 1 or int(str(plain["width"])) % 8):
            raise ValueError(
                f"{data} are learned by a UNet, of a width that 8 divides and of depth 1, got "
                f"{plain['width']} and {plain['depth']}"
            )
        if self.predicts is None:
            object.__setattr__(self, "predicts", "unit" if shaped else "noise")
        plain["seed"] = check_int(self.seed, "seed", 0)
        for name, known in (
            ("process", get_args(ProcessName)),
            ("predicts", get_args(PredictionName)),
            ("conditional", (False, True)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        plain["conditional"] = bool(self.conditional) or shaped or self.label is not None
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def _checked_table(self, data: str) -> dict[str, object]:
        """Check what is said about the columns and rows of a file."""
        names = None if self.columns is None else as_names(self.columns)
        if self.label is not None and (not isinstance(self.label, str) or not self.label):
            raise TypeError(f"label must be the name of a column, got {shown(self.label)}")
        share = self.held_out
        if share is not None and not 0 <= check_finite(share, "held_out") < 1:
            raise ValueError(f"held_out must be 0 or more, and less than 1, got {share:g}")
        table = Path(data).suffix.lower() in (*TEXTS, *ARRAYS)
        for name in () if table else ("columns", "label", "held_out"):
            if getattr(self, name) is not None:
                raise ValueError(f"{data} is not a table, which {name} is for; leave out {name}")
        held_out = None if share is None else float(share)
        return {"columns": names and as_text(names), "held_out": held_out}

    @property
    def sizes(self) -> Sizes:
        """Steps, batch, rate, width and depth."""
        return Sizes(*(getattr(self, name) for name in Sizes._fields))

    @property
    def shaped(self) -> bool:
        """Whether the data are pictures, learned by a UNet."""
        return self.data in SHAPED

    def __repr__(self) -> str:
        classes = " with classes" if self.conditional else ""
        network = f"UNet {self.width}" if self.shaped else f"network {self.depth} x {self.width}"
        columns = "" if self.columns is None else f" ({self.columns})"
        return (
            f"{self.predicts} prediction of {self.data}{columns}{classes} under {self.process}, "
            f"{network}, {self.steps} steps of {self.batch} particles, "
            f"rate {self.rate:g}, seed {self.seed}"
        )


def _checked(name: str, value: object) -> float | int:
    """Check a size, and return it as a plain number."""
    if name == "rate":
        return check_positive(value, name)  # type: ignore[arg-type]
    number = check_int(value, name)
    if number > LIMITS[name]:
        raise ValueError(f"{name} must be at most {LIMITS[name]}, got {number}")
    return number
