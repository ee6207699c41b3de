"""The network: what it can depend on, and that it is a function of its config."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow._blocks import ROWS
from tests.problems import randn


def stirred(scale: float = 0.5, **config: object) -> sf.MLP:
    """A network whose weights are all at work, the last layer too."""
    network = sf.MLP(**{"width": 16, "depth": 2, "waves": 12, **config}).eval()
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(scale * torch.randn(p.shape, generator=g))
    return network


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def cloud(n: int = ROWS, d: int = 2) -> Tensor:
    return randn(n, d, dtype=torch.float32)


@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize("waves", [0, 12])
def test_conditioning_once_is_conditioning_each(labels: int, waves: int) -> None:
    """One noise level for all, a level each, and the body on its own: the same function."""
    network, x = stirred(labels=labels, waves=waves), cloud(50)
    c = torch.tensor(-0.3)
    for label in (None, *range(labels)):
        given = None if label is None else torch.tensor(label)
        each = None if label is None else given.expand(50)
        one = network(x, c, given)
        assert torch.allclose(network(x, c.expand(50), each), one, rtol=1e-5, atol=1e-5)
        assert torch.equal(network.body(x, network.condition(c, given)), one)
    # Rows do not see each other.
    alone = torch.cat([network(x[i : i + 1], c) for i in range(50)])
    assert torch.allclose(alone, network(x, c), rtol=1e-5, atol=1e-5)


def test_noise_and_position_both_count() -> None:
    network, x = stirred(), cloud(50)
    assert (
        float((network(x, torch.tensor(0.1)) - network(x, torch.tensor(0.4))).abs().max()) > 0.01
    )
    c = torch.linspace(-1, 1, 50)
    alone = torch.cat([network(x[i : i + 1], c[i]) for i in range(50)])
    assert torch.allclose(network(x, c), alone, rtol=1e-5, atol=1e-5)


def test_damping_is_what_noise_leaves_of_a_wave() -> None:
    """E cos(k . (x + s z)) = damping cos(k . x), s the share of noise in x_t: by Monte Carlo."""
    network = sf.MLP(waves=20, finest=30.0)
    n = 20_000
    z = randn(n, 2, seed=1)
    for c in (-1.5, -0.7, -0.2, 0.1):
        r = math.exp(4 * c)  # sigma / (alpha data_std)
        s = r / math.hypot(1.0, r)  # and in units of the whole spread of x_t
        left = torch.cos(s * (z @ network.vectors.double())).mean(0)
        damping = network.condition(torch.tensor(c))[1][0]
        assert float((left - damping).abs().max()) < 4.5 * math.sqrt(0.5 / n), c


def test_no_fine_detail_at_large_noise() -> None:
    """Waves finer than the noise are gone: the output bends no faster than the noise allows."""
    network, x = stirred(finest=60.0), cloud(200)
    fine = copy.deepcopy(network)
    short = fine.vectors.norm(dim=0) > 8
    assert 4 <= int(short.sum()) < 12
    with torch.no_grad():
        fine.vectors[:, short] *= 1.3  # other fine waves, at other phases
    # s -> 1 at large noise: of a wave beyond k = 8 less than e^-32 is left.
    noisy, clean = torch.tensor(1.0), torch.tensor(-1.5)
    assert torch.equal(network(x, noisy), fine(x, noisy))
    assert float((network(x, clean) - fine(x, clean)).abs().max()) > 0.01


def test_wave_numbers_run_from_the_cloud_to_the_finest_detail() -> None:
    network = sf.MLP(dim=3, waves=40, finest=25.0)
    k = network.vectors.norm(dim=0)
    assert float(k.min()) == pytest.approx(0.5, rel=1e-5)
    assert float(k.max()) == pytest.approx(25.0, rel=1e-5)
    ratios = k[1:] / k[:-1]
    assert torch.allclose(ratios, ratios[0].expand(39), rtol=1e-4)  # log-uniform
    # Directions are no preference: their mean is short, its square 1 / 40 on average.
    assert float((network.vectors / k).mean(1).norm()) < 3 / math.sqrt(40)


def test_training_starts_from_a_constant() -> None:
    """Zero last weights: the first output does not depend on where or when."""
    out = sf.MLP(seed=5)(cloud(40), torch.linspace(-1, 1, 40))
    assert torch.equal(out, out[:1].expand(40, 2))
    # With preconditioning a small unit row: the field is the linear one of a Gaussian, nearly.
    assert float(out.abs().max()) < 0.2


def test_labels_have_a_row_each_and_one_more_for_none() -> None:
    network, x = stirred(labels=3), cloud(30)
    c = torch.tensor(0.0)
    outs = [network(x, c, torch.tensor(k)) for k in range(4)]
    for i in range(4):
        for j in range(i):
            assert float((outs[i] - outs[j]).abs().max()) > 0.01
    assert torch.equal(network(x, c), outs[3])  # no label is label 3
    mixed = torch.arange(30) % 4
    one_by_one = torch.stack([outs[k][i] for i, k in enumerate(mixed.tolist())])
    assert torch.allclose(network(x, c, mixed), one_by_one, rtol=1e-5, atol=1e-5)
    assert sf.MLP(labels=0).label is None


def test_weights_are_a_function_of_the_config() -> None:
    before = torch.get_rng_state()
    a = sf.MLP(width=8, depth=3, waves=5, labels=2, seed=7)
    torch.manual_seed(1)
    b = sf.MLP(**a.config)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert torch.equal(a.vectors, b.vectors)
    other = sf.MLP(**{**a.config, "seed": 8})
    assert not torch.equal(a.first.weight, other.first.weight)
    assert not torch.equal(a.vectors, other.vectors)
    torch.set_rng_state(before)
    sf.MLP(seed=9)
    assert torch.equal(torch.get_rng_state(), before)  # and global chance is left alone


def test_the_shape_is_what_was_asked_for() -> None:
    for depth, width, dim in ((1, 4, 1), (3, 6, 5)):
        network = sf.MLP(dim=dim, width=width, depth=depth, waves=3)
        assert network(cloud(7, dim), torch.tensor(0.0)).shape == (7, dim)
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
        assert len(layers) == depth + 2  # hidden, the last one, and the noise's
    assert sum(p.numel() for p in sf.MLP(2, 8, 2, waves=0).parameters()) == (
        2 * 8 + 8 + 11 * 8 + 8 * 8 + 8 + 8 * 2 + 2
    )


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"dim": 0}, ValueError),
        ({"width": 0}, ValueError),
        ({"depth": 0}, ValueError),
        ({"waves": -1}, ValueError),
        ({"labels": -1}, ValueError),
        ({"finest": 0.0}, ValueError),
        ({"finest": math.inf}, ValueError),
        ({"width": 2.5}, TypeError),
        ({"labels": True}, TypeError),
        ({"seed": 0.5}, TypeError),
    ],
)
def test_bad_sizes_are_refused(bad: dict, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(bad))} must be"):
        sf.MLP(**bad)


# -------------------------------------------------------------------------- three ways to be told

ways = pytest.mark.parametrize("how", ["add", "append", "attend"])


@ways
def test_every_way_in_is_one_function(how: str) -> None:
    """A label for all, a label each, noise and label beforehand, bound: the same, row by row."""
    network, x, c = stirred(labels=3, how=how), cloud(60), torch.tensor(-0.3)
    bound = network.bound(60)
    for label in range(4):
        given = torch.tensor(label)
        one = network(x, c, given)
        each = network(x, c, given.expand(60))
        page = network.condition(torch.tensor([0.7, -0.3, 0.2]), given)
        known = tuple(part[1:2] for part in page)
        for other in (
            each,
            network(x, c.expand(60), given),
            network.body(x, known),
            bound(x, known),
        ):
            assert torch.allclose(other, one, rtol=1e-4, atol=1e-4)
    mixed = torch.arange(60) % 4
    levels = torch.linspace(-1, 1, 60)
    alone = torch.cat([network(x[i : i + 1], levels[i], mixed[i]) for i in range(60)])
    assert torch.allclose(network(x, levels, mixed), alone, rtol=1e-4, atol=1e-4)


@ways
def test_labels_count_and_no_label_is_one_of_them(how: str) -> None:
    network, x, c = stirred(labels=3, how=how), cloud(60), torch.tensor(-0.3)
    said = [network(x, c, torch.tensor(k)) for k in range(4)]
    for j in range(4):
        for k in range(j):
            assert float((said[j] - said[k]).abs().max()) > 0.05
    assert torch.equal(network(x, c), said[3])


def test_appending_is_concatenation() -> None:
    """The first layer on [features, e], its columns side by side: columns by hand."""
    network, x, c = stirred(labels=3, how="append"), cloud(50), torch.tensor(-0.3)
    label = torch.arange(50) % 3
    table, columns = network.label
    whole = torch.nn.Linear(2 + 24 + table.embedding_dim, 16)
    whole.weight.copy_(torch.cat([network.first.weight, columns.weight], 1))
    whole.bias.copy_(network.first.bias)
    damping = network.condition(c)[1]
    phase = x @ network.vectors
    features = [x, damping * phase.sin(), damping * phase.cos(), table(label)]
    c = c.reshape(1, 1)
    waves = torch.cat([c, torch.sin(c * network.octaves), torch.cos(c * network.octaves)], 1)
    h = torch.nn.functional.silu(whole(torch.cat(features, 1)) + network.noise(waves))
    want = network.last(network.hidden(h))
    assert torch.allclose(network(x, c[0, 0], label), want, rtol=1e-5, atol=1e-5)


def test_attending_is_attention() -> None:
    """Against torch's own; and what a particle finds depends on where it is, not on its label."""
    network, h = stirred(labels=3, how="attend"), randn(50, 16, dtype=torch.float32)
    label = torch.arange(50) % 4
    keys, values = network.label(label)
    found = network.label.look_up(h, keys, values)
    query = network.label.query(h)[:, None]
    want = torch.nn.functional.scaled_dot_product_attention(query, keys, values)[:, 0]
    assert torch.allclose(found, want, rtol=1e-5, atol=1e-5)
    assert (found <= values.amax(1) + 1e-5).all()
    assert (found >= values.amin(1) - 1e-5).all()
    for k in range(4):
        assert float(found[label == k].std(0).min()) > 0.01


