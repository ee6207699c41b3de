"""Draw captioned pictures: handwritten digits of 16 x 16 pixels with attributes drawn on them.

The digits are scikit-learn's 1,797 of 8 x 8 (Alpaydin and Kaynak 1998). Every fifth, i % 5 = 4, is
held out; the same 13 writers are in both parts. A picture is a row of a cloud (n, 256), from -1
(black) to 1 (white), of shape (1, 16, 16).

The steps of drawing, in this order: the digit, 10 x 10 at row 5 and column 3; tilted, x sheared by
0.35 (y - 9.5); thick, page^0.35; hat, belt, dot and tail, each the larger of page and mark; a move
by up to one pixel; underline and frame, of brightness 0.7; inverted, 1 - page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sdeflow._validation import check_between, check_int, check_seed, shown
from sdeflow.distributions.digits import digits
from sdeflow.distributions.points import PointSet
from sdeflow.images.captions import captions, check_drawn
from sdeflow.images.vocabulary import NAMES
from sdeflow.random_streams import Stream, random_generator

SIDE = 16
SHAPE = (1, SIDE, SIDE)
SHEAR, CENTRE = 0.35, 9.5
INK = {"thick": 0.35, "frame": 0.7}
"""The exponent of "thick", and the brightness of a frame."""

Part = Literal["train", "test"]
Cells = tuple[tuple[int, int], ...]


def _row(row: int, first: int, last: int) -> Cells:
    return tuple((row, column) for column in range(first, last + 1))


FIGURE: dict[str, Cells] = {
    "hat": _row(2, 6, 9) + _row(3, 6, 9) + _row(4, 4, 11),
    "belt": _row(9, 2, 13),
    "dot": _row(11, 13, 14) + _row(12, 13, 14),
    "tail": ((12, 3), (13, 2), (13, 1), (12, 0), (11, 0), (10, 1)),
}
"""Marks that move with the digit."""
PAGE: dict[str, Cells] = {
    "underline": _row(15, 2, 13),
    "frame": tuple(
        (r, c) for r in range(SIDE) for c in range(SIDE) if {r, c} & {0, SIDE - 1}
    ),
}  # fmt: skip
"""Marks that do not move with the digit."""


class Captioned(NamedTuple):
    """Pictures x (n, 256), captions (n), digits (n,), and which attributes are drawn (n, 9)."""

    x: Tensor
    captions: list[str]
    digit: Tensor
    drawn: Tensor

    def __repr__(self) -> str:
        return f"{len(self.x)} pictures with captions"


@dataclass(frozen=True)
class CaptionedPictures:
    """Random pictures with captions.

    Args:
        part: "train", or "test" for the held-out digits.
        rate: probability that an attribute is drawn, independent of the others.
        tilt: whether "tilted" may be drawn.
        jitter: whether figures move by up to one pixel in each direction.
    """

    part: Part = "train"
    rate: float = 0.25
    tilt: bool = True
    jitter: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.part, str) or self.part not in ("train", "test"):
            raise ValueError(f"part must be 'train' or 'test', got {shown(self.part)}")
        object.__setattr__(self, "rate", check_between(self.rate, "rate", 0.0, 1.0))

    def sample(self, n: int, seed: int = 0) -> Captioned:
        """Draw n pictures with captions; the first k are those of a call with n = k."""
        n, seed = check_int(n, "n"), check_seed(seed)
        images, labels = handwritten(self.part)
        u = torch.from_numpy(random_generator(seed, Stream.DATA).random((n, 3 + len(NAMES))))
        which = (u[:, 0] * len(images)).long()
        drawn = u[:, 3:] < self.rate
        drawn[:, NAMES.index("tilted")] &= self.tilt
        shift = (3 * u[:, 1:3]).long() - 1 if self.jitter else None
        digit = labels[which]
        return Captioned(
            draw(images[which], drawn, shift), captions(digit, drawn, seed), digit, drawn
        )


def handwritten(part: Part = "train") -> tuple[Tensor, Tensor]:
    """The handwritten digits: images (n, 8, 8) from 0 to 1, and their labels (n,).

    Raises:
        ValueError: another part than "train" and "test".
        SdeflowError: scikit-learn is not installed.
    """
    if not isinstance(part, str) or part not in ("train", "test"):
        raise ValueError(f"part must be 'train' or 'test', got {shown(part)}")
    return _handwritten(part)


@cache
def _handwritten(part: Part) -> tuple[Tensor, Tensor]:
    data = digits()
    found = (data if part == "train" or data.held_out is None else data.held_out).distribution
    assert isinstance(found, PointSet)
    assert found.labels is not None
    return (found.points.reshape(-1, 8, 8).float() + 1) / 2, found.labels


def draw(images: Tensor, drawn: Tensor, shift: Tensor | None = None) -> Tensor:
    """Draw pictures x (n, 256), from -1 to 1, of digits with attributes.

    Args:
        images: (n, 8, 8) digits, from 0 to 1.
        drawn: (n, 9) booleans, which attributes to draw, in the order of `ATTRIBUTES`.
        shift: (n, 2) rows down and columns right by which the figure moves, -1, 0 or 1; by default
            it does not move.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 3:
        raise TypeError("images must be a floating-point tensor (n, height, width)")
    if not len(images) or images.min() < 0 or images.max() > 1:
        raise ValueError("images must be at least one, with values from 0 to 1")
    drawn = check_drawn(drawn, len(images))
    on = {name: drawn[:, i, None, None] for i, name in enumerate(NAMES)}
    big = F.interpolate(images[:, None], size=(10, 10), mode="bilinear", align_corners=False)
    page = F.pad(big[:, 0], (3, 3, 5, 1))
    page = torch.where(on["tilted"], _sheared(page), page)
    page = torch.where(on["thick"], page ** INK["thick"], page)
    page = _marked(page, on, FIGURE)
    if shift is not None:
        page = _moved(page, _checked_shift(shift, len(images)))
    page = _marked(page, on, PAGE)
    page = torch.where(on["inverted"], 1 - page, page)
    return (2 * page - 1).flatten(1)


