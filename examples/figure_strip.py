"""A strip of densities from noise to data, as wide as a paper's text
==================================================================

The Fokker-Planck equation of the reverse SDE moves the density of the noise; `angle_times` spaces
the frames so that the density changes about as much from each to the next. All panels share one
window and one scale of colours, logarithmic over two decades, whose bar names the unit of p.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
times, grid = sf.processes.angle_times(field.process, 9)[::3], sf.Grid(-5.0, 5.0, (96, 96))
strip = sf.evolve(sf.reverse(field), field.density(grid, 1.0), times)
with sf.plot.figure(venue="neurips", panels=(1, 4)) as fig:
    sf.plot.strip(fig, strip, where=3.0, decades=2.0)
    print(sf.plot.write(fig, "runs/strip.pdf", {"seed": 0}), strip)
assert strip[-1].total_variation(field.density(grid, field.process.t_min)) < 0.02
