"""Is this cloud a sample of that density? The cloud, the density, and where they differ.

Too few steps of Euler's method leave particles that the test rejects. The residual is (count -
expected) / sd in each bin, so that chance alone gives numbers near 1 and the colours show where
the step is wrong. The p-value is that of the whole cloud.
"""

import sdeflow as sf
from sdeflow import plot

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
noise, grid = field.process.prior(10_000, 2, seed=0), sf.Grid(-4.0, 4.0, (96, 96))
x = sf.SDESolver("euler", steps=24, seed=0).solve(sf.reverse(field), noise).x[-1]
p = field.density(grid, field.process.t_min)
verdict = sf.check_density(x, p)
with plot.figure(venue="cvpr", columns=2, panels=(1, 3)) as fig:
    axes = fig.subplots(1, 3)
    plot.cloud(axes[0], x, label="cloud", size=0.5)
    plot.frame(axes[0], 3.2, "Euler, 24 steps")
    axes[1].set_title("exact density")
    plot.colour_bar(axes[1], plot.density(axes[1], p, where=3.2))
    plot.colour_bar(axes[2], plot.residual(axes[2], verdict, p, where=3.2))
    axes[2].set_title("p < 0.001" if verdict.p_value < 1e-3 else f"p = {verdict.p_value:.2g}")
    print(plot.write(fig, "runs/verdict.pdf", {"seed": 0}), verdict)
assert not verdict.passed()
