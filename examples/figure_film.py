"""A film: a cloud is noised and comes back, over its density, with the score as arrows.

A frame is drawn for each state that the two paths keep; `angle_times` spaces them so that each
differs about as much from the next. The densities are those of the same SDEs. A GIF needs nothing
beside this package, an .mp4 the extra `video`; `sdeflow provenance FILE` says what made it.
"""

import sdeflow as sf
from sdeflow import plot

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
out, back = sf.forward(field.process), sf.reverse(field)
times, grid = sf.processes.angle_times(field.process, 96), sf.Grid(-5.0, 5.0, (96, 96))
data = field.distribution.sample(500, seed=0)
there = sf.SDESolver("heun", times=times.flip(0)).solve(out, data, save=7)
home = sf.SDESolver("heun", times=times).solve(back, there.x[-1], save=7)
densities = [
    sf.evolve(sde, field.density(grid, path.t[0]), path.t)
    for sde, path in ((out, there), (back, home))
]
file = plot.film([there, home], densities, field, "runs/film.gif", where=4.0, fps=6.0)

apart = densities[1][-1].total_variation(densities[0][0])
print(f"{file}: the density comes back to {apart:.1e} (total variation) of where it began")
assert apart < 0.02
