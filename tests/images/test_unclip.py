"""unCLIP: guidance, seeds and files of its parts, and a training of a few steps."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import sdeflow as sf
from sdeflow.images.prior import PROCESS
from tests.problems import randn

im = sf.images
DIM = 16
PROMPTS = ["a seven with a hat", "the fat 8", "one"]


def clip() -> sf.images.ContrastiveModel:
    return im.ContrastiveModel(dim=DIM, channels=4, width=16, depth=1, heads=2)


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """The network with weights that are not zero, so that it hears what it is told."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=g)
    return network.eval()


def prior() -> sf.images.Prior:
    network = sf.fields.VectorMLP(DIM, 16, 1, table=randn(2, DIM).float())
    return im.Prior(sf.LearnedField(PROCESS, awake(network), data_std=1.0))


def decoder() -> sf.images.Decoder:
    network = sf.fields.UNet((1, 16, 16), 8, table=randn(2, DIM).float(), shrink=2)
    return im.Decoder(sf.LearnedField(PROCESS, awake(network), data_std=0.8))


def model() -> sf.images.UnCLIP:
    u, v = (F.normalize(randn(60, DIM, seed=k).float(), dim=1) for k in (1, 2))
    return im.UnCLIP(clip(), prior(), decoder(), im.fit_linear_prior(u, v))


@pytest.fixture(scope="module")
def made() -> sf.images.UnCLIP:
    return model()


def test_text_to_picture(made: sf.images.UnCLIP) -> None:
    x = made.pictures(PROMPTS, scale=2, seed=0)
    assert x.shape == (3, 256)
    assert made.shape == (1, 16, 16)
    assert x.min() >= -1
    assert x.max() <= 1
    assert torch.equal(x, made.pictures(PROMPTS, scale=2, seed=0))
    assert not torch.equal(x, made.pictures(PROMPTS, scale=2, seed=1))
    twice = made.pictures(2 * PROMPTS[:1])
    assert not torch.allclose(twice[0], twice[1], atol=1e-3), "each row has its own noise"
    assert torch.allclose(twice[:1], made.pictures(PROMPTS[:1]), atol=1e-4)


def test_pictures_are_prior_then_decoder(made: sf.images.UnCLIP) -> None:
    """The pieces are what the whole is made of, each with its own scale."""
    v = made.clip.embed_text(PROMPTS)
    u = made.prior.embeddings(v, 3.0, seed=4)
    assert torch.allclose(u.norm(dim=1), torch.ones(3), atol=1e-6)
    assert torch.equal(made.embeddings(PROMPTS, 3.0, seed=4), u)
    x = made.decoder.pictures(u, 1.5, seed=4)
    assert torch.equal(made.pictures(PROMPTS, 1.5, seed=4, prior_scale=3.0), x)
    bare = replace(made, prior=None)
    assert torch.equal(bare.pictures(PROMPTS), made.decoder.pictures(v))
    linear = replace(made, prior=made.linear)
    assert torch.equal(linear.embeddings(PROMPTS, 1.0, 0), linear.embeddings(PROMPTS, 9.0, 5))


def test_scale_one_is_the_told_field_and_zero_knows_nothing(made: sf.images.UnCLIP) -> None:
    part = made.decoder
    u = F.normalize(randn(3, DIM, seed=7).float(), dim=1)
    field = part.field.told(math.sqrt(DIM) * u)
    times = sf.processes.karras_times(PROCESS, 6)
    start = PROCESS.prior(3, 256, 2)
    solver = sf.SDESolver("euler", times=times, seed=2)
    plain = solver.solve(sf.ancestral(field), start, save=1).x[-1].clamp(-1, 1)
    assert torch.allclose(part.pictures(u, 1.0, 2, steps=6), plain, atol=1e-5)
    nothing = solver.solve(sf.ancestral(part.field.given(None)), start, save=1).x[-1].clamp(-1, 1)
    assert torch.allclose(part.pictures(u, 0.0, 2, steps=6), nothing, atol=1e-5)
    assert not torch.allclose(plain, nothing, atol=1e-2)


def test_away_from_itself_is_no_guidance(made: sf.images.UnCLIP) -> None:
    """w f(u) + (1 - w) f(u) = f(u), whatever w; away from another it is not."""
    u, other = (F.normalize(randn(3, DIM, seed=k).float(), dim=1) for k in (7, 8))
    plain = made.decoder.pictures(u, 1.0, steps=6)
    same = made.decoder.pictures(u, 3.0, against=u, steps=6)
    assert torch.allclose(plain, same, atol=1e-4)
    away = made.decoder.pictures(u, 3.0, against=other[:1], steps=6)
    assert not torch.allclose(plain, away, atol=1e-2)
    asked = made.pictures(PROMPTS, 3.0, against="belt")
    assert not torch.allclose(asked, made.pictures(PROMPTS, 3.0), atol=1e-2)


