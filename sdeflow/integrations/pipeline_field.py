r"""Use the denoiser of a text-to-image or text-to-video pipeline as a field.

    field.given(k)         the field of prompt k; `field` itself is that of the negative prompt
    field.start(n, seed)   a cloud of noise, from which the pipeline starts
    field.images(path)     decode the last cloud of a path to pictures or videos
    field.latents(images)  encode pictures or videos to a cloud

A cloud (n, d) holds flattened latents; the network sees them as (n, *field.shape).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sdeflow._validation import check_cloud, check_dtype, check_int, check_seed, shown
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import TimeInput
from sdeflow.integrations.conventions import Convention
from sdeflow.random_streams import Stream, normals
from sdeflow.solvers.path import Path


def check_size(value: object, name: str, factor: int) -> int:
    """Return a number of pixels if it is a multiple of `factor`."""
    size = check_int(value, name)
    if size % factor:
        raise ValueError(f"{name} must be a multiple of {factor}, got {size}")
    return size


@dataclass(frozen=True, eq=False)
class PipelineAdapter(ABC):
    """Access to the denoiser, text encoder and decoder of pipelines of one class."""

    pipe: Any

    @property
    @abstractmethod
    def model(self) -> Any:
        """The denoiser, a torch module."""

    @property
    @abstractmethod
    def width(self) -> int:
        """The width of the embedding of a token."""

    @property
    def device(self) -> torch.device:
        """The device on which the pipeline computes."""
        return torch.device(getattr(self.pipe, "_execution_device", self.pipe.device))

    @abstractmethod
    def shape(self, height: int | None, width: int | None, frames: int | None) -> tuple[int, ...]:
        """The shape of one latent, for a size in pixels; None is the pipeline's default."""

    @abstractmethod
    def embed(self, texts: list[str]) -> Tensor:
        """The embeddings of prompts that the denoiser takes, (m, tokens, width)."""

    @abstractmethod
    def denoise(self, z: Tensor, t: Tensor, prompts: Tensor) -> Tensor:
        """Call the denoiser with z (n, *shape), its time () or (n,), and a prompt for each row."""

    @abstractmethod
    def decode(self, z: Tensor) -> np.ndarray:
        """Pictures (n, height, width, 3) or videos (n, frames, height, width, 3) in [0, 1]."""

    @abstractmethod
    def encode(self, images: np.ndarray) -> Tensor:
        """The latents (n, *shape) of pictures or videos, at the mode of the encoder."""


class PromptedNetwork(nn.Module):
    """The denoiser of a pipeline, called as network(x, t, label) in our time.

    Label k means the k-th prompt; the label `labels`, or no label, means the negative prompt.
    """

    takes = TimeInput.TIME
    independent = True

    def __init__(
        self,
        adapter: PipelineAdapter,
        convention: Convention,
        shape: tuple[int, ...],
        prompts: Tensor,
    ) -> None:
        super().__init__()
        self.adapter, self.convention, self.shape = adapter, convention, shape
        self.model, self.labels = adapter.model, len(prompts) - 1
        self.register_buffer("prompts", prompts, persistent=False)
        self.prompts: Tensor

    def _get_name(self) -> str:
        """The name in the repr of a field."""
        name = self.model._get_name()
        return f"{name} at {self.convention.words}, prompts: {self.labels} and a negative one"

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        rows = torch.tensor(self.labels, device=x.device) if label is None else label
        prompts = self.prompts[rows]
        if prompts.ndim == 2:
            prompts = prompts.expand(len(x), -1, -1)
        # At times below the table, the network is called with the first entry.
        return self.adapter.denoise(x, self.convention.time(t).clamp(min=0), prompts)


@dataclass(frozen=True, eq=False, repr=False)
class PipelineField(LearnedField):
    """The field of a pipeline's latents, given prompts, that `from_diffusers` makes.

    A cloud keeps its own type, whatever the type of the denoiser; noise levels and times are
    computed in float64. So a pipeline in half precision loses digits in its network only.
    """

    @property
    def _adapter(self) -> PipelineAdapter:
        adapter = getattr(self.network, "adapter", None)
        if isinstance(adapter, PipelineAdapter):
            return adapter
        raise TypeError(
            "the network of this field has been replaced by one without a pipeline; make the "
            "field with from_diffusers"
        )

    def start(self, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """The cloud from which the pipeline starts: n draws from N(0, I), (n, d), on its device.

        Pipelines start from unit noise and not from sigma(t_max) times unit noise.
        """
        n, seed, dtype = check_int(n, "n"), check_seed(seed), check_dtype(dtype)
        noise = normals(seed, Stream.PRIOR, n, self.dim or 0, dtype)
        return noise.to(self._adapter.device)

    def images(self, x: Tensor | Path) -> np.ndarray:
        """Decode a cloud (n, d), or the last cloud of a path, as the pipeline does.

        Returns:
            Pictures (n, height, width, 3), or videos (n, frames, height, width, 3), in [0, 1]. The
            safety checker of the pipeline, if it has one, is applied.
        """
        x = x.x[-1] if isinstance(x, Path) else x
        if isinstance(x, Tensor) and x.ndim == 2 and x.shape[1] != self.dim:
            raise ValueError(
                f"latents of this field have the shape {self.shape}, so a cloud of them is "
                f"(n, {self.dim}), got {tuple(x.shape)}"
            )
        z = check_cloud(x).reshape(-1, *(self.shape or ()))
        with torch.no_grad():
            return self._adapter.decode(z.to(self._adapter.device))

    def latents(self, images: np.ndarray | Tensor) -> Tensor:
        """Encode pictures or videos, of the shape that `images` returns, as a cloud (n, d).

        `process.perturb` noises it to a time t, from which a run may start; image-to-image
        pipelines do this.

        Args:
            images: numbers in [0, 1].
        """
        try:
            array = np.asarray(images, dtype=np.float32)
        except (TypeError, ValueError):
            raise TypeError(f"images must be an array of numbers, got {shown(images)}") from None
        if not (array.size and 0 <= array.min() and array.max() <= 1):
            raise ValueError("images must hold numbers in [0, 1]; divide 8-bit pictures by 255")
        if array.ndim != len(self.shape or ()) + 1 or array.shape[-1] != 3:
            raise ValueError(
                "images are pictures (n, height, width, 3) or videos (n, frames, height, width, "
                f"3), got {array.shape}"
            )
        with torch.no_grad():
            z = self._adapter.encode(array)
        if z.shape[1:] != self.shape:
            raise ValueError(
                f"images of shape {array.shape} have latents {tuple(z.shape[1:])}, and this field "
                f"takes {self.shape}; give height= and width= of the images to from_diffusers"
            )
        return z.flatten(1).float()
