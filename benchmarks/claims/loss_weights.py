"""Compare the weights of losses over the noise levels, with a field in place of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.claims.setting import FLOW
from sdeflow import plot
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.schedules import EDM
from sdeflow.processes.tabulated import Tabulated
from sdeflow.training.loss import edm_weighting, normal_log_snr, prediction_weighting, uniform_time

NOISE_WEIGHT = prediction_weighting(Prediction.NOISE)


class PredictingNetwork(nn.Module):
    """A network that returns one prediction of a field."""

    def __init__(self, field: Field, row: Prediction) -> None:
        super().__init__()
        self.field, self.row = field, row

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The prediction (n, d) at x (n, d) and t (n,)."""
        return self.field.predict(self.row, x, t)


def draw_weights(fig: plot.Figure) -> None:
    """Draw the weight of the noise loss over ln SNR for flow matching, DDPM and EDM."""
    ax = fig.subplots()
    u = torch.sigmoid(torch.linspace(-12, 12, 4001, dtype=torch.float64))
    velocity = prediction_weighting(Prediction.VELOCITY)
    for p, density, weight, name, colour in (
        (FLOW, uniform_time, velocity, "flow matching", plot.BLUE),
        (Tabulated.ddpm(), uniform_time, NOISE_WEIGHT, "DDPM, simple", plot.GREEN),
        (EDM(), normal_log_snr(), edm_weighting(0.5), "EDM", plot.VERMILION),
    ):
        t = density(p, u)
        snr = p.log_snr(t)
        share = weight(p(t)) * torch.gradient(u)[0] / torch.gradient(snr)[0].abs()
        ax.semilogy(snr, share / share[snr.abs().argmin()], color=colour, label=name)
    ax.set(xlabel=r"$\ln$ SNR", xlim=(-8, 8), ylim=(1e-2, 1e2))
    ax.set_ylabel("weight of the noise loss (1 at SNR 1)")
    ax.legend(loc="upper right")
