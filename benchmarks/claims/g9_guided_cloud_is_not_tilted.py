"""The density of guided samples can be computed: it is neither the class's nor the tilted one.

Says: "guidance works remarkably well" (000, 003, in our words).
Measured: for two Gaussians the density of guided samples is computed on a grid, compared with the
tilted density p(x) p(c | x)^w, and a cloud must pass a test against it; fidelity and coverage show
what guidance gains and loses.
Correction: guidance works for what it aims at. With exact fields more and more of the samples are
typical of their class, until they overshoot, and ever less of the class is covered. Nothing needed
repair: for the spiral's people W2 only grows. And the samples do not come from p(x) p(c | x)^w, as
is often said.
Control: guidance the other way, half as strong.
Source: `guided_law` on two Gaussians, where all three densities are known; the guided cloud passes
against its density at every scale.
"""

from __future__ import annotations

from itertools import pairwise

from benchmarks.claims.claim import Check, Finding, Lab, above
from benchmarks.claims.guided_classes import ends, even_sample, fresh_distance
from benchmarks.claims.guided_halves import LINE, draw_three, guided_right
from benchmarks.claims.setting import PERSON, SURE, exact
from sdeflow import diagnostics
from sdeflow.analysis.guidance import guided_law
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.fields.guided import GuidedField

SUBJECT, CONTROL = 1.0, -0.5  # what multiplies that which guidance adds


def _people(scale: float, seed: int) -> float:
    """W2 from 240 guided samples of the spiral's people to its points, with exact fields."""
    x = ends(GuidedField(exact().given(PERSON), exact(), scale), 240, seed)
    return diagnostics.wasserstein(x, even_sample(PERSON, 240))


def measure(lab: Lab, push: float) -> Finding:
    """The guided density beside the class's and the tilted one, and W2 of the spiral's people."""
    runs = [
        guided_law(guided_right(1 + push * s), LINE, n=4000, steps=120, seed=lab.seed + i)
        for i, s in enumerate((0.0, 0.25, 0.5, 1.0, 2.0))
    ]
    last, covered = runs[-1], [a.coverage for a in runs]
    far, error = last.from_tilted
    sampling_floor, sd = last.verdict.sampling_floor
    fresh, spread = fresh_distance(PERSON, 240, lab.seed)
    noisy = guided_law(guided_right(last.scale), LINE, eta=1.0, n=500, steps=120, seed=lab.seed)
    plain, pushed = (_people(w, lab.seed) for w in (1.0, 1 + push * 10))
    return Finding(
        [
            Check("total variation between the guided and the tilted density, w = 3",
                  far, above(sampling_floor + SURE * sd + error),
                  "sampling floor of 4000, four deviations, and the number's own error"),
            Check("smallest p-value of a guided cloud against its density, after Holm",
                  min(holm([a.verdict.p_value for a in runs])), above(1e-3),
                  "level of the test"),
            Check("spiral's people, exact field: W2 at w = 11", pushed,
                  above(plain + SURE * spread),
                  "W2 without guidance, and four deviations of fresh data"),
            Check("highest fidelity with guidance", max(a.fidelity for a in runs[1:]),
                  above(runs[0].fidelity), "fidelity without guidance"),
            Check("smallest fall of coverage from one scale to the next",
                  min(a - b for a, b in pairwise(covered)), above(0.0), "it falls"),
        ],
        draw=lambda fig: draw_three(fig, runs),
        size=(3.4, 4.2),
        notes={
            "error of the total variation to the tilted density": error,
            "total variation to the class's own density": last.from_conditional[0],
            "total variation between the guided densities of eta 0 and 1":
                last.guided.total_variation(noisy.guided),
            "spiral's people, exact field: W2 without guidance": plain,
            "spiral's people: W2 of fresh data": fresh,
        }
        | {f"w = {a.scale:g}: fidelity": a.fidelity for a in runs}
        | {f"w = {a.scale:g}: coverage": a.coverage for a in runs},
    )  # fmt: skip
