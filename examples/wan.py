"""WAN 2.1 is a field: a video from noise, and what it was on the way
==================================================================

Give it weights: `python wan.py Wan-AI/Wan2.1-T2V-1.3B-Diffusers`, or a folder; then height, width
and frames if you like. diffusers loads them with accelerate: pip install accelerate. Prompt and
negative prompt go through the transformer in one call, where the pipeline makes two.
"""

import sys

from diffusers import WanPipeline

import sdeflow as sf

pipe = WanPipeline.from_pretrained(sys.argv[1])
height, width, frames = map(int, sys.argv[2:] or (480, 832, 81))
field, times = sf.integrations.from_diffusers(
    pipe, "an astronaut riding a horse", "cartoonish", height=height, width=width, frames=frames
)
flow = sf.reverse(sf.GuidedField(field.given(0), field, scale=5.0), eta=0.0)
shown = times[[5, 10, 20, 30, 40, 50]]
path = sf.ODESolver("euler", times=times).solve(flow, field.start(1, seed=13), save=shown)
for t, x in zip(path.t, path.x, strict=True):
    print(f"noise level {t:.3f}: latents of size {x.square().mean().sqrt():.3f}")
video = field.images(path)
assert video.shape == (1, frames, height, width, 3)
