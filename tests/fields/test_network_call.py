"""How a field calls its network: whole clouds, eval mode, times in their own precision."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow._blocks import ROWS
from tests.problems import close, f64, randn

PROCESS = sf.VP()


class Listening(nn.Module):
    """Zeros; keeps what it was called with."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=dtype))
        self.rows, self.times = list[int](), list[Tensor]()

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.rows.append(len(x))
        self.times.append(t)
        return 0 * x


class Centring(nn.Module):
    """A network that looks across its batch."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return x - x.mean(0)


def steps_of(field: sf.fields.Field, x: Tensor) -> Tensor:
    """Three Euler steps of the flow."""
    times = f64([0.9, 0.7, 0.4, 0.2])
    return sf.ODESolver("euler", times=times).solve(sf.reverse(field, 0.0), x).x[-1]


# ------------------------------------------------------------------------------- the whole cloud


@pytest.mark.parametrize("n", [1, 5, ROWS, ROWS + 44])
@pytest.mark.parametrize("std", [None, 0.7])
def test_network_is_called_with_the_cloud_that_was_given(n: int, std: float | None) -> None:
    """No more rows and no fewer: one image costs one image."""
    network, x = Listening(), randn(n, 2)
    field = sf.LearnedField(PROCESS, network, data_std=std)
    field.noise(x, 0.5)
    with torch.no_grad():
        field.noise(x, 0.5)
        field.noise(x, torch.full((n,), 0.5))
    field.given(torch.zeros(n, dtype=torch.int64)).noise(x, 0.5)
    steps_of(field, x)
    steps_of(field.given(torch.zeros(n, dtype=torch.int64)), x)
    assert network.rows == [n] * 10


@pytest.mark.parametrize("n", [5, 300])
def test_network_that_looks_across_its_batch_is_right(n: int) -> None:
    """x - mean(x): with and without a gradient, and in a solver against a loop."""
    field, x = sf.LearnedField(PROCESS, Centring()), 3 + randn(n, 2)
    with torch.no_grad():
        assert close(field.noise(x, 0.5), x - x.mean(0), 1e-12)
    assert close(field.noise(x, 0.5), x - x.mean(0), 1e-12)
    times, y = f64([0.9, 0.7, 0.4, 0.2]), x
    for k in range(3):
        c = PROCESS(times[k])
        eps = y - y.mean(0)
        velocity = c.alpha_dot * (y - c.sigma * eps) / c.alpha + c.sigma_dot * eps
        y = y + velocity * (times[k + 1] - times[k])
    assert close(steps_of(field, x), y, 1e-10)
    guided = sf.GuidedField(field.given(0), field.given(1), 3.0)
    assert close(guided.noise(x, 0.5), x - x.mean(0), 1e-12)


@pytest.mark.parametrize("n", [1, 31, 97])
def test_batch_cuts_the_cloud_and_keeps_bits(n: int) -> None:
    """Blocks of one size, the labels and times cut with them."""

    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = list[int]()
            self.inner = nn.Linear(4, 2)
            nn.init.normal_(self.inner.weight, generator=torch.Generator().manual_seed(0))

        def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
            self.rows.append(len(x))
            about = torch.stack([t.expand(len(x)), label.expand(len(x)).to(t)], 1)
            return self.inner(torch.cat([x, about.to(x)], 1))

    network = Mixing()
    x, each = randn(97, 2, dtype=torch.float32), torch.arange(97) % 5
    times = torch.linspace(0.1, 0.9, 97)
    cut = sf.LearnedField(PROCESS, network, batch=32)
    whole = sf.LearnedField(PROCESS, network)
    with torch.no_grad():
        for label in (torch.tensor(3), each):
            some = label if label.ndim == 0 else label[:n]
            for t, now in ((torch.tensor(0.3), torch.tensor(0.3)), (times, times[:n])):
                full = cut.given(label).noise(x, t)
                assert close(full, whole.given(label).noise(x, t), 1e-5)
                network.rows.clear()
                assert torch.equal(cut.given(some).noise(x[:n], now), full[:n])
                assert network.rows == [32] * -(-n // 32)
            ends = [steps_of(f.given(some), x[:n]) for f in (cut, whole)]
            assert close(*ends, 1e-5)
            assert torch.equal(steps_of(cut.given(label), x)[:n], ends[0])
    for bad in (0, 2.5, True):
        with pytest.raises((TypeError, ValueError), match="batch must be"):
            sf.LearnedField(PROCESS, network, batch=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("k", [1, 100, ROWS + 3])
def test_first_labelled_particles_of_our_network_keep_their_bits(k: int, guided: bool) -> None:
    """A label for each particle, in a run."""
    network = sf.MLP(width=16, depth=2, waves=4, labels=3)
    nn.init.normal_(network.last.weight, generator=torch.Generator().manual_seed(0))
    field, n = sf.LearnedField(PROCESS, network), 2 * ROWS + 87
    x, label = randn(n, 2, dtype=torch.float32), torch.arange(n) % 3

    def end(k: int) -> Tensor:
        mine = field.given(label[:k])
        return steps_of(sf.GuidedField(mine, field, 2.0) if guided else mine, x[:k].clone())

    assert torch.equal(end(k), end(n)[:k])


def test_labels_of_another_number_are_refused() -> None:
    field = sf.LearnedField(PROCESS, sf.MLP(labels=3)).given(torch.tensor([0, 1, 2]))
    x = randn(4, 2, dtype=torch.float32)
    for ask in (lambda: field.noise(x, 0.5), lambda: steps_of(field, x)):
        with pytest.raises(ValueError, match="there are 3 labels for 4 particles; give one for"):
            ask()


def test_network_that_takes_a_time_for_each_row_alone_is_told_so() -> None:
    class Rows(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x * t[:, None]

    field, x = sf.LearnedField(PROCESS, Rows()), randn(4, 2)
    with pytest.raises(ValueError, match=r"failed at one time t \(\) .* must take t \(\) and \(n"):
        steps_of(field, x)
    assert field.noise(x, torch.full((4,), 0.5)).shape == (4, 2)


def test_network_that_hides_another_says_what_it_takes() -> None:
    """A traced network, or one in a closure, shows no module: the attribute says it."""

    class Hiding(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = [inner]

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.inner[0](x, t)

    network, hiding, x = trained(), Hiding(trained()), randn(6, 2)
    hiding.takes = sf.fields.TimeInput.NOISE_LEVEL
    with torch.no_grad():
        got, want = (sf.LearnedField(PROCESS, m).noise(x, 0.5) for m in (hiding, network))
    assert close(got, want, 1e-10)


@pytest.mark.parametrize("n", [3, ROWS])
def test_network_that_works_in_place_leaves_the_cloud(n: int) -> None:
    """A first layer with inplace=True; a run of the first particles is the run of those."""
    field = sf.LearnedField(PROCESS, Two(nn.ReLU(inplace=True)))
    plain = sf.LearnedField(PROCESS, Two(nn.ReLU()))
    x = randn(n, 2)
    before = x.clone()
    field.noise(x, 0.5)
    with torch.no_grad():
        field.noise(x, 0.5)
    assert torch.equal(steps_of(field, x), steps_of(plain, before))
    assert torch.equal(x, before)
    with torch.inference_mode():
        assert torch.equal(field.noise(x, 0.5), plain.noise(x, 0.5))


class Two(nn.Module):
    """Layers one after the other, as a network of (x, t)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return self.layers(x)


