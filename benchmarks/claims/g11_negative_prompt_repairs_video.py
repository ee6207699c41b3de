"""Guided away from what it should not be, a video is broken less often.

Says: without its negative prompt the video of the astronaut turns "cartoonish" (000, 003).
Measured: toy videos are made from the same noise without guidance, away from a negative prompt and
away from the empty one, and those with broken motion are counted; the last shows whether the
prompt or guidance itself repairs.
Correction: so it is when guided away from nothing at all. At the same scale the negative prompt
does no better than the empty one: guidance repairs the video, not the words of the prompt.
Control: each clip's own prompt as its negative one, which is no guidance.
Source: a toy, as the lecture's model has no weights here: a spot crosses a page in one of four
ways, and among the clips of each way some have their frames out of order. 600 clips for each
prompt; broken: more than 0.4 pixels off even motion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, above, at_least
from benchmarks.claims.setting import SURE
from benchmarks.claims.toy_video import DISORDERED as NEGATIVE
from benchmarks.claims.toy_video import SIDE, clips, made, recognised, video_field
from sdeflow import plot
from sdeflow.fields.guided import GuidedField

SUBJECT, CONTROL = NEGATIVE, None  # the negative prompt; None: each clip's own, no guidance
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
        paths[f"w = {w:g}, empty prompt"] = made(GuidedField(asked, none, w), CLIPS, lab.seed)
        paths[f"w = {w:g}, negative"] = made(GuidedField(asked, other, w), CLIPS, lab.seed)
    found = {name: recognised(path[-1]) for name, path in paths.items()}
    share = {name: float(bad.double().mean()) for name, (bad, _) in found.items()}
    good = {name: float((~bad & (to == way)).double().mean()) for name, (bad, to) in found.items()}
    repaired = found["w = 1"][0].double() - found["w = 2, negative"][0].double()
    apart = found["w = 2, negative"][0].double() - found["w = 2, empty prompt"][0].double()
    real, _, shuffled = clips(2000, lab.seed)
    judged = float((recognised(real)[0] == shuffled).double().mean())
    return Finding(
        [
            Check("share of data clips, whole or broken, that are told apart rightly", judged,
                  at_least(0.99), "expected"),
            Check("share broken at w = 1, minus that with the negative prompt at w = 2",
                  repaired.mean(), above(_sure(repaired)), "four standard errors"),
            Check("share broken with the negative prompt minus with the empty one, w = 2",
                  apart.mean(), about(0.0, max(_sure(apart), SURE * 0.005)),
                  "no difference; four standard errors"),
            Check("share whole and as asked, with the negative prompt at w = 2",
                  good["w = 2, negative"], at_least(0.95), "expected"),
        ],
        notes={f"{name}: share broken": value for name, value in share.items()}
        | {f"{name}: share whole and as asked": value for name, value in good.items()},
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
