"""One thread and repeatable examples for every test, and the fixtures."""

import hypothesis
import pytest
import torch

import sdeflow as sf
from tests.problems import PROCESSES, lopsided

torch.set_num_threads(1)
hypothesis.settings.register_profile("sdeflow", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("sdeflow")


@pytest.fixture(params=PROCESSES.values(), ids=PROCESSES.keys())
def process(request: pytest.FixtureRequest) -> sf.processes.Process:
    """Every process, with the constants it comes with."""
    return request.param


@pytest.fixture
def mixture() -> sf.GaussianMixture:
    """See `lopsided`; in float64."""
    return lopsided()
