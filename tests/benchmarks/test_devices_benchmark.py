"""The benchmark of devices counts the operations of a network, and runs where there is no GPU."""

import pytest
import torch

import sdeflow as sf
from benchmarks import devices
from tests.fake_device import FAKE, FakeDevice


def test_operations_are_those_of_the_matrix_products() -> None:
    depth, width, waves = 3, 40, 12
    network = sf.MLP(width=width, depth=depth, waves=waves)
    inputs = network.first.in_features
    by_hand = 2 * (2 * waves + inputs * width + (depth - 1) * width**2 + width * 2)
    # The condition is computed once for a cloud, so its product is counted by 256 particles.
    assert devices.operations(network) == pytest.approx(by_hand, rel=0.02)


def test_a_run_on_a_device_has_the_noise_that_is_timed_beside_it() -> None:
    places = {}
    for place in ("cpu", "device"):
        with FakeDevice(), torch.no_grad():
            made = devices.parts(FAKE, sf.MLP(width=8, depth=1, waves=2), place, 300)
            path, noise = made["run"](), made["noise"]()
            assert (path.x.device, noise.device) == (FAKE, FAKE)
            places[place] = noise.cpu()
            assert path.nfe == devices.CALLS
            assert made["network"]().shape == (300, 2)
    assert not places["cpu"].equal(places["device"])


def test_a_table_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "SIZE", 256)
    for row, (depth, width) in zip(
        devices.measured(torch.device("cpu"), 1024, 2), devices.NETWORKS, strict=True
    ):
        operations = devices.CALLS * devices.operations(sf.MLP(width=width, depth=depth))
        done = row["share of peak"] * row["peak TFLOP per second"] * 1e12
        assert done == pytest.approx(operations * row["particles per second"])
