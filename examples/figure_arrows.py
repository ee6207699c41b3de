"""The score of the data and the velocity of the probability flow, as arrows and as streamlines.

Arrows all have one length, or with `proportional` the length that the field gives them. A field
is drawn by its score, an SDE by its drift the way that its particles move, here towards data. A
function of (x, t) and the values of a probability current on a grid are drawn the same way.
"""

import sdeflow as sf
from sdeflow import plot

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
flow, t, grid = sf.reverse(field, eta=0.0), 0.15, sf.Grid(-4.0, 4.0, (128, 128))
p = field.density(grid, t)
with plot.figure(venue="iclr", panels=(1, 3)) as fig:
    axes = fig.subplots(1, 3)
    for ax, title in zip(axes, ("score", "score, proportional", "probability flow"), strict=True):
        image = plot.density(ax, p, where=3.0)
        ax.set_title(title)
    plot.arrows(axes[0], field, t, 3.0, colour=plot.BLACK)
    plot.arrows(axes[1], field, t, 3.0, colour=plot.BLACK, proportional=True)
    plot.streamlines(axes[2], flow, t, 3.0, colour=plot.BLACK)
    plot.colour_bar(axes, image)
    file = plot.write(fig, "runs/arrows.pdf")

score = field.score(p.mean()[None], t).norm()
print(f"{file}: at the mean of the data the score is {score:.1e}, no arrow has a direction there")
assert score < 1e-3
