"""Use networks of other programs as fields: diffusion and flow-matching models in torch."""

from sdeflow.integrations.conventions import DDPM, Convention, Denoiser, FlowMatching
from sdeflow.integrations.pipelines import from_diffusers
from sdeflow.integrations.torch_network import from_torch

__all__ = ["from_torch", "from_diffusers", "Convention", "DDPM", "FlowMatching", "Denoiser"]
