"""Networks of other conventions, exact for a Gaussian, are the exact field and sample its data.

The networks are written from the formulas of their papers, in their own time, and not from rows.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.fields import Prediction
from sdeflow.integrations import DDPM, Denoiser, FlowMatching, from_torch
from tests.problems import close, f64, randn

MEAN, STD = f64([0.3, -0.1]), 0.5
LAW = sf.GaussianMixture.isotropic(MEAN[None], STD)
TABLE = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def denoised(x: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
    """E[x_0 | x] of x = scale x_0 + noise eps, x_0 ~ N(MEAN, STD^2): linear regression."""
    gain = scale * STD**2 / (scale**2 * STD**2 + noise**2)
    return MEAN + gain * (x - scale * MEAN)


class Counting(nn.Module):
    """eps, v or x_0 at whole timesteps, looked up in the table, as in diffusers."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, sample: Tensor, timestep: Tensor) -> SimpleNamespace:
        assert timestep.dtype == torch.int64
        bar = TABLE[timestep][:, None]
        x0 = denoised(sample, bar.sqrt(), (1 - bar).sqrt())
        eps = (sample - bar.sqrt() * x0) / (1 - bar).sqrt()
        v = bar.sqrt() * eps - (1 - bar).sqrt() * x0
        return SimpleNamespace(
            sample={"epsilon": eps, "v_prediction": v, "sample": x0}[self.gives]
        )


class NoiseToData(nn.Module):
    """Flow matching with noise at s = 0: d x_s / d s = x_1 - x_0, x_s = s x_1 + (1 - s) x_0."""

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        s = s[:, None]
        data = denoised(x, s, 1 - s)
        return data - (x - s * data) / (1 - s)


class DataToNoise(nn.Module):
    """Flow matching with data at s = 0, called with 1000 s: eps - x_0."""

    def forward(self, x: Tensor, s: Tensor) -> tuple[Tensor]:
        s = s[:, None] / 1000
        data = denoised(x, 1 - s, s)
        return ((x - (1 - s) * data) / s - data,)


class Clean(nn.Module):
    """EDM's D(x, sigma)."""

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return denoised(x, torch.ones_like(sigma)[:, None], sigma[:, None])


CASES = {
    "eps": (Counting("epsilon"), DDPM(TABLE)),
    "v": (Counting("v_prediction"), DDPM(TABLE, Prediction.V)),
    "x_0": (Counting("sample"), DDPM(TABLE.float(), Prediction.DATA)),
    "flow, noise to data": (NoiseToData(), FlowMatching(data_at=1)),
    "flow, data to noise": (DataToNoise(), FlowMatching(data_at=0, scale=1000)),
    "denoiser": (Clean(), Denoiser()),
}
cases = pytest.mark.parametrize("case", CASES)


def times_of(convention: sf.integrations.Convention, steps: int) -> Tensor:
    if isinstance(convention, DDPM):
        return convention.times(steps)
    return sf.processes.log_snr_times(convention.process, steps)


@cases
def test_exact_network_is_the_exact_field(case: str) -> None:
    network, convention = CASES[case]
    field, exact = from_torch(network, convention), sf.ExactField(convention.process, LAW)
    x = randn(7, 2)
    rtol = 1e-4 if case == "x_0" else 1e-7  # the table of float32 is another table
    times = times_of(convention, 6)
    for t in times:
        for row in ("data", "noise", "velocity"):
            got, want = getattr(field, row)(x, t), getattr(exact, row)(x, t)
            assert close(got, want, rtol, rtol), (t, row)
    assert close(field.noise(x, times), exact.noise(x, times), rtol)


