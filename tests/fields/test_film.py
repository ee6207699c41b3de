"""Networks for pictures and vectors: shapes, tables of vectors, ways in, guidance in one call."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import sdeflow as sf
from sdeflow.fields.film import Attention, FilmNetwork
from tests.problems import randn

EDM = sf.EDM(t_min=0.01, t_max=20.0)
N = 6


def table(*shape: int) -> Tensor:
    return 3 * randn(*shape, seed=5).float()


KINDS: dict[str, Callable[[], FilmNetwork]] = {
    "classes": lambda: sf.fields.UNet((1, 4, 4), 8, labels=5),
    "classes, append": lambda: sf.fields.UNet((1, 4, 4), 8, labels=5, how="append"),
    "classes, attend": lambda: sf.fields.UNet((1, 4, 4), 8, labels=5, how="attend"),
    "table, add": lambda: sf.fields.UNet((1, 4, 4), 8, table=table(5, 3)),
    "table, append": lambda: sf.fields.UNet((1, 4, 4), 8, table=table(5, 3), how="append"),
    "table, attend": lambda: sf.fields.UNet((1, 4, 4), 8, table=table(5, 4, 3), how="attend"),
    "shrunk": lambda: sf.fields.UNet((1, 4, 4), 8, table=table(5, 3), shrink=2),
    "vectors": lambda: sf.fields.VectorMLP(16, 24, 2, labels=5),
    "vectors, table": lambda: sf.fields.VectorMLP(16, 24, 2, table=table(5, 3)),
}
TABLES = [kind for kind in KINDS if "table" in kind or kind == "shrunk"]


Network = TypeVar("Network", bound=nn.Module)


def stirred(network: Network) -> Network:
    """The network with weights that let everything matter."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.2 * torch.randn(p.shape, generator=draw)
    return network


def learned(kind: str) -> sf.LearnedField:
    return sf.LearnedField(EDM, stirred(KINDS[kind]()), data_std=0.5)


def cloud(n: int = N) -> Tensor:
    return randn(n, 16, seed=7).float()


LABELS = torch.tensor([0, 1, 2, 3, 4, 5])


