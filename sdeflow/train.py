r"""Learning a field, and knowing how much is left to learn.

With x_t = alpha x_0 + sigma eps, every regression target is a row of (x_0, eps), and an error in
one row is an error in any other times a function of time alone. So there is one loss,

    L = E_t E [ w(t) |eps_hat(x_t, t) - eps|^2 ] / d,

a *weighting* w and a *time density*. `measured_in` gives the weightings of the literature: 1 is
DDPM's simple loss (Ho et al. 2020, eq. 14), SNR^-1 the data loss, the velocity row flow matching.

Even the exact field does not bring L to zero, because x_t does not tell eps:

    L = E [ w |eps_hat - E[eps | x_t]|^2 ] / d + E [ w tr Cov(eps | x_t) ] / d = excess + floor.

For mixtures and point sets the second term is known. `meter` reports both: a loss alone says
nothing.

A run is a function of its seed: batch, noise and times of step k have the address (seed, k), so a
run that is killed and resumed from its checkpoint repeats the very same steps. Checkpoints hold
tensors and JSON, nothing that could be executed.

See docs/theory.md, (6.1) the one loss, (6.3) floor and excess.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sdeflow import door, process
from sdeflow.door import SdeflowError
from sdeflow.field import BayesField, LearnedField
from sdeflow.network import MLP
from sdeflow.noise import Purpose, generator
from sdeflow.prediction import Prediction, Row, encode, unit_row
from sdeflow.process import Coefficients, Process
from sdeflow.provenance import write_bytes

Weighting = Callable[[Coefficients[Tensor]], Tensor]
TimeDensity = Callable[[Process, Tensor], Tensor]
Sample = Callable[[int, int], Tensor | tuple[Tensor, Tensor]]

PROCESSES = {
    kind.__name__: kind
    for kind in (
        process.VP,
        process.SubVP,
        process.VE,
        process.EDM,
        process.Linear,
        process.Cosine,
        process.Tabulated,
    )
}


# ---- weightings: w(t), relative to the squared error of eps -------------------------------------


def measured_in(row: Prediction) -> Weighting:
    """w such that L is the plain squared error of this row: ((alpha b - sigma a) / alpha)^2.

    Source: Ho et al. 2020, eq. 14, for the noise row.
    """
    return lambda c: _ruler(row.row(c), c) ** 2


def edm_weighting(data_std: float) -> Weighting:
    """w such that L is the plain squared error of the unit row (Karras et al. 2022, table 1).

        w = 1 + (sigma / (alpha s))^2,    s = data_std.

    Raises:
        ValueError, TypeError: data_std is not a positive number.
    """
    door.positive(data_std, "data_std")
    return lambda c: _ruler(unit_row(c, data_std), c) ** 2


def min_snr(gamma: float = 5.0) -> Weighting:
    """w = min(SNR, gamma) / SNR (Hang et al. 2023, section 3.4, for noise prediction).

    Raises:
        ValueError, TypeError: gamma is not a positive number.
    """
    door.positive(gamma, "gamma")
    return lambda c: (gamma * (c.sigma / c.alpha) ** 2).clamp_max(1.0)


def default_weighting(field: LearnedField) -> Weighting:
    """w such that L is the plain squared error of what the network itself gives."""
    return lambda c: _ruler(field.row(c), c) ** 2


def _ruler(row: Row[Tensor], c: Coefficients[Tensor]) -> Tensor:
    """How far this row moves when eps moves by one and x_t stays: (alpha b - sigma a) / alpha."""
    a, b = row
    return b - a * c.sigma / c.alpha


# ---- time densities: from u in (0, 1) to t ------------------------------------------------------


def uniform_time(p: Process, u: Tensor) -> Tensor:
    """t uniform on [t_min, t_max] (Ho et al. 2020)."""
    return p.t_min + u * (p.t_max - p.t_min)


def uniform_log_snr(p: Process, u: Tensor) -> Tensor:
    """log SNR uniform between its values at t_max and t_min: every scale gets its equal share."""
    ends = p.log_snr(torch.tensor([p.t_max, p.t_min], dtype=u.dtype))
    return _inside(p, p.time(ends[0] + u * (ends[1] - ends[0])))


def noise_between(low: float, high: float) -> TimeDensity:
    """log SNR uniform between the noise levels sigma / alpha = low and high.

    It goes no further than the process does.

    Raises:
        ValueError, TypeError: not 0 < low < high.
    """
    if not door.positive(low, "low") < door.positive(high, "high"):
        raise ValueError(f"low must lie below high, got {low} and {high}")

    def density(p: Process, u: Tensor) -> Tensor:
        reach = p.log_snr(torch.tensor([p.t_max, p.t_min], dtype=u.dtype))
        noisy, clean = (-2 * math.log(v) for v in (high, low))
        noisy, clean = max(noisy, float(reach[0])), min(clean, float(reach[1]))
        return _inside(p, p.time(noisy + u * (clean - noisy)))

    return density


def default_density(field: LearnedField) -> TimeDensity:
    """Log-uniform noise; from 1/200 to 20 data standard deviations where these are known.

    Beyond, the preconditioned network's task is the same at every level: nothing is left to learn
    there.
    """
    if field.data_std is None:
        return uniform_log_snr
    return noise_between(field.data_std / 200, 20 * field.data_std)


def normal_log_snr(mean: float = 2.4, std: float = 2.4) -> TimeDensity:
    """log SNR ~ N(mean, std^2), clipped to the span; by default EDM's ln sigma ~ N(-1.2, 1.2^2).

    Raises:
        ValueError, TypeError: std is not a positive number.

    Source: Karras et al. 2022, table 1.
    """
    door.positive(std, "std")
    return lambda p, u: _inside(p, p.time(mean + std * torch.special.ndtri(u)))


def logit_normal_time(mean: float = 0.0, std: float = 1.0) -> TimeDensity:
    """logit((t - t_min) / (t_max - t_min)) ~ N(mean, std^2) (Esser et al. 2024, section 3.1).

    Raises:
        ValueError, TypeError: std is not a positive number.
    """
    door.positive(std, "std")
    return lambda p, u: uniform_time(p, torch.sigmoid(mean + std * torch.special.ndtri(u)))


def _inside(p: Process, t: Tensor) -> Tensor:
    return t.clamp(p.t_min, p.t_max)


# ---- the loss -----------------------------------------------------------------------------------


def loss(
    field: LearnedField, x0: Tensor, t: Tensor, eps: Tensor, weighting: Weighting | None = None
) -> Tensor:
    """w |eps_hat - eps|^2 / d per particle, (n,): x0, eps (n, d), t (n,).

    Computed in the network's own row, whose error is the error of eps times a function of t.
    """
    c = field.process(t)
    wide = c.along(x0)
    x = wide.alpha * x0 + wide.sigma * eps
    row = field.row(wide)
    error = field.evaluate(x, t, wide) - encode(row, x0, eps)
    weight = (weighting or default_weighting(field))(c) / _ruler(field.row(c), c) ** 2
    return weight * (error**2).mean(1)


@dataclass(frozen=True, eq=False)
class Meter:
    """Loss and its floor at each noise level, in units of |eps|^2 per coordinate times w.

    Attributes:
        t: (L,) times, evenly spaced in log SNR.
        floor: (L,) E[w tr Cov(eps | x_t)] / d, what no network can remove.
        excess: (L,) E[w |eps_hat - E[eps | x_t]|^2] / d, what this one could.
        error: (L,) standard error of `excess`.
    """

    t: Tensor
    floor: Tensor
    excess: Tensor
    error: Tensor

    @property
    def loss(self) -> Tensor:
        """floor + excess (L,): the expected loss, with no noise of its own from eps."""
        return self.floor + self.excess


def meter(
    field: LearnedField,
    truth: BayesField,
    *,
    levels: int = 64,
    n: int = 2000,
    seed: int = 0,
    weighting: Weighting | None = None,
) -> Meter:
    """The irreducible-loss meter: floor and excess of a learned field, against the exact one.

        floor = w E tr Cov(eps | x_t) / d,    excess = w E |eps_hat - E[eps | x_t]|^2 / d.

    At each of `levels` times, n particles x_t of the truth's own law; the conditional variance is
    exact at each of them. The weighting is that of the noise loss unless given.

    Raises:
        ValueError: the two fields do not share a process.
    """
    p = field.process
    if p != truth.process:
        raise ValueError(f"the fields have different processes: {p} and {truth.process}")
    door.whole(levels, "levels")
    door.whole(n, "n", 2)
    u = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
    times = uniform_log_snr(p, u)
    weighting = weighting or measured_in(Prediction.NOISE)
    x0 = truth.sample(n, seed)
    floor, excess, error = (torch.zeros(levels, dtype=torch.float64) for _ in range(3))
    with torch.no_grad():
        for i, t in enumerate(times):
            c = p(t)
            g = generator(seed, Purpose.PROBE, i)
            eps = torch.from_numpy(g.standard_normal(tuple(x0.shape))).to(x0)
            x = p.perturb(x0, t, eps)
            w = float(weighting(c))
            known = truth.posterior(x, c.along(x))
            off = ((field.noise(x, t) - known.noise) ** 2).mean(1).double()
            snr = float((c.alpha / c.sigma) ** 2)
            floor[i] = w * snr * known.data_variance.double().mean() / x.shape[1]
            excess[i], error[i] = w * off.mean(), w * off.std() / math.sqrt(n)
    return Meter(times, floor, excess, error)


# ---- training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; `fit` takes these as keywords.

    Args:
        batch: particles per step.
        rate: peak learning rate of Adam; it rises over the first 2 % of the steps and falls as a
            cosine to 0.
        decay: of the exponential moving average of the weights, which is what is kept.
        drop: share of labels replaced by "no label" (classifier-free guidance; Ho and Salimans
            2022).

    Raises:
        ValueError, TypeError: a number out of its range.
    """

    batch: int = 512
    rate: float = 5e-3
    decay: float = 0.995
    drop: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what would not train."""
        door.whole(self.batch, "batch")
        door.positive(self.rate, "rate")
        for name in ("decay", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")


class Training(Iterator[Tensor]):
    """A run of `fit`: each `next` is one step and gives its loss (); `step` counts those done."""

    def __init__(
        self,
        field: LearnedField,
        sample: Sample,
        steps: int,
        seed: int,
        recipe: Recipe,
        weighting: Weighting,
        density: TimeDensity,
        checkpoint: Path | None,
        every: int,
    ) -> None:
        self.field, self.sample, self.steps, self.seed = field, sample, steps, seed
        self.recipe, self.weighting, self.density = recipe, weighting, density
        self.checkpoint, self.every = checkpoint, every
        self.step = 0
        self._network = field.network.train()
        self._average = AveragedModel(
            self._network, multi_avg_fn=get_ema_multi_avg_fn(recipe.decay)
        )
        self._adam = torch.optim.Adam(self._network.parameters(), lr=recipe.rate, fused=True)
        self._kept: Tensor | None = None
        if checkpoint is not None:
            self._resume(checkpoint)

    def __next__(self) -> Tensor:
        """One step; after the last one the network holds the averaged weights."""
        if self.step >= self.steps:
            self._finish()
            raise StopIteration
        value = self._advance()
        self.step += 1
        last = self.step == self.steps
        if last or self.step % 50 == 0:
            self._check(value)
        if self.checkpoint is not None and (last or self.step % self.every == 0):
            self._save(self.checkpoint)
        if last:
            self._finish()
        return value

    def _advance(self) -> Tensor:
        g = generator(self.seed, Purpose.TRAINING, self.step)
        drawn = self.sample(self.recipe.batch, int(g.integers(2**62)))
        x0, label = drawn if isinstance(drawn, tuple) else (drawn, None)
        field = self.field
        parameter = next(self._network.parameters())
        x0 = x0.to(parameter)
        n = len(x0)
        # One time in each of n equal shares: the average over time is then nearly free of noise.
        u = (torch.arange(n, dtype=torch.float64) + torch.from_numpy(g.random(n))) / n
        t = self.density(field.process, u.clamp(1e-9, 1 - 1e-9)).to(parameter)
        eps = torch.from_numpy(g.standard_normal(tuple(x0.shape), dtype=np.float32)).to(parameter)
        if label is not None:
            dropped = torch.from_numpy(g.random(n) < self.recipe.drop)
            none = getattr(self._network, "labels", int(label.max()) + 1)
            field = field.given(torch.where(dropped, none, label).to(parameter.device))
        for group in self._adam.param_groups:
            group["lr"] = self._rate()
        value = loss(field, x0, t, eps, self.weighting).mean()
        self._adam.zero_grad(set_to_none=True)
        value.backward()
        self._adam.step()
        self._average.update_parameters(self._network)
        return value.detach()

    def _rate(self) -> float:
        done = self.step / self.steps
        rise = min(1.0, (self.step + 1) / max(1.0, 0.02 * self.steps))
        return self.recipe.rate * rise * 0.5 * (1 + math.cos(math.pi * done))

    def _check(self, value: Tensor) -> None:
        if not torch.isfinite(value):
            raise SdeflowError(
                f"the loss is {float(value)} at step {self.step}; lower the rate "
                f"({self.recipe.rate}) or check the data's scale (data_std)"
            )

    def _finish(self) -> None:
        self._network.load_state_dict(self._average.module.state_dict())
        self._network.eval()

    # -- checkpoints --

    def _describe(self) -> dict:
        about = {
            "kind": "training",
            "seed": self.seed,
            "steps": self.steps,
            "recipe": asdict(self.recipe),
            "field": describe(self.field),
        }
        return json.loads(json.dumps(about))  # as it will be read back: tuples become lists

    def _save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        for i, state in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{k}": v for k, v in state.items()}
        write(path, tensors, {**self._describe(), "step": self.step}, keep_previous=True)

    def _resume(self, path: Path) -> None:
        found = _latest(path)
        if found is None:
            return
        tensors, about = found
        step = about.pop("step", None)
        if about != self._describe():
            other = [k for k, v in self._describe().items() if about.get(k) != v]
            raise SdeflowError(
                f"the checkpoint {path} belongs to another run (its {', '.join(other)} differ); "
                "remove it or choose another folder"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "adam": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self._network.load_state_dict(parts["network"])
        self._average.load_state_dict(parts["average"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            i, _, key = name.partition(".")
            state.setdefault(int(i), {})[key] = value
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state, "param_groups": groups})
        self.step = int(step)


def fit(
    field: LearnedField,
    sample: Sample,
    steps: int,
    seed: int = 0,
    *,
    recipe: Recipe | None = None,
    weighting: Weighting | None = None,
    density: TimeDensity | None = None,
    checkpoint: str | Path | None = None,
    every: int = 1000,
) -> Training:
    """Train the field's network in place; iterate over the result, one loss per step.

        for loss in sf.fit(field, data.sample, steps=5000): ...

    Args:
        sample: (n, seed) -> x0 (n, d), or (x0, label (n,)); called with a new seed at each step.
        steps: in all; the learning rate falls to zero over them.
        recipe: batch, learning rate, averaging, label dropout.
        weighting: w; by default the plain squared error of what the network itself gives: the row
            that the field predicts, or the unit row if it is preconditioned.
        density: of training times; by default `default_density`.
        checkpoint: a file, written every `every` steps; if it is there, the run goes on from it,
            to the same weights, bit for bit, as if it had not stopped.

    After the last step the network holds the moving average of its weights.

    Raises:
        TypeError, ValueError: at the door; the first batch is looked at before anything is
            trained.
        SdeflowError: the loss went NaN; the checkpoint is damaged or of another run.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(f"only a LearnedField can be trained, got {type(field).__name__}")
    steps = door.whole(steps, "steps")
    seed = door.whole(seed, "seed", 0)
    door.whole(every, "every")
    first = sample(2, seed)
    x0 = first[0] if isinstance(first, tuple) else first
    door.cloud(x0, "the training data")
    path = None if checkpoint is None else Path(checkpoint)
    return Training(
        field,
        sample,
        steps,
        seed,
        recipe or Recipe(),
        weighting or default_weighting(field),
        density or default_density(field),
        path,
        every,
    )


