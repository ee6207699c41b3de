r"""Describe how a network was trained: its noise schedule, its time, its prediction.

    DDPM(alphas_cumprod)    network(x, k), k = 0 .. T - 1; predicts eps, x_0 or v
    FlowMatching(data_at)   network(x, s), s in [0, 1]; predicts the velocity d x_s / d s
    Denoiser()              network(x, sigma); predicts x_0 (EDM)

In sdeflow t runs from data to noise. Each convention states the time of the network as a function
of t, and the factor between the output of the network and one of our predictions.

See docs/theory.md, (3.1) for the rows, and the dictionary in section 7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive, shown
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, Linear
from sdeflow.processes.tabulated import Tabulated

HARDLY_NOISED = 0.95
"""If the last alpha-bar of a table is larger, the table holds something else, such as 1 - beta."""


class Convention(ABC):
    """How a network was trained: its process, its time and its prediction."""

    @property
    @abstractmethod
    def process(self) -> Process:
        """The process that noised its data, in our time t."""

    @property
    @abstractmethod
    def predicts(self) -> Prediction:
        """The prediction that equals `factor` times the output of the network."""

    @property
    def factor(self) -> float:
        """The factor between output and prediction, 1 or -1."""
        return 1.0

    @abstractmethod
    def time(self, t: Tensor) -> Tensor:
        """The network's own time at our time t, of the shape of t."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The network's own time in words, such as "timestep t - 1"."""

    def __repr__(self) -> str:
        minus = "minus " if self.factor < 0 else ""
        return (
            f"network at {self.words} predicts {minus}{self.predicts.value}, under {self.process}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class DDPM(Convention):
    r"""The convention of DDPM and diffusers: whole timesteps k = 0 .. T - 1 of a noise table.

        x_k = sqrt(alphas_cumprod[k]) x_0 + sqrt(1 - alphas_cumprod[k]) eps.

    The process is `Tabulated(alphas_cumprod)`, with t = 1 .. T; the network is called with
    k = t - 1. `times` gives time grids of whole timesteps.

    Args:
        alphas_cumprod: (T,) alpha-bar, a falling row; `scheduler.alphas_cumprod` in diffusers.
        predicts: NOISE (epsilon in diffusers), V (v_prediction) or DATA (sample).
        whole: whether the network takes whole timesteps only. If False, it is called with any
            t - 1 in float32; that fits networks that embed timesteps in sinusoids.

    Raises:
        ValueError: the table ends at hardly noised data; or, when the field is evaluated and
            `whole` is True, t - 1 is not a whole number.

    Source: Ho et al. 2020, eq. 4; Salimans and Ho 2022, for v.
    """

    alphas_cumprod: Tensor
    predicts: Prediction = Prediction.NOISE
    whole: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.predicts, Prediction):
            raise TypeError(f"predicts must be a Prediction, got {shown(self.predicts)}")
        if self.predicts not in (Prediction.NOISE, Prediction.V, Prediction.DATA):
            raise ValueError(
                f"predicts must be NOISE, V or DATA for a DDPM table, got {self.predicts.name}; "
                "v-prediction is Prediction.V"
            )
        try:
            table = torch.as_tensor(self.alphas_cumprod).detach().to("cpu", torch.float64)
        except (TypeError, ValueError, RuntimeError):
            got = type(self.alphas_cumprod).__name__
            raise TypeError(f"alphas_cumprod must be a row of numbers, got {got}") from None
        if table.ndim != 1:
            raise TypeError(f"alphas_cumprod must be a row of numbers, got {tuple(table.shape)}")
        if len(table) and float(table[-1]) > HARDLY_NOISED:
            raise ValueError(
                f"alphas_cumprod ends at {float(table[-1]):.4g}, where the data are hardly "
                "noised; give the products of the alphas, as scheduler.alphas_cumprod"
            )
        object.__setattr__(self, "alphas_cumprod", table)
        self.process  # noqa: B018 - it checks the table

    @cached_property
    def process(self) -> Tabulated:
        return Tabulated(tuple(self.alphas_cumprod.tolist()))

    @staticmethod
    def from_scheduler(scheduler: Any, *, whole: bool = True) -> DDPM:
        """The convention of a scheduler of diffusers, from its table and its `prediction_type`."""
        table = getattr(scheduler, "alphas_cumprod", None)
        kind = getattr(getattr(scheduler, "config", None), "prediction_type", None)
        if table is None or kind is None:
            raise TypeError(
                "scheduler must have alphas_cumprod and config.prediction_type, as DDPMScheduler "
                f"of diffusers has; got {type(scheduler).__name__}"
            )
        rows = {
            "epsilon": Prediction.NOISE,
            "v_prediction": Prediction.V,
            "sample": Prediction.DATA,
        }
        if kind not in rows:
            raise ValueError(f"prediction_type must be one of {', '.join(rows)}, got {kind!r}")
        return DDPM(table, rows[kind], whole)

    def time(self, t: Tensor) -> Tensor:
        """The timestep k = t - 1; whole numbers are int64."""
        k = t - 1
        if not self.whole:
            return k
        nearest = k.detach().round()
        off = (k.detach() - nearest).abs().reshape(-1)
        if float(off.max()) > 1e-3:
            between = float(t.detach().reshape(-1)[off.argmax()])
            raise ValueError(
                f"t = {between:.6g} lies between two timesteps of this network; give "
                "times=convention.times(steps), or DDPM(whole=False) if it takes fractions"
            )
        return nearest.long()

    def times(self, steps: int) -> Tensor:
        """A time grid of whole times from T down to 1, (steps + 1,), even up to rounding."""
        last = int(self.process.t_max)
        if check_int(steps, "steps") > last - 1:
            raise ValueError(
                f"the table has {last - 1} steps, so steps cannot be {steps}; give fewer"
            )
        return torch.linspace(last, 1, steps + 1, dtype=torch.float64).round()

    @property
    def words(self) -> str:
        return "timestep t - 1"


@dataclass(frozen=True, eq=False, repr=False)
class FlowMatching(Convention):
    r"""The convention of flow matching: the velocity of the straight path, in the time s.

        data_at=1:  s = 1 - t,  x_s = s x_0 + (1 - s) eps,  velocity x_0 - eps (ours is minus that)
        data_at=0:  s = t,      x_s = (1 - s) x_0 + s eps,  velocity eps - x_0 (as ours)

    The process is `Linear`. data_at=1 is the convention of Lipman et al. 2023 and of most papers,
    data_at=0 that of Stable Diffusion 3 and of WAN.

    Args:
        data_at: 0 or 1, the network's time s at which x is data.
        scale: the network is called with scale s; 1000 for Stable Diffusion 3 in diffusers.
        t_min, t_max: the interval of our t in which the network is used.

    Source: Lipman et al. 2023, eq. 20 (sigma_min = 0); Liu et al. 2023, eq. 1.
    """

    data_at: int
    scale: float = 1.0
    t_min: float = 1e-3
    t_max: float = 0.999

    def __post_init__(self) -> None:
        if self.data_at not in (0, 1):
            raise ValueError(
                "data_at must be 0 or 1, the network's time at which x is data, got "
                f"{self.data_at!r}"
            )
        object.__setattr__(self, "scale", check_positive(self.scale, "scale"))
        self.process  # noqa: B018 - it checks its interval

    @cached_property
    def process(self) -> Linear:
        return Linear(t_min=self.t_min, t_max=self.t_max)

    @property
    def predicts(self) -> Prediction:
        return Prediction.VELOCITY

    @property
    def factor(self) -> float:
        return -1.0 if self.data_at else 1.0

    def time(self, t: Tensor) -> Tensor:
        """The network's time, scale (1 - t) or scale t."""
        return self.scale * (1 - t if self.data_at else t)

    @property
    def words(self) -> str:
        time = "1 - t" if self.data_at else "t"
        if self.scale == 1.0:
            return f"time {time}"
        return f"time {self.scale:g} ({time})" if self.data_at else f"time {self.scale:g} {time}"


@dataclass(frozen=True, eq=False, repr=False)
class Denoiser(Convention):
    r"""The convention of EDM: a denoiser D(x, sigma) that predicts x_0 from x = x_0 + sigma eps.

    The process is `EDM`, in which t = sigma.

    Args:
        sigma_min, sigma_max: the noise levels between which the network is used.

    Source: Karras et al. 2022, eq. 2 and 7.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        for name in ("sigma_min", "sigma_max"):
            object.__setattr__(self, name, check_positive(getattr(self, name), name))
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min must lie below sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )

    @cached_property
    def process(self) -> EDM:
        return EDM(t_min=self.sigma_min, t_max=self.sigma_max)

    @property
    def predicts(self) -> Prediction:
        return Prediction.DATA

    def time(self, t: Tensor) -> Tensor:
        """The network's noise level sigma = t."""
        return t

    @property
    def words(self) -> str:
        return "sigma = t"