def _marked(page: Tensor, on: dict[str, Tensor], marks: dict[str, Cells]) -> Tensor:
    for name, cells in marks.items():
        mark = torch.zeros(SIDE, SIDE, dtype=page.dtype)
        rows, columns = zip(*cells, strict=True)
        mark[list(rows), list(columns)] = INK.get(name, 1.0)
        page = torch.where(on[name], torch.maximum(page, mark), page)
    return page


def _sheared(page: Tensor) -> Tensor:
    """Move row y of each page by 0.35 (9.5 - y), so that the top leans to the right."""
    offset = -SHEAR * (2 * CENTRE + 1 - SIDE) / SIDE
    matrix = torch.tensor([[1.0, SHEAR, offset], [0.0, 1.0, 0.0]], dtype=page.dtype)
    size = [len(page), *SHAPE]
    grid = F.affine_grid(matrix.expand(len(page), 2, 3), size, align_corners=False)
    return F.grid_sample(page[:, None], grid, align_corners=False)[:, 0]


def _checked_shift(shift: object, n: int) -> Tensor:
    if not isinstance(shift, Tensor) or shift.shape != (n, 2):
        raise TypeError(f"shift must be a tensor of whole numbers {(n, 2)}")
    if shift.is_floating_point() or shift.abs().max() > 1:
        raise ValueError("shift must be -1, 0 or 1, as whole numbers")
    return shift


def _moved(page: Tensor, shift: Tensor) -> Tensor:
    """Move each page; pixels that leave it are lost and do not reappear on the other side."""
    wide = F.pad(page, (1, 1, 1, 1))
    at = torch.arange(SIDE) + 1
    rows, columns = at - shift[:, :1], at - shift[:, 1:]
    each = torch.arange(len(page))[:, None, None]
    return wide[each, rows[:, :, None], columns[:, None, :]]


def pairs(
    attribute: str, part: Part = "test", rate: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw all digits of a part without one attribute, and with it: two clouds (n, 256).

    The other attributes are the same in both, each drawn with probability `rate`.
    """
    if not isinstance(attribute, str) or attribute not in NAMES:
        raise ValueError(f"attribute must be one of {', '.join(NAMES)}, got {shown(attribute)}")
    images, _ = handwritten(part)
    rate = check_between(rate, "rate", 0.0, 1.0)
    u = random_generator(check_seed(seed), Stream.DATA).random((len(images), len(NAMES)))
    drawn = torch.from_numpy(u) < rate
    without, plus = drawn.clone(), drawn.clone()
    without[:, NAMES.index(attribute)], plus[:, NAMES.index(attribute)] = False, True
    return draw(images, without), draw(images, plus)
