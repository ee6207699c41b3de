"""The contrastive model: its loss is that of CLIP, obeys its symmetries, and is learned."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import sdeflow as sf
from tests.problems import randn

im = sf.images
TEXTS = ["a seven with a hat", "one", "the fat 8", "box"]


def unit(n: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(randn(n, 8, seed=seed), dim=1)


def tiny(seed: int = 0) -> sf.images.ContrastiveModel:
    return im.ContrastiveModel(dim=16, channels=4, width=16, depth=1, heads=2, seed=seed)


# ------------------------------------------------------------------------------------- the loss


def test_loss_without_scale_is_log_n() -> None:
    for n in (2, 7, 64):
        loss = im.contrastive_loss(unit(n), unit(n, 1), 0.0)
        assert float(loss) == pytest.approx(math.log(n), abs=1e-12)
    at = [float(im.contrastive_loss(unit(9), unit(9, 1), s)) - math.log(9) for s in (1e-2, 1e-3)]
    assert at[0] / at[1] == pytest.approx(10.0, rel=0.05), "it comes in linearly"


def test_loss_is_symmetric_and_blind_to_the_order_of_pairs() -> None:
    u, v = unit(12), unit(12, 1)
    loss = im.contrastive_loss(u, v, 9.0)
    assert torch.allclose(loss, im.contrastive_loss(v, u, 9.0), atol=1e-12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(loss, im.contrastive_loss(u[order], v[order], 9.0), atol=1e-12)
    assert abs(float(loss - im.contrastive_loss(u, v[order], 9.0))) > 1e-3


def test_loss_of_perfect_pairs_vanishes() -> None:
    u = torch.eye(6, dtype=torch.float64)
    assert float(im.contrastive_loss(u, u, 100.0)) < 1e-30 + 6 * math.exp(-100)
    assert float(im.contrastive_loss(u, u.flip(0), 10.0)) == pytest.approx(10.0, abs=1e-3)


def test_loss_and_gradients_are_those_of_transformers() -> None:
    """CLIPModel of a tiny config; eos_token_id=2 would make it read at the largest token."""
    hf = pytest.importorskip("transformers", reason="compares with the extra: sdeflow[images]")
    text = hf.CLIPTextConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=12, projection_dim=16, eos_token_id=1,
        pad_token_id=0, bos_token_id=3,
    )  # fmt: skip
    vision = hf.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=4, num_channels=1, projection_dim=16,
    )  # fmt: skip
    config = hf.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.CLIPModel(config).double()
    ids = torch.randint(4, 50, (6, 9), generator=torch.Generator().manual_seed(1))
    ids[:, -1] = 1
    ids[2, 5:] = torch.tensor([1, 0, 0, 0])
    out = model(
        input_ids=ids, attention_mask=(ids > 0).long(), return_loss=True,
        pixel_values=randn(6, 256).reshape(6, 1, 16, 16),
    )  # fmt: skip
    u, v = out.image_embeds, out.text_embeds
    scale = model.logit_scale
    ours = im.contrastive_loss(u, v, scale.exp())
    assert torch.allclose(ours, out.loss, rtol=0, atol=1e-9)
    of = [u, v, scale]
    for a, b in zip(
        torch.autograd.grad(ours, of, retain_graph=True), torch.autograd.grad(out.loss, of),
        strict=True,
    ):  # fmt: skip
        assert torch.allclose(a, b, rtol=0, atol=1e-9)
    logits = scale.exp() * u @ v.T
    assert torch.allclose(logits, out.logits_per_image, atol=1e-9)


# ------------------------------------------------------------------------------------ the model


def test_embeddings_are_unit_vectors_row_by_row() -> None:
    model = tiny()
    u, v = model.embed_pictures(randn(5, 256)), model.embed_text(TEXTS)
    assert u.shape == (5, 16)
    assert v.shape == (4, 16)
    assert torch.allclose(torch.cat([u, v]).norm(dim=1), torch.ones(9), atol=1e-6)
    each = torch.cat([model.embed_text([text]) for text in TEXTS])
    assert torch.allclose(v, each, atol=1e-6), "padding changes nothing"
    assert not u.requires_grad
    assert model.embed_pictures(randn(501, 256)).shape == (501, 16)


def test_texts_are_read_at_their_end() -> None:
    """Not at the largest token, as transformers does where eos_token_id is 2."""
    model = tiny()
    tokens = im.VOCABULARY.tokens(["a yellow hat", "a yellow one near the hat"])
    hidden, end = model.text.hidden(tokens), [3, 6]
    assert tokens[[0, 1], end].tolist() == [1, 1]
    assert torch.equal(model.text(tokens), model.text.last(hidden[[0, 1], end]))


def test_order_of_words_counts() -> None:
    model = tiny()
    a, b = model.embed_text(["a hat with a seven", "a seven with a hat"])
    assert (a - b).abs().max() > 1e-4


def test_the_default_towers_have_the_sizes_that_are_stated() -> None:
    model = im.ContrastiveModel()
    count = [sum(p.numel() for p in tower.parameters()) for tower in (model.image, model.text)]
    assert count == [pytest.approx(400e3, rel=0.01), pytest.approx(130e3, rel=0.02)]
    assert float(model.scale.detach()) == pytest.approx(1 / 0.07, rel=1e-6)


def test_the_temperature_has_an_end() -> None:
    model = tiny()
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert float(model.scale.detach()) == pytest.approx(100.0)


def test_weights_are_a_function_of_the_seed_and_leave_torch_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = tiny(), tiny(), tiny(1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name])
    assert not torch.equal(a.text.place, c.text.place)


def blocks(n: int, seed: int) -> sf.images.Captioned:
    """Pictures with one bright quarter, and which: learned in a few steps."""
    g = torch.Generator().manual_seed(seed % 2**32)
    which = torch.randint(4, (n,), generator=g)
    x = torch.full((n, 4, 4, 16), -1.0)
    x[torch.arange(n), which] = 1.0
    words = ("hat", "belt", "dot", "tail")
    drawn = torch.zeros(n, 9, dtype=torch.bool)
    return im.Captioned(x.reshape(n, 256), [words[k] for k in which], which, drawn)


def test_training_learns_and_is_a_function_of_its_seed() -> None:
    runs = [(tiny(), seed) for seed in (3, 3, 4)]
    losses = [
        im.train_contrastive(model, blocks, 40, seed, batch=16, rate=5e-3) for model, seed in runs
    ]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    for name, value in runs[0][0].state_dict().items():
        assert torch.equal(value, runs[1][0].state_dict()[name]), name
    assert losses[0][-5:].mean() < losses[0][:5].mean() - 0.5
    model = runs[0][0]
    assert not model.training
    seen = blocks(40, 99)
    words = ("hat", "belt", "dot", "tail")
    assert torch.equal(im.zero_shot(model, seen.x, [[word] for word in words]), seen.digit)
    found = im.retrieval(model, seen.x, words)
    assert torch.equal(found, seen.digit)
    far, cosines = im.nearest_words(model, model.embed_pictures(seen.x), len(im.VOCABULARY.words))
    assert (cosines.diff() <= 0).all()
    for found, told in zip(far, seen.captions, strict=True):
        assert min(words, key=found.index) == told


def test_direction_is_the_difference_of_embeddings() -> None:
    model, (x, y) = tiny(), (randn(3, 256), randn(3, 256, seed=1))
    difference = model.embed_pictures(x) - model.embed_pictures(y)
    found = im.direction(model, x, y)
    assert torch.allclose(found, F.normalize(difference, dim=1), atol=1e-6)
    assert torch.allclose(found, -im.direction(model, y, x), atol=1e-6)


def test_saved_models_are_the_same_and_damage_is_refused(tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "clip.safetensors"
    model.save(path)
    again = im.ContrastiveModel.load(path)
    assert torch.equal(model.embed_text(TEXTS), again.embed_text(TEXTS))
    assert again.vocabulary == model.vocabulary
    again.save(tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == path.read_bytes()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(sf.SdeflowError, match="altered"):
        im.ContrastiveModel.load(path)
    judge = im.Judge(channels=4)
    judge.save(path)
    with pytest.raises(sf.SdeflowError, match="holds a judge, not a contrastive model"):
        im.ContrastiveModel.load(path)
    same = im.Judge.load(path).judge(blocks(4, 0).x)
    assert torch.equal(same.confidence, judge.judge(blocks(4, 0).x).confidence)


def test_the_digits_have_eight_prompts_each() -> None:
    assert [len(prompts) for prompts in im.DIGIT_PROMPTS] == [8] * 10
    assert "a picture of a seven" in im.DIGIT_PROMPTS[7]


def test_the_judge_learns_what_is_drawn() -> None:
    def marked(n: int, seed: int) -> sf.images.Captioned:
        found = blocks(n, seed)
        drawn = found.drawn.clone()
        drawn[:, 2] = found.digit >= 2
        return found._replace(drawn=drawn)

    judge = im.Judge(channels=4)
    losses = im.train_judge(judge, marked, 60, batch=16, rate=5e-3)
    seen = marked(50, 12)
    found: sf.images.Judgement = judge.judge(seen.x)
    assert losses[-1] < losses[0] / 4
    assert torch.equal(found.digit, seen.digit)
    assert torch.equal(found.drawn, seen.drawn)
    assert (found.confidence > 0.5).all()
