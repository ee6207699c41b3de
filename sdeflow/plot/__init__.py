"""Draw clouds, paths, densities, fields, verdicts and benchmarks for print, and films.

    with plot.figure(3.4, 2.6) as fig:
        plot.cloud(fig.subplots(), x)
        plot.write(fig, "cloud.png")

Every function (ax, thing) -> artist draws one thing on the axes that it is given, in the units of
the data; `strip` and `comparison` make the panels of an empty figure. Clouds are tensors, arrays
or paths, of which the last state is drawn. Colours are those of Okabe and Ito (2008), which
colour-blind readers can tell apart; sizes are for print at column width. Figures are made with
`figure`, not with pyplot, so no global state changes. Only this package imports matplotlib.
"""

from sdeflow.plot.benchmarks import convergence, work_precision
from sdeflow.plot.clouds import cloud
from sdeflow.plot.densities import density, tube
from sdeflow.plot.fields import arrows, streamlines
from sdeflow.plot.film import film
from sdeflow.plot.panels import Window, colour_bar, frame, peak, window
from sdeflow.plot.paths import trails, trajectories
from sdeflow.plot.pictures import pictures
from sdeflow.plot.strips import comparison, paths, strip
from sdeflow.plot.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VENUES,
    VERMILION,
    YELLOW,
    Figure,
    figure,
    write,
)
from sdeflow.plot.verdicts import distances, error_budget, loss_levels, residual

__all__ = [
    "figure", "write", "window", "peak", "frame", "colour_bar", "cloud", "pictures", "trails",
    "trajectories", "density", "tube", "arrows", "streamlines", "film", "residual", "distances",
    "loss_levels", "strip", "paths", "comparison", "error_budget", "work_precision", "convergence",
    "Window", "Figure", "VENUES", "STYLE", "BLACK", "ORANGE", "SKY", "GREEN", "YELLOW", "BLUE",
    "VERMILION", "PURPLE", "GREY",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
