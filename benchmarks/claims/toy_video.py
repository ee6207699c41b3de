"""Make toy videos: a spot crosses a page of 8 x 8 pixels in 8 frames, in one of four ways.

    frame k: exp(-|r - c_k|^2 / (2 0.9^2)),    c_k moves 5 pixels along a line at even speed

Three clips of ten are broken: their frames are in a random order. Half of these have the caption
"broken", the others that of their way, so some clips of each way are broken, as on the web. A clip
is a point of 512 coordinates; its frames are the channels of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow import training
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.unet import UNet
from sdeflow.processes.schedules import Linear
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

FRAMES = SIDE = 8
SHAPE = (FRAMES, SIDE, SIDE)
WAYS = ("left", "right", "up", "down")
DISORDERED = len(WAYS)
MEAN, STD, WIDTH = -0.8, 0.42, 0.9
PROCESS = Linear()
STEPS = 900
RECIPE = training.TrainingConfig(batch=128, rate=2e-3, decay=0.995, drop=0.15)
STRAIGHT = 0.4  # pixels: a clip whose spot is farther from even motion is broken


def clips(n: int, seed: int, broken: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Clips (n, 512) of -1 to 1, their captions (n,), and whether they are broken (n,)."""
    g = random_generator(seed, Stream.DATA)
    way = torch.from_numpy(g.integers(0, len(WAYS), n))
    a, bad, told = (torch.from_numpy(g.random((n, k))).float() for k in (2, 1, 1))
    order = torch.from_numpy(g.random((n, FRAMES))).argsort(1)
    shuffled = bad < broken
    time = torch.linspace(0, 1, FRAMES).expand(n, FRAMES)
    time = torch.where(shuffled, time.gather(1, order), time)
    back = (way % 2 == 0)[:, None]
    along = torch.where(back, 6.0 - 5 * time, 1.0 + 5 * time) + a[:, :1] - 0.5
    across = (1.0 + 5 * a[:, 1:]).expand(n, FRAMES)
    level = (way < 2)[:, None]
    y, x = torch.where(level, across, along), torch.where(level, along, across)
    r = torch.arange(SIDE).float()
    rows, columns = (
        torch.exp(-((r - centre[..., None]) ** 2) / (2 * WIDTH**2)) for centre in (y, x)
    )
    page = 2 * rows[..., :, None] * columns[..., None, :] - 1
    caption = torch.where(shuffled[:, 0] & (told[:, 0] < 0.5), DISORDERED, way)
    return page.flatten(1), caption, shuffled[:, 0]


def video_field(seed: int) -> LearnedField:
    """A network trained by flow matching on clips and captions, 15 % of them left out."""
    network = UNet(SHAPE, 24, labels=DISORDERED + 1, seed=seed)
    field = LearnedField(
        PROCESS, network, data_std=STD, data_mean=torch.full((FRAMES * SIDE**2,), MEAN)
    )
    training.fit(field, lambda n, s: clips(n, s)[:2], STEPS, seed, config=RECIPE)
    return field


def made(field: Field, n: int, seed: int) -> Tensor:
    """Clips (7, n, 512) after 0, 5, 10, 20, 30, 40, 50 of 50 steps of Euler's method."""
    solver = ODESolver("euler", 50)
    x = PROCESS.prior(n, FRAMES * SIDE**2, seed)
    path = solver.solve(reverse(field, 0.0), x, save=51)
    return path.x[[0, 5, 10, 20, 30, 40, 50]]


def recognised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each clip of x (n, 512) is broken, and its way (n,), from the centre of the spot."""
    ink = (x.reshape(-1, *SHAPE) + 1).clamp(min=0) ** 2
    mass, r = ink.sum((2, 3)).clamp_min(1e-3), torch.arange(SIDE).float()
    centre = torch.stack([(ink.sum(k) * r).sum(2) / mass for k in (3, 2)], 2)
    time = torch.linspace(-1, 1, FRAMES)
    speed = (centre * time[:, None]).sum(1) / time.square().sum()
    even = centre.mean(1, keepdim=True) + time[:, None] * speed[:, None]
    off = (centre - even).square().sum(2).mean(1).sqrt()
    level = speed[:, 1].abs() > speed[:, 0].abs()
    way = torch.where(level, (speed[:, 1] > 0).long(), 2 + (speed[:, 0] > 0).long())
    return off > STRAIGHT, way
