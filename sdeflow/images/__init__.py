"""Make captioned pictures, learn pictures and captions together, and draw pictures from text.

`CaptionedPictures` are handwritten digits with drawn attributes, `ContrastiveModel` embeds
pictures and captions (CLIP), `Judge` classifies what is drawn, and `UnCLIP` draws pictures from
text:

    model = sf.images.train_unclip(folder="runs/unclip")        # four minutes or more; once
    model = sf.images.UnCLIP.load("runs/unclip")
    x = model.pictures(["a seven with a hat"], scale=2, seed=0)
"""

from sdeflow.images.captions import captions
from sdeflow.images.clip import ContrastiveModel, contrastive_loss, train_contrastive
from sdeflow.images.judge import Judge, Judgement, train_judge
from sdeflow.images.pictures import Captioned, CaptionedPictures, draw, handwritten, pairs
from sdeflow.images.prior import LinearPrior, Prior, fit_linear_prior
from sdeflow.images.retrieval import (
    DIGIT_PROMPTS,
    direction,
    nearest_words,
    retrieval,
    zero_shot,
)
from sdeflow.images.unclip import Decoder, UnCLIP
from sdeflow.images.unclip_training import (
    Pool,
    UnCLIPConfig,
    embedded_pool,
    train_decoder,
    train_prior,
    train_unclip,
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
    "UnCLIP",
    "UnCLIPConfig",
    "train_unclip",
    "Prior",
    "LinearPrior",
    "Decoder",
    "Pool",
    "embedded_pool",
    "train_prior",
    "fit_linear_prior",
    "train_decoder",
]
