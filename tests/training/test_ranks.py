"""Ranks that share a training do what one process does, and end together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.distributed import Layout, layout
from sdeflow.training import state, tensor_file
from sdeflow.training.ranks import own_rows
from tests.problems import DATA, SMALL, small
from tests.ranks import in_ranks

Training = sf.training.Training
Outcome = tuple[np.ndarray, dict[str, np.ndarray]]
DIGITS = sf.datasets.digits()
ODD = sf.training.TrainingConfig(batch=33)  # shares of 16 and 17


def trained(field: sf.LearnedField, *arguments: object, **more: object) -> Outcome:
    losses = sf.fit(field, *arguments, **more)
    return losses.numpy(), {k: v.numpy() for k, v in field.network.state_dict().items()}


def _labelled(steps: int) -> Outcome:
    return trained(small(labels=3), DATA.sample_labelled, steps, config=ODD)


def _coupled(steps: int) -> Outcome:
    """Noise prediction of one class for all, with pairs by optimal transport, from a source."""
    pairs = sf.fields.Pairs.COUPLED
    field = sf.LearnedField(sf.Linear(), small(labels=3).network, pairs=pairs).given(1)
    ot = sf.training.optimal_transport
    return trained(field, DATA.sample, steps, config=ODD, coupling=ot)


def _unet(steps: int) -> Outcome:
    network = sf.fields.UNet(DIGITS.shape, 8, labels=10, seed=0)
    field = sf.LearnedField(sf.VP(), network, data_std=DIGITS.std)
    return trained(field, DIGITS.sample_labelled, steps, config=SMALL)


def _vector(steps: int) -> Outcome:
    field = sf.LearnedField(sf.VP(), sf.fields.VectorMLP(2, 16, seed=0), data_std=DATA.std)
    return trained(field, DATA.sample, steps, config=ODD)


class Routed(nn.Module):
    """A weight for points on the left, one for those on the right, and one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.unused = (nn.Parameter(torch.ones(2)) for _ in range(3))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        left = x[:, 0] < 0
        out = x * 0
        if left.any():
            out = torch.where(left[:, None], self.left, out)
        if not left.all():
            out = torch.where(left[:, None], out, self.right)
        return out


def _routed(steps: int) -> Outcome:
    """Each of two ranks has the points of one side, and so a gradient of one weight only."""
    x0 = torch.linspace(-1e4, 1e4, 32)[:, None].expand(32, 2)
    return trained(sf.LearnedField(sf.VE(), Routed()), lambda n, seed: x0, steps, config=SMALL)


ALL = (_labelled, _coupled, _unet, _vector, _routed)


@pytest.mark.parametrize(
    ("train", "steps", "size"),
    [
        (_labelled, 40, 2), (_coupled, 10, 3), (_unet, 3, 2), (_vector, 10, 2), (_routed, 3, 2),
        *(pytest.param(train, 200, 2, marks=pytest.mark.slow) for train in ALL),
    ],
)  # fmt: skip
def test_ranks_train_as_one_process(
    train: Callable[[int], Outcome], steps: int, size: int
) -> None:
    """Losses agree to the rounding of a sum, weights to 1e-5; the ranks agree to the bit."""
    losses, weights = train(steps)
    first, *others = in_ranks(size, train, steps)
    assert np.allclose(first[0], losses, rtol=2e-6, atol=0)
    for name, value in weights.items():
        assert np.abs(first[1][name] - value).max() <= 1e-5 * max(1.0, np.abs(value).max()), name
    for other in others:
        assert np.array_equal(first[0], other[0])
        assert all(np.array_equal(first[1][name], other[1][name]) for name in weights)


def _gradients() -> list[list[np.ndarray | None]]:
    x0 = torch.linspace(-1e4, 1e4, 32)[:, None].expand(32, 2)
    routed = sf.LearnedField(sf.VE(), Routed())
    found = []
    for field, sample in ((small(labels=3), DATA.sample_labelled), (routed, lambda n, seed: x0)):
        run = Training(field, sample, 5, config=SMALL)
        next(run)
        grads = [p.grad for p in run.network.parameters()]
        found.append([None if g is None else g.numpy() for g in grads])
    return found


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    """Adam would hide a factor. A weight that no rank uses has no gradient."""
    whole = _gradients()
    assert whole[1][2] is None
    for rank in in_ranks(2, _gradients):
        for mine, its in zip(sum(rank, []), sum(whole, []), strict=True):  # noqa: RUF017
            if its is None:
                assert mine is None
            else:
                assert np.abs(mine - its).max() <= 1e-5 * np.abs(its).max()


