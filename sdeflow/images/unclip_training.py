r"""Train an unCLIP model: contrastive model, prior and decoder.

    1. Train the contrastive model on random captioned pictures.
    2. Draw a pool of pictures, neither tilted nor moved, and embed pictures and captions.
    3. Train the decoder, p(picture | its embedding), and the prior, p(embedding of the picture |
       embedding of its caption); fit the linear prior by least squares.

Pictures of the pool are not moved, because an embedding contains little about the position, and a
decoder would draw an average over positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sdeflow._validation import (
    SdeflowError,
    check_cloud,
    check_file,
    check_int,
    check_kind,
    check_seed,
)
from sdeflow.distributed import layout
from sdeflow.fields.film import FilmNetwork
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.unet import UNet
from sdeflow.fields.vector_mlp import VectorMLP
from sdeflow.images.clip import ContrastiveModel, train_contrastive
from sdeflow.images.pictures import SHAPE, CaptionedPictures
from sdeflow.images.prior import PROCESS, Prior, fit_linear_prior
from sdeflow.images.unclip import Decoder, UnCLIP
from sdeflow.random_streams import Stream, random_generator
from sdeflow.training.fit import fit
from sdeflow.training.task import Sample, TrainingConfig

RATE, DECAY, DROP = 2e-3, 0.998, 0.1
"""Learning rate, averaging of weights and share of unconditioned samples of both fields."""


@dataclass(frozen=True)
class UnCLIPConfig:
    """The settings of a training, which takes four to twelve minutes of one core by default.

    Args:
        clip_steps, decoder_steps, prior_steps: training steps of each part.
        pool: number of pictures that decoder and prior are trained on.
        clip_channels, decoder_channels: channels of the first layers.
        prior_width: width of the layers of the prior.
        seed: seed of all random numbers.
    """

    clip_steps: int = 1500
    decoder_steps: int = 3000
    prior_steps: int = 4000
    pool: int = 40_000
    clip_channels: int = 32
    decoder_channels: int = 24
    prior_width: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings, and keep them as plain numbers."""
        for name in vars(self):
            least = {"seed": 0, "pool": 100}.get(name, 1)
            object.__setattr__(self, name, check_int(getattr(self, name), name, least))
        check_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Pool:
    """Pictures x (m, d), their embeddings u (m, dim), and those of their captions v (m, dim)."""

    x: Tensor
    u: Tensor
    v: Tensor

    def __post_init__(self) -> None:
        check_cloud(self.x, "x")
        check_cloud(self.u, "u")
        check_cloud(self.v, "v", self.u.shape[1])
        if not len(self.x) == len(self.u) == len(self.v):
            raise ValueError(
                f"x, u and v must have as many rows, got {len(self.x)}, {len(self.u)} and "
                f"{len(self.v)}"
            )

    def __repr__(self) -> str:
        return f"pool of {len(self.x)} pictures with embeddings of {self.u.shape[1]} dimensions"

    @property
    def root(self) -> float:
        """The factor sqrt(dim) that gives embeddings coordinates of size one."""
        return math.sqrt(self.u.shape[1])


def embedded_pool(clip: ContrastiveModel, n: int = 40_000, seed: int = 0) -> Pool:
    """Draw n pictures, neither tilted nor moved, and embed pictures and captions."""
    check_kind(clip, ContrastiveModel, "clip")
    drawn = CaptionedPictures(tilt=False, jitter=False).sample(n, seed)
    return Pool(drawn.x, clip.embed_pictures(drawn.x), clip.embed_text(drawn.captions))


def _rows(x: Tensor) -> Sample:
    """The function (n, seed) -> n random rows of x, and their indices as labels."""

    def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
        i = torch.from_numpy(random_generator(seed, Stream.DATA).integers(0, len(x), n))
        return x[i], i

    return sample


