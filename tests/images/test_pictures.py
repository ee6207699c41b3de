"""Captioned pictures: each attribute changes its own pixels, captions name only what is drawn."""

from itertools import combinations

import pytest
import torch

import sdeflow as sf

pytest.importorskip("sklearn", reason="the digits come with the extra: sdeflow[images]")

im = sf.images
NAMES = tuple(im.ATTRIBUTES)
MEANING = {word: name for name, words in im.ATTRIBUTES.items() for word in words}
MEANING |= {w: str(k) for words in (im.DIGITS, im.NUMERALS) for k, w in enumerate(words)}


def alone(name: str) -> torch.Tensor:
    """The first 40 digits with this attribute and no other, (40, 16, 16)."""
    drawn = torch.zeros(40, len(NAMES), dtype=torch.bool)
    if name:
        drawn[:, NAMES.index(name)] = True
    return im.draw(im.handwritten()[0][:40], drawn).reshape(-1, 16, 16)


def test_the_parts_share_no_digit() -> None:
    (train, labels), (test, held_out) = im.handwritten("train"), im.handwritten("test")
    assert (len(train), len(test)) == (1438, 359)
    assert torch.cdist(train.flatten(1), test.flatten(1)).min() > 0.1
    assert labels.bincount().min() > 100
    assert held_out.bincount().min() > 20


def test_pictures_are_bounded_and_flat() -> None:
    x = im.CaptionedPictures().sample(300).x
    assert x.shape == (300, 256)
    assert x.min() == -1.0
    assert x.max() == 1.0
    assert 0.8 < float(x.std()) < 0.9


def test_each_attribute_changes_its_own_pixels_only() -> None:
    """A thing is a fixed set of cells; no two of the figure's things share one."""
    plain = alone("")
    cells = {}
    for name in NAMES[:6]:
        changed = alone(name) != plain
        where = changed.any(0)
        bright = alone(name)[:, where]
        assert (bright == bright.max()).all() or name == "frame"
        assert where.any()
        cells[name] = where
        assert (alone(name) >= plain).all()
    for one, other in combinations(("hat", "belt", "dot", "tail", "underline"), 2):
        assert not (cells[one] & cells[other]).any(), (one, other)
    assert sorted(NAMES[6:]) == ["inverted", "thick", "tilted"]


def test_manners_keep_what_they_should() -> None:
    plain = alone("")
    assert torch.allclose(alone("inverted"), -plain, atol=1e-6)
    thick, ink = (alone("thick") + 1) / 2, (plain + 1) / 2
    assert torch.allclose(thick, ink**0.35, atol=1e-6)
    assert torch.equal(thick > 0, ink > 0)
    tilted = (alone("tilted") + 1) / 2
    columns = torch.arange(16.0)
    places = [(p * columns).sum(2).sum(0) / p.sum(2).sum(0).clamp(min=1e-6) for p in (tilted, ink)]
    lean = (places[0] - places[1])[5:15]
    assert (lean.diff() < 0).all(), "the top leans to the right, always to the same side"
    assert torch.allclose(lean, 0.35 * (9.5 - torch.arange(5.0, 15.0)), atol=0.15)


def test_what_moves_leaves_the_page_and_does_not_wrap() -> None:
    images = im.handwritten()[0][:4]
    drawn = torch.ones(4, len(NAMES), dtype=torch.bool) & (torch.arange(9) < 2)
    still = im.draw(images, drawn).reshape(-1, 16, 16)
    for down, right in ((1, 0), (-1, 1), (0, -1)):
        shift = torch.tensor([[down, right]]).expand(4, 2)
        moved = im.draw(images, drawn, shift).reshape(-1, 16, 16)
        inside = still[:, max(0, -down) : 16 - max(0, down), max(0, -right) : 16 - max(0, right)]
        there = moved[:, max(0, down) : 16 + min(0, down), max(0, right) : 16 + min(0, right)]
        assert torch.equal(inside, there)
        assert moved.sum() <= still.sum() + 1e-3
    top = im.draw(images, drawn, torch.ones(4, 2, dtype=torch.int64)).reshape(-1, 16, 16)
    assert (top[:, 0] == -1).all()


def test_the_first_pictures_of_many_are_those_of_few() -> None:
    many, few = (im.CaptionedPictures().sample(n, seed=5) for n in (60, 7))
    assert torch.equal(many.x[:7], few.x)
    assert many.captions[:7] == few.captions
    assert torch.equal(many.drawn[:7], few.drawn)
    other = im.CaptionedPictures().sample(7, seed=6)
    assert not torch.equal(other.x, few.x)
    assert other.captions != few.captions


