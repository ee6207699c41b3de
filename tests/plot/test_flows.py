"""Arrows, streamlines and paths lie along what they show."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import sdeflow as sf
from sdeflow import plot
from sdeflow.fokker_planck import probability_current
from tests.problems import lopsided, randn

TURN = torch.tensor([[1.0, -2.0], [2.0, 1.0]])


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def drawn(quiver: object) -> tuple[np.ndarray, np.ndarray]:
    """Places and vectors."""
    return np.asarray(quiver.get_offsets()), np.stack([quiver.U, quiver.V], 1)


def test_arrows_are_proportional_to_a_drift(ax: Axes) -> None:
    sde = sf.sdes.ornstein_uhlenbeck(TURN, 1.0)
    places, vectors = drawn(plot.arrows(ax, sde, 0.5, 2.0, nodes=6, proportional=True))
    drift = -places @ TURN.numpy().T
    longest = np.linalg.norm(drift, axis=1).max()
    assert np.allclose(vectors, drift / longest, atol=1e-5)
    _, equal = drawn(plot.arrows(ax, sde, 0.5, 2.0, nodes=6))
    assert np.allclose(np.linalg.norm(equal, axis=1), 1.0)
    assert np.allclose(equal * np.linalg.norm(drift, axis=1)[:, None], drift, atol=1e-4)


def test_the_drift_of_a_run_from_noise_points_where_its_particles_go(ax: Axes) -> None:
    field = sf.ExactField(sf.VP(), lopsided())
    flow = sf.reverse(field, eta=0.0)
    places, vectors = drawn(plot.arrows(ax, flow, 0.5, 2.0, nodes=5))
    start = torch.from_numpy(places)
    path = sf.ODESolver("heun2", times=[0.5, 0.499]).solve(flow, start)
    way = (path.x[-1] - start).numpy()
    assert (vectors * way / np.linalg.norm(way, axis=1, keepdims=True)).sum(1).min() > 0.999


def test_the_longest_arrow_fits_between_two_nodes(ax: Axes) -> None:
    """In data units, whatever the size of the panel."""
    where = plot.Window((0.0, 0.0), (6.0, 12.0))
    quiver = plot.arrows(ax, lambda x, t: x, 0.0, where, nodes=6, proportional=True)
    places, vectors = drawn(quiver)
    assert places.min(0).tolist() == [0.5, 1.0]
    assert np.linalg.norm(vectors, axis=1).max() / quiver.scale == pytest.approx(0.8)


def test_a_current_is_drawn_where_its_cells_are(ax: Axes) -> None:
    """Of the stationary law of a turning Ornstein-Uhlenbeck process: a pure rotation, p times."""
    grid = sf.Grid(-3.0, 3.0, (48, 48))
    law = sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 0.5**0.5)
    sde = sf.sdes.ornstein_uhlenbeck(TURN, 1.0)
    current = probability_current(sde, law.on_grid(grid), 0.0)
    for given in (current, current.numpy()):
        quiver = plot.arrows(ax, given, None, grid, nodes=48, proportional=True)
        places, vectors = drawn(quiver)
        p = law.log_prob(torch.from_numpy(places)).exp().numpy()[:, None]
        turned = 2 * np.stack([places[:, 1], -places[:, 0]], 1) * p
        assert np.abs(vectors - turned / np.linalg.norm(turned, axis=1).max()).max() < 0.02
    _, means = drawn(plot.arrows(ax, current, None, grid, nodes=12, proportional=True))
    assert len(means) == 144
    blocks = current.reshape(12, 4, 12, 4, 2).mean((1, 3)).reshape(-1, 2).numpy()
    assert np.allclose(means, blocks / np.linalg.norm(blocks, axis=1).max())


def test_streamlines_follow_the_score(ax: Axes) -> None:
    """Every piece of every line, up to the step of the streamlines' own solver."""
    field = sf.ExactField(sf.VP(), lopsided())
    lines = plot.streamlines(ax, field, 0.3, 2.0, nodes=40, closeness=0.5).lines
    rows = lines.get_segments()
    middles = np.concatenate([(row[1:] + row[:-1]) / 2 for row in rows])
    way = np.concatenate([np.diff(row, axis=0) for row in rows])
    moved = np.linalg.norm(way, axis=1) > 1e-6
    middles, way = middles[moved], way[moved]
    score = field.score(torch.from_numpy(middles), 0.3).numpy()
    cosine = (way * score).sum(1) / np.linalg.norm(way, axis=1) / np.linalg.norm(score, axis=1)
    assert len(cosine) > 100
    assert np.quantile(cosine, 0.1) > 0.99


def test_trajectories_are_coloured_by_time(ax: Axes) -> None:
    x, t = randn(4 * 10, 2).reshape(4, 10, 2), torch.tensor([1.0, 0.7, 0.2, 0.0])
    path = sf.solvers.Path(t, x, 3, 0.1)
    lines = plot.trajectories(ax, path, [7, 2])
    pieces = np.array(lines.get_segments())
    assert np.array_equal(pieces[:3, 0], x[:3, 7].numpy())
    assert np.array_equal(pieces[3:, 1], x[1:, 2].numpy())
    assert np.asarray(lines.get_array()) == pytest.approx([0.85, 0.45, 0.1] * 2)
    assert lines.get_clim() == (0.0, 1.0)
    start, end = ax.lines
    assert np.array_equal(start.get_xydata(), x[0, [7, 2]].numpy())
    assert np.array_equal(end.get_xydata(), x[-1, [7, 2]].numpy())
    assert to_rgba(start.get_markerfacecolor()) != to_rgba(end.get_markerfacecolor())
    assert plot.colour_bar(ax, lines).ax.get_ylabel() == "$t$"
    assert lines.get_rasterized()


def test_states_alone_are_drawn_as_a_path(ax: Axes) -> None:
    x = randn(4 * 10, 1).reshape(4, 10, 1)
    for given in (x, x.numpy()):
        (line,) = plot.trails(ax, given, [3])
        assert line.get_xdata().tolist() == [0, 1, 2, 3]
        assert np.array_equal(line.get_ydata(), x[:, 3, 0].numpy())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$t$", "$x$ (data unit)")