# ---- files --------------------------------------------------------------------------------------


def describe(field: LearnedField) -> dict:
    """A field without its weights, as JSON holds it."""
    network = field.network
    return {
        "process": {"name": type(field.process).__name__, **asdict(field.process)},
        "predicts": field.predicts.value,
        "data_std": field.data_std,
        "network": {"name": type(network).__name__, **getattr(network, "config", {})},
    }


def save(field: LearnedField, path: str | Path) -> None:
    """Write a field to one safetensors file: weights, and how to rebuild it in the header."""
    write(Path(path), field.network.state_dict(), {"kind": "field", "field": describe(field)})


def load(path: str | Path, network: nn.Module | None = None) -> LearnedField:
    """Read a field that `save` wrote. A network other than sdeflow's MLP must be handed in.

    Raises:
        SdeflowError: no such file, truncated, altered, or not a field of ours.
    """
    tensors, about = read(Path(path))
    if about.get("kind") != "field":
        raise SdeflowError(f"{path} holds a {about.get('kind')}, not a field")
    try:
        field = rebuild(about["field"], network)
        field.network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SdeflowError(f"{path} does not fit this network: {error}") from None
    return field


def rebuild(about: dict, network: nn.Module | None = None) -> LearnedField:
    """A field from `describe`, with fresh weights."""
    law = dict(about["process"])
    kind = PROCESSES[law.pop("name")]
    config = dict(about["network"])
    name = config.pop("name")
    if network is None:
        if name != MLP.__name__:
            raise TypeError(f"its network is a {name}: pass one as network=")
        network = MLP(**config)
    return LearnedField(kind(**law), network, Prediction(about["predicts"]), about["data_std"])