@cases
def test_exact_network_samples_its_data(case: str) -> None:
    """Mean, width and sliced W2 of 1000 samples, at the floor of 1000 draws."""
    network, convention = CASES[case]
    field, n = from_torch(network, convention), 1000
    start, times = field.process.prior(n, 2, 0, torch.float64), times_of(convention, 80)
    flow = sf.ODESolver("heun2", times=times).solve(sf.reverse(field, 0.0), start).x[-1]
    noisy = sf.SDESolver("heun", times=times).solve(sf.reverse(field), start).x[-1]
    floor, spread = sf.diagnostics.sampling_floor(LAW.sample, n, sf.diagnostics.sliced_wasserstein)
    for end in (flow, noisy):
        assert close(end.mean(0), MEAN, 0.0, 4.5 * STD / math.sqrt(n))
        assert float(end.std(0).mean()) == pytest.approx(STD, rel=0.05)
        off = sf.diagnostics.sliced_wasserstein(end, LAW.sample(n, 99))
        assert off < floor + 4.5 * spread


def test_wrong_convention_does_not_sample_the_data() -> None:
    """The same networks, read as others: what the adapters are for."""
    start = randn(500, 2)
    for network, convention, wrong in (
        (Counting("v_prediction"), DDPM(TABLE), "eps"),
        (NoiseToData(), FlowMatching(data_at=0), "direction"),
    ):
        field = from_torch(network, convention)
        times = times_of(convention, 60)
        end = sf.ODESolver("euler", times=times).solve(sf.reverse(field, 0.0), start).x[-1]
        assert not 0.4 < float(end.std(0).mean()) < 0.6, wrong


WORDS = {
    "eps": "learned field of Tabulated, Counting at timestep t - 1, predicts noise",
    "v": "learned field of Tabulated, Counting at timestep t - 1, predicts v",
    "x_0": "learned field of Tabulated, Counting at timestep t - 1, predicts data",
    "flow, noise to data": (
        "learned field of Linear, NoiseToData at time 1 - t times -1, predicts velocity"
    ),
    "flow, data to noise": (
        "learned field of Linear, DataToNoise at time 1000 t, predicts velocity"
    ),
    "denoiser": "learned field of EDM, Clean at sigma = t, predicts data",
}


@cases
def test_field_states_the_map_that_it_applies(case: str) -> None:
    network, convention = CASES[case]
    assert repr(from_torch(network, convention)) == WORDS[case]
    images = from_torch(network, convention, (1, 2))
    assert repr(images) == WORDS[case].replace(", predicts", " on (1, 2), predicts")
    assert type(convention.process).__name__ in repr(convention)
    assert convention.words in repr(convention)


# ------------------------------------------------------------------------- networks of diffusers


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    """A small one with random weights, dropout, and three classes; in train mode."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, dropout=0.3,
        block_out_channels=(8, 8), norm_num_groups=4, num_class_embeds=3,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).double().train()  # fmt: skip


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_ddim_of_a_unet_equals_diffusers(unet: nn.Module, kind: str) -> None:
    """Nine steps from timestep 900 to 0, of images of one class."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    scheduler.alphas_cumprod = TABLE
    convention = DDPM.from_scheduler(scheduler)
    field = from_torch(unet, convention, (1, 8, 8)).given(2)
    assert (field.dim, unet.training) == (64, True)
    x = randn(3, 64)
    times = torch.arange(901, 0, -100, dtype=torch.float64)
    end = sf.SDESolver("euler", times=times).solve(sf.ancestral(field, 0.0), x).x[-1]
    assert unet.training
    scheduler.set_timesteps(10)
    images, unet = x.reshape(3, 1, 8, 8), unet.eval()
    with torch.no_grad():
        for k in scheduler.timesteps[:9]:
            out = unet(images, k, torch.tensor([2, 2, 2])).sample
            images = scheduler.step(out, int(k), images).prev_sample
    unet.train()
    assert close(end, images.reshape(3, 64), 1e-9)


