"""Call the transformer, the text encoder and the VAE of a WanPipeline of diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.integrations.pipeline_field import PipelineAdapter, check_size

TOKENS = 512
"""Tokens of a prompt in a call of WanPipeline; the default of its `encode_prompt` is 226."""


@dataclass(frozen=True, eq=False)
class Wan(PipelineAdapter):
    """The parts of a WanPipeline.

    The latents of a video have the shape (16, (frames - 1) / 4 + 1, height / 8, width / 8).

    Raises:
        ValueError: the pipeline is WAN 2.2, which has two transformers for different noise levels,
            or one time for each token.

    Source: Wan team 2025, "Wan: Open and advanced large-scale video generative models".
    """

    def __post_init__(self) -> None:
        config = self.pipe.config
        two = config.get("boundary_ratio") is not None or self.pipe.transformer is None
        if two or config.get("expand_timesteps"):
            raise ValueError(
                "this pipeline has two transformers, or a time for each token, as WAN 2.2 has; "
                "use WAN 2.1"
            )

    @property
    def model(self) -> Any:
        return self.pipe.transformer

    @property
    def width(self) -> int:
        return self.model.config.text_dim

    def shape(self, height: int | None, width: int | None, frames: int | None) -> tuple[int, ...]:
        space, time = self.pipe.vae_scale_factor_spatial, self.pipe.vae_scale_factor_temporal
        _, down, across = self.model.config.patch_size
        high = check_size(480 if height is None else height, "height", space * down)
        wide = check_size(832 if width is None else width, "width", space * across)
        count = check_int(81 if frames is None else frames, "frames")
        if count % time != 1:
            raise ValueError(f"frames must be 1 more than a multiple of {time}, got {count}")
        return self.model.config.in_channels, count // time + 1, high // space, wide // space

    def embed(self, texts: list[str]) -> Tensor:
        return self.pipe.encode_prompt(
            texts,
            do_classifier_free_guidance=False,
            max_sequence_length=TOKENS,
            device=self.device,
        )[0]

    def denoise(self, z: Tensor, t: Tensor, prompts: Tensor) -> Tensor:
        return self.model(
            hidden_states=z,
            timestep=t.expand(len(z)),
            encoder_hidden_states=prompts,
            return_dict=False,
        )[0]

    def decode(self, z: Tensor) -> np.ndarray:
        mean, std = self._units(z)
        x = self.pipe.vae.decode((z * std + mean).to(self.pipe.vae.dtype), return_dict=False)[0]
        return self.pipe.video_processor.postprocess_video(x, output_type="np")

    def encode(self, images: np.ndarray) -> Tensor:
        x = 2 * torch.from_numpy(images).movedim(-1, 1) - 1
        z = self.pipe.vae.encode(x.to(self.device, self.pipe.vae.dtype)).latent_dist.mode()
        mean, std = self._units(z)
        return (z - mean) / std

    def _units(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's own latents, (1, 16, 1, 1, 1) each."""
        config = self.pipe.vae.config
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(z)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std
