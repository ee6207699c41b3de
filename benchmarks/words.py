"""Train CLIP and unCLIP on captioned digits, and measure how well they read and draw.

For each seed: zero-shot classification of held-out digits and of attributes (`clip`, `words`); 270
prompts, drawn with and without a prior at several scales of guidance, and judged (`prompts`); the
CPU seconds of each training. Trained parts are read from the folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks import record
from sdeflow.images.captions import with_article
from sdeflow.images.vocabulary import MANNERS, NAMES

T = TypeVar("T")
Rows = list[dict[str, object]]
SCALES = (1.0, 2.0, 3.0)
QUICK = {"clip_steps": 30, "decoder_steps": 30, "prior_steps": 30, "pool": 2000}


class Prompt(NamedTuple):
    """A text, the digit that it names, and the index of its attribute, or -1."""

    text: str
    digit: int
    attribute: int


def prompts() -> list[Prompt]:
    """270 prompts: each digit alone, and with each attribute of the pool, in three wordings."""
    found = []
    for wording in range(3):
        for digit in range(10):
            word = (sf.images.NUMERALS if wording == 1 else sf.images.DIGITS)[digit]
            found.append(Prompt(with_article(word), digit, -1))
            for i, name in enumerate(NAMES[:8]):
                synonym = sf.images.ATTRIBUTES[name][wording]
                text = (
                    with_article(f"{synonym} {word}")
                    if name in MANNERS
                    else f"{with_article(word)} with {with_article(synonym)}"
                )
                found.append(Prompt(text, digit, i))
    return found


def add_parser(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `words` to `python -m benchmarks`."""
    one = names.add_parser("words", help="CLIP and unCLIP on captioned digits")
    one.add_argument("--quick", action="store_true", help="a few steps of training")
    one.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2], metavar="S")
    one.add_argument("--folder", type=Path, default=Path("runs/words"), help="of trained models")
    one.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """Train and measure seed by seed; the rows of a seed are written as soon as they are known."""
    torch.set_num_threads(1)
    for seed in given.seed:
        folder = given.folder / f"{'quick' if given.quick else 'seed'}{seed}"
        sizes = QUICK if given.quick else {}
        model, judge, spent = trained(sf.images.UnCLIPConfig(**sizes, seed=seed), folder)
        asked = prompts()
        tables = (
            [{"what": "cpu s", **spent}],
            [{"what": "clip", **zero_shot(model.clip)}],
            [{"what": "judge", **judge_accuracy(judge)}],
            [{"what": "words", **row} for row in attributes(model.clip)],
            [{"what": "prompts", **row} for row in drawn(model, judge, asked, seed)],
        )
        rows: Rows = [{"seed": seed, **row} for table in tables for row in table]
        for table in tables:
            print(f"\nseed {seed}\n{record.table(table)}", flush=True)
        if not given.quick:
            record.append("words", rows)


# ------------------------------------------------------------------------------------- training


def trained(
    config: sf.images.UnCLIPConfig, folder: Path
) -> tuple[sf.images.UnCLIP, sf.images.Judge, dict[str, float]]:
    """The model, the judge, and the CPU seconds of each training."""
    log = folder / "seconds.json"
    spent = json.loads(log.read_text()) if log.is_file() else {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        found = work()
        spent[name] = spent.get(name, 0.0) + time.process_time() - start
        log.write_text(json.dumps(spent))
        return found

    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"{name}.safetensors" for name in ("judge", "contrastive", "decoder")]
    if not parts[0].is_file():
        timed("judge", lambda: _judge(config).save(parts[0]))
    if not parts[1].is_file():
        timed("clip", lambda: _clip(config).save(parts[1]))
    if not parts[2].is_file():
        clip = sf.images.ContrastiveModel.load(parts[1])
        timed("prior and decoder", lambda: sf.images.train_unclip(config, folder, clip=clip))
    return sf.images.UnCLIP.load(folder), sf.images.Judge.load(parts[0]), spent


def _clip(config: sf.images.UnCLIPConfig) -> sf.images.ContrastiveModel:
    clip = sf.images.ContrastiveModel(channels=config.clip_channels, seed=config.seed)
    sample = sf.images.CaptionedPictures().sample
    sf.images.train_contrastive(clip, sample, config.clip_steps, config.seed)
    return clip


def _judge(config: sf.images.UnCLIPConfig) -> sf.images.Judge:
    judge = sf.images.Judge(seed=config.seed)
    sample = sf.images.CaptionedPictures().sample
    sf.images.train_judge(judge, sample, config.clip_steps, config.seed)
    return judge


# ------------------------------------------------------------------------------------- recognition


def plain() -> tuple[Tensor, Tensor]:
    """The held-out digits without attributes."""
    images, digit = sf.images.handwritten("test")
    return sf.images.draw(images, torch.zeros(len(images), len(NAMES), dtype=torch.bool)), digit


def decorated() -> sf.images.Captioned:
    """2,000 held-out digits with attributes, each with probability 0.25."""
    return sf.images.CaptionedPictures("test").sample(2000, seed=9999)