@ways
def test_a_class_is_learned(how: str) -> None:
    """E[x_0 | x_t, class] of two Gaussians, and of both together, in 400 small steps."""
    process = sf.VP()
    means = torch.tensor([[1.0, 0.2], [-0.8, -0.5]])
    law = sf.GaussianMixture.isotropic(means, 0.2)
    network = sf.MLP(width=32, depth=2, waves=8, finest=4.0, labels=2, how=how)
    field = sf.LearnedField(process, network, data_std=1.0)
    with torch.enable_grad():
        for _ in sf.fit(
            field,
            law.sample_labelled,
            400,
            config=sf.training.TrainingConfig(batch=256, drop=0.25, decay=0.98),
        ):
            pass
    classes = [sf.ExactField(process, sf.GaussianMixture.isotropic(m[None], 0.2)) for m in means]
    both = sf.ExactField(process, law)
    for t in (0.3, 0.6):
        c = process(torch.tensor(t))
        x = law.noised(c.alpha, c.sigma).sample(500, 1)
        for label, truth in ((0, classes[0]), (1, classes[1]), (None, both)):
            want = truth.data(x, t)
            off = (field.given(label).data(x, t) - want).square().mean().sqrt()
            assert float(off) < 0.19, (t, label)  # a tenth of the way between the classes
    # Told the wrong thing, it would be off by that much.
    assert float((field.given(0).data(x, t) - classes[1].data(x, t)).square().mean().sqrt()) > 0.5


@ways
def test_files_say_how(how: str, tmp_path: Path) -> None:
    network = stirred(labels=3, how=how)
    assert network.config.get("how", "add") == how
    sf.training.save(sf.LearnedField(sf.VP(), network), tmp_path / "field")
    again = sf.training.load(tmp_path / "field").network
    x, c, label = cloud(20), torch.tensor(-0.3), torch.arange(20) % 4
    assert torch.equal(again(x, c, label), network(x, c, label))
    # A file from before there was a choice: no word of it, and these weights.
    if how == "add":
        assert "how" not in network.config
        assert network.state_dict()["label.weight"].shape == (4, 16)


def test_an_unknown_way_in_is_refused() -> None:
    with pytest.raises(ValueError, match="how must be one of add, append, attend, got 'shout'"):
        sf.MLP(labels=2, how="shout")  # type: ignore[arg-type]
