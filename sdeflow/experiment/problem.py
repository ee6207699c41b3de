"""Build the data, the process and the fields of a run from its settings.

A problem has centred data in units of their spread, so that one training configuration serves any
data set. `Problem.units` converts clouds to the data's own units; the folder of a run keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from sdeflow._validation import SdeflowError, check_kind
from sdeflow.distributions import datasets
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.points import PointSet
from sdeflow.distributions.units import Units
from sdeflow.experiment.config import Config
from sdeflow.fields.exact import ExactField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.fields.unet import UNet
from sdeflow.processes.process import Process
from sdeflow.training import checkpoint
from sdeflow.training.loss import Weighting, prediction_weighting
from sdeflow.training.task import TrainingConfig

HELD_OUT, ENOUGH = 0.2, 500
"""Share of the rows of a file that are held out by default, if it has not two coordinates, and the
number of rows from which on they are: a test needs 100 of them."""

ALL = "all"
"""The name of all classes."""


@dataclass(frozen=True, eq=False, repr=False)
class StandardField(LearnedField):
    """A learned field in the standard units of a run.

    `training.load` refuses its file, because its clouds are not in the units of the data.
    """

    units: ClassVar[str] = "the standard units of its run"


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, process and fields of a run, in units of the data's spread.

    Attributes:
        config: the settings.
        data: the data in their own units.
        units: the map between these units and the standard ones.
        standard: the data in standard units, centred, which are learned.
        field: the field of the network.
        truth: the exact field of `standard`, if it is known.
    """

    config: Config
    data: Dataset
    units: Units
    standard: Dataset
    field: LearnedField
    truth: ExactField | None

    @property
    def process(self) -> Process:
        """The process of both fields."""
        return self.field.process

    @property
    def dim(self) -> int:
        """The number of coordinates of a particle."""
        return self.data.distribution.dim

    @property
    def device(self) -> torch.device:
        """The device of the network, on which clouds are drawn."""
        network = getattr(self.field, "network", None)
        return torch.device("cpu") if network is None else next(network.parameters()).device

    def check_plane(self, what: str) -> None:
        """Refuse data that have not two coordinates."""
        if self.dim != 2:
            raise SdeflowError(
                f"{what} needs data of two coordinates, but {self.config.data} has {self.dim}; "
                "`sdeflow demo` measures its clouds, `sdeflow sample` draws them"
            )

    def check_grid(self) -> None:
        """Refuse data that no grid holds."""
        if self.dim > 2:
            raise SdeflowError(
                f"a grid has one or two axes, but {self.config.data} has {self.dim} coordinates; "
                "`sample_tests` needs none"
            )

    def check_classes(self) -> None:
        """Refuse a run that was trained without classes."""
        if not self.config.conditional:
            raise ValueError(
                "the run was trained without classes; leave out the class, or train with "
                "--conditional"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the field knows; none if it was trained without."""
        return self.data.classes if self.config.conditional else ()

    def label(self, name: str | int) -> int:
        """The label of a class by its name in the data; 2 is the class called "2"."""
        self.check_classes()
        return self.data.label(str(name) if isinstance(name, int) else name)

    def __repr__(self) -> str:
        known = "unknown" if self.truth is None else "known"
        return f"{self.config}; exact field {known}"


def problem(config: Config, units: Units | None = None) -> Problem:
    """Build the data, the process and the fields of a run, with an untrained network.

    `units` are the standard units that the run was trained in, by default those of the data.
    """
    check_kind(config, Config, "config")
    data = _read(config)
    if config.conditional and not data.classes:
        raise ValueError(f"{config.data} has no labels; leave out conditional")
    if config.conditional and len(data.classes) == 1:
        raise ValueError(
            f"{config.data} has one class only, {data.classes[0]!r}; leave out the label, or "
            "choose another column"
        )
    if config.conditional and ALL in data.classes:
        raise ValueError(
            f"{config.data} has a class called {ALL!r}, which means all classes; give it another "
            "name"
        )
    process: Process = checkpoint.PROCESSES[config.process]()
    classes = len(data.classes) if config.conditional else 0
    _, _, _, width, depth = config.sizes
    network: MLP | UNet
    if data.shape is None:
        network = MLP(data.distribution.dim, width, depth, labels=classes, seed=config.seed)
    else:
        network = UNet(data.shape, width, labels=classes, seed=config.seed)
    field = StandardField(process, network, data_std=1.0)
    units = data.units if units is None else units
    standard = data.standardised(units)
    known = standard.distribution.has_posterior
    truth = ExactField(process, standard.distribution) if known else None
    return Problem(config, data, units, standard, field, truth)


def _read(config: Config) -> Dataset:
    """The data, of which a share of the rows of a file is held out."""
    if config.data in datasets.NAMES | datasets.SHAPED or not Path(config.data).suffix:
        return datasets.named(config.data)
    data = datasets.from_file(config.data, columns=config.columns, label=config.label)
    if not isinstance(data.distribution, PointSet):
        return data
    few = len(data.distribution.points) < ENOUGH
    usual = 0.0 if data.distribution.dim == 2 or few else HELD_OUT
    share = usual if config.held_out is None else config.held_out
    return data.split(share) if share else data


def recipe(config: Config) -> TrainingConfig:
    """The training configuration of a run."""
    _, batch, rate, *_ = config.sizes
    if config.shaped:
        return TrainingConfig(batch, rate, decay=0.998, drop=0.2)
    return TrainingConfig(batch, rate)


def weighting(config: Config) -> Weighting | None:
    """The loss weighting of the prediction in `config`; None for the network's own output."""
    if config.predicts == "unit":
        return None
    return prediction_weighting(Prediction(config.predicts))
