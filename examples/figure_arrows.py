"""The score of the data and the velocity of the probability flow as arrows
========================================================================

Arrows all have one length, or with `proportional` the length that the field gives them. A field
is drawn by its score, an SDE by its drift the way that its particles move, here towards data. A
function of (x, t) and the values of a probability current on a grid are drawn the same way.
"""

import sdeflow as sf

field, t = sf.ExactField(sf.VP(), sf.datasets.ring().distribution), 0.15
p = field.density(sf.Grid(-4.0, 4.0, (128, 128)), t)
with sf.plot.figure(venue="iclr", panels=(1, 2)) as fig:
    left, right = sf.plot.strip(fig, {"score": p, "probability flow": p}, where=3.0)
    sf.plot.arrows(left, field, t, colour=sf.plot.BLACK)
    sf.plot.streamlines(right, sf.reverse(field, eta=0.0), t, colour=sf.plot.BLACK)
    print(sf.plot.write(fig, "runs/arrows.pdf"))
assert field.score(p.mean()[None], t).norm() < 1e-3  # where no arrow has a direction
