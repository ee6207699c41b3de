"""sdeflow: diffusion as physics."""

from sdeflow.door import SdeflowError
from sdeflow.process import VP, SubVP, VE, EDM, Linear, Cosine, Tabulated, Process, Coefficients
from sdeflow.mixture import Mixture
from sdeflow.network import MLP
from sdeflow.prediction import Prediction
from sdeflow.field import Field, ExactField, EmpiricalField, LearnedField
from sdeflow.sde import (
    SDE,
    forward,
    reverse,
    comoving,
    bridge,
    uniform_times,
    log_snr_times,
    karras_times,
)
from sdeflow.solve import Path, SDESolver, ODESolver
from sdeflow.train import fit, save, load, meter, loss, Recipe, Training, Meter, measured_in, edm_weighting, min_snr, uniform_time, uniform_log_snr, normal_log_snr, logit_normal_time
from sdeflow import datasets, distance
