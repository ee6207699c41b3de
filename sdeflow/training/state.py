"""Write and read the state of an unfinished training, so that it continues to the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sdeflow._validation import SdeflowError
from sdeflow.provenance import check_writable
from sdeflow.training.average import WeightAverage
from sdeflow.training.checkpoint import FORMAT, split
from sdeflow.training.tensor_file import encoded, latest, write


@dataclass(frozen=True, eq=False)
class TrainingState:
    """The network, average and optimiser of a training, all of which a checkpoint holds."""

    network: nn.Module
    average: WeightAverage
    optimiser: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state, by name, to be saved."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state().items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
        return tensors

    def write(self, path: Path, about: dict) -> None:
        """Write the state of the training that `about` describes."""
        write(path, self.tensors(), about, keep_previous=True)

    def check(self, path: Path, about: dict) -> None:
        """Check before the first step that the state can be written to this path."""
        encoded(self.tensors(), about)
        check_writable(path)

    def restore(self, path: Path, about: dict, steps: int) -> int:
        """Read the state in `path`, and return its number of steps, 0 if there is no file.

        Raises:
            SdeflowError: the file is damaged, belongs to a training other than `about` describes,
                or has more than `steps` steps.
        """
        found = latest(path)
        if found is None:
            return 0
        tensors, header = found
        if header.get("kind") == "training" and header.get("format") != FORMAT:
            raise SdeflowError(
                f"the checkpoint {path} was written by another version of sdeflow; remove it to "
                "start afresh"
            )
        differing = [k for k, v in about.items() if header.get(k) != v]
        if differing:
            raise SdeflowError(
                f"the checkpoint {path} belongs to another run (another "
                f"{', '.join(differing)}); remove it, or choose another folder"
            )
        step = int(header["step"])
        if step > steps:
            raise SdeflowError(
                f"the checkpoint {path} has {step} steps behind it, more than the {steps} asked "
                "for; give more steps, or remove it"
            )
        parts = split(tensors)
        try:
            self.network.load_state_dict(parts["network"])
            self.average.restore(parts["average"])
        except RuntimeError:
            raise SdeflowError(
                f"the checkpoint {path} holds the weights of another network; remove it, or "
                "choose another folder"
            ) from None
        self._restore_optimiser(parts["optimiser"])
        return step

    def _restore_optimiser(self, tensors: dict[str, Tensor]) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            i, _, key = name.partition(".")
            moments.setdefault(int(i), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
