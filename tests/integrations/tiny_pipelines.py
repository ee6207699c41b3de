"""Pipelines of diffusers with small random weights, made here: nothing is loaded.

A random UNet hardly reads its prompt, and a fresh WanTransformer gives nearly zero: their weights
are turned up, or guidance would have nothing to do.
"""

import json
import os
import string
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import transformers

WORDS = ["a", "tree", "in", "the", "desert", "an", "astronaut", "riding", "horse"]
PROMPT, NEGATIVE = "a tree in the desert", "an astronaut riding a horse"
BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
PLAIN = {"clip_sample": False, **BETAS}
DDIM = {"set_alpha_to_one": False, **PLAIN}


@cache
def tokenizer() -> transformers.CLIPTokenizer:
    """Byte pairs: the letters, alone and at the end of a word, and WORDS from the left."""
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    merges: dict[tuple[str, str], str] = {}
    for word in WORDS:
        left, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for part in rest:
            merges[left, part] = left = left + part
    vocabulary = [*letters, *dict.fromkeys(merges.values()), "<|startoftext|>", "<|endoftext|>"]
    with TemporaryDirectory() as folder:
        numbers = {token: k for k, token in enumerate(vocabulary)}
        Path(folder, "vocab.json").write_text(json.dumps(numbers))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
        Path(folder, "merges.txt").write_text("\n".join(lines))
        return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def scheduler(name: str, **config: object) -> object:
    """A scheduler of diffusers by its name, of Stable Diffusion's table unless it is a flow."""
    known = {} if name.startswith(("FlowMatch", "EDM")) else BETAS
    return getattr(diffusers, f"{name}Scheduler")(**{**known, **config})


@cache
def _parts() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    n = len(tokenizer())
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=n, hidden_size=32, intermediate_size=37, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=77, bos_token_id=n - 2,
            eos_token_id=n - 1, pad_token_id=n - 1,
        )
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(16, 32), cross_attention_dim=32, attention_head_dim=8,
        norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(16, 32), latent_channels=4, norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    for name, p in unet.named_parameters():
        if "attn2.to_out" in name or "attn2.to_v" in name:
            p.data.mul_(20)
    return {"text_encoder": text.eval(), "unet": unet.eval(), "vae": vae.eval()}


def stable_diffusion(made: object = None, **parts: object) -> diffusers.StableDiffusionPipeline:
    """A StableDiffusionPipeline; without a scheduler, that of Stable Diffusion itself."""
    made = scheduler("DDIM", **DDIM) if made is None else made
    pipe = diffusers.StableDiffusionPipeline(
        **{**_parts(), **parts}, tokenizer=tokenizer(), scheduler=made, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def _wan_parts() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    net = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16,
        out_channels=16, text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    for name, p in net.named_parameters():
        if "proj_out" in name and p.ndim == 2:
            torch.nn.init.normal_(p, std=0.3)
        if "attn2.to_out" in name and p.ndim == 2:
            p.data.mul_(20)
    return {"vae": vae.eval(), "transformer": net.eval()}


def wan(made: object = None, **parts: object) -> diffusers.WanPipeline:
    """A WanPipeline without a text encoder; without a scheduler, flow matching of shift 3."""
    made = scheduler("FlowMatchEulerDiscrete", shift=3.0) if made is None else made
    given = {"tokenizer": None, "text_encoder": None, "scheduler": made, **_wan_parts(), **parts}
    pipe = diffusers.WanPipeline(**given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def wan_that_reads() -> diffusers.WanPipeline:
    """The same with a text encoder, and a tokenizer of single letters."""
    letters = [(c, -1.0) for c in f"\N{LOWER ONE EIGHTH BLOCK}{string.ascii_lowercase}"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters]
    torch.manual_seed(0)
    config = transformers.UMT5Config(
        vocab_size=len(vocabulary), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    return wan(
        text_encoder=transformers.UMT5EncoderModel(config).eval(),
        tokenizer=transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0),
    )


def embeddings(count: int) -> torch.Tensor:
    """Embeddings (count, 16, 32) of prompts that nobody has written."""
    return torch.randn(count, 16, 32, generator=torch.Generator().manual_seed(1))
