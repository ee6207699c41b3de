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


def random_mlp(scale: float = 0.5, **config: object) -> sf.MLP:
    """A network with random weights, those of the last layer too."""
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
def test_one_noise_level_for_all_equals_one_per_particle(labels: int, waves: int) -> None:
    """One noise level for all, one for each particle, and `body` on its own."""
    network, x = random_mlp(labels=labels, waves=waves), cloud(50)
    c = torch.tensor(-0.3)
    for label in (None, *range(labels)):
        given = None if label is None else torch.tensor(label)
        each = None if label is None else given.expand(50)
        one = network(x, c, given)
        assert torch.allclose(network(x, c.expand(50), each), one, rtol=1e-5, atol=1e-5)
        assert torch.equal(network.body(x, network.condition(c, given)), one)
    # Rows do not depend on each other.
    alone = torch.cat([network(x[i : i + 1], c) for i in range(50)])
    assert torch.allclose(alone, network(x, c), rtol=1e-5, atol=1e-5)


def test_output_depends_on_noise_level_and_position() -> None:
    network, x = random_mlp(), cloud(50)
    assert (
        float((network(x, torch.tensor(0.1)) - network(x, torch.tensor(0.4))).abs().max()) > 0.01
    )
    c = torch.linspace(-1, 1, 50)
    alone = torch.cat([network(x[i : i + 1], c[i]) for i in range(50)])
    assert torch.allclose(network(x, c), alone, rtol=1e-5, atol=1e-5)


def test_damping_is_the_mean_of_a_wave_under_noise() -> None:
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


def test_fine_waves_do_not_matter_at_large_noise() -> None:
    """Waves finer than the noise do not change the output."""
    network, x = random_mlp(finest=60.0), cloud(200)
    fine = copy.deepcopy(network)
    short = fine.vectors.norm(dim=0) > 8
    assert 4 <= int(short.sum()) < 12
    with torch.no_grad():
        fine.vectors[:, short] *= 1.3  # other fine waves, at other phases
    # s -> 1 at large noise: of a wave beyond k = 8 less than e^-32 is left.
    noisy, clean = torch.tensor(1.0), torch.tensor(-1.5)
    assert torch.equal(network(x, noisy), fine(x, noisy))
    assert float((network(x, clean) - fine(x, clean)).abs().max()) > 0.01


def test_wave_numbers_are_log_uniform_up_to_the_finest() -> None:
    network = sf.MLP(dim=3, waves=40, finest=25.0)
    k = network.vectors.norm(dim=0)
    assert float(k.min()) == pytest.approx(0.5, rel=1e-5)
    assert float(k.max()) == pytest.approx(25.0, rel=1e-5)
    ratios = k[1:] / k[:-1]
    assert torch.allclose(ratios, ratios[0].expand(39), rtol=1e-4)  # log-uniform
    # Directions are uniform: their mean is short, its square 1 / 40 on average.
    assert float((network.vectors / k).mean(1).norm()) < 3 / math.sqrt(40)


def test_initial_output_is_constant() -> None:
    """The last weights are zero, so the first output depends on neither x nor c."""
    out = sf.MLP(seed=5)(cloud(40), torch.linspace(-1, 1, 40))
    assert torch.equal(out, out[:1].expand(40, 2))
    # With preconditioning a small unit row: the field is the linear one of a Gaussian, nearly.
    assert float(out.abs().max()) < 0.2


def test_labels_give_different_outputs_and_none_is_the_last() -> None:
    network, x = random_mlp(labels=3), cloud(30)
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
    assert torch.equal(torch.get_rng_state(), before)  # and the global generator is unchanged


def test_network_has_the_requested_shape() -> None:
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
def test_wrong_sizes_are_refused(bad: dict, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(bad))} must be"):
        sf.MLP(**bad)


# ------------------------------------------------------------------ three ways for labels to enter

ways = pytest.mark.parametrize("how", ["add", "append", "attend"])


@ways
def test_every_evaluation_of_a_labelled_network_is_equal(how: str) -> None:
    """A label for all, one for each particle, `body` on a condition, and `bound`."""
    network, x, c = random_mlp(labels=3, how=how), cloud(60), torch.tensor(-0.3)
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
def test_labels_change_the_output_in_every_mode(how: str) -> None:
    network, x, c = random_mlp(labels=3, how=how), cloud(60), torch.tensor(-0.3)
    said = [network(x, c, torch.tensor(k)) for k in range(4)]
    for j in range(4):
        for k in range(j):
            assert float((said[j] - said[k]).abs().max()) > 0.05
    assert torch.equal(network(x, c), said[3])


def test_append_equals_concatenation_with_the_embedding() -> None:
    """The first layer applied to [features, e], with its weights side by side."""
    network, x, c = random_mlp(labels=3, how="append"), cloud(50), torch.tensor(-0.3)
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


def test_attend_equals_scaled_dot_product_attention() -> None:
    """Against torch; and the result depends on the particle, not on its label alone."""
    network, h = random_mlp(labels=3, how="attend"), randn(50, 16, dtype=torch.float32)
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
def test_labelled_network_learns_the_conditional_mean(how: str) -> None:
    """E[x_0 | x_t, class] of two Gaussians, and of both together, in 400 small steps."""
    process = sf.VP()
    means = torch.tensor([[1.0, 0.2], [-0.8, -0.5]])
    mixture = sf.GaussianMixture.isotropic(means, 0.2)
    network = sf.MLP(width=32, depth=2, waves=8, finest=4.0, labels=2, how=how)
    field = sf.LearnedField(process, network, data_std=1.0)
    with torch.enable_grad():
        config = sf.training.TrainingConfig(batch=256, drop=0.25, decay=0.98)
        sf.fit(field, mixture.sample_labelled, 400, config=config)
    classes = [sf.ExactField(process, sf.GaussianMixture.isotropic(m[None], 0.2)) for m in means]
    both = sf.ExactField(process, mixture)
    for t in (0.3, 0.6):
        c = process(torch.tensor(t))
        x = mixture.noised(c.alpha, c.sigma).sample(500, 1)
        for label, truth in ((0, classes[0]), (1, classes[1]), (None, both)):
            want = truth.data(x, t)
            off = (field.given(label).data(x, t) - want).square().mean().sqrt()
            assert float(off) < 0.19, (t, label)  # a tenth of the way between the classes
    # With the wrong label the error is larger.
    assert float((field.given(0).data(x, t) - classes[1].data(x, t)).square().mean().sqrt()) > 0.5


@ways
def test_saved_network_keeps_how_labels_enter(how: str, tmp_path: Path) -> None:
    network = random_mlp(labels=3, how=how)
    assert network.config.get("how", "add") == how
    sf.training.save(sf.LearnedField(sf.VP(), network), tmp_path / "field")
    again = sf.training.load(tmp_path / "field").network
    x, c, label = cloud(20), torch.tensor(-0.3), torch.arange(20) % 4
    assert torch.equal(again(x, c, label), network(x, c, label))
    # As in files from before there was a choice.
    if how == "add":
        assert "how" not in network.config
        assert network.state_dict()["label.weight"].shape == (4, 16)


def test_unknown_label_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="how must be one of add, append, attend, got 'shout'"):
        sf.MLP(labels=2, how="shout")  # type: ignore[arg-type]
