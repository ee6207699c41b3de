r"""Turn captions into tokens and back.

A token is the index of a word; 0 pads, 1 ends a text. Case and punctuation are ignored, and a word
that is not in the vocabulary is refused with the most similar words in it.

`VOCABULARY` has the digits (ten words, ten numerals), three synonyms for each attribute, words of
grammar, and some three hundred everyday words that captions add at random.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._validation import Numbers, as_numbers, check_int, shown

PAD, END = 0, 1

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMERALS = tuple("0123456789")

ATTRIBUTES = {
    "hat": ("hat", "cap", "helmet"),
    "belt": ("belt", "sash", "girdle"),
    "frame": ("frame", "border", "box"),
    "dot": ("dot", "spot", "point"),
    "tail": ("tail", "hook", "curl"),
    "underline": ("underline", "floor", "ground"),
    "thick": ("thick", "bold", "fat"),
    "inverted": ("inverted", "negative", "reversed"),
    "tilted": ("tilted", "slanted", "leaning"),
}
"""Attributes that can be drawn, each with its synonyms: six things, then three manners."""

NAMES = tuple(ATTRIBUTES)
THINGS, MANNERS = NAMES[:6], NAMES[6:]

_GRAMMAR = (
    "a an the of with wearing has and in on at by near digit number numeral picture photo image "
    "drawing"
)
GRAMMAR = tuple(_GRAMMAR.split())

_EVERYDAY = """
apricot bacon basil bean beef biscuit blueberry broccoli cabbage celery chocolate cinnamon
coconut cucumber curry dough garlic ginger grape ham hazelnut jam ketchup lentil lettuce
lime mango maple melon mint muffin mushroom mustard noodle oatmeal olive pancake peanut
pineapple plum popcorn pretzel pudding pumpkin radish raspberry salmon sausage spinach
strawberry toast turnip vanilla walnut yogurt

alpaca badger bat beaver bee beetle butterfly crab cricket crow dolphin dragonfly falcon
gecko gorilla hamster hawk hedgehog heron kitten ladybird lizard llama lobster mole moose
otter oyster panda parrot peacock penguin pigeon pony puppy raven robin seagull shark
shrimp snail sparrow squid squirrel stork swan trout walrus wasp wren

attic balcony barn bakery basement bedroom cabin canyon castle cave cellar chapel cinema
cliff corridor cottage courtyard dock factory fountain garage gate greenhouse hallway
hospital inn jungle lagoon lawn lighthouse meadow monastery motel orchard palace pasture
path pier pond prairie quarry ranch roof ruin stable stadium studio swamp tent terrace
tunnel yard

anchor apron axe barrel basket bench blanket bracelet brick broom brush bucket button cable
calendar canoe carpet cart chain chisel coin comb compass crayon cushion drawer envelope
fence ferry fiddle funnel glove harp jacket jar kettle kite lantern lock mattress mitten
mug nail napkin newspaper oven paddle pipe pitcher pot pulley purse rake razor sandal saw
scarf shelf shovel sleeve sock spade stove suitcase tablet thread towel toy trumpet tube
typewriter vase violin wagon whistle wrench zipper

ancient blue brown busy careful cheerful clever cloudy curious daring distant dusty eager
faint fierce foggy frozen generous golden grey honest humble icy jolly lively lonely muddy
noble pale patient pink plain polite purple rainy rough rusty salty silent silver sleepy
sour spicy stormy sunny tender tidy tiny violet windy wooden yellow
"""
EVERYDAY = tuple(_EVERYDAY.split())
"""Words that captions add at random: none describes anything that is drawn."""


@dataclass(frozen=True)
class Vocabulary:
    """The words that a text may have, in the order of their tokens; the first is token 2.

    Args:
        words: different words in lower case.
        length: largest number of tokens of a text, with the one that ends it.
    """

    words: tuple[str, ...]
    length: int = 40

    def __post_init__(self) -> None:
        if isinstance(self.words, str) or not isinstance(self.words, Sequence):
            raise TypeError(f"words must be a sequence of words, got {shown(self.words)}")
        words = tuple(self.words)
        for word in words:
            if not isinstance(word, str) or re.findall(r"\w+", word.lower()) != [word]:
                raise ValueError(f"a word must be letters or figures in lower case, got {word!r}")
        if not words or len(set(words)) < len(words):
            raise ValueError("words must be all different, and at least one")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "length", check_int(self.length, "length", 2))

    def __repr__(self) -> str:
        return f"vocabulary of {len(self.words)} words, texts of up to {self.length - 1}"

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.words) + 2

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, 2)}

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokens (n, k) of n texts, each ended by 1 and padded by 0 to the longest.

        Raises:
            TypeError: texts are no sequence of texts.
            ValueError: a text has an unknown word, no word, or too many.
        """
        rows = [self._row(text) for text in check_texts(texts)]
        most = max(map(len, rows))
        return torch.tensor([row + [PAD] * (most - len(row)) for row in rows])

    def _row(self, text: str) -> list[int]:
        words = re.findall(r"\w+", text.lower())
        if not words:
            raise ValueError(f"a text needs at least one word, got {text!r:.60}")
        if len(words) >= self.length:
            raise ValueError(
                f"a text has at most {self.length - 1} words, got {len(words)}: {text!r:.60}"
            )
        for word in words:
            if word not in self._number:
                raise ValueError(f"{word!r:.40} is not in the vocabulary{self._near(word)}")
        return [*(self._number[word] for word in words), END]

    def _near(self, word: str) -> str:
        near = difflib.get_close_matches(word, self.words, 3)
        cure = f"; similar words are: {', '.join(near)}" if near else ""
        return cure or "; its attribute `words` lists all words"

    def texts(self, tokens: Numbers) -> list[str]:
        """The texts of tokens (n, k), with single spaces between words."""
        found = as_numbers(tokens, "tokens")
        whole = (found == found.floor()).all() and not torch.as_tensor(tokens).is_floating_point()
        if not whole or found.ndim != 2 or not ((found >= 0) & (found < self.size)).all():
            raise ValueError(
                f"tokens must be whole numbers (n, k) from 0 to {self.size - 1}, got "
                f"{shown(tokens)}"
            )
        return [
            " ".join(self.words[t - 2] for t in row if t > END) for row in found.long().tolist()
        ]


def check_texts(texts: object, name: str = "texts") -> list[str]:
    """Return texts as a list if they are a sequence of one text or more."""
    if isinstance(texts, str):
        raise TypeError(f"{name} must be a list of texts; put it in brackets: [{texts!r:.60}]")
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} must be a list of texts, got {shown(texts)}")
    if not texts:
        raise ValueError(f"{name} is empty; give at least one text")
    return list(texts)


VOCABULARY = Vocabulary(
    (*GRAMMAR, *DIGITS, *NUMERALS, *(w for s in ATTRIBUTES.values() for w in s), *EVERYDAY)
)
"""The words of `captions`."""