def test_one_image_is_one_row_of_the_network(unet: nn.Module) -> None:
    rows = list[int]()
    hook = unet.register_forward_pre_hook(lambda m, a: rows.append(len(a[0])))
    field = from_torch(unet, DDPM(TABLE), (1, 8, 8)).given(0)
    with torch.no_grad():
        field.noise(randn(1, 64), 500)
        from_torch(unet, DDPM(TABLE), (1, 8, 8), batch=2).given(0).noise(randn(3, 64), 500)
    hook.remove()
    assert rows == [1, 2, 2]


def test_guided_unet_is_the_affine_combination(unet: nn.Module) -> None:
    field, x = from_torch(unet, DDPM(TABLE), (1, 8, 8)), randn(2, 64)
    with torch.no_grad():
        guided = sf.GuidedField(field.given(1), field.given(2), 3.0).noise(x, 500)
        one, other = (field.given(k).noise(x, 500) for k in (1, 2))
    assert close(guided, other + 3 * (one - other), 1e-9)


# ------------------------------------------------------------------------------------- the details


class Conditional(nn.Module):
    """Takes images, a label and a text; zeros of them."""

    labels = 4

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.bfloat16))
        self.seen = list[tuple]()

    def forward(self, x: Tensor, t: Tensor, label: Tensor, text: Tensor) -> Tensor:
        self.seen.append((tuple(x.shape), t.tolist(), t.dtype, label.tolist(), tuple(text.shape)))
        return 0 * x


@pytest.mark.parametrize(
    ("convention", "times", "dtype"),
    [
        (DDPM(TABLE), [874] * 3, torch.int64),
        (DDPM(TABLE, whole=False), [874.0] * 3, torch.float32),
    ],
)
def test_network_is_called_as_it_was_trained(convention, times: list, dtype: torch.dtype) -> None:
    """Images of its type, a time and a label for each, and conditions of as many rows."""
    network = Conditional()
    field = from_torch(network, convention, (3, 2, 2), conditions={"text": torch.ones(1, 7, 5)})
    field.given(1).noise(randn(3, 12, dtype=torch.float32), 875)
    field.given(torch.tensor([0, 1, 2])).noise(randn(3, 12), 875)
    want = ((3, 3, 2, 2), times, dtype)
    assert network.seen == [(*want, [1, 1, 1], (3, 7, 5)), (*want, [0, 1, 2], (3, 7, 5))]
    with pytest.raises(ValueError, match="label must be 0 to 3, or 4 for no label, got 5"):
        field.given(5)
    with pytest.raises(ValueError, match="must have dimension 12, got 2"):
        field.noise(randn(3, 2), 875)
    assert field.network.state_dict().keys() == {"network.weight"}


def test_fractions_between_timesteps_are_refused_or_passed() -> None:
    network, _ = CASES["eps"]
    field, x = from_torch(network, DDPM(TABLE)), randn(3, 2)
    for ask in (
        lambda: field.noise(x, 3.5),
        lambda: sf.SDESolver("euler", 20).solve(sf.reverse(field), x),
        lambda: sf.ODESolver("dopri5").solve(sf.reverse(field, 0.0), x),
    ):
        with pytest.raises(ValueError, match=r"lies between two timesteps .* give times=conv"):
            ask()
    # The Brownian frame asks at whole timesteps up to rounding.
    process, times = field.process, DDPM(TABLE).times(20)
    rho = process.noise_level(times)
    solver = sf.ODESolver("euler", times=rho)
    found = solver.solve(sf.sdes.comoving(field), x).x[-1]
    exact = sf.ExactField(process, LAW)
    assert close(found, solver.solve(sf.sdes.comoving(exact), x).x[-1], 1e-6)

    class Sinusoidal(nn.Module):
        def forward(self, x: Tensor, k: Tensor) -> Tensor:
            c = process(k[:, None] + 1)
            return (x - c.alpha * denoised(x, c.alpha, c.sigma)) / c.sigma

    free = from_torch(Sinusoidal(), DDPM(TABLE, whole=False))
    assert close(free.noise(x, 3.5), exact.noise(x, 3.5), 1e-9)


