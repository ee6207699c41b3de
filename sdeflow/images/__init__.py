"""Caption pictures, learn pictures and words together, and draw pictures from words.

Handwritten digits with drawn attributes (`CaptionedPictures`), a contrastive model of pictures and
captions (`ContrastiveModel`), and a judge of what is drawn (`Judge`).
"""

from sdeflow.images.captions import captions
from sdeflow.images.clip import ContrastiveModel, contrastive_loss, train_contrastive
from sdeflow.images.judge import Judge, Judgement, train_judge
from sdeflow.images.pictures import Captioned, CaptionedPictures, draw, handwritten, pairs
from sdeflow.images.retrieval import (
    DIGIT_PROMPTS,
    direction,
    nearest_words,
    retrieval,
    zero_shot,
)
from sdeflow.images.vocabulary import ATTRIBUTES, DIGITS, NUMERALS, VOCABULARY, Vocabulary

__all__ = [
    "CaptionedPictures",
    "Captioned",
    "captions",
    "draw",
    "handwritten",
    "pairs",
    "Vocabulary",
    "VOCABULARY",
    "ATTRIBUTES",
    "DIGITS",
    "NUMERALS",
    "ContrastiveModel",
    "contrastive_loss",
    "train_contrastive",
    "zero_shot",
    "DIGIT_PROMPTS",
    "retrieval",
    "direction",
    "nearest_words",
    "Judge",
    "Judgement",
    "train_judge",
]