def test_rows_of_the_ranks_are_the_batch() -> None:
    """Each row once: data, times, noise and labels; one label for all stays; dropout differs."""
    for label in (torch.arange(33) % 3, torch.tensor(2), None):
        run = Training(small(labels=3).given(0), DATA.sample, 5, config=ODD)
        whole = run.task.batch(0, run.network)
        whole = whole._replace(field=whole.field.given(label))
        parts = [own_rows(whole, Layout(rank, 4)) for rank in range(4)]
        for name in ("x0", "t", "eps"):
            assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))
        assert len({p.seed for p in parts}) == 4
        if label is not None and label.ndim:
            assert torch.equal(torch.cat([p.field.label for p in parts]), label)
        else:
            assert all(p.field.label is whole.field.label for p in parts)
        assert own_rows(whole, Layout()) is whole


# ------------------------------------------------------------------------------- checkpoints


def _refuse(*arguments: object) -> None:
    raise AssertionError("a rank other than 0 writes")


def _part_of_a_run(file: Path, until: int) -> Outcome:
    """Four steps of a run of 12; ranks other than 0 must not write."""
    if layout().rank:
        tensor_file.write_bytes = state.check_writable = _refuse
    field = small()
    run = Training(field, DATA.sample, 12, config=ODD, checkpoint=file, every=4)
    assert run.step == until - 4
    losses = torch.stack([next(run) for _ in range(4)])
    return losses.numpy(), {k: v.numpy() for k, v in field.network.state_dict().items()}


def test_a_training_goes_on_with_other_numbers_of_ranks(tmp_path: Path) -> None:
    """From one to two and back: every step once, and the end is that of one process."""
    losses, weights = trained(small(), DATA.sample, 12, config=ODD)
    file = tmp_path / "c"
    found = [_part_of_a_run(file, 4), *in_ranks(2, _part_of_a_run, file, 8)]
    found += [_part_of_a_run(file, 12)]
    together = np.concatenate([found[i][0] for i in (0, 1, 3)])
    assert np.allclose(together, losses, rtol=2e-6, atol=0)
    assert np.array_equal(found[1][0], found[2][0])
    assert all(np.abs(found[3][1][k] - v).max() <= 1e-5 for k, v in weights.items())
    assert sorted(f.name for f in tmp_path.iterdir()) == ["c", "c.previous"]


def _with_one_that_fails(file: Path) -> None:
    calls = [0]

    def sample(n: int, seed: int) -> Tensor:
        calls[0] += 1
        if layout().rank == 1 and calls[0] == 12:
            raise ValueError("no more data")
        return DATA.sample(n, seed)

    sf.fit(small(), sample, 30, config=SMALL, checkpoint=file)


def test_one_rank_that_fails_ends_all_and_the_state_is_kept(tmp_path: Path) -> None:
    """Also that of the steps after the last checkpoint; then one process ends in the same bits."""
    file = tmp_path / "c"
    other, own = in_ranks(2, _with_one_that_fails, file)
    assert isinstance(own, ValueError)
    assert isinstance(other, sf.SdeflowError)
    assert (
        str(other)
        == "another rank of this job has ended; its message, or that of torchrun, says why"
    )
    run = Training(small(), DATA.sample, 30, config=SMALL, checkpoint=file)
    assert 4 < run.step < 12


# --------------------------------------------------------------------------------- refusals


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), nn.BatchNorm1d(2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.body(x)


class Late:
    """Data that become infinite after the first batches, in the rows of the second rank."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, n: int, seed: int) -> Tensor:
        self.calls += 1
        x = DATA.sample(n, seed)
        x[-1] = torch.inf if self.calls > 9 else 0
        return x


def _refused() -> list[str]:
    told = []
    for more in (
        {"field": sf.LearnedField(sf.VP(), Norm())},
        {"config": sf.training.TrainingConfig(batch=1)},
        {"seed": layout().rank},
        {"sample": Late()},
    ):
        given = {"field": small(), "sample": DATA.sample, "steps": 9, "config": SMALL, **more}
        try:
            sf.fit(**given)
            told.append("")
        except (ValueError, sf.SdeflowError) as error:
            told.append(str(error))
    try:
        sf.images.train_unclip()
    except sf.SdeflowError as error:
        told.append(str(error))
    return told


def test_what_ranks_cannot_share_is_refused_on_all() -> None:
    first, second = in_ranks(2, _refused)
    assert first == second
    norm, rows, seeds, data, unclip = first
    assert "start train_unclip without it" in unclip
    assert "mixes the rows of a batch, as batch norm does" in norm
    assert "a batch of 1 cannot be shared by 2 ranks" in rows
    assert "rank 1 has another training than rank 0" in seeds
    assert "have NaN or infinite entries; drop those rows" in data
