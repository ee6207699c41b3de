r"""Make a field and its time grid from a pipeline of diffusers: Stable Diffusion, WAN.

    field, times = from_diffusers(pipe, ["a tree in the desert"], negative="", steps=50)
    wanted = GuidedField(field.given(0), field, scale=7.5)
    path = SDESolver("euler", times=times, seed=0).solve(ancestral(wanted), field.start(4, seed=0))
    pictures = field.images(path)

diffusers itself is not imported: a pipeline is recognised by the name of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from sdeflow._validation import shown
from sdeflow.integrations.pipeline_field import PipelineAdapter, PipelineField, PromptedNetwork
from sdeflow.integrations.scheduled import scheduled
from sdeflow.integrations.stable_diffusion import StableDiffusion
from sdeflow.integrations.wan import Wan

KINDS: dict[str, type[PipelineAdapter]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "WanPipeline": Wan,
}


def from_diffusers(
    pipe: Any,
    prompts: str | Sequence[str] | Tensor,
    negative: str | Tensor = "",
    *,
    height: int | None = None,
    width: int | None = None,
    frames: int | None = None,
    steps: int = 50,
) -> tuple[PipelineField, Tensor]:
    r"""The field of a pipeline's denoiser, and the times through which its own scheduler steps.

    `field.given(k)` is the field of prompt k, or for k (n,) of one prompt for each particle;
    `field` itself is that of the negative prompt. `ancestral` is the pipeline's DDIM at eta = 0
    and its DDPM at eta = 1; `ODESolver("euler")` with `reverse(field, 0)` is the FlowMatchEuler of
    WAN. Other samplers and other times can be used too, but for two cases: Euler's method for
    `reverse(field, 1)` of a flow, whose rate is infinite at t = 1 (use `ancestral` or
    `multistep`), and methods that evaluate a network of x_0 at t = 0, where it does not determine
    the noise (leave out the last time, and take `field.data` there).

    Args:
        pipe: a StableDiffusionPipeline, or a WanPipeline of WAN 2.1, on any device, in any
            precision, with any scheduler that has a table of noise levels.
        prompts: texts; or their embeddings (m, tokens, width), as `pipe.encode_prompt` gives.
        negative: the prompt to guide away from; one text, or its embedding (1, tokens, width).
            Give several as further prompts: GuidedField(field.given(0), field.given(1), 7.5).
        height, width: of the pictures, in pixels; by default those of the pipeline.
        frames: number of frames of a video.
        steps: number of steps of the scheduler.

    Returns:
        The field, whose clouds (n, d) are flattened latents; and times (K + 1,) in float64, from
        noise to t = 0, or to t = 1, the first entry of the table, if the scheduler stops there.

    Raises:
        TypeError: pipe is another pipeline, or its scheduler has no table.
        ValueError: a size does not divide, prompts do not fit the denoiser, or the denoiser takes
            further inputs.
    """
    adapter = _adapter(pipe)
    shape = adapter.shape(height, width, frames)
    convention, process, times = scheduled(pipe.scheduler, steps)
    known = _prompts(adapter, prompts, negative)
    network = PromptedNetwork(adapter, convention, shape, known)
    return PipelineField(process, network, convention.predicts), times


def _adapter(pipe: Any) -> PipelineAdapter:
    for one in type(pipe).__mro__:
        if one.__name__ in KINDS:
            return KINDS[one.__name__](pipe)
    known = " or a ".join(KINDS)
    cure = f"; load it with {next(iter(KINDS))}.from_pretrained" if isinstance(pipe, str) else ""
    if find_spec("diffusers") is None:
        cure += "; diffusers is not installed: pip install 'sdeflow[images]'"
    raise TypeError(f"pipe must be a {known}, got {shown(pipe)}{cure}")


def _prompts(
    adapter: PipelineAdapter, prompts: str | Sequence[str] | Tensor, negative: str | Tensor
) -> Tensor:
    """The embeddings (m + 1, tokens, width) of the prompts, the negative prompt last."""
    asked = prompts if isinstance(prompts, Tensor) else _texts(prompts)
    if not isinstance(negative, str | Tensor):
        raise TypeError(
            f"negative must be one text, got {shown(negative)}; give several as further prompts"
        )
    wanted, against = _embedded(adapter, asked), _embedded(adapter, negative)
    if len(against) != 1 or against.shape[1:] != wanted.shape[1:]:
        raise ValueError(
            f"negative must be one embedding {(1, *wanted.shape[1:])}, as the prompts "
            f"{tuple(wanted.shape)} have it, got {tuple(against.shape)}"
        )
    return torch.cat([wanted, against]).to(adapter.device, adapter.model.dtype)


def _texts(prompts: object) -> list[str]:
    """One text or several, as a list."""
    texts = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(texts, Sequence) or not all(isinstance(each, str) for each in texts):
        raise TypeError(
            "prompts must be texts, such as ['a tree in the desert'], or their embeddings "
            f"(m, tokens, width), got {shown(prompts)}"
        )
    if not texts:
        raise ValueError("prompts are empty; give at least one text, '' for no prompt")
    return list(texts)


def _embedded(adapter: PipelineAdapter, given: str | list[str] | Tensor) -> Tensor:
    """The embeddings (m, tokens, width) of texts, or given embeddings, checked."""
    if not isinstance(given, Tensor):
        if adapter.pipe.text_encoder is None:
            raise ValueError(
                "this pipeline has no text encoder; give prompts and negative as embeddings, "
                "(m, tokens, width) and (1, tokens, width)"
            )
        with torch.no_grad():
            return adapter.embed([given] if isinstance(given, str) else given)
    given = given[None] if given.ndim == 2 else given
    if given.ndim != 3 or not len(given) or not given.is_floating_point():
        raise ValueError(
            f"embeddings of prompts are numbers (m, tokens, width), got {given.dtype} "
            f"{tuple(given.shape)}"
        )
    if given.shape[2] != adapter.width:
        raise ValueError(
            f"this denoiser takes prompts of width {adapter.width}, got {tuple(given.shape)}"
        )
    return given.to(adapter.device)
