"""The path is the straight line from noise to data, and its velocity is data minus noise.

Says: a linear interpolation, "t 0 = noise, t 1 = data", its derivative "x1 - x0" (002, in our
words).
Measured: the slope of the noised path over a quarter of its length is compared with data minus
noise; for a straight line at constant speed the two are equal to rounding.
Correction: the lecture's time runs against that of the other lectures, where t = 0 is data. Read
in one direction of time, the two agree.
Control: the lecture's t is taken for ours, not reversed.
Source: a difference over a quarter of the path, which for a straight line is exact.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.flow_matching import Times, normals_of, reversed_time, same_time, scalar
from benchmarks.claims.measures import largest
from benchmarks.claims.setting import CHECKERBOARD, FLOW
from sdeflow.fields.prediction import Prediction, encode

SUBJECT, CONTROL = reversed_time, same_time  # our time as a function of the lecture's


def measure(lab: Lab, our_time: Times) -> Finding:
    """The slope of the path over a quarter of it, against x1 - x0."""
    noise, data = normals_of(lab, 1000), CHECKERBOARD.sample(1000, lab.seed, torch.float64)
    starts, h = (0.1, 0.3, 0.6), 0.25
    off = []
    for t in starts:
        near, far = (FLOW.perturb(data, our_time(scalar(s)), noise) for s in (t, t + h))
        off.append(float(((far - near) / h - (data - noise)).abs().max()))
    row = encode(Prediction.VELOCITY.row(FLOW(scalar(0.5))), data, noise)
    rounding = 16 * torch.finfo(torch.float64).eps * float(data.abs().max()) / h
    return Finding(
        [
            Check(
                "largest difference between the path's slope and x1 - x0",
                largest(off),
                at_most(rounding),
                "rounding",
            )
        ],
        notes={
            "largest difference between x1 - x0 and minus our velocity row": float(
                (row + data - noise).abs().max()
            )
        },
    )