def test_least_squares_finds_the_map() -> None:
    """Of exact affine pairs, and, with noise, the one whose residual is orthogonal to the data."""
    w, b, v = randn(DIM, DIM), randn(1, DIM, seed=1), randn(200, DIM, seed=2)
    u = v @ w.T + b
    found = im.fit_linear_prior(u, v)
    assert torch.allclose(found.weight, w, atol=1e-9)
    assert torch.allclose(found.bias, b[0], atol=1e-9)
    assert torch.allclose(
        found.embeddings(F.normalize(v, dim=1)),
        F.normalize(F.normalize(v, dim=1) @ w.T + b, dim=1),
    )
    noisy = u + randn(200, DIM, seed=3)
    fitted = im.fit_linear_prior(noisy, v)
    rest = noisy - v @ fitted.weight.T - fitted.bias
    assert float((v.T @ rest).abs().max()) < 1e-9
    assert float(rest.sum(0).abs().max()) < 1e-9


def test_linear_prior_has_the_same_bits_wherever_it_lies_in_memory() -> None:
    """LAPACK's gelsy has not: its last bits depend on the address."""
    v = randn(40, 24, seed=2)
    v[:, 12:] = v[:, :12] + 1e-7 * v[:, 12:]
    u, kept, found = randn(40, 24, seed=3), [], set()
    for k in range(12):
        kept.append(torch.empty(1000 * k + 17))
        found.add(im.fit_linear_prior(u.clone(), v.clone()).weight.numpy().tobytes())
    assert len(found) == 1


def test_a_saved_model_draws_the_same(tmp_path: Path, made: sf.images.UnCLIP) -> None:
    made.save(tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "clip.safetensors", "decoder.safetensors", "linear.safetensors", "prior.safetensors",
    ]  # fmt: skip
    again = im.UnCLIP.load(tmp_path)
    assert torch.equal(again.pictures(PROMPTS), made.pictures(PROMPTS))
    assert torch.equal(again.linear.weight, made.linear.weight)
    decoder, wrong = tmp_path / "decoder.safetensors", "holds a contrastive model, not a field"
    good = decoder.read_bytes()
    made.clip.save(decoder)
    with pytest.raises(sf.SdeflowError, match=wrong):
        im.UnCLIP.load(tmp_path)
    (tmp_path / "prior.safetensors").write_bytes(good)
    with pytest.raises(sf.SdeflowError, match="do not fit each other: a prior's field must be"):
        im.UnCLIP.load(tmp_path)
    (tmp_path / "prior.safetensors").unlink()
    with pytest.raises(sf.SdeflowError, match="there is no file"):
        im.UnCLIP.load(tmp_path)


def test_parts_of_two_models_are_refused(made: sf.images.UnCLIP) -> None:
    other = im.ContrastiveModel(dim=8, channels=4, width=16, depth=1, heads=2)
    with pytest.raises(
        ValueError, match="prior has 16 dimensions, but the contrastive model has 8"
    ):
        replace(made, clip=other)
    with pytest.raises(
        ValueError, match=r"'hatt' is not in the vocabulary; similar words are: hat"
    ):
        made.pictures(["a seven with a hatt"])


def test_decoder_and_prior_learn_what_they_are_told() -> None:
    """Two kinds of pictures, known by their embeddings, are drawn as they are told."""
    g = torch.Generator().manual_seed(0)
    kind = torch.randint(2, (300,), generator=g)
    u = F.normalize(F.one_hot(kind, DIM) + 0.05 * torch.randn(300, DIM, generator=g), dim=1)
    x = (2 * kind[:, None] - 1) * torch.ones(300, 256) * 0.9
    pool = im.Pool(x + 0.02 * torch.randn(300, 256, generator=g), u, u.roll(3, 1))
    drawn = im.train_decoder(pool, 25, channels=8).pictures(u[:40], 2.0)
    assert (drawn.mean(1).sign() == 2 * kind[:40] - 1).float().mean() > 0.9
    found = im.train_prior(pool, 80, width=32).embeddings(pool.v[:40], 1.0)
    assert (kind[(found @ u.T).argmax(1)] == kind[:40]).float().mean() > 0.9


def test_training_is_a_function_of_its_config_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with the extra: sdeflow[images]")
    config = im.UnCLIPConfig(
        clip_steps=2, decoder_steps=2, prior_steps=2, pool=100, clip_channels=4,
        decoder_channels=8, prior_width=16, seed=3,
    )  # fmt: skip
    one = im.train_unclip(config, tmp_path)
    files = {f.name: f.read_bytes() for f in tmp_path.glob("*.safetensors")}
    (tmp_path / "decoder.safetensors").unlink()
    im.train_unclip(config, tmp_path)
    for name in ("clip", "prior", "decoder"):  # the linear map is LAPACK's, to rounding
        assert (tmp_path / f"{name}.safetensors").read_bytes() == files[f"{name}.safetensors"]
    two = im.train_unclip(config)
    assert torch.equal(one.pictures(PROMPTS), two.pictures(PROMPTS))
    assert torch.equal(im.UnCLIP.load(tmp_path).pictures(PROMPTS), one.pictures(PROMPTS))


def test_the_pool_stays_in_place_and_untilted() -> None:
    pytest.importorskip("sklearn", reason="the digits come with the extra: sdeflow[images]")
    model = im.ContrastiveModel(channels=4)
    pool = im.embedded_pool(model, 50, seed=1)
    seen = im.CaptionedPictures(tilt=False, jitter=False).sample(50, 1)
    assert torch.equal(pool.x, seen.x)
    assert torch.equal(pool.u, model.embed_pictures(seen.x))
    assert torch.equal(pool.v, model.embed_text(seen.captions))
    assert not seen.drawn[:, -1].any()
