"""Draw the paths of particles."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sdeflow._validation import check_kind, check_labels
from sdeflow.plot.style import GREY, Colour, check_axes, check_colour
from sdeflow.solvers.path import Path


def trails(ax: Axes, path: Path, particles: Sequence[int], colour: Colour = GREY) -> list[Line2D]:
    """The paths of a few particles, one thin line each: in the plane, or x(t) in one dimension.

    Raises:
        TypeError, ValueError: path is no `Path`, or has more than two coordinates.
    """
    check_axes(ax)
    colour = check_colour(colour)
    check_kind(path, Path, "path", "solvers")
    n, d = path.x.shape[1:]
    if d > 2:
        raise ValueError(f"path has {d} coordinates, trails show two; choose them")
    chosen = check_labels(particles, "particles", n - 1).reshape(-1)
    x = path.x[:, chosen].detach().cpu().numpy()
    across = x[:, :, 0] if d == 2 else path.t.cpu().numpy()
    return ax.plot(across, x[:, :, -1], color=colour, lw=0.5, alpha=0.8, rasterized=True)
