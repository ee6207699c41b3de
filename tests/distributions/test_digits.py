"""Pictures as data: scikit-learn's own reader is the oracle of the digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.distributions import digits as module
from sdeflow.distributions.dataset import Dataset
from tests.problems import close, randn

sklearn_datasets = pytest.importorskip(
    "sklearn.datasets", reason="the digits come with scikit-learn, the extra `images`"
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return sf.datasets.digits()


def test_the_digits_are_scikit_learns_and_every_fifth_is_held_out(digits: Dataset) -> None:
    theirs = sklearn_datasets.load_digits()
    pictures = torch.from_numpy(theirs.images) / 8 - 1
    last = np.arange(1797) % 5 == 4
    for data, which in ((digits, ~last), (digits.held_out, last)):
        assert data is not None
        points = data.distribution
        assert isinstance(points, sf.distributions.PointSet)
        assert torch.equal(points.points.reshape(-1, 8, 8), pictures[which])
        assert points.labels is not None
        assert points.labels.tolist() == theirs.target[which].tolist()
        assert data.shape == (1, 8, 8)
        assert data.classes == tuple("0123456789")
    assert digits.held_out is not None
    assert len(digits.held_out.distribution.points) == 359  # type: ignore[attr-defined]


def test_the_units_of_pictures_are_the_mean_picture_and_one_number(digits: Dataset) -> None:
    """Border pixels are constant, and a number for each would give them the noise of the rest."""
    points = digits.distribution.points  # type: ignore[attr-defined]
    off = points - points.mean(0)
    assert digits.units.scale == pytest.approx(float(off.square().mean().sqrt()), rel=1e-12)
    assert close(digits.units.centre, points.mean(0))
    z = digits.standardised()
    assert z.shape == (1, 8, 8)
    assert z.std == pytest.approx(1.0, rel=1e-12)
    assert z.held_out is not None
    rest = digits.held_out
    assert rest is not None
    assert close(z.held_out.sample(9, 0), digits.units.standardise(rest.sample(9, 0)), 1e-5)
    assert close(digits.restore(z.sample(9, 0)), digits.sample(9, 0), 1e-5)


def test_the_first_k_draws_are_the_draw_of_size_k_and_labels_belong(digits: Dataset) -> None:
    x, label = digits.sample_labelled(200, 3)
    assert torch.equal(digits.sample(17, 3), x[:17])
    nearest = sf.diagnostics.nearest(x, digits.distribution.points, scale=1.0)  # type: ignore[attr-defined]
    assert torch.equal(digits.distribution.labels[nearest], label)  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_own_pictures_of_any_size_are_flattened_and_keep_their_shape(shape: tuple) -> None:
    array = randn(12, int(np.prod(shape))).reshape(12, *shape).double().numpy()
    labels = np.arange(12) % 3
    data = sf.datasets.from_pictures(array, labels, ("a", "b", "c"), name="mine", held_out=4)
    assert data.shape == (1, 5, 7) if len(shape) == 2 else shape
    assert data.held_out is not None
    kept, rest = (d.distribution.points for d in (data, data.held_out))  # type: ignore[attr-defined]
    assert np.array_equal(rest.reshape(3, *shape), array[3::4])
    assert np.array_equal(kept.reshape(9, *shape), np.delete(array, [3, 7, 11], 0))
    assert data.held_out.distribution.labels.tolist() == labels[3::4].tolist()  # type: ignore[attr-defined]
    assert data.held_out.classes == ("a", "b", "c")
    assert "mine" in repr(data)
    assert str(data.shape) in repr(data)


def test_points_of_any_dimension_have_units() -> None:
    x = randn(400, 3) * torch.tensor([1.0, 5.0, 100.0])
    z = sf.datasets.from_points(x).standardised().distribution.points  # type: ignore[attr-defined]
    assert close(z.T @ z / len(z), torch.eye(3), 0.02)


def test_without_scikit_learn_one_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SdeflowError, match=r"pip install 'sdeflow\[images\]'"):
        sf.datasets.named("digits")
    monkeypatch.undo()
    monkeypatch.setattr(module, "FILE", "datasets/data/nowhere.csv.gz")
    with pytest.raises(SdeflowError, match=r"install version 1\.4"):
        sf.datasets.named("digits")