def test_times_of_a_table_are_whole_and_fall() -> None:
    convention = DDPM(TABLE)
    for steps in (1, 7, 50, 999):
        times = convention.times(steps)
        assert len(times) == steps + 1
        assert (times[0], times[-1]) == (1000, 1)
        assert torch.equal(times, times.round())
        assert (times.diff() < 0).all()
    with pytest.raises(ValueError, match="the table has 999 steps, so steps cannot be 1000"):
        convention.times(1000)


class Odd(nn.Module):
    """Returns what it was told to."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, t: Tensor) -> object:
        return self.answer(x)


def plain(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: from_torch(Odd(plain), DDPM), TypeError, "must be a Convention, .* got DDPM"),
        (lambda: from_torch(Odd(plain), "eps"), TypeError, "must be a Convention, .* got str"),
        (lambda: from_torch(plain, Denoiser()), TypeError, "must be a torch module, got function"),
        (lambda: from_torch(sf.MLP(), Denoiser()), ValueError, "give it to LearnedField"),
        (lambda: from_torch(Odd(plain), Denoiser(), (3, 0)), ValueError, "shape must be at least"),
        (
            lambda: from_torch(Odd(plain), Denoiser(), conditions={"y": torch.ones(2, 3)}),
            ValueError,
            r"condition 'y' must be a tensor \(1, ...\), .* got \(2, 3\)",
        ),
        (lambda: DDPM(TABLE, "v"), TypeError, "predicts must be a Prediction"),
        (lambda: DDPM(TABLE, Prediction.VELOCITY), ValueError, "v-prediction is Prediction.V"),
        (lambda: DDPM("table"), TypeError, "alphas_cumprod must be a row of numbers, got str"),
        (
            lambda: DDPM(1 - torch.linspace(1e-4, 0.02, 1000)),
            ValueError,
            "ends at 0.98, where the data are hardly noised",
        ),
        (lambda: DDPM(torch.linspace(1e-4, 0.02, 1000)), ValueError, "must fall strictly"),
        (lambda: DDPM.from_scheduler(TABLE), TypeError, "scheduler must have alphas_cumprod"),
        (
            lambda: DDPM.from_scheduler(
                SimpleNamespace(
                    alphas_cumprod=TABLE, config=SimpleNamespace(prediction_type="score")
                )
            ),
            ValueError,
            "prediction_type must be one of epsilon, v_prediction, sample, got 'score'",
        ),
        (lambda: FlowMatching(data_at=0.5), ValueError, "data_at must be 0 or 1"),
        (lambda: FlowMatching(data_at=1, scale=0), ValueError, "scale must be positive"),
        (lambda: FlowMatching(data_at=1, t_max=1.0), ValueError, "move the ends inwards"),
        (lambda: Denoiser(2.0, 1.0), ValueError, "sigma_min must lie below sigma_max"),
        (
            lambda: from_torch(Odd(lambda x: torch.cat([x, x], 1)), Denoiser(), (1, 1, 2)).noise(
                randn(3, 2), 1.0
            ),
            ValueError,
            r"returned \(3, 2, 1, 2\) for \(3, 1, 1, 2\); .* return its mean alone if it predicts",
        ),
        (
            lambda: from_torch(Odd(lambda x: {"sample": x}), Denoiser()).noise(randn(3, 2), 1.0),
            ValueError,
            "returned a dict; it must return a tensor, an object with .sample",
        ),
        (
            lambda: from_torch(Odd(lambda x: (x, x)), Denoiser()).noise(randn(3, 2), 1.0),
            ValueError,
            "returned a tuple",
        ),
    ],
)
def test_mistakes_are_refused_in_a_sentence(mistake, error, message: str) -> None:
    with pytest.raises(error, match=message) as said:
        mistake()
    assert "\n" not in str(said.value)
