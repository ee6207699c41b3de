"""Stable Diffusion is a field: any sampler of this package draws with a pipeline of diffusers.

Give it the folder or the name of weights: `python stable_diffusion.py sd-legacy/stable-diffusion`.
Then it draws four pictures. Without any it asks a UNet of random weights, built here, what the
pipeline asks, and shows that 50 steps of `ancestral` at eta = 0 are its own DDIM, state by state.
"""

import sys

import torch

import sdeflow as sf

if len(sys.argv) > 1:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1])
else:
    from tests.integrations.tiny_pipelines import stable_diffusion

    pipe = stable_diffusion()
