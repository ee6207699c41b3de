r"""Choose the classes of a cloud, and the guidance towards them.

all     each particle is of a class of its own, drawn with the shares of the data
NAME    one class, by its name in the data: --class 2 is the label 2 of the file
None    no class: the field of the whole cloud
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_finite, check_int
from sdeflow.experiment.problem import ALL, Problem
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField

Class = str | int | None


@dataclass(frozen=True)
class Guidance:
    """The scale of the guidance towards a class, and the noise levels of its interval.

    Args:
        scale: w in eps_u + w (eps_c - eps_u), of the field of the class and that of the whole
            cloud; 1 is no guidance, 0 is the whole cloud.
        interval: two noise levels sigma / alpha, in data std, between which there is guidance; by
            default everywhere.
    """

    scale: float = 1.0
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_finite(self.scale, "scale"))
        if self.interval is None:
            return
        if self.scale == 1:
            raise ValueError(
                "the interval is that of guidance, which scale 1 is without; give a scale"
            )
        object.__setattr__(self, "interval", tuple(self.interval))


NONE = Guidance()


def labels_of(
    built: Problem, which: Class, n: int, seed: int, scale: float = 1.0
) -> Tensor | None:
    """The label of one class (), one for each of n particles (n,), or None for no class.

    Pictures are of each class in turn if none is named, because a network draws poor pictures of
    no class.
    """
    if which is None:
        if built.data.shape is None or not built.config.conditional:
            return None
        which = ALL
    if which != ALL:
        label = built.label(which)
        if scale == 0:
            raise ValueError("scale 0 is the whole cloud and no class; leave out the class")
        return torch.tensor(label)
    built.check_classes()
    if scale == 0:
        return None
    if built.data.shape is not None:
        return torch.arange(check_int(n, "n")) % len(built.data.classes)
    return built.standard.sample_labelled(n, seed)[1]


def field_of(built: Problem, labels: Tensor | None, guidance: Guidance = NONE) -> Field:
    """The field of these labels, guided towards them."""
    if labels is None:
        if guidance.scale not in (0.0, 1.0):
            raise ValueError(
                "guidance is towards a class, and this cloud has none; leave out the scale"
                if not built.config.conditional
                else "guidance is towards a class; name one, or all"
            )
        return built.field
    one = built.field.given(labels)
    if guidance.scale == 1:
        return one
    return GuidedField(one, built.field, guidance.scale, guidance.interval)


def conditioned(built: Problem, which: Class) -> Field:
    """The field of one class, or of the whole cloud for all classes and for none."""
    return built.field if which in (None, ALL) else built.field.given(built.label(which or ""))


def names_of(built: Problem, labels: Tensor | None, n: int) -> list[str] | None:
    """The name of the class of each of n particles, or None without classes."""
    if labels is None:
        return None
    return [built.data.classes[k] for k in labels.expand(n).tolist()]
