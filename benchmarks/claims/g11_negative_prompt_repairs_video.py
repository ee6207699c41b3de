"""Guided away from what it should not be, a video is broken less often.

Says: without its negative prompt the video of the astronaut turns "cartoonish" (000, 003).
Correction: so it is when guided away from nothing at all. At the same scale the negative prompt
does no better than the empty one: what repairs the video is guidance.
Source: a toy, as the lecture's model has no weights here: a spot crosses a page in one of four
ways, and among the clips of each way some have their frames out of order. 600 clips for each
prompt from the same noise; broken: more than 0.4 pixels off even motion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, above, at_least
from benchmarks.claims.setting import SURE
from benchmarks.claims.toy_video import BROKEN as NEGATIVE
from benchmarks.claims.toy_video import SIDE, clips, made, seen, video_field
from sdeflow import plot
from sdeflow.fields.guided import GuidedField

SUBJECT, BROKEN = NEGATIVE, None  # the negative prompt; None: each clip's own, no guidance
SLOW = True
CLIPS, SCALES = 600, (1.5, 2.0, 4.0)


def measure(lab: Lab, negative: int | None) -> Finding:
    """The share of broken clips without guidance, and away from two prompts at three scales."""
    field = lab.trained("toy video", video_field)
    way = torch.arange(CLIPS) % 4
    asked, none = field.given(way), field.given(None)
    other = asked if negative is None else field.given(negative)
    paths = {"w = 1": made(asked, CLIPS, lab.seed)}
    for w in SCALES:
        paths[f"w = {w:g}, against nothing"] = made(GuidedField(asked, none, w), CLIPS, lab.seed)
        paths[f"w = {w:g}, negative"] = made(GuidedField(asked, other, w), CLIPS, lab.seed)
    found = {name: seen(path[-1]) for name, path in paths.items()}
    share = {name: float(bad.double().mean()) for name, (bad, _) in found.items()}
    good = {name: float((~bad & (to == way)).double().mean()) for name, (bad, to) in found.items()}
    repaired = found["w = 1"][0].double() - found["w = 2, negative"][0].double()
    apart = found["w = 2, negative"][0].double() - found["w = 2, against nothing"][0].double()
    real, _, shuffled = clips(2000, lab.seed)
    judged = float((seen(real)[0] == shuffled).double().mean())
    return Finding(
        [
            Check("share of real clips, whole or broken, that are judged right", judged,
                  at_least(0.99), "expected"),
            Check("share broken, w = 1, less that with the negative prompt at w = 2",
                  repaired.mean(), above(_sure(repaired)), "four standard errors"),
            Check("share broken with the negative prompt less with the empty one, w = 2",
                  apart.mean(), about(0.0, max(_sure(apart), SURE * 0.005)),
                  "none; four standard errors"),
            Check("whole and as asked, with the negative prompt at w = 2",
                  good["w = 2, negative"], at_least(0.95), "expected"),
        ],
        notes={f"{name}: share broken": value for name, value in share.items()}
        | {f"{name}: whole and as asked": value for name, value in good.items()},
        draw=lambda fig: _draw(fig, paths["w = 1"], paths["w = 2, negative"], found["w = 1"][0]),
        size=(5.0, 3.6),
    )  # fmt: skip


def _sure(difference: Tensor) -> float:
    """Four standard errors of the mean."""
    return SURE * float(difference.std()) / math.sqrt(len(difference))


def _draw(fig: plot.Figure, plain: Tensor, guided: Tensor, bad: Tensor) -> None:
    """The frames of a clip, and of two broken ones with their repairs from the same noise."""
    first, second = [*bad.nonzero()[:, 0].tolist(), 0, 1][:2]
    rows = {f"step {k}": guided[i, first] for i, k in ((0, 0), (3, 20), (5, 40))}
    for clip in (first, second):
        rows |= {f"w = 1{' ' * clip}": plain[-1, clip], f"negative{' ' * clip}": guided[-1, clip]}
    frames = {name: x.reshape(-1, SIDE**2) for name, x in rows.items()}
    drawings.pictures(fig, frames, 8, span=(-1.2, 1.2))
