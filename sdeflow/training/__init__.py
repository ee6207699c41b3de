"""Train a network to be a field: the loss, the training loop, checkpoints."""

from sdeflow.training.checkpoint import load, save
from sdeflow.training.coupling import Coupling, optimal_transport
from sdeflow.training.fit import Training, fit
from sdeflow.training.loss import (
    LossReport,
    TimeDensity,
    Weighting,
    edm_weighting,
    log_uniform_noise,
    logit_normal_time,
    loss,
    loss_decomposition,
    min_snr,
    normal_log_snr,
    prediction_weighting,
    uniform_log_snr,
    uniform_time,
)
from sdeflow.training.task import TrainingConfig

__all__ = [
    "Weighting", "TimeDensity", "Training", "TrainingConfig", "fit", "Coupling",
    "optimal_transport", "LossReport", "loss_decomposition", "loss", "prediction_weighting",
    "edm_weighting", "min_snr", "uniform_time", "uniform_log_snr", "log_uniform_noise",
    "normal_log_snr", "logit_normal_time", "load", "save",
]  # fmt: skip
