"""Write captions of pictures by a small grammar.

    [a picture of a] [manners] [digit] seven [with a hat and a belt] [in the garden lamp]

A caption may omit attributes that are drawn, and names none that are not. With probability 0.15 it
is one word. With probability 0.5 it ends in everyday words, independent of the picture, so that a
model learns to ignore them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sdeflow._validation import check_between, check_labels, check_seed, shown
from sdeflow.images.vocabulary import (
    ATTRIBUTES,
    DIGITS,
    EVERYDAY,
    MANNERS,
    NAMES,
    NUMERALS,
    THINGS,
)
from sdeflow.random_streams import Stream, random_generator

HEADS = (
    "", "a", "the", "a picture of a", "a drawing of the", "photo of a", "image of the",
)  # fmt: skip
KINDS = ("", "", "digit", "number", "numeral")
JOINTS = ("with", "wearing", "has")
PLACES = ("in the", "on the", "at the", "by the", "near the")

DRAWS = 48
"""Uniform numbers for each caption, more than any uses, so that n captions begin with those of a
call with fewer."""


def captions(
    digit: Tensor,
    drawn: Tensor,
    seed: int = 0,
    *,
    one_word: float = 0.15,
    mention: float = 0.85,
    everyday: float = 0.5,
) -> list[str]:
    """Write one caption for each picture.

    Args:
        digit: (n,) digits, 0 to 9.
        drawn: (n, 9) booleans, which attributes are drawn, in the order of `ATTRIBUTES`.
        seed: seed of all random choices.
        one_word: probability that a caption is a single word.
        mention: probability that an attribute that is drawn is named.
        everyday: probability that a caption ends in one to three everyday words.
    """
    digit = check_labels(digit, "digit", 9).reshape(-1)
    drawn = check_drawn(drawn, len(digit))
    chances = [
        check_between(value, name, 0.0, 1.0)
        for value, name in ((one_word, "one_word"), (mention, "mention"), (everyday, "everyday"))
    ]
    uniform = random_generator(check_seed(seed), Stream.CHOICE).random((len(digit), DRAWS))
    return [
        _caption(iter(row), k, present, *chances)
        for row, k, present in zip(uniform.tolist(), digit.tolist(), drawn.tolist(), strict=True)
    ]


def check_drawn(drawn: object, n: int) -> Tensor:
    """Return `drawn` if it is a tensor of booleans (n, 9)."""
    if not isinstance(drawn, Tensor) or drawn.dtype != torch.bool:
        kind = drawn.dtype if isinstance(drawn, Tensor) else shown(drawn)
        raise TypeError(f"drawn must be a tensor of booleans (n, {len(NAMES)}), got {kind}")
    if drawn.shape != (n, len(NAMES)):
        raise ValueError(
            f"drawn must be {(n, len(NAMES))}, a row for each digit, got {tuple(drawn.shape)}"
        )
    return drawn


def _caption(
    draws: Iterator[float],
    digit: int,
    drawn: list[bool],
    one_word: float,
    mention: float,
    everyday: float,
) -> str:
    present = [name for name, there in zip(NAMES, drawn, strict=True) if there]
    word = _pick(draws, (DIGITS[digit], NUMERALS[digit]))
    if next(draws) < one_word:
        text = _pick(draws, [word, *(_pick(draws, ATTRIBUTES[name]) for name in present)])
    else:
        told = [name for name in present if next(draws) < mention]
        manners = _shuffled(draws, [_synonym(draws, a) for a in told if a in MANNERS])
        things = _shuffled(draws, [_synonym(draws, a) for a in told if a in THINGS])
        noun = " ".join([*manners, _pick(draws, KINDS), word]).split()
        head = _pick(draws, HEADS)
        text = (
            f"{head[:-1]}{with_article(' '.join(noun))}"
            if head[-1:] == "a"
            else (f"{head} {' '.join(noun)}")
        )
        if things:
            text += f" {_pick(draws, JOINTS)} " + " and ".join(map(with_article, things))
    if next(draws) < everyday:
        count = 1 + int(3 * next(draws))
        text += " " + " ".join(
            [_pick(draws, PLACES), *(_pick(draws, EVERYDAY) for _ in range(count))]
        )
    return " ".join(text.split())


def with_article(words: str) -> str:
    """Put "a" or "an" before words."""
    vowel = words[0] in "aeiou8" and words.split()[0] != "one"
    return f"{'an' if vowel else 'a'} {words}"


def _pick(draws: Iterator[float], among: Sequence[str]) -> str:
    return among[int(next(draws) * len(among))]


def _synonym(draws: Iterator[float], name: str) -> str:
    return _pick(draws, ATTRIBUTES[name])


def _shuffled(draws: Iterator[float], words: list[str]) -> list[str]:
    return [word for _, word in sorted((next(draws), word) for word in words)]
