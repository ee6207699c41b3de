"""State what a run is: its data, process, network, training and seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sdeflow._validation import check_int, check_positive

ProcessName = Literal["VP", "SubVP", "VE", "EDM", "Linear", "Cosine"]
PredictionName = Literal["data", "noise", "score", "velocity"]
LIMITS = {"steps": 10**9, "batch": 10**6, "width": 4096, "depth": 100}


@dataclass(frozen=True)
class Config:
    """What a run is asked for.

    Args:
        data: the name of a data set (`sdeflow info` lists them), or a file: csv, npy, npz or a
            picture; its absolute path is kept.
        process: how it is noised; constants are the process's defaults, in units of the data's
            standard deviation.
        predicts: the prediction in which the loss is measured.
        conditional: also learn the classes, where the data have labels.
        steps: of training.
        batch: particles per step.
        rate: peak learning rate.
        width: of the network's layers.
        depth: number of hidden layers.
        seed: of everything random.

    Raises:
        ValueError, TypeError: a number out of its range, an unknown name.
    """

    data: str = "spiral"
    process: ProcessName = "VE"
    predicts: PredictionName = "noise"
    conditional: bool = False
    steps: int = 4000
    batch: int = 512
    rate: float = 5e-3
    width: int = 128
    depth: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be run; keep plain text and numbers, which JSON can hold."""
        if not isinstance(self.data, str | os.PathLike):
            raise TypeError(f"data must be a name or a file, got {type(self.data).__name__}")
        data = os.fspath(self.data)
        plain: dict[str, object] = {"data": os.path.abspath(data) if Path(data).suffix else data}
        for name, limit in LIMITS.items():
            number = check_int(getattr(self, name), name)
            if number > limit:
                raise ValueError(f"{name} must be at most {limit}, got {number}")
            plain[name] = number
        plain["rate"] = check_positive(self.rate, "rate")
        plain["seed"] = check_int(self.seed, "seed", 0)
        for name, known in (
            ("process", get_args(ProcessName)),
            ("predicts", get_args(PredictionName)),
            ("conditional", (False, True)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        plain["conditional"] = bool(self.conditional)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """In words."""
        classes = " with classes" if self.conditional else ""
        return (
            f"{self.predicts} prediction of {self.data}{classes} under {self.process}, "
            f"network {self.depth} x {self.width}, {self.steps} steps of {self.batch} particles, "
            f"rate {self.rate:g}, seed {self.seed}"
        )
