r"""Classify pictures, find their captions and name their differences with a contrastive model.

`zero_shot` compares pictures with prompts of each class, `retrieval` finds the captions of
pictures, `direction` and `nearest_words` name the difference between two pictures by a word:

    u(a seven with a hat) - u(the same seven)  ~  v(hat) .

Source: Radford et al. 2021, section 3.1, for zero-shot classification and its prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_kind
from sdeflow.images.clip import ContrastiveModel
from sdeflow.images.vocabulary import DIGITS, NUMERALS, check_texts

FORMS = ("{}", "a {}", "the digit {}", "a picture of a {}")

DIGIT_PROMPTS = tuple(
    tuple(form.format(word) for form in FORMS for word in words)
    for words in zip(DIGITS, NUMERALS, strict=True)
)
"""Eight prompts for each of the ten digits."""


def zero_shot(
    model: ContrastiveModel,
    x: Tensor,
    prompts: Sequence[Sequence[str]] = DIGIT_PROMPTS,
) -> Tensor:
    """The class (n,) whose mean prompt is nearest to each picture x (n, side^2).

    Args:
        model: the contrastive model.
        x: the pictures.
        prompts: one or more texts for each class, by default of the ten digits.
    """
    check_kind(model, ContrastiveModel, "model")
    if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
        raise TypeError("prompts must be a list of texts for each class")
    means = [model.embed_text(check_texts(texts, "prompts")).mean(0) for texts in prompts]
    return (model.embed_pictures(x) @ F.normalize(torch.stack(means), dim=1).T).argmax(1)


def retrieval(model: ContrastiveModel, x: Tensor, captions: Sequence[str]) -> Tensor:
    """The index (n,) of the caption that is nearest to each picture x (n, side^2)."""
    check_kind(model, ContrastiveModel, "model")
    return (model.embed_pictures(x) @ model.embed_text(captions).T).argmax(1)


def direction(model: ContrastiveModel, plus: Tensor, without: Tensor) -> Tensor:
    """Unit vectors (n, dim) along u(plus) - u(without) for pairs of pictures (n, side^2)."""
    check_kind(model, ContrastiveModel, "model")
    u, v = model.embed_pictures(plus), model.embed_pictures(without)
    if len(u) != len(v):
        raise ValueError(f"plus and without must be pairs, got {len(u)} and {len(v)} pictures")
    if not (u != v).any(1).all():
        raise ValueError("plus and without must differ in each pair; drop pairs that are equal")
    return F.normalize(u - v, dim=1)


def nearest_words(
    model: ContrastiveModel, vectors: Tensor, count: int = 5
) -> tuple[list[list[str]], Tensor]:
    """The words of the vocabulary that are nearest to vectors (n, dim), and their cosines.

    Returns:
        n lists of `count` words, the nearest first, and cosines (n, count).
    """
    check_kind(model, ContrastiveModel, "model")
    words = model.vocabulary.words
    if check_int(count, "count") > len(words):
        raise ValueError(f"count must be at most {len(words)}, the number of words, got {count}")
    v = F.normalize(check_cloud(vectors, "vectors", model.dim).to(model.log_scale), dim=1)
    cosines, found = (v @ model.embed_text(words).T).topk(count)
    return [[words[i] for i in row] for row in found.tolist()], cosines