def zero_shot(clip: sf.images.ContrastiveModel) -> dict[str, float]:
    """The zero-shot accuracy, and the mean cosines of pairs and of other rows."""
    (x, digit), drawn_on = plain(), decorated()
    u, v = clip.embed_pictures(drawn_on.x[:512]), clip.embed_text(drawn_on.captions[:512])
    cosines = u @ v.T
    own = cosines.diag().mean()
    return {
        "zero-shot, plain": _share(sf.images.zero_shot(clip, x) == digit),
        "zero-shot, attributes": _share(sf.images.zero_shot(clip, drawn_on.x) == drawn_on.digit),
        "cosine of pairs": float(own),
        "of others": float((cosines.sum() - 512 * own) / (512 * 511)),
        "gap": float((u.mean(0) - v.mean(0)).norm()),
    }


def judge_accuracy(judge: sf.images.Judge) -> dict[str, float]:
    """The shares of digits and attributes that the judge finds."""
    (x, digit), drawn_on = plain(), decorated()
    found = judge.judge(drawn_on.x)
    return {
        "digit, plain": _share(judge.judge(x).digit == digit),
        "digit, attributes": _share(found.digit == drawn_on.digit),
        "worst attribute": float((found.drawn == drawn_on.drawn).double().mean(0).min()),
    }


def attributes(clip: sf.images.ContrastiveModel) -> Iterator[dict[str, object]]:
    """The words nearest to the embedding of a digit with an attribute minus that without."""
    for rate in (0.0, 0.25):
        for name in NAMES:
            without, plus = sf.images.pairs(name, "test", rate)
            best, cosines = sf.images.nearest_words(
                clip, sf.images.direction(clip, plus, without), 4
            )
            own = set(sf.images.ATTRIBUTES[name])
            yield {
                "attribute": name,
                "others at": rate,
                "a synonym first": sum(row[0] in own for row in best) / len(best),
                "all three first": sum(set(row[:3]) == own for row in best) / len(best),
                "cosine, first": float(cosines[:, 0].mean()),
                "fourth": float(cosines[:, 3].mean()),
            }


# -------------------------------------------------------------------------------------- prompts


def drawn(
    model: sf.images.UnCLIP, judge: sf.images.Judge, asked: list[Prompt], seed: int
) -> Iterator[dict[str, object]]:
    """The measures of the pictures of all prompts, for each prior and scale of guidance."""
    texts = [prompt.text for prompt in asked]
    ways = [("prior", model, scale) for scale in SCALES]
    ways += [("linear", replace(model, prior=model.linear), 1.0)]
    ways += [("text itself", replace(model, prior=None), 1.0)]
    for name, way, prior_scale in ways:
        u = way.embeddings(texts, prior_scale, seed)
        many = way.embeddings(60 * ["a three with a hat"], prior_scale, seed)
        yield from _judged(name, prior_scale, u, many, model, judge, asked, seed)
    real, threes = fitting(asked), fitting(60 * [Prompt("", 3, 0)])
    u, many = model.clip.embed_pictures(real), model.clip.embed_pictures(threes)
    yield from _judged("a real picture's", 1.0, u, many, model, judge, asked, seed)
    none = {"prior": "the real pictures", "prior scale": "", "scale": ""}
    yield {**none, **as_asked(judge, real, asked), "spread": spread(threes), "cosine": 1.0}


def _judged(
    name: str,
    prior_scale: float,
    u: Tensor,
    many: Tensor,
    model: sf.images.UnCLIP,
    judge: sf.images.Judge,
    asked: list[Prompt],
    seed: int,
) -> Iterator[dict[str, object]]:
    for scale in SCALES:
        x = model.decoder.pictures(u, scale, seed)
        yield {
            "prior": name,
            "prior scale": prior_scale if name == "prior" else "",
            "scale": scale,
            **as_asked(judge, x, asked),
            "spread": spread(model.decoder.pictures(many, scale, seed)),
            "cosine": float((model.clip.embed_pictures(x) * u).sum(1).mean()),
        }


def as_asked(judge: sf.images.Judge, x: Tensor, asked: list[Prompt]) -> dict[str, object]:
    """The shares with the digit, the attribute, both, and attributes not in the prompt."""
    found = judge.judge(x)
    digit = torch.tensor([prompt.digit for prompt in asked])
    attribute = torch.tensor([prompt.attribute for prompt in asked])
    right, told = found.digit == digit, attribute >= 0
    there = found.drawn[told].gather(1, attribute[told, None])[:, 0]
    return {
        "digit": _share(right),
        "attribute": _share(there),
        "both": _share(there & right[told]),
        "unasked": _share(found.drawn[~told]),
        "confidence": float(found.confidence.mean()),
    }


def fitting(asked: list[Prompt]) -> Tensor:
    """A held-out picture for each prompt, in turn from those that fit it."""
    images, digit = sf.images.handwritten("test")
    which, on = [], torch.zeros(len(asked), len(NAMES), dtype=torch.bool)
    for i, prompt in enumerate(asked):
        fits = (digit == prompt.digit).nonzero()[:, 0]
        which.append(int(fits[i % len(fits)]))
        if prompt.attribute >= 0:
            on[i, prompt.attribute] = True
    return sf.images.draw(images[which], on)


def spread(x: Tensor) -> float:
    """The root mean square distance of pictures from their mean, grey from 0 to 1."""
    return float(((x - x.mean(0)) / 2).square().sum(1).mean().sqrt())


def _share(right: Tensor) -> float:
    return float(right.double().mean())
