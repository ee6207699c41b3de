"""What a loss measures, how low it can go, and where in time it looks."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow import training
from sdeflow.training.loss import default_time_density
from tests.problems import (
    PROCESSES,
    Wavy,
    close,
    f64,
    lopsided,
    randn,
    times_of,
)

ROWS = list(sf.fields.Prediction)
rows_and_preconditioning = pytest.mark.parametrize(
    ("predicts", "data_std"),
    [*((row, None) for row in ROWS), (None, 1.7)],
    ids=[*(row.value for row in ROWS), "preconditioned"],
)


class Known(nn.Module):
    """gain times the row that the exact field gives, as a plain network of (x, t)."""

    def __init__(
        self, truth: sf.fields.ExactField, predicts: sf.fields.Prediction, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.truth, self.predicts, self.gain = truth, predicts, gain

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        c = self.truth.process(t).along(x)
        known = self.truth.posterior(x, c)
        a, b = self.predicts.row(c)
        return self.gain * (a * known.data + b * known.noise)


def truths(process: sf.processes.Process) -> dict[str, sf.fields.ExactField]:
    return {
        "mixture": sf.ExactField(process, lopsided()),
        "points": sf.ExactField(process, sf.distributions.PointSet(lopsided().sample(30, 0))),
    }


# ------------------------------------------------------------------------------------- the loss


@rows_and_preconditioning
def test_every_weighting_is_a_regression_of_the_literature(
    process: sf.processes.Process, predicts: sf.fields.Prediction | None, data_std: float | None
) -> None:
    """Each loss as its paper writes it, from the denoiser D that the network stands for."""
    t = times_of(process, 12)
    x0, eps = 0.8 * randn(12, 2, seed=3), randn(12, 2, seed=4)
    network = Wavy()
    field = sf.LearnedField(process, network, predicts, data_std=data_std)
    c = process(t)
    alpha, sigma, alpha_dot, sigma_dot = (v[:, None] for v in c)
    x = alpha * x0 + sigma * eps
    rows = {
        sf.fields.Prediction.DATA: (torch.ones_like(t), torch.zeros_like(t)),
        sf.fields.Prediction.NOISE: (torch.zeros_like(t), torch.ones_like(t)),
        sf.fields.Prediction.SCORE: (torch.zeros_like(t), -1 / c.sigma),
        sf.fields.Prediction.VELOCITY: (c.alpha_dot, c.sigma_dot),
        sf.fields.Prediction.V: (-c.sigma, c.alpha),
    }
    rho = sigma / alpha
    if data_std is None:
        # (x_t, prediction) -> (x_0, eps), by a linear solve for each particle.
        out = network(x, t)
        one = torch.stack([torch.stack([c.alpha, c.sigma], 1), torch.stack(rows[predicts], 1)], 1)
        d, noise = torch.linalg.solve(one, torch.stack([x, out], 1)).unbind(1)
        own = out - (rows[predicts][0][:, None] * x0 + rows[predicts][1][:, None] * eps)
    else:
        # Karras et al. 2022, table 1, in the frame where alpha = 1.
        s, root = data_std, torch.sqrt(rho**2 + data_std**2)
        skip, scale = (s / root) ** 2, rho * s / root
        out = network((x / alpha) / root, torch.log(rho[:, 0] / s) / 4)
        d = skip * (x / alpha) + scale * out
        noise = (x - alpha * d) / sigma
        own = out - (x0 - skip * (x / alpha)) / scale

    def mean(square: Tensor) -> Tensor:
        return (square**2).mean(1)

    def loss(weighting: training.Weighting | None) -> Tensor:
        return sf.training.loss(field, x0, t, eps, weighting)

    expected = {
        sf.fields.Prediction.DATA: mean(d - x0),
        sf.fields.Prediction.NOISE: mean(noise - eps),
        sf.fields.Prediction.SCORE: mean(-noise / sigma - -eps / sigma),
        sf.fields.Prediction.VELOCITY: mean(alpha_dot * (d - x0) + sigma_dot * (noise - eps)),
        sf.fields.Prediction.V: mean(alpha * (noise - eps) - sigma * (d - x0)),
    }

    def agree(a: Tensor, b: Tensor) -> bool:
        # Particle by particle. x_0 loses sigma / alpha digits at noise, eps alpha / sigma at data.
        return bool(((a - b).abs() <= 1e-7 * b).all())

    for row, square in expected.items():
        assert agree(loss(sf.training.prediction_weighting(row)), square), row
    assert agree(loss(None), mean(own))
    snr = (alpha / sigma)[:, 0] ** 2
    karras = (rho**2 + 0.9**2) / (rho * 0.9) ** 2
    assert agree(loss(sf.training.edm_weighting(0.9)), karras[:, 0] * mean(d - x0))
    # Hang et al. 2023 write it for x_0: min(SNR, gamma) |x_0 - D|^2.
    assert agree(loss(sf.training.min_snr(3.0)), snr.clamp_max(3.0) * mean(d - x0))


@rows_and_preconditioning
def test_simple_loss_has_the_same_gradient_in_every_prediction(
    process: sf.processes.Process, predicts: sf.fields.Prediction | None, data_std: float | None
) -> None:
    t, x0, eps = times_of(process, 12), randn(12, 2, seed=3), randn(12, 2, seed=4)
    network = Wavy()
    field = sf.LearnedField(process, network, predicts, data_std=data_std)
    value = sf.training.loss(
        field, x0, t, eps, sf.training.prediction_weighting(sf.fields.Prediction.NOISE)
    ).mean()
    plain = ((field.noise(process.perturb(x0, t, eps), t) - eps) ** 2).mean()
    weights = list(network.parameters())
    pairs = zip(torch.autograd.grad(value, weights), torch.autograd.grad(plain, weights))  # noqa: B905
    for a, b in pairs:
        assert close(a, b, 1e-7)


X0, EPS = randn(5, 2), randn(5, 2, seed=1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"t": f64([0.5] * 4 + [1.1])}, "t runs from 0.5 to 1.1, outside .0.0001, 1."),
        ({"t": f64(0.0)}, "outside"),
        ({"t": f64([0.5] * 4)}, r"t must be \(\) or \(5,\)"),
        ({"eps": EPS[:1]}, "eps must have the shape of x0"),
        ({"eps": EPS[0]}, "eps must be a cloud"),
        ({"x0": X0 * math.nan}, "x0 has NaN or infinite entries"),
        ({"x0": randn(5, 3), "eps": randn(5, 3)}, "x0 must have dimension 2, got 3"),
        ({"x0": X0.numpy()}, "x0 must be a floating-point tensor, got ndarray"),
        ({"weighting": 1.0}, "weighting must be a function"),
        ({"field": nn.Linear(2, 2)}, "field must be a LearnedField"),
    ],
)
def test_loss_refuses_what_does_not_fit(change: dict, complaint: str) -> None:
    """Outside its interval a process gave NaN, and a row of eps was broadcast to all particles."""
    field = sf.LearnedField(sf.VP(), sf.MLP(width=8).double())
    good = {"field": field, "x0": X0, "t": f64([0.5] * 5), "eps": EPS}
    assert torch.equal(training.loss(**{**good, "t": 0.5}), training.loss(**good))
    with pytest.raises((ValueError, TypeError), match=complaint):
        training.loss(**{**good, **change})


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_weightings_refuse_sizes_that_are_not_positive(bad: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        sf.training.min_snr(bad)
    with pytest.raises(ValueError, match="must be positive"):
        sf.training.edm_weighting(bad)


# ------------------------------------------------------------------------- what cannot be learned


@pytest.mark.parametrize("kind", ["mixture", "points"])
@pytest.mark.parametrize("predicts", ROWS, ids=lambda p: p.value)
def test_the_exact_field_has_no_excess(
    process: sf.processes.Process, kind: str, predicts: sf.fields.Prediction
) -> None:
    truth = truths(process)[kind]
    m = sf.training.loss_decomposition(
        sf.LearnedField(process, Known(truth, predicts), predicts), truth, levels=6, n=40
    )
    # Rounding, as far as the row determines eps: worst for data at small sigma.
    assert float(m.excess.max()) < 1e-16
    # Off by 1 %, it has an excess: of at least 1e-4 eps_hat^2, and eps_hat is of order 1 at noise.
    off = sf.LearnedField(process, Known(truth, predicts, 1.01), predicts)
    assert float(sf.training.loss_decomposition(off, truth, levels=6, n=40).excess.max()) > 1e-5


@pytest.mark.parametrize("name", ["VE", "VP", "Linear"])
@pytest.mark.parametrize("kind", ["mixture", "points"])
@pytest.mark.parametrize("row", [sf.fields.Prediction.NOISE, sf.fields.Prediction.VELOCITY])
def test_loss_is_irreducible_plus_excess(name: str, kind: str, row: sf.fields.Prediction) -> None:
    """Monte Carlo of the plain loss at each level, for the exact field and for a wrong one."""
    process, n = PROCESSES[name], 6000
    truth = truths(process)[kind]
    weighting = sf.training.prediction_weighting(row)
    seen = 0
    for gain in (1.0, 0.7):
        network = Known(truth, sf.fields.Prediction.NOISE, gain)
        field = sf.LearnedField(process, network, sf.fields.Prediction.NOISE)
        m = sf.training.loss_decomposition(
            field, truth, levels=7, n=n, seed=5, weighting=weighting
        )
        x0, eps = truth.sample(n, 91), randn(n, 2, seed=92)
        for i in range(7):
            with torch.no_grad():
                each = sf.training.loss(field, x0, m.t[i].expand(n), eps, weighting)
            # The decomposition averages E[loss | x_t], which varies no more than the loss does:
            # twice the variance bounds that of the difference.
            error = math.sqrt(2) * float(each.std()) / math.sqrt(n)
            # Where a few rare particles carry the whole loss, no Monte Carlo knows its own error.
            if float(each.sum() ** 2 / (each**2).sum()) > 100:
                seen += 1
                assert abs(float(each.mean() - m.loss[i])) < 4.5 * error + 1e-20, (gain, i)
        if gain == 1.0:
            assert float(m.excess.abs().max()) < 1e-16 * float(m.loss.max())
    assert seen >= 11


def test_error_of_the_excess_is_its_standard_deviation() -> None:
    """Excess of two seeds differs by its standard error; both parts scale with w."""
    process = sf.VE()
    truth = truths(process)["points"]
    field = sf.LearnedField(process, Known(truth, sf.fields.Prediction.NOISE, 0.8))
    a, b = (sf.training.loss_decomposition(field, truth, levels=30, n=500, seed=s) for s in (1, 2))
    z = (a.excess - b.excess) / torch.sqrt(a.error**2 + b.error**2)
    # 30 near-normal z: their mean square is 1 up to sqrt(2 / 30) = 0.26.
    assert 0.3 < float((z**2).mean()) < 1 + 4 * 0.26
    level = torch.exp(-process.log_snr(a.t) / 2)
    data = sf.training.loss_decomposition(
        field,
        truth,
        levels=30,
        n=500,
        seed=1,
        weighting=sf.training.prediction_weighting(sf.fields.Prediction.DATA),
    )
    assert close(data.loss, level**2 * a.loss, 1e-10)
    assert close(data.error, level**2 * a.error, 1e-10)


def test_loss_report_prints_its_means_in_one_line() -> None:
    parts = f64([0.25, 0.75]), f64([0.0, 0.5]), f64([0.1, 0.1])
    report = sf.training.LossReport(f64([0.9, 0.1]), *parts)
    words = "loss 0.75 = irreducible 0.5 + excess 0.25, mean over 2 noise levels"
    assert repr(report) == words


def test_decomposition_levels_are_midpoints_with_independent_noise(
    process: sf.processes.Process,
) -> None:
    """Its levels are midpoints of the log SNR; its eps are normal, and none is used twice."""
    seen: list[Tensor] = []

    class Still(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(x)
            return torch.zeros_like(x)

    point = torch.zeros(1, 2, dtype=torch.float64)
    truth = sf.ExactField(process, sf.distributions.PointSet(point))
    n, levels = 500, 5  # a level is two calls of 256 rows, the second padded
    ends = process.log_snr(f64([process.t_max, process.t_min]))
    eps = []
    for seed in (0, 1):
        seen.clear()
        m = sf.training.loss_decomposition(
            sf.LearnedField(process, Still()), truth, levels=levels, n=n, seed=seed
        )
        part = (process.log_snr(m.t) - ends[0]) / (ends[1] - ends[0])
        assert close(part, quantiles(levels), 1e-9)
        x = torch.cat(seen).reshape(levels, -1, 2)[:, :n]
        eps += [*(x / process(m.t).sigma[:, None, None]).flatten(1)]
    z = torch.stack(eps)
    assert scipy.stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    off = (z @ z.T / z.shape[1]).fill_diagonal_(0).abs().max()
    assert float(off) < 5 / math.sqrt(z.shape[1])


def test_irreducible_loss_of_the_lectures_spiral() -> None:
    """Measured elsewhere: 0.322 per coordinate, 64 levels, sigma 0.01 to 10. By bare Bayes."""
    process, points = (
        sf.VE(sigma_min=0.01, sigma_max=10.0),
        sf.datasets.spiral().distribution.points,
    )
    truth = sf.ExactField(process, sf.distributions.PointSet(points))
    field = sf.LearnedField(process, Known(truth, sf.fields.Prediction.NOISE))
    m = sf.training.loss_decomposition(field, truth, levels=64, n=2000)
    bare, spread = [], []
    for sigma in np.logspace(-2, 1, 64):
        x0 = points.repeat(20, 1)
        x = x0 + sigma * randn(2000, 2, seed=int(1e6 * sigma))
        w = torch.softmax(-(torch.cdist(x, points) ** 2) / (2 * sigma**2), 1)
        square = ((w @ points - x0) ** 2).sum(1) / (2 * sigma**2)
        bare.append(float(square.mean()))
        spread.append(float(square.std()) / math.sqrt(2000))
    error = math.sqrt(sum(s**2 for s in spread)) / 64
    assert abs(sum(bare) / 64 - 0.322) < 0.0005 + 4 * error
    # The decomposition takes the midpoints of 64 cells, the lecture the 64 ends of 63 cells: the
    # trapezoidal rule over these is the same integral.
    trapezoids = (sum(bare) - (bare[0] + bare[-1]) / 2) / 63
    assert abs(float(m.irreducible.mean()) - trapezoids) < 4 * math.sqrt(2) * error
    assert close(m.loss, m.irreducible, 1e-12)


def test_loss_decomposition_refuses_two_processes_and_no_levels() -> None:
    truth = truths(sf.VP())["points"]
    field = sf.LearnedField(sf.VE(), Wavy())
    with pytest.raises(TypeError, match="truth must be an ExactField"):
        sf.training.loss_decomposition(sf.LearnedField(sf.VP(), Wavy()), Wavy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different processes"):
        sf.training.loss_decomposition(field, truth)
    with pytest.raises(ValueError, match="levels must be at least 1"):
        sf.training.loss_decomposition(sf.LearnedField(sf.VP(), Wavy()), truth, levels=0)
    with pytest.raises(ValueError, match="n must be at least 2"):  # one has no scatter
        sf.training.loss_decomposition(sf.LearnedField(sf.VP(), Wavy()), truth, n=1)


# ------------------------------------------------------------------------------- densities of time


def quantiles(n: int) -> Tensor:
    """Midpoints: uniform to within 1 / (2 n), and so is any monotone image in its distribution."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def is_distributed(values: Tensor, expected: scipy.stats.rv_continuous) -> bool:
    """The Kolmogorov distance to `expected` is that of the midpoints, not merely small."""
    return bool(scipy.stats.kstest(values.numpy(), expected.cdf).statistic < 0.51 / len(values))