def train_decoder(
    pool: Pool,
    steps: int = 3000,
    seed: int = 0,
    *,
    channels: int = 24,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Decoder:
    """Train a `UNet` to draw the pictures of a pool, given their embeddings.

    Args:
        pool: pictures of 16 x 16 with their embeddings.
        steps: number of training steps.
        seed: seed of all random numbers.
        channels: channels of the first layer.
        checkpoint: a file from which an interrupted training continues.
        progress: whether to show a progress bar.

    Raises:
        SdeflowError: the checkpoint is damaged or of another run.
    """
    check_kind(pool, Pool, "pool")
    seed = check_seed(seed)
    x = check_cloud(pool.x, "x", math.prod(SHAPE))
    network = UNet(SHAPE, channels, table=pool.root * pool.u, shrink=2, seed=seed)
    network.to(pool.u.device)
    mean = x.mean(0)
    std = float((x - mean).square().mean().sqrt())
    field = LearnedField(PROCESS, network, data_std=std, data_mean=mean)
    config = TrainingConfig(128, RATE, DECAY, DROP)
    fit(
        field, _rows(x), check_int(steps, "steps"), seed, config=config,
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    return Decoder(_bare(field))


def train_prior(
    pool: Pool,
    steps: int = 4000,
    seed: int = 0,
    *,
    width: int = 256,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Prior:
    """Train a `VectorMLP` to draw the embeddings of pictures, given those of their captions.

    Args:
        pool: embeddings of pictures and captions.
        steps: number of training steps.
        seed: seed of all random numbers.
        width: width of the layers.
        checkpoint: a file from which an interrupted training continues.
        progress: whether to show a progress bar.

    Raises:
        SdeflowError: the checkpoint is damaged or of another run.
    """
    check_kind(pool, Pool, "pool")
    seed = check_seed(seed)
    network = VectorMLP(pool.u.shape[1], width, table=pool.root * pool.v, seed=seed)
    network.to(pool.u.device)
    field = LearnedField(PROCESS, network, data_std=1.0)
    config = TrainingConfig(256, RATE, DECAY, DROP)
    fit(
        field, _rows(pool.root * pool.u), check_int(steps, "steps"), seed, config=config,
        checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    return Prior(_bare(field))


def _bare(field: LearnedField) -> LearnedField:
    """The field without the table of vectors that it was trained with."""
    network = field.network
    assert isinstance(network, FilmNetwork)
    assert network.table is not None
    return replace(field, network=network.holding(network.table[:1]))


def train_unclip(
    config: UnCLIPConfig | None = None,
    folder: str | Path | None = None,
    *,
    clip: ContrastiveModel | None = None,
    progress: bool = False,
) -> UnCLIP:
    """Train all parts of an unCLIP model, which is determined by its config.

    Args:
        config: the settings.
        folder: the folder to write the model to; a training of the same settings in it continues.
        clip: a trained contrastive model; by default one is trained.
        progress: whether to show progress bars.

    Raises:
        SdeflowError: scikit-learn is missing; a file in the folder is damaged or of another run.
    """
    config = UnCLIPConfig() if config is None else check_kind(config, UnCLIPConfig, "config")
    if layout().size > 1:  # each rank would train a contrastive model and write it
        raise SdeflowError(
            "torchrun can share train_prior and train_decoder; start train_unclip without it"
        )
    parts = None if folder is None else check_file(folder, "folder") / "training"
    clip = _trained_clip(config, parts, progress) if clip is None else clip
    pool = embedded_pool(clip, config.pool, config.seed)
    prior = train_prior(
        pool, config.prior_steps, config.seed, width=config.prior_width,
        checkpoint=parts and parts / "prior.safetensors", progress=progress,
    )  # fmt: skip
    decoder = train_decoder(
        pool, config.decoder_steps, config.seed, channels=config.decoder_channels,
        checkpoint=parts and parts / "decoder.safetensors", progress=progress,
    )  # fmt: skip
    model = UnCLIP(clip, prior, decoder, fit_linear_prior(pool.u, pool.v))
    if folder is not None:
        model.save(folder)
    return model


def _trained_clip(config: UnCLIPConfig, parts: Path | None, progress: bool) -> ContrastiveModel:
    """Read the contrastive model of these settings from the folder, or train it."""
    sizes = (config.clip_channels, config.clip_steps, config.seed)
    file = None
    if parts is not None:
        file = parts / "clip_{}_{}_{}.safetensors".format(*sizes)
        if file.is_file():
            return ContrastiveModel.load(file)
    clip = ContrastiveModel(channels=config.clip_channels, seed=config.seed)
    train_contrastive(
        clip, CaptionedPictures().sample, config.clip_steps, config.seed, progress=progress
    )
    if file is not None:
        clip.save(file)
    return clip