def write(
    path: Path, tensors: dict[str, Tensor], about: dict, *, keep_previous: bool = False
) -> None:
    """Write tensors and JSON, with their checksum."""
    flat = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    # One entry: safetensors keeps several in no fixed order, and equal fields make equal files.
    data = to_bytes(flat, {"sdeflow": f"{_digest(flat, text)} {text}"})
    if keep_previous and path.exists():
        os.replace(path, _previous(path))
    write_bytes(path, data)


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and JSON of a file that `write` made; SdeflowError if it is not whole."""
    if not path.is_file():
        raise SdeflowError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        digest, _, text = header["sdeflow"].partition(" ")
        about = json.loads(text)
        whole = digest == _digest(tensors, text)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SdeflowError(f"{path} is damaged or not ours ({error})") from None
    if not whole:
        raise SdeflowError(f"{path} was altered after it was written (its checksum differs)")
    return tensors, about


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _latest(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The checkpoint, or the one before it if the newest is damaged, or None if there is none."""
    older = _previous(path)
    if not path.exists() and not older.exists():
        return None
    try:
        return read(path)
    except SdeflowError as error:
        if not older.exists():
            raise SdeflowError(f"{error}; remove it to start afresh") from None
        found = read(older)
        warnings.warn(f"{error}; going on from {older}", stacklevel=4)
        return found