# --------------------------------------------------------------------------------------- eval mode


def restless() -> Two:
    """Dropout and batch norm, in train mode but for one layer."""
    network = Two(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).double()
    network.layers[3].eval()
    return network


ASKS: dict[str, Callable[[sf.LearnedField, Tensor], object]] = {
    "noise, with a gradient": lambda f, x: f.noise(x, 0.5),
    "score": lambda f, x: torch.no_grad()(f.score)(x, 0.5),
    "split, times of each": lambda f, x: f.split(x, torch.full((len(x),), 0.4))[0],
    "labels of each": lambda f, x: steps_of(f.given(torch.zeros(len(x)).long()), x),
    "euler": lambda f, x: sf.SDESolver("euler", 4).solve(sf.reverse(f), x).x[-1],
    "dopri5": lambda f, x: sf.ODESolver().solve(sf.sdes.comoving(f), x).x[-1],
    "in batches": lambda f, x: steps_of(sf.LearnedField(f.process, f.network, batch=3), x),
    "guided": lambda f, x: steps_of(sf.GuidedField(f.given(0), f.given(1), 2.0), x),
    "likelihood": lambda f, x: sf.analysis.log_likelihood(f, x, sf.ODESolver("euler", steps=3)),
    "drift of your own": lambda f, x: (
        sf.ODESolver("euler", steps=3)
        .solve(sf.SDE(lambda x, t: f.score(x, t), None, 0.9, 0.1), x)
        .x[-1]
    ),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
def test_network_in_train_mode_is_evaluated_in_eval_mode(ask: Callable) -> None:
    """No unit is dropped, no statistic moves, and every module has its own mode afterwards."""
    network = restless()
    field, x = sf.LearnedField(PROCESS, network), randn(6, 2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    modes = [m.training for m in network.modules()]
    torch.manual_seed(1)
    first = ask(field, x)
    torch.manual_seed(2)
    second = ask(field, x)
    assert torch.equal(first, second)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes
    network.eval()
    assert torch.equal(ask(field, x), first)
    assert not any(m.training for m in network.modules())


def test_loss_leaves_the_network_in_its_mode() -> None:
    """Training drops units and moves the statistics."""
    network = restless()
    field, t = sf.LearnedField(PROCESS, network), torch.full((6,), 0.5, dtype=torch.float64)
    x0, eps = randn(6, 2), randn(6, 2, seed=1)
    norm = network.layers[1]
    torch.manual_seed(1)
    first = sf.training.loss(field, x0, t, eps)
    assert int(norm.num_batches_tracked) == 1
    torch.manual_seed(2)
    assert not torch.equal(sf.training.loss(field, x0, t, eps), first)
    network.eval()
    assert torch.equal(
        sf.training.loss(field, x0, t, eps),
        ((field.noise(PROCESS.perturb(x0, t, eps), t) - eps) ** 2).mean(1),
    )


def test_modes_come_back_after_an_error() -> None:
    class Failing(Two):
        def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
            raise KeyError("a fault of its own")

    network = Failing(nn.Dropout())
    with pytest.raises(KeyError, match="a fault of its own"):
        sf.LearnedField(PROCESS, network).noise(randn(3, 2), 0.5)
    assert all(m.training for m in network.modules())


def test_two_threads_share_one_network() -> None:
    """One call ends while another is under way: that one stays in eval mode to its end."""
    inside, go_on = threading.Event(), threading.Event()
    modes = list[bool]()

    class Slow(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            if len(x) == 2:
                inside.set()
                assert go_on.wait(20)
                modes.append(self.training)
            return x

    network = Slow()
    field = sf.LearnedField(PROCESS, network)
    slow = threading.Thread(target=lambda: field.noise(randn(2, 2), 0.5))
    slow.start()
    assert inside.wait(20)
    field.noise(randn(3, 2), 0.5)
    assert not network.training
    go_on.set()
    slow.join()
    assert modes == [False]
    assert network.training


# ------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("cloud", [torch.bfloat16, torch.float32, torch.float64])
def test_network_sees_the_times_of_the_table(dtype: torch.dtype, cloud: torch.dtype) -> None:
    """t = 875 of DDPM's table is 876 in bfloat16."""
    network = Listening(dtype)
    field = sf.LearnedField(sf.processes.Tabulated.ddpm(), network)
    times, x = f64([1000, 875, 625, 375]), randn(3, 2).to(cloud)
    sf.ODESolver("euler", times=times).solve(sf.reverse(field, 0.0), x)
    mine = field.given(torch.tensor([0, 1, 2]))
    sf.ODESolver("euler", times=times).solve(sf.reverse(mine, 0.0), x)
    field.noise(x, 875)
    sf.reverse(field, 0.0).drift(x, f64(625))
    assert [float(t) for t in network.times] == [*[1000, 875, 625] * 2, 875, 625]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert {t.dtype for t in network.times} == {wide}


def test_times_of_a_field_are_not_rounded_to_the_cloud() -> None:
    """A field of your own, and a float64 network under a float32 cloud."""
    network, t = Listening(), f64([0.9, 0.1])
    field = sf.LearnedField(PROCESS, network)
    x = randn(3, 2, dtype=torch.float32)
    sf.ODESolver("euler", times=t).solve(sf.reverse(field, 0.0), x)
    sf.ODESolver("euler", times=t).solve(sf.reverse(field.given(torch.tensor([0, 0, 0])), 0.0), x)
    assert [float(t) for t in network.times] == [0.9, 0.9]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_mlp_computes_its_noise_level_in_float32(dtype: torch.dtype) -> None:
    """Equal to the float32 network of the same weights, rounded at the end only."""
    narrow = sf.MLP(width=32, labels=2).to(dtype)
    wide = sf.MLP(width=32, labels=2)
    wide.load_state_dict(narrow.state_dict())
    field = sf.LearnedField(sf.processes.Tabulated.ddpm(), narrow)
    c = field.process(f64([875, 600, 30]))
    seen = field._time_input(f64([875, 600, 30]), c, randn(3, 2).to(dtype))
    assert close(seen.double(), torch.log(c.sigma / c.alpha) / 4, 1e-6)
    with torch.no_grad():
        for got, want in zip(narrow.condition(seen), wide.condition(seen), strict=True):
            assert got.dtype == dtype
            assert close(got.float(), want, 1.5 * torch.finfo(dtype).eps)
        assert field.noise(randn(4, 2).to(dtype), 875).dtype == dtype


@pytest.mark.parametrize("grad", [False, True])
def test_narrow_network_takes_the_difference_to_the_mean(grad: bool) -> None:
    """Data at 40 +- 0.1: rounded to bfloat16 before the mean is taken off, only 40 is left."""
    narrow = sf.MLP(width=32, waves=4, finest=2.0)
    nn.init.normal_(narrow.last.weight, generator=torch.Generator().manual_seed(0))
    narrow, wide = narrow.bfloat16(), sf.MLP(width=32, waves=4, finest=2.0)
    wide.load_state_dict(narrow.state_dict())
    mean, std = f64([40.0, -7.0]), 0.1
    fields = [
        sf.LearnedField(sf.EDM(), m, data_std=std, data_mean=mean).given(None)
        for m in (narrow, wide)
    ]
    x = (mean + std * randn(50, 2)).float()
    for t in (torch.tensor(0.1), torch.full((50,), 0.1)):
        with torch.set_grad_enabled(grad):
            got, want = (f.data(x, t).detach() - mean.float() for f in fields)
        assert close(got, want, 0.03)


# ------------------------------------------------------------------------------- wrapped networks


class Calling(nn.Module):
    """A module of the user that calls a network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, t: Tensor, *label: Tensor) -> Tensor:
        return self.inner(x, t, *label)


class Converting(nn.Module):
    """A module of the user that converts t itself."""

    takes = sf.fields.TimeInput.TIME

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, t: Tensor, *label: Tensor) -> Tensor:
        return self.inner(x, torch.log(PROCESS.noise_level(t)) / 4, *label)


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": torch.optim.swa_utils.AveragedModel,
    "a module that calls it": Calling,
    "a module that converts t": Converting,
    "twice": lambda network: nn.DataParallel(Calling(network)),
}


def trained(labels: int = 0) -> sf.MLP:
    network = sf.MLP(width=16, depth=2, waves=4, labels=labels).double()
    nn.init.normal_(network.last.weight, generator=torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_wrapped_network_is_the_same_network(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """What t means, the dimension and the labels do not depend on the wrapper."""
    network, x = trained(labels=3), randn(6, 2)
    network.requires_grad_(False)
    plain, wrapped = (sf.LearnedField(PROCESS, m) for m in (network, wrap(network)))
    for one, other in ((plain, wrapped), (plain.given(1), wrapped.given(1))):
        for t in (f64(0.3), torch.linspace(0.1, 0.9, 6, dtype=torch.float64)):
            assert close(other.noise(x, t), one.noise(x, t), 1e-10)
        assert close(steps_of(other, x), steps_of(one, x), 1e-10)
        assert not close(steps_of(other, x), x, 1e-2)
    if wrap is Converting:
        return  # it may know other labels and clouds than the network inside
    guided = [sf.GuidedField(f.given(1), f, 2.0) for f in (plain, wrapped)]
    assert close(guided[1].noise(x, 0.5), guided[0].noise(x, 0.5), 1e-10)
    assert (wrapped.dim, wrapped.labels) == (2, 3)
    with pytest.raises(ValueError, match="must have dimension 2, got 3"):
        wrapped.noise(randn(4, 3), 0.5)
    with pytest.raises(ValueError, match="label must be 0 to 2, or 3 for no label, got 7"):
        wrapped.given(7)


def test_compiled_network_is_the_same_network_in_eval_mode() -> None:
    """torch.compile, without its compiler."""
    network, x = trained(labels=3).requires_grad_(False), randn(6, 2)
    field = sf.LearnedField(PROCESS, torch.compile(network, backend="eager")).given(1)
    with torch.no_grad():
        assert close(
            field.noise(x, 0.3), sf.LearnedField(PROCESS, network).given(1).noise(x, 0.3), 1e-10
        )
        assert (field.dim, field.labels) == (2, 3)
        network = restless()
        compiled = torch.compile(network, backend="eager")
        wanted = sf.LearnedField(PROCESS, network).noise(x, 0.5)
        assert torch.equal(sf.LearnedField(PROCESS, compiled).noise(x, 0.5), wanted)
    assert compiled.training
    assert network.layers[2].training


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_wrapped_preconditioned_network_is_the_same_network(wrap: Callable) -> None:
    network, x = trained(), randn(6, 2)
    if wrap is Converting:
        return  # with data_std it is given the noise level
    plain, wrapped = (sf.LearnedField(PROCESS, m, data_std=0.7) for m in (network, wrap(network)))
    assert close(steps_of(wrapped, x), steps_of(plain, x), 1e-10)


def test_wrapped_network_drops_labels_to_its_own() -> None:
    """A batch without the last class: "no label" is the network's, not the batch's largest + 1."""
    network = sf.MLP(width=4, depth=1, waves=0, labels=3)
    seen = set[int]()
    network.label.register_forward_hook(lambda m, a, out: seen.update(a[0].tolist()))
    field = sf.LearnedField(PROCESS, nn.DataParallel(network))
    config = sf.training.TrainingConfig(batch=64, drop=0.5)

    def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
        return randn(n, 2, seed=seed % 100), torch.arange(n) % 2

    sf.fit(field, sample, 1, config=config)
    assert seen == {0, 1, 3}
    with pytest.raises(ValueError, match="as the network has 3 of them"):
        sf.fit(field, lambda n, seed: (randn(n, 2), torch.arange(n) % 4), 3)


def test_labels_of_a_wrapped_network_of_the_user_are_checked() -> None:
    class Mine(Centring):
        labels = 2

    for network in (Mine(), nn.DataParallel(Mine())):
        with pytest.raises(ValueError, match="label must be 0 to 1, or 2 for no label, got 5"):
            sf.LearnedField(PROCESS, network).given(5)


def test_predicts_and_data_std_are_refused_together() -> None:
    """The network would be read in the unit row, whatever it was trained to predict."""
    for row in sf.fields.Prediction:
        with pytest.raises(ValueError, match="predicts the unit row of EDM; leave out predicts"):
            sf.LearnedField(PROCESS, Centring(), row, data_std=0.5)
    assert sf.LearnedField(PROCESS, Centring()).predicts is None
    assert "predicts noise" in repr(sf.LearnedField(PROCESS, Centring()))
