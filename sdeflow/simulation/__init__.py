"""Simulate clouds of any size in chunks, on many processes, and reduce them as they come.

simulate(sde, start, n, reduce=[...])    move n particles; memory does not grow with n
Histogram, Moments, Quantiles            what is kept of the last cloud
Values(function, reducer), Keep          any observable of a path; every k-th particle
Reducer                                  derive your own from it
open_cloud("cloud.zarr")                 a cloud that is larger than memory
"""

from sdeflow.simulation.cloud_file import CloudFile, open_cloud
from sdeflow.simulation.moments import CloudMoments, Moments
from sdeflow.simulation.quantiles import Quantiles
from sdeflow.simulation.reducers import Histogram, Keep, Reducer, Values
from sdeflow.simulation.simulate import simulate

__all__ = [
    "simulate", "Reducer", "Histogram", "Moments", "CloudMoments", "Quantiles", "Values", "Keep",
    "open_cloud", "CloudFile",
]  # fmt: skip