def apart(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


# ------------------------------------------------------------------------------- one particle


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_field_is_that_of_gaussian_data(kind: str) -> None:
    """E[eps | x_t] = sigma x / (alpha^2 s^2 + sigma^2) for N(0, s^2 I): the network gives zero."""
    field = sf.LearnedField(EDM, KINDS[kind](), data_std=0.5)
    gaussian = sf.ExactField(EDM, sf.GaussianMixture.isotropic(torch.zeros(1, 16), 0.5))
    for t in (0.1, 3.0):
        torch.testing.assert_close(field.given(2).noise(cloud(), t), gaussian.noise(cloud(), t))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_depend_on_each_other(kind: str) -> None:
    """With one level and label for all, one for each, or one particle alone."""
    field, x = learned(kind), cloud()
    together = field.given(LABELS).noise(x, 0.4)
    alone = [field.given(int(y)).noise(x[k : k + 1], 0.4) for k, y in enumerate(LABELS)]
    assert apart(together, torch.cat(alone)) < 1e-5
    each = field.given(LABELS).noise(x, torch.full((N,), 0.4))
    assert apart(each, together) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_level_and_label_change_the_answer_and_the_last_label_means_none(kind: str) -> None:
    field, x = learned(kind), cloud()
    said = field.network(*(_shaped(field, x), torch.tensor(0.1), torch.tensor(1)))
    for level, label in ((0.4, 1), (0.1, 2), (0.1, 5)):
        other = field.network(_shaped(field, x), torch.tensor(level), torch.tensor(label))
        assert apart(other, said) > 1e-4
    assert torch.equal(field.noise(x, 0.4), field.given(5).noise(x, 0.4))


def _shaped(field: sf.LearnedField, x: Tensor) -> Tensor:
    return x if field.shape is None else x.reshape(-1, *field.shape)


def test_sizes_of_the_network() -> None:
    """104 thousand weights with ten classes; shrinking makes channels of pixels."""
    network = sf.fields.UNet((1, 8, 8), channels=16, labels=10)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(104e3, rel=0.01)
    large = sf.fields.UNet((2, 12, 8), channels=8, shrink=2)
    assert large(torch.zeros(3, 2, 12, 8), torch.tensor(0.0)).shape == (3, 2, 12, 8)
    with pytest.raises(ValueError, match="takes pictures"):
        large(torch.zeros(3, 2, 8, 12), torch.tensor(0.0))


def test_weights_are_a_function_of_the_seed_and_leave_torch_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = (sf.fields.UNet((1, 4, 4), 8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    same, other = (
        all(torch.equal(p, q) for p, q in zip(a.parameters(), n.parameters(), strict=True))
        for n in (b, c)
    )
    assert same
    assert not other


# ------------------------------------------------------------------------------------- shapes


class Pictures(nn.Module):
    """A convolution of another program, which takes time and label; counts calls and rows."""

    independent = True

    def __init__(self, labels: int = 3) -> None:
        super().__init__()
        self.labels = labels
        self.net = nn.Conv2d(3, 1, 3, padding=1)
        self.calls, self.rows = 0, 0

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        label = torch.tensor(0) if label is None else label
        planes = [v.reshape(-1, 1, 1, 1).expand_as(x).float() for v in (t, label)]
        return self.net(torch.cat([x, *planes], 1))


class Flat(Pictures):
    """The same, flattened by its own hand."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x.reshape(-1, 1, 4, 4), t, label).flatten(1)


def test_shaped_field_equals_a_network_that_flattens_by_itself() -> None:
    """In single questions, along a run, in blocks, and in the loss."""
    shaped, flat, x = Pictures(), Flat(), cloud()
    flat.load_state_dict(shaped.state_dict())
    one = sf.LearnedField(EDM, shaped, shape=[1, 4, 4], data_std=0.5, label=1)
    two = sf.LearnedField(EDM, flat, data_std=0.5, label=1)
    assert (one.dim, one.shape, two.dim, two.shape) == (16, (1, 4, 4), None, None)
    for a, b in ((one, two), (replace(one, batch=4), replace(two, batch=4))):
        assert torch.equal(a.score(x, 0.3), b.score(x, 0.3))
        solver = sf.SDESolver("euler", steps=3, seed=1)
        ends = [solver.solve(sf.reverse(field), x).x for field in (a, b)]
        assert torch.equal(*ends)
    t, eps = torch.full((N,), 0.3), cloud().flip(0)
    losses = [sf.training.loss(field, x, t, eps) for field in (one, two)]
    assert torch.equal(*losses)


def test_field_takes_the_shape_of_its_network_through_wrappers() -> None:
    network = sf.fields.UNet((1, 4, 4), 8, labels=3)
    for wrapped in (network, AveragedModel(network), nn.DataParallel(network)):
        field = sf.LearnedField(EDM, wrapped, data_std=0.5)
        assert (field.shape, field.dim, field.labels) == ((1, 4, 4), 16, 3)
        assert field.noise(cloud(), 0.3).shape == (N, 16)
    with pytest.raises(ValueError, match=r"that of the network is \(1, 4, 4\)"):
        sf.LearnedField(EDM, network, data_std=0.5, shape=(1, 2, 8))
    with pytest.raises(ValueError, match="dimension 16"):
        field.score(cloud()[:, :9], 0.3)
    with pytest.raises(ValueError, match="2 labels for 6 particles"):
        field.given(torch.tensor([0, 1])).score(cloud(), 0.3)


def test_network_of_the_wrong_shape_is_refused() -> None:
    field = sf.LearnedField(EDM, Flat(), shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"returned \(6, 16\)"):
        field.score(cloud(), 0.3)


SAMPLERS: dict[str, Callable[[sf.fields.Field], sf.SDE]] = {
    "reverse": sf.reverse, "ancestral": sf.ancestral, "multistep": lambda f: sf.multistep(f),
}  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_run_on_a_shaped_field(sampler: str) -> None:
    """An untrained network is the exact field of a Gaussian, so both runs end alike."""
    field = sf.LearnedField(EDM, sf.fields.UNet((1, 4, 4), 8), data_std=0.5)
    gaussian = sf.ExactField(EDM, sf.GaussianMixture.isotropic(torch.zeros(1, 16), 0.5))
    start = EDM.prior(N, 16, 0)
    ends = [
        sf.SDESolver("euler", steps=5, seed=2).solve(SAMPLERS[sampler](f), start).x[-1]
        for f in (field, gaussian)
    ]
    assert apart(*ends) < 1e-4


def test_flow_and_likelihood_run_on_a_shaped_field() -> None:
    process = sf.EDM(t_min=0.1, t_max=5.0)
    field = sf.LearnedField(process, sf.fields.UNet((1, 2, 2), 8), data_std=0.5)
    gaussian = sf.ExactField(process, sf.GaussianMixture.isotropic(torch.zeros(1, 4), 0.5))
    x, solver = cloud()[:, :4].contiguous(), sf.ODESolver("rk4", steps=6)
    exact = sf.analysis.log_likelihood(gaussian, x, solver)
    torch.testing.assert_close(
        sf.analysis.log_likelihood(field, x, solver), exact, atol=1e-3, rtol=1e-3
    )
    mean, error = sf.analysis.hutchinson_log_likelihood(field, x, solver, probes=4)
    # The Jacobian is a multiple of 1, of which each probe of signs gives the trace exactly.
    torch.testing.assert_close(mean, exact, atol=1e-3, rtol=1e-3)
    assert float(error.max()) < 1e-3
    back = sf.analysis.decode(field, sf.analysis.encode(field, x, solver), solver)
    assert apart(back, x) < 1e-2


@pytest.mark.parametrize("kind", ["table, attend", "vectors, table"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_of_the_network_and_of_the_cloud(kind: str, dtype: torch.dtype) -> None:
    field, x = learned(kind).given(1), cloud()
    assert field.score(x.to(dtype), 0.3).dtype == dtype
    converted = replace(field, network=copy.deepcopy(field.network).to(dtype))
    error = apart(converted.noise(x, 0.3), field.noise(x, 0.3))
    assert error < (1e-5 if dtype == torch.float64 else 0.05)


# --------------------------------------------------------------------------- tables of vectors


@pytest.mark.parametrize("kind", TABLES)
def test_telling_a_field_vectors_equals_the_rows_of_its_table(kind: str) -> None:
    """told(e) is holding(e) under the labels 0, 1, ...; the weights are shared."""
    field, x = learned(kind), cloud()
    rows = field.network.table
    known = LABELS.clamp(max=4)
    told = field.told(rows[known])
    assert torch.equal(told.noise(x, 0.3), field.given(known).noise(x, 0.3))
    assert torch.equal(field.told(rows[2]).noise(x, 0.3), field.given(2).noise(x, 0.3))
    assert torch.equal(field.told(rows[2:3]).noise(x, 0.3), field.given(2).noise(x, 0.3))
    held = replace(field, network=field.network.holding(rows[known])).given(torch.arange(N))
    assert torch.equal(told.noise(x, 0.3), held.noise(x, 0.3))
    pairs = zip(field.network.parameters(), told.network.parameters(), strict=True)
    assert all(p is q for p, q in pairs)
    assert torch.equal(told.given(None).noise(x, 0.3), field.noise(x, 0.3))
    assert (told.labels, field.labels) == (N, 5)


@pytest.mark.parametrize("kind", TABLES)
def test_vectors_enter_in_units_of_the_first_table(kind: str) -> None:
    """A network made with a table ten times as long gives the same; one told so does not."""
    field, x = learned(kind), cloud()
    rows = field.network.table
    config = {**field.network.config, "table": 10 * rows}
    long = type(field.network)(**config)
    long.load_state_dict({**field.network.state_dict(), **dict(long.named_buffers())})
    same = replace(field, network=long).given(3).noise(x, 0.3)
    assert apart(same, field.given(3).noise(x, 0.3)) < 1e-5
    assert apart(field.told(10 * rows[3]).noise(x, 0.3), same) > 1e-4


def test_converting_a_network_that_shares_weights_breaks_neither() -> None:
    for kind in TABLES:
        field = learned(kind)
        told = field.told(field.network.table[1])
        told.network.double()
        for known in (told, field.given(1), field):
            assert known.noise(cloud(), 0.3).isfinite().all()


# ----------------------------------------------------------------------------- cross-attention


def attention() -> tuple[Attention, Tensor, Tensor]:
    """One with weights, hidden features (n, width, 2, 2) and tokens (n, 4, k)."""
    look = stirred(Attention(8, 3))
    return look, randn(N, 8, 2, 2).float(), table(N, 4, 3)


def test_attention_to_one_token_is_its_value() -> None:
    look, h, tokens = attention()
    value = look.key_value(tokens[:, :1]).chunk(2, 2)[1]
    found = look.look_up(h.flatten(2).mT, tokens[:, :1])
    torch.testing.assert_close(found, value.expand(-1, 4, -1))


def test_attention_does_not_see_the_order_of_tokens_nor_padding() -> None:
    look, h, tokens = attention()
    found = look(h, tokens)
    torch.testing.assert_close(look(h, tokens[:, [2, 0, 3, 1]]), found)
    torch.testing.assert_close(look(h, nn.functional.pad(tokens, (0, 0, 0, 2))), found)
    assert apart(look(h, tokens[:, :3]), found) > 1e-3


def test_attention_is_scaled_dot_product_attention() -> None:
    look, h, tokens = attention()
    pixels = h.flatten(2).mT
    key, value = look.key_value(tokens).chunk(2, 2)
    parts = [m.unflatten(2, (4, 16)).transpose(1, 2) for m in (look.query(pixels), key, value)]
    expected = nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    torch.testing.assert_close(look.look_up(pixels, tokens), expected)


# ---------------------------------------------------------------------------------- guidance


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_in_one_call_equals_two(kind: str) -> None:
    field, x = learned(kind), cloud()
    for wanted, against in ((1, None), (LABELS, None), (LABELS, 2), (0, LABELS)):
        parts = field.given(wanted), field.given(against)
        with CallsOf(field.network) as rows:
            out = sf.GuidedField(*parts, 2.5).noise(x, 0.3)
        assert rows == [2 * N]
        a, b = (part.noise(x, 0.3) for part in parts)
        assert apart(out, torch.lerp(b, a, 2.5)) < 1e-5
        each = sf.GuidedField(*parts, 2.5).noise(x, torch.full((N,), 0.3))
        assert apart(each, out) < 1e-5


class CallsOf:
    """The rows of each call of a network, and of those that share its weights, in a list."""

    def __init__(self, network: nn.Module) -> None:
        first = network.first if isinstance(network, FilmNetwork) else network
        self.rows: list[int] = []
        self.hook = first.register_forward_hook(lambda m, x, out: self.rows.append(len(x[0])))

    def __enter__(self) -> list[int]:
        return self.rows

    def __exit__(self, *error: object) -> None:
        self.hook.remove()


@pytest.mark.parametrize("kind", TABLES)
def test_two_tables_of_one_network_are_guided_in_one_call(kind: str) -> None:
    field, x = learned(kind), cloud()
    e = table(N + 1, *field.network.table.shape[1:]).flip(0)
    for against in (field, field.given(3), field.told(e[0]), field.told(e[1:])):
        for wanted in (field.told(e[:-1]), field.told(e[0]), field.told(e[0]).given(None)):
            with CallsOf(field.network) as rows:
                out = sf.GuidedField(wanted, against, 2.5).noise(x, 0.3)
            assert rows == [2 * N]
            a, b = wanted.noise(x, 0.3), against.noise(x, 0.3)
            assert apart(out, torch.lerp(b, a, 2.5)) < 1e-5


class Renamed(sf.LearnedField):
    """A class of the user that evaluates as the one it is made from."""


@pytest.mark.parametrize("kind", [sf.LearnedField, Renamed])
def test_run_of_an_independent_network_halves_its_calls(kind: type[sf.LearnedField]) -> None:
    """The rows stay, for a network of another program that says `independent` too."""
    network, x = Pictures(), cloud()
    field = kind(EDM, network, data_std=0.5, shape=(1, 4, 4))
    guided = sf.GuidedField(field.given(LABELS % 3), field, 3.0)
    solver = sf.SDESolver("euler", steps=4, seed=1)
    end = solver.solve(sf.ancestral(guided), x).x[-1]
    assert (network.calls, network.rows) == (4, 8 * N)
    network.independent = False
    network.calls = network.rows = 0
    apart_end = solver.solve(
        sf.ancestral(sf.GuidedField(field.given(LABELS % 3), field, 3.0)), x
    ).x[-1]
    assert (network.calls, network.rows) == (8, 8 * N)
    assert apart(end, apart_end) < 1e-4


# ---------------------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_every_weight(kind: str) -> None:
    """With dropped labels, the row that means nothing too."""
    field = sf.LearnedField(EDM, KINDS[kind](), data_std=0.5)
    before = {k: v.clone() for k, v in field.network.named_parameters()}
    config = sf.training.TrainingConfig(batch=32, drop=0.5)
    sf.fit(field, sample, steps=4, seed=0, config=config)
    kept = field.network
    still = [k for k, v in kept.named_parameters() if torch.equal(v, before[k])]
    assert not still
    if kept.table is not None:
        assert torch.equal(kept.table, KINDS[kind]().table)


def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed % 2**63)
    label = torch.randint(5, (n,), generator=draw)
    return 0.5 * torch.randn(n, 16, generator=draw) + label[:, None], label


def test_dropping_labels_replaces_that_share() -> None:
    seen: list[Tensor] = []
    network = KINDS["vectors, table"]()
    network.register_forward_pre_hook(lambda m, given: seen.append(given[2]))
    field = sf.LearnedField(EDM, network, data_std=0.5)
    config = sf.training.TrainingConfig(batch=4096, drop=0.25)
    sf.fit(field, sample, steps=1, seed=0, config=config)
    share = float((torch.cat(seen) == 5).double().mean())
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4096)


@pytest.mark.parametrize("kind", ["shrunk", "vectors, table"])
def test_network_learns_what_its_labels_mean(kind: str) -> None:
    """Data at the number of their label: at large noise E[x_0 | label] rises with it."""
    network = (
        sf.fields.VectorMLP(16, 64, 1, table=table(5, 3)) if kind == "vectors, table"
        else KINDS[kind]()
    )  # fmt: skip
    field = sf.LearnedField(EDM, network, data_std=1.5, data_mean=torch.full((16,), 2.0))
    config = sf.training.TrainingConfig(batch=64, rate=1e-2, drop=0.1)
    sf.fit(field, sample, steps=80, seed=0, config=config)
    x = EDM.prior(5, 16, 0)
    known = field.given(torch.arange(5)).data(x, 15.0).detach().mean(1)
    assert (known.diff() > 0.2).all()
    assert abs(float(field.data(x, 15.0).detach().mean()) - 2.0) < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_saved_network_comes_back_with_its_table(kind: str, tmp_path: Path) -> None:
    field, x = learned(kind), cloud()
    if field.network.table is not None:
        field = field.told(field.network.table[:2])
    sf.training.save(field.given(1), tmp_path / "field.safetensors")
    back = sf.training.load(tmp_path / "field.safetensors")
    assert (type(back.network), back.shape) == (type(field.network), field.shape)
    assert back.network.config == field.network.config
    assert torch.equal(back.noise(x, 0.3), field.given(1).noise(x, 0.3))
    assert torch.equal(back.given(None).noise(x, 0.3), field.given(None).noise(x, 0.3))


def test_shape_of_another_network_survives_the_file(tmp_path: Path) -> None:
    field = sf.LearnedField(EDM, Pictures(), shape=(1, 4, 4), label=2)
    sf.training.save(field, tmp_path / "field.safetensors")
    back = sf.training.load(tmp_path / "field.safetensors", Pictures())
    assert back.shape == (1, 4, 4)
    assert torch.equal(back.noise(cloud(), 0.3), field.noise(cloud(), 0.3))


def test_interrupted_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """The table is saved with the checkpoint."""
    ends = []
    for file, stops in (("a", [4]), ("b", [2, 4])):
        for stop in stops:
            field = sf.LearnedField(EDM, KINDS["vectors, table"](), data_std=0.5)
            training = sf.training.Training(
                field, sample, 4, config=sf.training.TrainingConfig(batch=8), every=1,
                checkpoint=tmp_path / file,
            )  # fmt: skip
            while training.step < stop:
                next(training)
        ends.append(field.given(1).noise(cloud(), 0.3))
    assert torch.equal(*ends)


def test_seeds_of_numpy_are_saved_with_a_network() -> None:
    seed = np.int64(2)
    for network in (
        sf.fields.VectorMLP(4, 8, 1, seed=seed),
        sf.fields.UNet((1, 4, 4), 8, seed=seed),
    ):
        assert json.loads(json.dumps(network.config))["seed"] == 2
