"""Call the UNet, the text encoder and the VAE of a StableDiffusionPipeline of diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdeflow.integrations.pipeline_field import PipelineAdapter, check_size


@dataclass(frozen=True, eq=False)
class StableDiffusion(PipelineAdapter):
    """The parts of a StableDiffusionPipeline.

    Its latents have the shape (channels, height / f, width / f), f = pipe.vae_scale_factor,
    usually 8.

    Raises:
        ValueError: the UNet takes more than latents, a time and prompts, as for inpainting or
            distilled guidance.

    Source: Rombach et al. 2022.
    """

    def __post_init__(self) -> None:
        config = self.model.config
        extra = [
            name
            for name in ("time_cond_proj_dim", "class_embed_type", "addition_embed_type")
            if getattr(config, name, None) is not None
        ]
        channels, own = config.in_channels, self.pipe.vae.config.latent_channels
        if channels != own:
            extra.append(f"in_channels = {channels} where the VAE has {own}")
        if extra:
            raise ValueError(
                f"this UNet takes more than latents, a time and a prompt ({', '.join(extra)}); "
                "use a text-to-image checkpoint such as Stable Diffusion 1.5 or 2.1"
            )

    @property
    def model(self) -> Any:
        return self.pipe.unet

    @property
    def width(self) -> int:
        return self.model.config.cross_attention_dim

    def shape(self, height: int | None, width: int | None, frames: int | None) -> tuple[int, ...]:
        if frames is not None:
            raise ValueError("frames is for pipelines of videos; leave it out")
        own, factor = self.model.config.sample_size, self.pipe.vae_scale_factor
        rows, columns = (own, own) if isinstance(own, int) else own
        high = check_size(rows * factor if height is None else height, "height", factor)
        wide = check_size(columns * factor if width is None else width, "width", factor)
        return self.model.config.in_channels, high // factor, wide // factor

    def embed(self, texts: list[str]) -> Tensor:
        return self.pipe.encode_prompt(texts, self.device, 1, False)[0]

    def denoise(self, z: Tensor, t: Tensor, prompts: Tensor) -> Tensor:
        return self.model(z, t, encoder_hidden_states=prompts, return_dict=False)[0]

    def decode(self, z: Tensor) -> np.ndarray:
        vae = self.pipe.vae
        x = vae.decode(z.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
        x, flagged = self.pipe.run_safety_checker(x, self.device, x.dtype)
        scaled = [not each for each in flagged] if flagged else [True] * len(x)
        return self.pipe.image_processor.postprocess(x, output_type="np", do_denormalize=scaled)

    def encode(self, images: np.ndarray) -> Tensor:
        vae = self.pipe.vae
        x = self.pipe.image_processor.preprocess(torch.from_numpy(images).movedim(-1, 1))
        z = vae.encode(x.to(self.device, vae.dtype)).latent_dist.mode()
        return z * vae.config.scaling_factor
