"""What the claims work with: the flow-matching lecture's network and recipe, as published."""

import math

import torch

from benchmarks.claims import setting
from benchmarks.claims.setting import CheckerboardNetwork, checkerboard_lecture


def test_checkerboard_network_equals_the_lectures() -> None:
    """2 -> 512 and 512 -> 512 for time, added; five blocks with ReLU; 512 -> 2."""
    network = CheckerboardNetwork()
    block = 512 * 512 + 512
    assert sum(p.numel() for p in network.parameters()) == 3 * 512 + 6 * block + 2 * 512 + 2
    x, t = torch.randn(7, 2), torch.rand(7)
    theirs = 10_000 * (1 - t)  # its time runs from noise to data, in ten thousandths
    falling = torch.exp(-math.log(10_000) / 255 * torch.arange(256.0))
    angle = theirs[:, None] * falling
    h = network.place(x) + network.time(torch.cat([angle.sin(), angle.cos()], 1))
    for k in range(5):
        h = torch.relu(network.blocks[2 * k](h))
    # Angles up to 10^4 in single precision are known to 10^-3.
    assert torch.allclose(network(x, t), -network.out(h), atol=2e-3)


def test_checkerboard_lecture_reproduces_from_its_seed_and_keeps_the_global_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again, other = (checkerboard_lecture(seed, steps=2) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.randn(9, 2)
    assert torch.equal(one.velocity(x, 0.4), again.velocity(x, 0.4))
    assert not torch.equal(one.velocity(x, 0.4), other.velocity(x, 0.4))


def test_checkerboard_lecture_learns_the_exact_velocity_direction() -> None:
    """Mid-way, where it learns first: the path and the target are ours, time and sign."""
    learned, exact = checkerboard_lecture(0, steps=100), setting.exact_on_checkerboard()
    x = setting.FLOW.prior(500, 2, 1)
    v, truth = learned.velocity(x, 0.6).detach(), exact.velocity(x, 0.6)
    assert float((v * truth).sum() / (v.norm() * truth.norm())) > 0.8