def test_uniform_time_is_uniform(process: sf.processes.Process) -> None:
    t = sf.training.uniform_time(process, quantiles(500))
    assert is_distributed(t, scipy.stats.uniform(process.t_min, process.t_max - process.t_min))


def test_uniform_log_snr_is_uniform_in_log_snr(process: sf.processes.Process) -> None:
    t = sf.training.uniform_log_snr(process, quantiles(500))
    assert bool(((t >= process.t_min) & (t <= process.t_max)).all())
    low, high = (float(process.log_snr(f64(end))) for end in (process.t_max, process.t_min))
    assert is_distributed(process.log_snr(t), scipy.stats.uniform(low, high - low))


def test_log_uniform_noise_is_log_uniform_between_its_levels(
    process: sf.processes.Process,
) -> None:
    ends = [float(torch.exp(-process.log_snr(f64(t)) / 2)) for t in (process.t_min, process.t_max)]
    for low, high in ((0.05, 2.0), (1e-9, 0.3), (0.5, 1e9)):
        t = sf.training.log_uniform_noise(low, high)(process, quantiles(300))
        reach = math.log(max(low, ends[0])), math.log(min(high, ends[1]))
        expected = scipy.stats.uniform(reach[0], reach[1] - reach[0])
        assert is_distributed(-process.log_snr(t) / 2, expected)
    with pytest.raises(ValueError, match="low must lie below high"):
        sf.training.log_uniform_noise(2.0, 1.0)


