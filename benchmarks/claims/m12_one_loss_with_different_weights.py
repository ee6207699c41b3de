"""Flow matching, DDPM and EDM have one loss, with different weights on the noise levels.

Says: used by "Stable Diffusion 3, Flux, Movie Gen; simpler than DDPM or EDM" (002, in our words).
Measured: one wrong field is written as four predictions under five noise schedules, and the 20
noise losses are compared at each of four noise levels; that they agree means that the methods
differ only in the weight of each level.
Correction: simpler to write. At one noise level the losses of all predictions and schedules are
one number times a known weight; the methods differ in how much weight each level gets.
Control: without its weight each prediction has a loss of its own.
Source: `prediction_weighting`; the wrong field is that of a spiral 0.8 times as large.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.flow_matching import normals_of, scalar
from benchmarks.claims.loss_weights import NOISE_WEIGHT, PredictingNetwork, draw_weights
from benchmarks.claims.measures import largest
from benchmarks.claims.setting import FLOW, POINTS, SPIRAL
from sdeflow import analysis, training
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.schedules import EDM, VE, VP, Cosine
from sdeflow.training.loss import prediction_weighting

SUBJECT, CONTROL = NOISE_WEIGHT, None  # the weight of the loss
PROCESSES = (FLOW, VP(), Cosine(), EDM(), VE())


def measure(lab: Lab, weighting: training.Weighting | None) -> Finding:
    """The losses of one wrong field, as all predictions under all processes."""
    data, noise = SPIRAL.sample(500, lab.seed, torch.float64), normals_of(lab, 500)
    apart, wrong = [], PointSet(0.8 * POINTS)  # the spiral is larger
    for rho in (0.1, 0.5, 1.0, 3.0):
        values = []
        for p in PROCESSES:
            t = torch.full((500,), analysis.NoiseLevel(rho).t(p), dtype=torch.float64)
            answer = ExactField(p, wrong)
            for row in Prediction:
                told = LearnedField(p, PredictingNetwork(answer, row), row)
                values.append(float(training.loss(told, data, t, noise, weighting).mean()))
        apart.append(largest(values) / min(values) - 1)
    return Finding(
        [
            Check(
                "largest relative difference between the losses of four predictions and five "
                "schedules",
                largest(apart),
                at_most(1e-9),
                "rounding",
            )
        ],
        draw=draw_weights,
        notes={
            f"weight of the {row.value} loss at noise share 0.5": float(
                prediction_weighting(row)(FLOW(scalar(0.5)))
            )
            for row in Prediction
        },
    )
