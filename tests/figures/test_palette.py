"""Schedules and samplers have a look of their own, and the library's curves have it too."""

from figures.palette import SAMPLERS, SCHEDULES, look
from sdeflow import plot


def test_no_two_schedules_share_a_colour_and_none_has_a_floor_s() -> None:
    assert len({*SCHEDULES.values(), plot.GREY}) == len(SCHEDULES) + 1


def test_a_curve_of_a_sampler_looks_the_same_whatever_else_is_drawn() -> None:
    with plot.figure(3.0, 2.0) as fig:
        left, right = fig.subplots(1, 2)
        every = {name: ([4, 8], [0.5, 0.2]) for name in SAMPLERS}
        lines = plot.work_precision(left, every, names=SAMPLERS)
        lines += plot.convergence(right, [4, 8], {"DDIM": [0.5, 0.2]}, names=SAMPLERS)
        forms = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
        assert len(forms) == len(SAMPLERS)
        for line in lines:
            assert (line.get_color(), line.get_marker()) == look(str(line.get_label()))