def test_default_time_density_spans_the_datas_noise_levels() -> None:
    process = sf.EDM()
    field = sf.LearnedField(process, Wavy(), data_std=0.5)
    t = default_time_density(field)(process, quantiles(300))
    expected = scipy.stats.uniform(math.log(0.5 / 200), math.log(20 * 200))
    assert is_distributed(torch.log(t), expected)
    t = default_time_density(sf.LearnedField(process, Wavy()))(process, quantiles(300))
    assert is_distributed(torch.log(t), scipy.stats.uniform(math.log(2e-3), math.log(4e4)))


def test_normal_log_snr_is_edms_noise_distribution() -> None:
    """Karras et al. 2022: ln sigma ~ N(-1.2, 1.2^2), cut off at the process's ends."""
    t = sf.training.normal_log_snr()(sf.EDM(), quantiles(400))
    assert is_distributed(torch.log(t), scipy.stats.norm(-1.2, 1.2))
    t = sf.training.normal_log_snr(3.0, 0.5)(sf.Linear(), quantiles(400))
    assert is_distributed(2 * torch.log((1 - t) / t), scipy.stats.norm(3.0, 0.5))
    assert float(sf.training.normal_log_snr(0.0, 90.0)(sf.Linear(), quantiles(400)).max()) == 0.999


def test_logit_normal_time_is_logit_normal() -> None:
    p = sf.Linear()
    t = sf.training.logit_normal_time(0.4, 0.8)(p, quantiles(400))
    part = (t - p.t_min) / (p.t_max - p.t_min)
    assert is_distributed(torch.log(part / (1 - part)), scipy.stats.norm(0.4, 0.8))
