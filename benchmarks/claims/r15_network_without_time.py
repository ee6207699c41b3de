"""Without its time input the network samples at least twice as badly.

Says: conditioning on time is "essential in practice" (000).
Measured: two networks are trained alike, one of them without the time; the ratio of the distances
W2 of their DDPM clouds to the data says how much a network needs to know the noise level.
Control: both networks have the time.
Source: the lecture's recipe for both; 500 particles, DDPM in 63 steps. Information is missing, not
training: the best possible field without the time fails too, because in two dimensions x says
little about its own noise.
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_least
from benchmarks.claims.setting import WIDE, LectureNetwork, chain, lecture_field, lecture_network
from benchmarks.claims.spiral_samplers import clouds, data
from benchmarks.claims.timeless import BestTimelessField, Timeless, timeless_field
from sdeflow import diagnostics
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import ancestral

SUBJECT, CONTROL = Timeless, LectureNetwork  # the network without the time
SLOW = True
MADE = {
    Timeless: ("spiral-timeless", timeless_field),
    LectureNetwork: ("spiral-lecture", lecture_field),
}


def measure(lab: Lab, kind: type[LectureNetwork]) -> Finding:
    """Distance of both networks' clouds to the data."""
    without, timed = (
        _cloud(lab.trained(*MADE[k], network=lecture_network(kind=k)), 500, lab.seed)
        for k in (kind, LectureNetwork)
    )
    best = _cloud(BestTimelessField(WIDE), 200, lab.seed)
    missed, timed_missed = _missed(without, lab.seed), _missed(timed, lab.seed)
    return Finding(
        [
            Check(
                "W2 to the data without the time / with it",
                missed / timed_missed,
                at_least(2.0),
                "asked for",
            )
        ],
        notes={
            "W2 with time": timed_missed,
            "W2 without time": missed,
            "W2 of the best field without time (200 particles)": _missed(best, lab.seed),
        },
        draw=lambda fig: clouds(fig, {"with time": timed, "without": without}, 3.0),
        size=(3.4, 1.9),
    )


def _cloud(field: Field, n: int, seed: int) -> Tensor:
    """DDPM's cloud (n, 2) in 63 steps."""
    return chain(ancestral(field), n, seed=seed).x[-1]


def _missed(x: Tensor, seed: int) -> float:
    """W2 to as many data."""
    return diagnostics.wasserstein(x, data(len(x), seed + 900))
