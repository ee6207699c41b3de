r"""Test whether a cloud of particles, or a path of clouds, is a sample of a density.

Particles are counted in the cells of the density. Under the density the counts are multinomial
with the cell masses as probabilities, so that nothing is interpolated and cells may be wide.

    chi-square       Pearson's test on bins of about equal mass: defects as large as a bin
    characteristic   a test of the means of cos(w . x) and sin(w . x): smooth, faint defects
    rare cells       the number of particles where the density has almost no mass

`holm` combines the tests, also over several times. Without a density, `two_sample_test` compares
two clouds, and `dynkin_test` a path with its SDE.

See docs/theory.md, (9.1).
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_seed
from sdeflow.density import ROUND_OFF, Density
from sdeflow.diagnostics.hypothesis import (
    BLIND,
    EXPECTED,
    FEWEST,
    Test,
    chi_square,
    frequencies,
    waves,
    whitened,
)
from sdeflow.diagnostics.martingale import dynkin_test
from sdeflow.diagnostics.sharp_edges import unrounded
from sdeflow.diagnostics.verdict import PathVerdict, Verdict
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path

DRAWS, FREQUENCIES = 2000, 20  # perfect clouds for the sampling floor, and waves
WALL = 1e-3  # of the largest cell mass: with more in an outermost cell, there is a wall
CLOSED = 1e-12  # largest mass outside the grid of a density between walls
HELD = 0.5  # the least share of the mass that must be on the grid
RARE = (1.0, 1e-2, 1e-4, 1e-6, 1e-8)  # particles expected in the nested sets of rare cells


def check_density(x: Tensor, density: Density, *, bins: int = 256, seed: int = 0) -> Verdict:
    r"""Test whether the cloud x (n, d) is a sample of this density, by counts in its cells.

        X^2 = sum_k (n_k - n P_k)^2 / (n P_k)                         on bins of about equal mass,
        T = n (phi_bar - E phi)^T Cov(phi)^{-1} (phi_bar - E phi)     of 20 waves,

    and the number of particles in rare cells. Under the density the first two p-values are uniform
    (in the chi-square limit); the third is conservative. The tests take the density as exact.

    Args:
        x: the cloud, of at least 100 particles.
        density: at the time of the cloud; all space outside its grid is one more bin.
        bins: the largest number of bins; a small cloud has fewer, with 20 particles expected in
            each.
        seed: of the waves and of the sampling floor.

    Raises:
        ValueError: most of the density's mass lies outside its grid, or all of it in one bin.

    Warns:
        RuntimeWarning: the density's error is above the sampling floor, particles lie beyond a
            wall of the grid, or the cells are as narrow as the rounding of x.

    Source: Pearson 1900; Epps and Singleton 1986.
    """
    check_cloud(x)
    return GoodnessOfFit(density, len(x), bins=bins, seed=seed)(x)


def check_path(
    path: Path, densities: DensityPath, *, sde: SDE | None = None, bins: int = 256, seed: int = 0
) -> PathVerdict:
    """Test every saved cloud of a path against the density at its time.

        check_path(path, evolve(sde, density, path.t))

    Args:
        path: the clouds.
        densities: at the path's times, and at others if you like.
        sde: if given, `dynkin_test` of the path is added; every step must have been saved.
        bins, seed: as in `check_density`; each time has waves of its own.

    Raises:
        ValueError: the path has a time at which there is no density.
    """
    if not isinstance(path, Path) or not isinstance(densities, DensityPath):
        raise TypeError(
            f"check_path needs a Path and a DensityPath, got {type(path).__name__} and "
            f"{type(densities).__name__}; evolve(sde, density, path.t) makes one"
        )
    where = _matched(path.t, densities.t)
    verdicts, least = [], HELD if path.absorbed is None else 0.0
    for i, (x, k) in enumerate(zip(path.x, where, strict=True)):
        density = densities[k]
        if path.absorbed is not None:  # what a wall has absorbed is outside, as its mass is
            far = 2 * density.grid.high[0] - density.grid.low[0]
            x = x.masked_fill(path.gone(i).to(x.device)[:, None], far)
        verdicts.append(GoodnessOfFit(density, len(x), bins=bins, seed=seed + i, least=least)(x))
    motion = None if sde is None else dynkin_test(path, sde, seed=seed)
    return PathVerdict(path.t, tuple(verdicts), motion)


def _matched(t: Tensor, known: Tensor) -> list[int]:
    """The index in `known` of each time of t."""
    gap, index = (known.double()[None, :] - t.double()[:, None]).abs().min(1)
    missing = gap > 1e-9 * float(known.abs().max())
    if missing.any():
        k = int(missing.nonzero()[0])
        raise ValueError(
            f"the path was saved at t = {float(t[k]):.6g}, where there is no density (the "
            f"nearest is at {float(known[index[k]]):.6g}); evolve to path.t"
        )
    return index.tolist()


def _warn(words: str) -> None:
    warnings.warn(words, RuntimeWarning, stacklevel=5)


class GoodnessOfFit:
    """The tests of `check_density`, prepared once for many clouds of n particles.

    Arguments as in `check_density`.
    """

    def __init__(
        self, density: Density, n: int, *, bins: int = 256, seed: int = 0, least: float = HELD
    ) -> None:
        if not isinstance(density, Density):
            raise TypeError(
                f"density must be a Density, got {type(density).__name__}; of a DensityPath give "
                "one time, path[-1]"
            )
        if check_int(n, "n") < FEWEST:
            raise ValueError(f"the tests need at least {FEWEST} particles, got {n}; draw more")
        check_int(bins, "bins", 2)
        check_seed(seed)
        total = density.total()
        if total < least:
            raise ValueError(
                f"the density holds {total:.2g} of the mass on its grid and so {1 - total:.2g} "
                "outside; normalise it, or widen the grid"
            )
        self.n, self.density = n, density
        mass = density.mass.numpy()
        self.share = np.append(mass.ravel(), max(1 - total, 0.0))  # the last is the outside
        self.share /= self.share.sum()
        self._make_bins(mass, min(bins, n // (EXPECTED + EXPECTED // 4)))
        w = frequencies(_scales(density), FREQUENCIES, seed)
        phi = waves(density.grid.centres().numpy(), w)
        phi = np.concatenate([phi, np.zeros((1, phi.shape[1]))])  # they vanish outside
        self.waves = whitened(phi, self.share, n)
        self.sampling_floor = self._drawn_distance(seed)
        rank = np.argsort(self.share[:-1], kind="stable")
        self.tail = np.empty(len(self.share))
        self.tail[rank] = self.share[-1] + np.cumsum(self.share[rank])
        self.tail[-1] = self.share[-1]

    def _make_bins(self, mass: np.ndarray, bins: int) -> None:
        label = _bins(mass, bins).ravel()
        least = EXPECTED / self.n
        label = _merged(np.bincount(label, mass.ravel()), least)[label]
        last = label.max() + (self.share[-1] >= least)
        if last == 0:
            raise ValueError(
                "the density lies in one bin, so that no test is possible; use finer cells"
            )
        self.label = np.append(label, last)
        self.expected = self.n * np.bincount(self.label, self.share)

    def _drawn_distance(self, seed: int) -> tuple[float, float]:
        """The sampling floor: mean and standard deviation of the distance of exact draws."""
        rng = random_generator(seed, Stream.CHOICE)
        drawn = rng.multinomial(self.n, self.expected / self.n, DRAWS)
        distance = abs(drawn - self.expected).sum(1) / (2 * self.n)
        mean, sd = float(distance.mean()), float(distance.std(ddof=1))
        error = self.density.error or 0.0
        if error > mean:
            _warn(
                f"the density's own error, a total variation of {error:.1e}, is above the "
                f"sampling floor of {self.n} particles, {mean:.1e}, so that a small p-value may "
                "come from the grid; use finer cells or more steps"
            )
        return mean, sd

    def __call__(self, x: Tensor) -> Verdict:
        """The verdict on x (n, d)."""
        grid = self.density.grid
        if len(check_cloud(x, dim=grid.dim)) != self.n:
            raise ValueError(
                f"this test was made for {self.n} particles, got {len(x)}; make one for them"
            )
        self._warn(x)
        inside, outside = grid.count(unrounded(x, grid, torch.from_numpy(self.share)))
        counts = np.append(inside.numpy().ravel(), outside)
        tests = (self._pearson(counts), self._characteristic(counts), self._rare_cells(counts))
        found = np.bincount(self.label, counts)
        df, off = tests[0].df, found - self.expected
        effect = (tests[0].statistic - df) / self.n
        spread = np.sqrt(self.expected * (1 - self.expected / self.n))
        return Verdict(
            tests=tests,
            distance=float(abs(off).sum() / (2 * self.n)),
            sampling_floor=self.sampling_floor,
            effect=effect,
            effect_error=math.sqrt(2 * df + 4 * self.n * max(effect, 0.0)) / self.n,
            n=self.n,
            bins=len(self.expected),
            residual=torch.from_numpy((off / spread)[self.label[:-1]]).reshape(grid.shape),
            grid=grid,
        )

    def _warn(self, x: Tensor) -> None:
        """Warn where the grid may cause a small p-value: particles beyond a wall, narrow cells.

        A grid has a wall where the density does not vanish at its end: `evolve` reflects it there,
        or it is zero outside.
        """
        grid, mass = self.density.grid, self.density.mass
        closed = self.share[-1] <= CLOSED
        for i, width in enumerate(grid.width):
            place = x[:, i].detach().cpu().double()
            step = torch.finfo(x.dtype).eps * float(place.abs().max())
            if step > width / 4:
                _warn(
                    f"numbers of {x.dtype} are {step:.2g} apart on axis {i} and the cells "
                    f"{width:.2g} wide, so that rounding lowers the p-values; run the cloud in "
                    "float64"
                )
            for k, beyond in ((0, place < grid.low[i]), (-1, place > grid.high[i])):
                wall = float(mass.select(i, k).max()) > WALL * float(mass.max())
                if closed and wall and beyond.any():
                    end = (grid.low, grid.high)[k][i]
                    _warn(
                        f"{int(beyond.sum())} of the particles lie beyond the grid's end {end:g}, "
                        "where the density does not vanish and may have been reflected by a wall; "
                        "evolve it on a wider grid if the particles have no wall there"
                    )

    def _pearson(self, counts: np.ndarray) -> Test:
        found = np.bincount(self.label, counts)
        value = float(((found - self.expected) ** 2 / self.expected).sum())
        return chi_square("chi-square", value, len(found) - 1)

    def _characteristic(self, counts: np.ndarray) -> Test:
        value = float(((counts @ self.waves) ** 2).sum() / self.n)
        return chi_square("characteristic", value, self.waves.shape[1])

    def _rare_cells(self, counts: np.ndarray) -> Test:
        """Particles in cells whose total expected count is at most 1, 1e-2, ..., 1e-8.

        The p-value is the smallest of five binomial tails, times five.
        """
        most, least = 0, 1.0
        for expected in RARE:
            rare = self.tail <= expected / self.n
            rare[-1] = True  # the outside always counts as rare
            found = int(counts[rare].sum())
            mass = max(float(self.tail[rare].max()), ROUND_OFF)
            least = min(least, float(stats.binom.sf(found - 1, self.n, mass)))
            most = max(most, found)
        p_value = min(1.0, len(RARE) * least)
        return Test("rare cells", float(most), 0, p_value, BLIND["rare cells"])


# -------------------------------------------------------------------------- bins and scales


def _parts(mass: np.ndarray, k: int) -> np.ndarray:
    """The number of each cell's part, for k parts of equal mass along the last axis."""
    below = np.cumsum(mass, -1)
    total = np.maximum(below[..., -1:], np.finfo(float).tiny)
    return np.clip((k * ((below - mass / 2) / total)).astype(np.int64), 0, k - 1)


