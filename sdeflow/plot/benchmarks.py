"""Draw the error of solvers against their cost, and their orders of convergence.

An error is given for each cost, or for each cost and seed. A run that failed has an error of NaN
or infinity, which counts as larger than any finite error: quartiles are those of all runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from sdeflow._validation import Numbers, as_numbers, check_kind, check_numbers, check_positive
from sdeflow.plot.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, check_axes
from sdeflow.solvers.path import Path

ORDER = BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK
MARKERS = "osD^vPX"
DASHES = "-", (0, (4, 1.5)), (0, (1, 1))
BELOW = 1.6  # between a curve and its guide
RESOLVED = 10.0
"""Points are hollow below this many times the reference's own error, which they contain."""


def work_precision(
    ax: Axes, curves: Mapping[str, tuple[Numbers, Numbers] | Sequence[Path]],
    reference_error: float | Path | None = None,
    work: str = "evaluations of the field per particle", error: str = "error (data std)",
    names: Sequence[str] | None = None, legend: bool = True, truth: Path | None = None,
) -> list[Line2D]:  # fmt: skip
    """Draw error against cost, both axes log: the median over seeds, with a band of quartiles.

    The line of medians has a gap where half of the runs or more failed.

    Args:
        ax: the axes.
        curves: name -> (cost (K,), error (K,) or (K, seeds)); NaN or infinite where a run failed.
            With `truth`, name -> K paths: their cost is `nfe`, their error the RMS distance per
            coordinate between their last states and those of the truth.
        reference_error: the error of the solution that errors are measured against, a dashed
            line. Points below ten times this error are hollow, and an error of zero is drawn on
            the line. With `truth` it may be a path, such as one of half as many steps.
        work, error: labels of the axes, with units.
        names: the curves of all panels of a figure, in order; a name has the same colour and
            marker in each panel.
        legend: whether to draw a legend.
        truth: a path from the same starts with many more steps.

    Raises:
        TypeError, ValueError: shapes that do not fit, a cost or a reference error that is not
            positive, a negative error, or an error of zero without a reference error.
    """
    check_axes(ax)
    if isinstance(reference_error, Path):
        reference_error = max(
            _errors([reference_error], truth)[1][0], float(np.finfo(np.float32).tiny)
        )
    reference_error = (
        None if reference_error is None else check_positive(reference_error, "reference_error")
    )
    runs = {}
    for name, pair in check_kind(curves, Mapping, "curves", "name -> (cost, error)").items():
        if truth is not None or _are_paths(pair):
            pair = _errors(pair, truth)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"curves[{name!r}] must be a pair: cost (K,) and error (K, seeds)")
        runs[str(name)] = _runs(pair[0], pair[1], f"of {name!r}", reference_error)
    lines = _draw(ax, runs, reference_error, names)
    ax.set(xlabel=work, ylabel=error)
    if legend:
        ax.legend()
    return lines


def convergence(
    ax: Axes, steps: Numbers, errors: Mapping[str, Numbers] | Numbers,
    guide: float | Sequence[float] | None = None, error: str = "error",
    names: Sequence[str] | None = None, legend: bool = True,
) -> list[Line2D]:  # fmt: skip
    """Draw error against the number of steps, both axes log, with guide lines c / steps^order.

    A guide line lies below the curve whose slope is nearest to its order.

    Args:
        ax: the axes.
        steps: (K,) numbers of steps.
        errors: (K,) or (K, seeds), or name -> errors; NaN or infinite where a run failed.
        guide: one order or several.
        error: label of the axis, with its unit.
        names, legend: as in `work_precision`.

    Raises:
        TypeError, ValueError: shapes that do not fit, steps below 1 (step sizes), or errors or
            orders that are not positive.
    """
    check_axes(ax)
    if bool((check_numbers(steps, "steps") < 1).any()):
        raise ValueError("steps must be 1 or more; for step sizes h give the time span / h")
    given = errors if isinstance(errors, Mapping) else {"": errors}
    runs = {str(k): _runs(steps, v, f"of {k!r}" if k else "", None) for k, v in given.items()}
    lines = _draw(ax, runs, None, names)
    orders = [] if guide is None else check_numbers(guide, "guide").reshape(-1).tolist()
    for order, dashes in zip(orders, [*DASHES[1:], "-."] * len(orders), strict=False):
        at, level = _under(runs, check_positive(order, "guide"))
        name = f"order {order:g}"
        lines += ax.plot(at, level, color=GREY, ls=dashes, lw=0.8, zorder=1, label=f"_{name}")
        ax.annotate(
            name, (at[-1], level[-1]), (4, -2), textcoords="offset points",
            size="small", va="center",
        )  # fmt: skip
        ax.set_ylim(bottom=min(ax.get_ylim()[0], level[-1] / BELOW))
    ax.set(xlabel="steps", ylabel=error)
    if legend and list(runs) != [""]:
        ax.legend()
    return lines


def _are_paths(runs: object) -> bool:
    return isinstance(runs, list | tuple) and any(isinstance(one, Path) for one in runs)


def _errors(runs: object, truth: Path | None) -> tuple[list[int], list[float]]:
    """Evaluations of each run, and the RMS distance per coordinate of its end from the truth's."""
    if not isinstance(truth, Path):
        raise TypeError(
            "the error of paths is measured against a path of many more steps; give truth="
        )
    row = check_kind(runs, Sequence, "with truth=, the runs of each curve", "a list of paths")
    ends = [
        check_kind(one, Path, "each of the runs", "solve gives one").x[-1].double() for one in row
    ]
    end = truth.x[-1].double()
    if any(x.shape != end.shape for x in ends):
        raise ValueError("each of the runs must move the same particles as the truth")
    return [one.nfe for one in row], [float((x - end).square().mean().sqrt()) for x in ends]


