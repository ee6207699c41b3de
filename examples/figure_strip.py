"""A strip of densities on their way from noise to data, as wide as the text of a NeurIPS paper.

The Fokker-Planck equation of the reverse SDE moves the density of the noise; `angle_times` spaces
the frames so that the density changes about as much from each to the next. All panels share one
window and one scale of colours, whose bar names the unit of p.
"""

import sdeflow as sf
from sdeflow import plot

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
sde, grid = sf.reverse(field), sf.Grid(-5.0, 5.0, (96, 96))
times = sf.processes.angle_times(field.process, 9)[::3]
strip = sf.evolve(sde, field.density(grid, sde.t_start), times)
with plot.figure(venue="neurips", panels=(1, 4)) as fig:
    axes = fig.subplots(1, 4)
    for ax, t, p in zip(axes, times, strip.densities, strict=True):
        image = plot.density(ax, p, where=3.0, vmax=plot.peak(strip[-2]))
        ax.set_title(f"$t$ = {t:.2g}")
    plot.colour_bar(axes, image)
    file = plot.write(fig, "runs/strip.pdf", {"seed": 0})

apart = strip[-1].total_variation(field.density(grid, sde.t_end))
print(f"{file}: the last density is {apart:.1e} (total variation) from that of the data")
assert apart < 0.02
