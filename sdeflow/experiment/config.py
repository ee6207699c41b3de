"""Choose the settings of a run: data, process, network, training and seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sdeflow._validation import check_int, check_positive
from sdeflow.distributions.datasets import SHAPED

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
        data: name of a data set (`sdeflow info` lists them), or a file with points (csv, npy, npz)
            or with a picture.
        process: noise process, with default constants in units of the data's standard deviation.
        predicts: quantity in which the loss is measured; by default noise, for digits "unit", the
            network output of EDM.
        conditional: learn the classes of labelled data; the classes of digits are always learned.
        steps: number of training steps; by default 4000, for digits 6000.
        batch: number of samples in a training step; by default 512, for digits 128.
        rate: largest learning rate; by default 5e-3, for digits 2e-3.
        width: width of the hidden layers, by default 128; for digits channels, by default 16.
        depth: number of hidden layers; by default 4, for digits always 1.
        seed: seed of all random numbers.

    Raises:
        ValueError, TypeError: a number out of its range, an unknown name.
    """

    data: str = "spiral"
    process: ProcessName = "VE"
    predicts: PredictionName | None = None
    conditional: bool = False
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
        usual = PICTURES if shaped else PLANE
        for name, given in ((name, getattr(self, name)) for name in Sizes._fields):
            plain[name] = getattr(usual, name) if given is None else _checked(name, given)
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
        plain["conditional"] = bool(self.conditional) or shaped
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def sizes(self) -> Sizes:
        """Steps, batch, rate, width and depth."""
        return Sizes(*(getattr(self, name) for name in Sizes._fields))

    @property
    def shaped(self) -> bool:
        """Whether the data are pictures, learned by a UNet."""
        return self.data in SHAPED

    def __repr__(self) -> str:
        """Write the settings in words."""
        classes = " with classes" if self.conditional else ""
        network = f"UNet {self.width}" if self.shaped else f"network {self.depth} x {self.width}"
        return (
            f"{self.predicts} prediction of {self.data}{classes} under {self.process}, "
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
