"""Guided samples end neither in the class nor in the tilted density
=================================================================

Guidance replaces eps_hat by eps_u + w (eps_c - eps_u). At one noise level this is the score of
p_c (p_c / p_u)^(w - 1), but tilting and noising do not commute: particles end in the density that
the Fokker-Planck equation of the guided flow gives, and in no other.
"""

import torch

import sdeflow as sf

data = sf.GaussianMixture.isotropic(torch.tensor([[-1.0], [1.0]]), 0.7)  # two classes that overlap
every = sf.ExactField(sf.VP(), data)
guided = sf.GuidedField(every.given(1), every, scale=4.0)
result = sf.analysis.guided_law(guided, sf.Grid(-8.0, 8.0, (1024,)), n=10_000, seed=0)
print(result)

with sf.plot.figure(venue="prl") as fig:
    ax = fig.subplots()
    sf.plot.cloud(ax, result.cloud, label="guided particles")
    curves = {"class": sf.plot.GREY, "tilted": sf.plot.VERMILION, "guided": sf.plot.BLUE}
    for name, p in zip(curves, (result.conditional, result.tilted, result.guided), strict=True):
        sf.plot.density(ax, p, sf.plot.Window(-2.5, 5.0), colour=curves[name]).set_label(name)
    ax.legend()
    print(sf.plot.write(fig, "runs/guidance.png", {"seed": 0}))
assert result.verdict.passed()
assert not sf.check_density(result.cloud, result.tilted).passed()