def _bins(mass: np.ndarray, k: int) -> np.ndarray:
    """The bin of each cell, about k of equal mass: intervals, or strips cut into pieces."""
    if mass.ndim == 1:
        return _parts(mass, k)
    strips = max(1, round(math.sqrt(k)))
    strip = _parts(mass.sum(1), strips)
    held = np.zeros((strips, mass.shape[1]))
    np.add.at(held, strip, mass)
    pieces = max(1, k // strips)
    return strip[:, None] * pieces + _parts(held, pieces)[strip]


def _merged(share: np.ndarray, least: float) -> np.ndarray:
    """The new number of each bin of a row, merged until each has at least this share."""
    out = np.empty(len(share), dtype=np.int64)
    number, held = 0, 0.0
    for k, s in enumerate(share):
        out[k] = number
        held += s
        if held >= least:
            number, held = number + 1, 0.0
    return np.minimum(out, max(number - 1, 0))


def _scales(density: Density) -> list[tuple[float, float]]:
    """1 / (standard deviation) of the density and of its narrow features, along each axis.

    The latter is the root of the Fisher information 4 int (d_i sqrt p)^2 dx, which is 1 / sd for a
    Gaussian, and also for a mixture of separate Gaussians of that sd.
    """
    spread, total = density.covariance().diagonal(), density.total()
    root = np.sqrt(density.mass.numpy() / total)
    out = []
    for i, h in enumerate(density.grid.width):
        wide = 1 / math.sqrt(max(float(spread[i]), h**2 / 12))
        fine = 2 * math.sqrt(float((np.diff(root, axis=i) ** 2).sum())) / h
        out.append((wide, max(fine, wide)))
    return out
