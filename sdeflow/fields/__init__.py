"""Estimate clean data and noise from a noisy point: exactly, by a network, or with guidance."""

from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, Pairs
from sdeflow.fields.guided import GuidedField, scale_from_strength, strength_from_scale
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.loss_guided import LossGuidedField
from sdeflow.fields.networks import MLP, TimeInput
from sdeflow.fields.prediction import Prediction
from sdeflow.fields.unet import UNet
from sdeflow.fields.vector_mlp import VectorMLP

__all__ = [
    "Prediction",
    "Field",
    "Pairs",
    "ExactField",
    "LearnedField",
    "GuidedField",
    "LossGuidedField",
    "scale_from_strength",
    "strength_from_scale",
    "MLP",
    "UNet",
    "VectorMLP",
    "TimeInput",
]
