"""Run the real pipeline classes of diffusers around small networks; no weights are loaded.

`StableDiffusionPipeline` gets one of our fields as its UNet: one trained on digits, with the class
as prompt, or an exact one. `WanPipeline` gets a transformer and a VAE of random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from sdeflow.fields.field import Field
from sdeflow.processes.tabulated import Tabulated

TABLE = Tabulated.stable_diffusion()
SIDE = 8
Told = Callable[[Tensor], Field]
"""Embeddings (n, tokens, width) -> the field of these prompts."""


class AsUNet(nn.Module):
    """A field that the pipeline can call as a `UNet2DConditionModel`."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, told: Told, width: int) -> None:
        super().__init__()
        self.told = told
        self.config = import_module("diffusers.configuration_utils").FrozenDict(
            in_channels=1, sample_size=SIDE, time_cond_proj_dim=None, cross_attention_dim=width
        )

    def forward(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor]:
        field, x = self.told(encoder_hidden_states), sample.flatten(1)
        return (field.noise(x, timestep.double() + 1).reshape(sample.shape),)


def stable_diffusion(told: Told, width: int, kind: str) -> Any:
    """A StableDiffusionPipeline on latents of 8 x 8 with SD's table; `kind` is DDPM or DDIM."""
    diffusers = import_module("diffusers")
    scheduler = getattr(diffusers, f"{kind}Scheduler")(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        timestep_spacing="trailing", steps_offset=1,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=1, block_out_channels=(8,),
        norm_num_groups=8, down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
    )  # fmt: skip
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=None, tokenizer=None, unet=AsUNet(told, width), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def noise_line(kept: float, seed: int) -> Iterator[None]:
    """Multiply the noise that DDPMScheduler adds by `kept`; 0 removes its line of code."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(shape: tuple[int, ...], **_: object) -> Tensor:
        return kept * torch.randn(shape, generator=generator)

    with patch.object(
        import_module("diffusers.schedulers.scheduling_ddpm"), "randn_tensor", drawn
    ):
        yield


def latents(pipe: Any, prompts: Tensor, start: Tensor, steps: int) -> Tensor:
    """The last latents (n, 64) of the pipeline without guidance, from start (n, 64)."""
    out = pipe(
        prompt_embeds=prompts, latents=start.reshape(-1, 1, SIDE, SIDE).clone(), height=SIDE,
        width=SIDE, num_inference_steps=steps, guidance_scale=1.0, output_type="latent",
    )  # fmt: skip
    return out.images.flatten(1)


def wan(shift: float, seed: int) -> Any:
    """A WanPipeline of random weights; its last layer is large, so that the velocity matters."""
    diffusers = import_module("diffusers")
    torch.manual_seed(seed)
    vae = diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    net = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16,
        out_channels=16, text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    nn.init.normal_(net.proj_out.weight, std=0.3)
    pipe = diffusers.WanPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=net,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=shift),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of states (K, n, d), relative to each state's largest coordinate.

    A state smaller than 1 counts as 1.
    """
    size = theirs.abs().amax((1, 2)).clamp_min(1)
    return float(((ours - theirs).abs().amax((1, 2)) / size).max())