class _Runs:
    """Costs (K,) in increasing order, and quartiles of errors over seeds; a failure has inf."""

    def __init__(self, cost: np.ndarray, errors: np.ndarray) -> None:
        order = np.argsort(cost, kind="stable")
        ranked = np.sort(errors[order], axis=1)
        last = ranked.shape[1] - 1
        self.cost, self.seeds = cost[order], last + 1
        # Quartiles are values of runs: a number and infinity cannot be interpolated.
        self.lower, self.upper = (ranked[:, round(q * last)] for q in (0.25, 0.75))
        low, high = ranked[:, last // 2], ranked[:, (last + 1) // 2]
        self.median = np.where(low == high, low, np.sqrt(low) * np.sqrt(high))  # in logarithms


def _runs(cost: object, errors: object, whose: str, reference_error: float | None) -> _Runs:
    """Check costs and errors, and put failures at infinity."""
    at = check_numbers(cost, f"the cost {whose}".strip()).numpy()
    name = f"the error {whose}".strip()
    found = as_numbers(errors, name).numpy()
    if at.ndim != 1 or not len(at) or found.ndim not in (1, 2) or len(found) != len(at):
        raise ValueError(
            f"{name} must be (K,) or (K, seeds) for a cost (K,), got {found.shape} for {at.shape}"
        )
    if (at <= 0).any():
        raise ValueError(f"the cost {whose} must be positive; the axis is logarithmic")
    found = np.where(np.isfinite(found), found, np.inf).reshape(len(at), -1)
    if not found.shape[1] or (found < 0).any():
        raise ValueError(f"{name} must be zero or more, and NaN where a run failed")
    if reference_error is None and (found == 0).any():
        raise ValueError(
            f"{name} is zero, which a logarithmic axis cannot show; give reference_error=, or "
            "drop the point"
        )
    return _Runs(at, np.where(found == 0, reference_error, found) if reference_error else found)


def _draw(
    ax: Axes, runs: Mapping[str, _Runs], reference_error: float | None, names: Sequence[str] | None
) -> list[Line2D]:
    """Draw each curve, and a dashed line at the error of the reference."""
    if not runs:
        raise ValueError("there is no curve to draw; give name -> (cost, error)")
    finite = np.concatenate([np.r_[r.lower, r.median, r.upper] for r in runs.values()])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        raise ValueError("every run failed; there is nothing to draw")
    ax.set(xscale="log", yscale="log")
    places = list(runs if names is None else check_kind(names, Sequence, "names", "a list"))
    if not set(runs) <= set(places):
        raise ValueError(
            f"names lacks {sorted(set(runs) - set(places))}; name every curve that is drawn"
        )
    lines = [
        _line(ax, places.index(k), k, r, reference_error, finite.max()) for k, r in runs.items()
    ]
    if reference_error is not None:
        reference = ax.axhline(reference_error, color=GREY, ls=DASHES[1], lw=0.8, zorder=1)
        reference.set_label("reference")
        lines.append(reference)
    low, high = min(finite.min(), reference_error or np.inf), finite.max()
    ax.set_ylim(low / (high / low * 10) ** 0.06, high * (high / low * 10) ** 0.06)
    _count_ticks(ax, np.unique(np.concatenate([r.cost for r in runs.values()])))
    return lines


def _line(
    ax: Axes, k: int, name: str, r: _Runs, reference_error: float | None, highest: float
) -> Line2D:  # fmt: skip
    """Draw a curve with its markers and its band, in the k-th colour."""
    colour, marker = ORDER[k % len(ORDER)], MARKERS[k % len(MARKERS)]
    dashes = DASHES[(k // len(ORDER)) % len(DASHES)]
    median = np.where(np.isfinite(r.median), r.median, np.nan)
    hollow = median < RESOLVED * (reference_error or 0.0)
    every = np.flatnonzero(~hollow).tolist()
    (line,) = ax.plot(
        r.cost, median, ls=dashes, marker=marker, ms=3, color=colour, label=name, markevery=every
    )
    faint = ax.plot(r.cost[hollow], median[hollow], marker, ms=3, color=colour)
    faint[0].set(markerfacecolor="white", markeredgewidth=0.8)
    if r.seeds > 1:
        top = np.where(np.isfinite(r.lower), np.minimum(r.upper, 100 * highest), np.nan)
        ax.fill_between(r.cost, r.lower, top, color=colour, alpha=0.2, lw=0)
    return line


def _count_ticks(ax: Axes, costs: np.ndarray) -> None:
    """Put the ticks at the costs, if these are few whole numbers."""
    if len(costs) <= 10 and (costs == costs.round()).all() and costs.max() < 1e5:
        ax.xaxis.set_major_locator(FixedLocator(costs.tolist()))
        ax.xaxis.set_major_formatter(FixedFormatter([f"{c:g}" for c in costs]))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _under(runs: Mapping[str, _Runs], order: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a guide line below the curve whose slope is nearest to this order.

    The guide ends where the curve does, or at the level of its lowest point if that comes first.
    """
    best, found = np.inf, None
    for r in runs.values():
        ok = np.isfinite(r.median)
        at, level = np.log(r.cost[ok]), np.log(r.median[ok])
        slope = np.polyfit(at, level, 1)[0] if len(set(at)) > 1 else 0.0
        if len(at) and abs(slope + order) < best:
            best, low = abs(slope + order), level.min() - np.log(BELOW)
            found = at, (level + order * at).min() - np.log(BELOW), low
    assert found is not None  # `_draw` refuses curves whose runs all failed
    at, c, low = found
    ends = np.array([at.min(), min(at.max(), (c - low) / order)])
    return np.exp(ends), np.exp(c - order * ends)
