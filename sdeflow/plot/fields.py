"""Draw fields as arrows."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver

from sdeflow._validation import check_int, check_kind, check_positive
from sdeflow.fields.field import Field
from sdeflow.plot.style import GREY, Colour, check_axes, check_colour


def arrows(
    ax: Axes, field: Field, t: float, half: float, nodes: int = 13, colour: Colour = GREY
) -> Quiver:
    """Directions of the score on the square [-half, half]^2 at time t, all of one length.

    Raises:
        ValueError: the field is not one of the plane.
    """
    check_axes(ax)
    colour = check_colour(colour)
    check_kind(field, Field, "field", "ExactField")
    if field.dim not in (None, 2):
        raise ValueError(f"arrows stand in a plane, the field has dimension {field.dim}")
    half, nodes = check_positive(half, "half"), check_int(nodes, "nodes", 2)
    grid = torch.cartesian_prod(*[torch.linspace(-half, half, nodes)] * 2)
    with torch.no_grad():
        toward = torch.nn.functional.normalize(-field.noise(grid, t), dim=1).cpu().numpy()
    return ax.quiver(
        *grid.T.numpy(), *toward.T, color=colour, scale=1.4 * nodes,
        width=0.006, headwidth=4, pivot="mid", zorder=0,
    )  # fmt: skip
