"""The probability flow gives the log-likelihood of any point
==========================================================

Along the flow dx = v dt the density of a particle changes at the rate d ln p / dt = -div v, so
that ln p(x) = ln p_T(x_T) + int_0^T div v dt. For an exact field the result is known; averaged
over draws of the data, -ln p is their entropy.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
x, t = field.sample(1000, seed=0).double(), field.process.t_min
by_flow = sf.analysis.log_likelihood(field, x, sf.ODESolver("dopri5", rtol=1e-6))
exact = field.log_prob(x, t)

p = field.density(sf.Grid(-4.0, 4.0, (256, 256)), t)
entropy = -float((p.mass.flatten() * p.log_prob(p.grid.centres())).sum())
mean, error = float(-by_flow.mean()), float(by_flow.std()) / 1000**0.5
print(f"entropy {entropy:.4f} nat, by the flow {mean:.4f} +- {error:.4f}")

with sf.plot.figure(venue="neurips", panels=(1, 2), aspect=0.8) as fig:
    left, right = fig.subplots(1, 2)
    sf.plot.colour_bar(left, sf.plot.cloud(left, x, by_flow, 4), "$\\ln p$ by the flow (nat)")
    sf.plot.frame(left, 3.2, unit="data unit")
    right.plot(exact, 1000 * (by_flow - exact), ".", ms=2, color=sf.plot.BLUE)
    right.set(xlabel="$\\ln p$, exact (nat)", ylabel="flow $-$ exact (0.001 nat)")
    print(sf.plot.write(fig, "runs/likelihood.png", {"seed": 0}))
assert (by_flow - exact).abs().max() < 0.005
assert abs(mean - entropy) < 4 * error
