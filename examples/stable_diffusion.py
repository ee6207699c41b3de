"""Stable Diffusion is a field: a DDIM chain, and half as many calls
=================================================================

Give it weights: `python stable_diffusion.py stabilityai/stable-diffusion-2-1`, or a folder. The
chain is the pipeline's own; `multistep` goes to the same pictures in 25 calls. So does any other
sampler: heun2, dopri5, `ancestral` with noise. Pictures are numbers in [0, 1].
"""

import sys

from diffusers import DiffusionPipeline

import sdeflow as sf

pipe = DiffusionPipeline.from_pretrained(sys.argv[1])
prompts = ["a tree in the desert", "a horse on the moon"]
field, times = sf.integrations.from_diffusers(pipe, prompts, negative="", steps=50)
wanted = sf.GuidedField(field.given([0, 0, 1, 1]), field, scale=7.5)
start = field.start(4, seed=13)
chain = sf.ODESolver("euler", times=times).solve(sf.ancestral(wanted, eta=0.0), start)
quick = sf.ODESolver("euler", steps=25).solve(sf.multistep(wanted, order=2, corrector=1), start)
pictures = field.images(chain)
apart = abs(pictures - field.images(quick)).mean()
print(f"{field}: {pictures.shape}, {chain.nfe} and {quick.nfe} calls, {apart:.4f} apart")
assert 0 <= pictures.min() <= pictures.max() <= 1