def test_options_leave_out_what_they_say() -> None:
    sure = im.CaptionedPictures(rate=1.0, tilt=False, jitter=False).sample(50)
    assert sure.drawn[:, :8].all()
    assert not sure.drawn[:, 8].any()
    plain = im.CaptionedPictures("test", rate=0.0, jitter=False).sample(50)
    images, digits = im.handwritten("test")
    every = im.draw(images, torch.zeros(len(images), 9, dtype=torch.bool))
    nearest = torch.cdist(plain.x, every).min(1)
    assert (nearest.values < 0.02).all(), "up to cdist's rounding"
    assert torch.equal(digits[nearest.indices], plain.digit)


def test_captions_name_only_what_is_drawn() -> None:
    """Every word with a meaning fits its picture, and with mention=1 none is left out."""
    digit = torch.arange(10).repeat(60)
    drawn = torch.rand(600, 9, generator=torch.Generator().manual_seed(0)) < 0.4
    for mention in (0.5, 1.0):
        texts = im.captions(digit, drawn, 3, mention=mention, one_word=0.2)
        for text, k, there in zip(texts, digit.tolist(), drawn.tolist(), strict=True):
            meant = [MEANING[w] for w in text.split() if w in MEANING]
            fits = {str(k), *(name for name, on in zip(NAMES, there, strict=True) if on)}
            assert set(meant) <= fits, text
            assert len(set(meant)) == len(meant) >= 1, text
    told = im.captions(digit, drawn, 3, mention=1.0, one_word=0.0)
    for text, k, there in zip(told, digit.tolist(), drawn.tolist(), strict=True):
        assert len([w for w in text.split() if w in MEANING]) == 1 + sum(there), (text, k)
    assert all(len(t.split()) == 1 for t in im.captions(digit, drawn, one_word=1.0, everyday=0.0))


def test_everyday_words_do_not_know_the_picture() -> None:
    """They are the same words, whatever is drawn."""
    digit = torch.zeros(80, dtype=torch.int64)
    known = set(MEANING) | set(im.VOCABULARY.words[:20])  # the words of grammar come first
    texts = im.captions(digit, torch.zeros(80, 9, dtype=torch.bool), everyday=1.0)
    tails = [{w for w in t.split() if w not in known} for t in texts]
    assert all(1 <= len(tail) <= 3 for tail in tails)
    other = im.captions(digit + 7, torch.zeros(80, 9, dtype=torch.bool), everyday=1.0)
    assert tails == [{w for w in t.split() if w not in known} for t in other]


def test_articles_are_english() -> None:
    digit = torch.arange(10).repeat(40)
    drawn = torch.zeros(400, 9, dtype=torch.bool)
    drawn[:, NAMES.index("underline")] = True
    for text in im.captions(digit, drawn, everyday=0.0):
        for article, word in zip(text.split(), text.split()[1:], strict=False):
            if article in ("a", "an"):
                vowel = word[0] in "aeiou8" and word != "one"
                assert (article == "an") == vowel, text


def test_pairs_differ_in_one_attribute() -> None:
    for name in ("hat", "inverted"):
        without, plus = im.pairs(name, rate=0.3, seed=2)
        assert len(without) == len(plus) == 359
        assert (without != plus).any(1).all()
    without, plus = im.pairs("belt")
    assert torch.equal((without != plus).any(0).nonzero().flatten() // 16, torch.full((12,), 9))


# ------------------------------------------------------------------------------- the vocabulary


def test_tokens_and_texts_are_inverse() -> None:
    words = im.VOCABULARY
    texts = im.CaptionedPictures().sample(200, 1).captions
    tokens = words.tokens(texts)
    assert words.texts(tokens) == texts
    assert ((tokens == 1).sum(1) == 1).all()
    assert words.size == len(words.words) + 2 == int(tokens.max().clamp(min=words.size - 1)) + 1
    assert torch.equal(
        words.tokens(["A seven, with a HAT!"]), words.tokens(["a seven with a hat"])
    )


def test_the_longest_caption_fits() -> None:
    drawn = torch.ones(2000, 9, dtype=torch.bool)
    digit = torch.full((2000,), 8)
    texts = im.captions(digit, drawn, mention=1.0, one_word=0.0, everyday=1.0)
    assert max(len(text.split()) for text in texts) == 32 < im.VOCABULARY.length


def test_an_unknown_word_is_refused_with_those_near_it() -> None:
    with pytest.raises(
        ValueError, match=r"'hatt' is not in the vocabulary; similar words are: hat"
    ):
        im.VOCABULARY.tokens(["a seven with a hatt"])
    with pytest.raises(ValueError, match="'xyzzy' is not in the vocabulary; its attribute"):
        im.VOCABULARY.tokens(["xyzzy"])
