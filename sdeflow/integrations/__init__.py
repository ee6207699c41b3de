"""Use networks of other programs as fields: torch models of diffusion and flow matching."""

from sdeflow.integrations.conventions import DDPM, Convention, Denoiser, FlowMatching
from sdeflow.integrations.pipelines import from_diffusers
from sdeflow.integrations.torch_network import from_torch

__all__ = ["from_torch", "from_diffusers", "Convention", "DDPM", "FlowMatching", "Denoiser"]
