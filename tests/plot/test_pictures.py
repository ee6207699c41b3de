"""A sheet shows every pixel of every picture, in its place and on one scale."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sdeflow as sf
from sdeflow import plot
from tests.problems import randn


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_in_rows_pixel_by_pixel(ax: Axes, channels: int) -> None:
    x = randn(5, channels * 6).clamp(-1, 1)
    sheet = np.asarray(plot.pictures(ax, x, (channels, 2, 3), columns=2).get_array())
    assert sheet.shape == (3 * 3 - 1, 2 * 4 - 1, 4)
    for i in range(5):
        top, left = i // 2 * 3, i % 2 * 4
        part = sheet[top : top + 2, left : left + 3]
        mine = x[i].reshape(channels, 2, 3).permute(1, 2, 0).numpy()
        assert np.allclose(part[..., :3], (mine + 1) / 2 + np.zeros(3))
        assert (part[..., 3] == 1).all()
    assert int((sheet[..., 3] == 1).sum()) == 30  # between pictures, and in the free place: clear


def test_a_sheet_keeps_its_scale_and_cuts_what_lies_beyond(ax: Axes) -> None:
    x = torch.tensor([[-9.0, 0.0, 0.5, 9.0]])
    for pictures in (x, x.numpy(), x.reshape(1, 2, 2)):
        sheet = np.asarray(plot.pictures(ax, pictures, (2, 2), low=0.0, high=2.0).get_array())
        assert np.allclose(sheet[..., 0], [[0, 0], [0.25, 1]])
    path = sf.solvers.Path(torch.tensor([1.0, 0.0]), torch.stack([x + 1, x]), 1, 0.0)
    last = np.asarray(plot.pictures(ax, path, (1, 2, 2), low=0.0, high=2.0).get_array())
    assert np.array_equal(last, sheet)


def test_each_picture_has_its_line_of_text_under_it(ax: Axes) -> None:
    plot.pictures(ax, randn(4, 64), (1, 8, 8), columns=2, labels=["a", "b", "c", "d"])
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places == {"a": (3.5, 8), "b": (12.5, 8), "c": (3.5, 21), "d": (12.5, 21)}
    assert ax.images[0].get_interpolation() == "nearest"
    assert not ax.axison
