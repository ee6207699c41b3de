"""Choose how data are noised: a noise schedule (alpha, sigma), and time grids for its solvers."""

from sdeflow.processes.process import Coefficients, Process
from sdeflow.processes.schedules import EDM, VE, VP, Cosine, Linear, SubVP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.processes.time_grids import angle_times, karras_times, log_snr_times, uniform_times

__all__ = [
    "Process",
    "Coefficients",
    "VP",
    "SubVP",
    "VE",
    "EDM",
    "Linear",
    "Cosine",
    "Tabulated",
    "uniform_times",
    "log_snr_times",
    "karras_times",
    "angle_times",
]
