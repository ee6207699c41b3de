"""A film: a cloud is noised and comes back, over its density, with the score
==========================================================================

A frame is drawn for each state that the two paths keep; `angle_times` spaces them so that each
differs about as much from the next. The densities are the exact ones of the field, on a grid. A
GIF needs nothing beside this package, an .mp4 the extra `video`; both say what made them.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
data, grid = field.distribution.sample(500, seed=0), sf.Grid(-5.0, 5.0, (96, 96))
times = sf.processes.angle_times(field.process, 96)
out = sf.SDESolver("heun", times=times.flip(0)).solve(sf.forward(field.process), data, save=7)
back = sf.SDESolver("heun", times=times).solve(sf.reverse(field), out.x[-1], save=7)
print(sf.plot.film([out, back], grid, field, "runs/film.gif", where=4.0, fps=6.0))
assert sf.wasserstein(data, back.x[-1]) < 0.5  # its sampling floor is 0.4
