"""Move densities under an SDE on a grid; compute currents, long times and samplers' densities."""

from sdeflow.fokker_planck.current import probability_current
from sdeflow.fokker_planck.density_path import REFUSE, DensityPath, Diagnostics
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.field_table import FieldTable, tabulate_field
from sdeflow.fokker_planck.markov import MarkovGenerator, markov_generator
from sdeflow.fokker_planck.rescaling import Rescaling, rescale
from sdeflow.fokker_planck.sampler import sampler_density

__all__ = [
    "evolve",
    "DensityPath",
    "Diagnostics",
    "REFUSE",
    "Rescaling",
    "rescale",
    "FieldTable",
    "tabulate_field",
    "probability_current",
    "sampler_density",
    "MarkovGenerator",
    "markov_generator",
]
