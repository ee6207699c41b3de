r"""Classes and guidance (G1 to G10).

The scale is the w of `guidance` everywhere: eps_u + w (eps_c - eps_u), w = 1 is no guidance. It is
the alpha of the lectures' pictures; their notebook counts s = w - 1.

Fields of classes are asked twice: the exact ones say what is true of guidance, the lecture's
networks what it mends in them. A network is trained with five seeds, and a number of it comes with
the 95 % interval of its mean over them (Student's t).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from scipy import stats
from torch import Tensor

from benchmarks.claims.ledger import Finding, Lab, claim
from benchmarks.claims.setting import (
    CAT,
    DOG,
    LABELS,
    NARROW,
    PARTICLES,
    PERSON,
    POINTS,
    SPIRAL,
    WIDE,
    chain,
    exact,
    lecture_field,
    lecture_network,
    our_field,
)
from sdeflow import diagnostics, plot
from sdeflow.analysis.guidance import GuidedLaw, guided_law
from sdeflow.density import Grid
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import How
from sdeflow.processes.schedules import VE, VP
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

CLASSES = (PERSON, DOG, CAT)
NAMES = ("person", "dog", "cat")
COLOURS = (plot.SKY, plot.PURPLE, plot.ORANGE)
NONE = 3  # the label that says nothing
SURE = 4.0  # standard errors
SEEDS = 5
EACH = 480  # particles asked for each class, a multiple of its points

Label = Callable[[int], int]


def same(label: int) -> int:
    """The class that is asked for is the one that is meant."""
    return label


# ---------------------------------------------------------------------------- what a run is asked


def _level(sigma: float | Tensor) -> Tensor:
    """The time of the lectures' wide clock at which the noise is sigma."""
    return WIDE.time(-2 * torch.log(torch.as_tensor(sigma, dtype=torch.float64)))


def _ends(field: Field, n: int, seed: int) -> Tensor:
    """Where DDIM takes n particles over 64 levels."""
    return chain(ancestral(field, 0.0), n, seed=seed).x[-1]


def _guided(whole: ExactField, label: int, scale: float) -> GuidedField:
    return GuidedField(whole.given(label), whole, scale)


def _target(label: int, n: int) -> Tensor:
    """n particles (n, 2) spread evenly over the points of a class; n is a multiple of theirs."""
    mine = POINTS[label == LABELS]
    return mine.repeat(n // len(mine), 1).double()


def _draws(label: int) -> Callable[[int, int], Tensor]:
    """Fresh data of a class, with the noise that samples keep."""
    return GaussianMixture.isotropic(POINTS[label == LABELS].double(), WIDE.sigma_min).sample


def _floor(label: int, n: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of W2 from n fresh data of a class to `_target`."""
    draw, target = _draws(label), _target(label, n)
    far = torch.tensor([diagnostics.wasserstein(draw(n, seed + i), target) for i in range(8)])
    return float(far.mean()), float(far.std())


Known = ExactField | LearnedField


def _asked(known: Known, scale: float, seed: int, told: Label = same) -> Tensor:
    """EACH particles asked for each class, (3, EACH, 2)."""
    null = known.given(NONE) if isinstance(known, LearnedField) else known
    return torch.stack(
        [_ends(GuidedField(known.given(told(k)), null, scale), EACH, seed) for k in CLASSES]
    )


MEASURES = ("accuracy", "distance to the curve", "W2", "coverage")


def _judged(clouds: Tensor) -> Tensor:
    """MEASURES of the cloud asked for each class, (3, 4); the distance is the median."""
    rows = []
    for k, x in enumerate(clouds):
        mine = POINTS[k == LABELS]
        right = diagnostics.class_shares(x, POINTS, LABELS)[k]
        far = diagnostics.wasserstein(x, _target(k, EACH))
        rows.append([right, SPIRAL.distance(x).median(), far, diagnostics.coverage(x, mine)])
    return torch.tensor(rows, dtype=torch.float64)


# ----------------------------------------------------------------------------------- the networks


def classes_lecture(seed: int) -> LearnedField:
    """The lecture's network with classes, 256 levels from sigma 10."""
    return lecture_field(seed, WIDE, 30_000, 256, classes=3)


def _networks(lab: Lab, process: VE = WIDE) -> list[LearnedField]:
    """Five of them; for another process, the same networks started from other noise."""
    out = []
    for i in range(SEEDS):
        made = lab.trained("classes-lecture", classes_lecture, i, lecture_network(WIDE, 3))
        network = lecture_network(process, 3)
        network.load_state_dict(made.network.state_dict())
        out.append(LearnedField(process, network.eval()))
    return out


STEPS = 1000


def _ours(lab: Lab, how: How = "add", drop: float = 0.1, offset: int = 0) -> LearnedField:
    """Our network with classes, on a short budget."""

    def make(seed: int) -> LearnedField:
        return our_field(seed, steps=STEPS, classes=True, how=how, drop=drop)

    return lab.trained(f"classes-{how}-{drop:g}", make, offset)


def _off(field: Field, truth: ExactField, seed: int) -> tuple[float, float]:
    """E |eps_hat - eps_hat of the truth|^2 per coordinate at the truth's own x_t, over 24 levels
    even in log SNR; and its standard error.
    """
    x0 = truth.sample(1000, seed).double()
    eps = WIDE.prior(len(x0), 2, seed, torch.float64) / WIDE.sigma_max
    levels = torch.logspace(-2, 1, 24, dtype=torch.float64)
    with torch.no_grad():
        off = [
            field.noise(x0 + s * eps, t) - truth.noise(x0 + s * eps, t)
            for s, t in zip(levels, _level(levels), strict=True)
        ]
    each = (torch.stack(off) ** 2).mean((0, 2))
    return float(each.mean()), float(each.std()) / math.sqrt(len(x0))


def _mean(values: Tensor) -> tuple[Tensor, Tensor]:
    """Over the seeds (S, ...): the mean, and half of its 95 % interval."""
    half = float(stats.t.ppf(0.975, len(values) - 1)) / math.sqrt(len(values))
    return values.mean(0), half * values.std(0)


def _with_interval(name: str, values: Tensor) -> dict[str, float]:
    mean, half = _mean(values)
    return {name: float(mean), f"{name}, +-": float(half)}


# ----------------------------------------------------------------------------- what a label tells


@claim(broken=0.999, slow=True)
def g1(lab: Lab, drop: float = 0.1) -> Finding:
    """A label may be added, appended or attended to: each way, the network knows its classes.

    Says: the class goes in by "cross-attention", or one can "add or append" it (000, 003).
    Source: one network, one budget of 1000 steps of `fit`, three ways in. A network that does not
    use the label can do no better than the exact field of all points: its error, against the exact
    fields of the classes, is what each way must beat, by four standard errors. `drop` is the share
    of labels left out.
    """
    whole = exact()
    ways: tuple[How, ...] = ("add", "append", "attend")
    learned = {how: _ours(lab, how, drop) for how in ways}

    def errors(field: Known) -> tuple[float, float]:
        """Over the classes; the field of all points stands for each of them."""
        mine = [field.given(k) if isinstance(field, LearnedField) else field for k in CLASSES]
        rows = [_off(f, whole.given(k), lab.seed) for k, f in enumerate(mine)]
        return sum(m for m, _ in rows) / 3, math.hypot(*(e for _, e in rows)) / 3

    found = {how: errors(field) for how, field in learned.items()}
    blind, about = errors(whole)
    right = {how: _judged(_asked(field, 1.0, lab.seed))[:, 0] for how, field in learned.items()}
    return Finding(
        "largest error of the three ways, squared, of eps per coordinate",
        max(m for m, _ in found.values()),
        "at most",
        blind,
        "the best that a network without labels can do",
        holds=all(m + SURE * e < blind - SURE * about for m, e in found.values()),
        also={f"{how}: error": m for how, (m, _) in found.items()}
        | {f"{how}: standard error": e for how, (_, e) in found.items()}
        | {
            f"{how}: accuracy of {n}": float(a)
            for how, row in right.items()
            for n, a in zip(NAMES, row, strict=True)
        },
    )


@claim(broken=lambda k: (k + 1) % 3)
def g2(lab: Lab, told: Label = same) -> Finding:
    """A label lowers the loss at middle noise; the area between the losses is what it tells.

    Says: conditioning gives the network "more context" (000, 003).
    Source: Guo, Shamai and Verdu 2005: dI = (loss - loss given the label) d ln sigma, the loss
    being that of eps, so the area is the mutual information of label and x_t, known from the
    posterior of the label; 5000 draws, the same at each of 61 levels, four standard errors.
    """
    sigmas = torch.logspace(1, -2, 61, dtype=torch.float64)
    x0, label = SPIRAL.sample_labelled(5000, lab.seed, torch.float64)
    eps = WIDE.prior(5000, 2, lab.seed, torch.float64) / WIDE.sigma_max
    whole, parts = exact(), [exact().given(told(k)) for k in CLASSES]
    gap, known = [], []
    for sigma in sigmas:
        x, t = x0 + sigma * eps, _level(sigma)
        given = torch.stack([part.noise(x, t) for part in parts])[label, torch.arange(len(x))]
        gap.append(((whole.noise(x, t) - eps) ** 2 - (given - eps) ** 2).sum(1))
        w = torch.softmax(-(torch.cdist(x, POINTS.double()) ** 2) / (2 * sigma**2), 1)
        mine = (w * (LABELS == label[:, None])).sum(1)
        known.append(torch.log(mine * len(POINTS) / torch.bincount(LABELS)[label]))
    gaps, bits = torch.stack(gap), torch.stack(known)
    area = bits[0] - torch.cumulative_trapezoid(gaps, torch.log(sigmas), dim=0)
    off = area - bits[1:]
    surely = off.mean(1) / (off.std(1) / math.sqrt(len(x0)))
    middle = gaps[(sigmas > 0.1) & (sigmas < 1)]
    seen = middle.mean(1) / (middle.std(1) / math.sqrt(len(x0)))
    entropy = -sum(p * math.log(p) for p in (0.3, 0.3, 0.4))

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        ax.plot(sigmas, gaps.mean(1), color=plot.BLUE, label="loss gap, both coordinates")
        ax.plot(sigmas[1:], area.mean(1), color=plot.VERMILION, label="its area from the right")
        ax.plot(sigmas[::5], bits.mean(1)[::5], "o", color=plot.BLACK, ms=3,
                label="information on the label")  # fmt: skip
        ax.axhline(entropy, color=plot.GREY, lw=0.8, ls="--", label="entropy of the label")
        ax.set(xscale="log", xlabel=r"noise $\sigma$", ylabel="nats", ylim=(-0.05, 1.75))
        ax.legend(loc="upper right", ncols=1)

    return Finding(
        "area between the two losses, in nats",
        float(area[-1].mean()),
        "about",
        entropy,
        "entropy of the label; within four standard errors",
        holds=float(surely.abs().max()) < SURE < float(seen.min()),
        also={
            "largest deviation of the area from the information (standard errors)": float(
                surely.abs().max()
            ),
            "smallest gain between noise 0.1 and 1 (standard errors)": float(seen.min()),
            "standard error of the area": float(area[-1].std()) / math.sqrt(len(x0)),
            "noise at which the label helps most": float(sigmas[gaps.mean(1).argmax()]),
        },
        draw=draw,
    )


@claim(broken=torch.arange(len(LABELS)) * 3 // len(LABELS))
def g3(lab: Lab, labels: Tensor = LABELS) -> Finding:
    """The inner 30 points of the spiral are people, the next 30 dogs, the outer 40 cats.

    Says: the inner part is "person", the middle one "dog", the outer one "cat" (000, 003).
    Source: docs/sources.md, N1: thirds of an angle of 4.5 pi, where the spiral has 5 pi, so they
    are no thirds; its radii are printed to three places.
    """
    said = torch.tensor([[0.100, 0.393], [0.403, 0.696], [0.706, 1.100]], dtype=torch.float64)
    radius = POINTS.double().norm(dim=1)
    found = torch.stack([torch.stack(radius[labels == k].aminmax()) for k in CLASSES])
    sizes = torch.bincount(labels, minlength=3).tolist()
    off = float((found - said).abs().max())

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        for k in CLASSES:
            plot.cloud(ax, POINTS[labels == k], COLOURS[k], 12, f"{NAMES[k]} ({sizes[k]})")
        ax.set(xlabel="x", ylabel="y", xlim=(-1.25, 2.2))
        ax.legend(loc="center right")

    return Finding(
        "largest deviation of a class's first or last radius",
        off,
        "at most",
        5e-4,
        "half a unit of the last place printed",
        holds=off < 5e-4 and sizes == [30, 30, 40],
        also={f"points of {name}": float(n) for name, n in zip(NAMES, sizes, strict=True)},
        draw=draw,
    )


@claim(broken=lambda k: (k + 1) % 3, slow=True)
def g4(lab: Lab, told: Label = same) -> Finding:
    """Without guidance the lecture's network strays from the class asked for; the exact one never.

    Says: "fit is not great", with "confusion here between people and dog images" (000, 003).
    Correction: it is the small network's fault, not that of conditioning: the exact field puts
    every sample in its class. Dogs are taken for people by every network; some miss far more cats.
    Source: docs/sources.md, N5 and N12; five networks, DDIM over 64 levels from sigma 10. Also the
    lecture's cat point, which the exact field takes to (0.684, 0.445).
    """
    networks = _networks(lab)
    clouds = [_asked(known, 1.0, lab.seed, told) for known in networks]
    table = torch.stack([_confusion(x) for x in clouds])
    right = table.diagonal(dim1=1, dim2=2)
    ideal = _asked(exact(), 1.0, lab.seed, told)
    best = _confusion(ideal).diagonal()
    mean, half = _mean(right.mean(1))
    confused, about = _mean(table[:, DOG, PERSON])
    cat = torch.tensor([[1.2640, 1.5190]], dtype=torch.float64)
    steps = SDESolver("euler", 255)
    end = steps.solve(ancestral(exact().given(told(CAT)), 0.0), cat, 1).x[-1, 0]
    missed = float((end - torch.tensor([0.684, 0.445])).abs().max())
    known = [_judged(x)[:, 2] for x in clouds]

    return Finding(
        "accuracy over the three classes, mean of five networks",
        float(mean),
        "at most",
        1 - float(half),
        "the exact field's 1, less half of the 95 % interval",
        holds=bool((best == 1).all())
        and float(mean + half) < 1
        and float(confused - about) > 0
        and float(table[:, DOG, PERSON].min()) > 0
        and missed < 2e-3,
        also={f"exact: accuracy of {n}": float(a) for n, a in zip(NAMES, best, strict=True)}
        | {k: v for i, n in enumerate(NAMES) for k, v in _with_interval(n, right[:, i]).items()}
        | {"cat, in the worst network": float(right[:, CAT].min())}
        | _with_interval("dogs that are persons", table[:, DOG, PERSON])
        | _with_interval("cats that are dogs", table[:, CAT, DOG])
        | _with_interval("cats that are persons", table[:, CAT, PERSON])
        | _with_interval("W2, over the classes", torch.stack(known).mean(1))
        | {"exact: W2, over the classes": float(_judged(ideal)[:, 2].mean())}
        | {"the cat point, off where N12 has it": missed},
        draw=lambda fig: _coloured(fig, {"a network": clouds[0], "exact": ideal}),
        size=(3.4, 2.0),
    )


def _confusion(clouds: Tensor) -> Tensor:
    """Share of those asked for a class (row) that land in each (column), (3, 3)."""
    return torch.stack([diagnostics.class_shares(x, POINTS, LABELS) for x in clouds])


def _coloured(fig: plot.Figure, shown: dict[str, Tensor], rows: int = 1) -> None:
    """Clouds asked for the three classes, side by side."""
    for ax, (title, clouds) in zip(
        fig.subplots(rows, len(shown) // rows).flat, shown.items(), strict=True
    ):
        plot.cloud(ax, POINTS, plot.GREY, 3)
        for k in CLASSES:
            plot.cloud(ax, clouds[k][:100], COLOURS[k], 3, NAMES[k])
        plot.frame(ax, 1.3, title)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)


@claim(broken=0.0, slow=True)
def g5(lab: Lab, drop: float = 0.1) -> Finding:
    """A network that was not told a tenth of the labels also knows the field of all classes.

    Says: leave out the class "for a subset of our training examples" (000, 003).
    Source: the output for "no label" against the exact field of all points, five networks of 1000
    steps of `fit`; in each of them it must be nearer to it than the outputs for a class are: what
    was never asked for in training is not. `drop` is the share of labels left out.
    """
    learned = [_ours(lab, "add", drop, i) for i in range(SEEDS)]
    null = torch.tensor([_off(f.given(NONE), exact(), lab.seed)[0] for f in learned]).double()
    told = torch.tensor(
        [[_off(f.given(k), exact().given(k), lab.seed)[0] for k in CLASSES] for f in learned]
    ).double()
    others = torch.tensor(
        [[_off(f.given(k), exact(), lab.seed)[0] for k in CLASSES] for f in learned]
    ).double()
    mean, half = _mean(null)
    return Finding(
        "error of the output for no label, squared, of eps per coordinate",
        float(mean),
        "at most",
        float(others.amin(1).mean()),
        "the nearest of the outputs for a class",
        holds=bool((null < others.amin(1)).all()),
        also={"half of the 95 % interval": float(half)}
        | _with_interval("error of the outputs for the classes, each of its own", told.mean(1)),
    )


ANGLES = {  # docs/sources.md, N13: mean angle to the unconditional field, in degrees
    1.0: (3.3, 3.6, 0.4),
    0.6: (3.6, 4.9, 4.5),
    0.5: (4.7, 8.4, 22.8),
    0.4: (6.9, 13.4, 23.3),
    0.2: (20.8, 19.6, 11.1),
}
COSINES = {1.0: 0.9986, 0.5: 0.32, 0.3: -0.29, 0.2: -0.41}  # of the cat, at x_t: N13


def _cosines(label: int, x: Tensor, t: Tensor) -> Tensor:
    """Between the field of a class and that of all, at each of x (n, 2)."""
    return torch.cosine_similarity(exact().given(label).noise(x, t), exact().noise(x, t))


@claim(broken=lambda k: (k + 1) % 3)
def g6(lab: Lab, told: Label = same) -> Finding:
    """The fields of a class and of all agree at large noise, and part where the arms come apart.

    Says: the two fields agree for large t and "diverge" as t approaches zero (000, 003).
    Correction: on a window they part by an angle that stays finite, and the cat's is largest half
    way: at small noise they agree again wherever the nearest point is of the class. Where the
    particles are they end up opposed.
    Source: docs/sources.md, N13: angles to the last place printed, on 64 x 64 nodes of [-2, 2]^2;
    cosines for 20,000 draws of x_t, to two places and within four standard errors.
    """
    axis = torch.linspace(-2, 2, 64, dtype=torch.float64)
    window = torch.cartesian_prod(axis, axis)
    times = torch.linspace(0, 1, 26, dtype=torch.float64)

    def angle(k: int, t: float | Tensor) -> float:
        cosine = _cosines(told(k), window, torch.as_tensor(t, dtype=torch.float64))
        return float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).mean())

    found = {t: [angle(k, t) for k in CLASSES] for t in ANGLES}
    off = max(abs(a - b) for t in ANGLES for a, b in zip(found[t], ANGLES[t], strict=True))
    x0 = SPIRAL.sample(20_000, lab.seed, torch.float64)
    eps = WIDE.prior(len(x0), 2, lab.seed, torch.float64) / WIDE.sigma_max
    along = {s: _cosines(told(CAT), x0 + s * eps, _level(s)) for s in COSINES}
    far = max(
        (abs(float(along[s].mean()) - COSINES[s]) - 0.005)
        / (float(along[s].std()) * math.sqrt(2 / len(x0)))
        for s in COSINES
    )

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        for k in CLASSES:
            ax.plot(times, [angle(k, t) for t in times], color=COLOURS[k], label=NAMES[k])
            ax.plot([*found], [row[k] for row in found.values()], "o", color=COLOURS[k], ms=4)
        ax.plot([], [], "o", color=plot.GREY, ms=4, label="docs/sources.md, N13")
        ax.set(xlabel=r"$t$, $\sigma = 10^{3t - 2}$", ylabel="mean angle (degrees)")
        ax.legend(loc="upper right")

    return Finding(
        "mean cosine of the cat's field and that of all, at x_t of noise 0.2",
        float(along[0.2].mean()),
        "about",
        COSINES[0.2],
        "docs/sources.md, N13; to two places",
        holds=off < 0.051 and far < SURE and max(found[1.0]) < min(found[0.2]),
        also={
            "largest deviation of an angle from N13 (degrees)": off,
            "largest deviation of a cosine from N13 (standard errors)": far,
        }
        | {f"angle of {n}, t = 1": a for n, a in zip(NAMES, found[1.0], strict=True)}
        | {f"angle of {n}, t = 0.2": a for n, a in zip(NAMES, found[0.2], strict=True)},
        draw=draw,
    )


# --------------------------------------------------------------------------------------- guidance


@claim(broken=lambda lab, process: [exact(process)] * SEEDS, slow=True)
def g7(lab: Lab, known: Callable[[Lab, VE], Sequence[Known]] = _networks) -> Finding:
    """At w = 2 people and dogs are in their class; cats are with some networks, not with others.

    Says: with guidance cat, dog and person all get a "nice tight fit" (000, 003).
    Correction: not in every network trained as the lecture's: in some of them a sixth of the cats
    still lands elsewhere. Where it does fit it covers less than it did: the W2 of people grows.
    Source: docs/sources.md, N14: accuracy 1.00 for the cat, from sigma 1; to the place printed,
    within four standard errors. Five networks, from sigma 1 and from 10. With the exact fields in
    their stead, the broken subject, it holds.
    """
    starts = {"from 1": NARROW, "from 10": WIDE}
    clouds = {
        (name, w): [_asked(one, w, lab.seed) for one in known(lab, process)]
        for name, process in starts.items()
        for w in (1.0, 2.0)
    }
    found = {key: torch.stack([_judged(x) for x in each]) for key, each in clouds.items()}
    worst = min(float(found[name, 2.0][:, :, 0].min()) for name in starts)
    allowed = 0.995 - SURE * math.sqrt(0.005 * 0.995 / EACH)
    fits = (found["from 1", 2.0][:, :, 0] >= allowed).all(1)
    good, bad = int(fits.int().argmax()), int(fits.int().argmin())
    also: dict[str, float] = {"networks in which all classes fit, from sigma 1": int(fits.sum())}
    for name in starts:
        gained = found[name, 2.0] - found[name, 1.0]
        for k, label in enumerate(NAMES):
            for j, measure in enumerate(MEASURES):
                title = f"{name}, {label}, {measure}"
                also |= _with_interval(f"{title} at w = 2", found[name, 2.0][:, k, j])
                also |= _with_interval(f"{title}, gained over w = 1", gained[:, k, j])

    return Finding(
        "lowest accuracy of a class in a network, w = 2",
        worst,
        "at least",
        allowed,
        "1.00 to the place printed, less four standard errors",
        holds=worst >= allowed,
        also=also,
        draw=lambda fig: _coloured(
            fig,
            {
                f"network {i}, $w = {w:g}$": clouds["from 1", w][i]
                for i in (good, bad)
                for w in (1.0, 2.0)
            },
            rows=2,
        ),
        size=(3.4, 3.8),
    )


SCALES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)  # w - 1


@claim(broken=-1.0, slow=True)
def g8(lab: Lab, push: float = 1.0) -> Finding:
    """The more guidance, the surer the class and the less of it is covered; W2 is best near w = 1.

    Says: at an "alpha of around 2" a tiny tree appears, and it grows with alpha (000, 003).
    Correction: on the spiral what appears first goes on at once to shrink in kind: the distance to
    the class's law is least below w = 2, and far beyond it is worse than without guidance. With
    the exact fields no more is gained than four deviations of the floor.
    Source: docs/sources.md, N14; DDIM over 64 levels from sigma 10, five networks, best scale by
    W2 to the class's points. `push` is the sign of what guidance adds.
    """
    scales = [1 + push * s for s in SCALES]
    found = torch.stack(
        [
            torch.stack([_judged(_asked(one, w, lab.seed)) for w in scales])
            for one in _networks(lab)
        ]
    )  # (networks, scales, classes, measures)
    ideal = torch.stack([_judged(_asked(exact(), w, lab.seed)) for w in scales])
    best = torch.tensor(scales)[found[..., 2].argmin(1)]
    pooled = found.mean(2)
    two, last = SCALES.index(1.0), len(SCALES) - 1
    changes = {
        "accuracy gained from w = 1 to 2": pooled[:, two, 0] - pooled[:, 0, 0],
        "coverage lost from w = 1 to 11": pooled[:, 0, 3] - pooled[:, last, 3],
        "W2 gained from w = 1 to 11": pooled[:, last, 2] - pooled[:, 0, 2],
    }
    mean, half = _mean(best.double().mean(1))
    fresh, spread = zip(*(_floor(k, EACH, lab.seed) for k in CLASSES), strict=True)
    nothing = ideal[0, :, 2] - ideal[:, :, 2].amin(0)  # what the exact fields gain at best
    return Finding(
        "best scale w by W2, mean of the classes and of five networks",
        float(mean),
        "at most",
        2 - float(half),
        "the lecture's 2, less half of the 95 % interval",
        holds=all(float(a - b) > 0 for a, b in map(_mean, changes.values()))
        and float(mean + half) < 2
        and all(float(a) < SURE * b for a, b in zip(nothing, spread, strict=True)),
        also={
            k: v
            for i, n in enumerate(NAMES)
            for k, v in _with_interval(f"best w of {n}", best[:, i].double()).items()
        }
        | {
            f"exact: W2 of {n} gained at best": float(v)
            for n, v in zip(NAMES, nothing, strict=True)
        }
        | {k: v for name, c in changes.items() for k, v in _with_interval(name, c).items()}
        | {f"exact: W2 of {n} at w = 11": float(ideal[-1, i, 2]) for i, n in enumerate(NAMES)}
        | {f"W2 of fresh data, {n}": v for n, v in zip(NAMES, fresh, strict=True)}
        | {f"W2 of fresh data, {n}, sd": v for n, v in zip(NAMES, spread, strict=True)},
        draw=lambda fig: _sweep(fig, scales, found, ideal, fresh),
        size=(3.4, 4.4),
    )


def _sweep(
    fig: plot.Figure,
    scales: Sequence[float],
    found: Tensor,
    ideal: Tensor,
    floor: Sequence[float],
) -> None:
    """W2, accuracy and coverage over the scale: means of the networks with intervals; exact; and
    the W2 of fresh data.
    """
    mean, half = _mean(found)
    for ax, j in zip(fig.subplots(3, 1, sharex=True), (2, 0, 3), strict=True):
        for k in CLASSES:
            ax.plot(scales, mean[:, k, j], color=COLOURS[k], label=NAMES[k])
            band = torch.stack([mean[:, k, j] - half[:, k, j], mean[:, k, j] + half[:, k, j]])
            low, high = band.clamp(0.02, None) if j == 2 else band.clamp(0, 1)
            ax.fill_between(scales, low, high, color=COLOURS[k], alpha=0.25, lw=0)
            ax.plot(scales, ideal[:, k, j], "--", color=COLOURS[k])
            if j == 2:
                ax.axhline(floor[k], ls=":", color=COLOURS[k])
        ax.set(xscale="log", yscale="log" if j == 2 else "linear")
        ax.set_ylabel("$W_2$ (data units)" if j == 2 else MEASURES[j])
    ax.plot([], [], "--", color=plot.GREY, label="exact")
    ax.plot([], [], ":", color=plot.GREY, label="fresh data")
    ax.set(xlabel="scale $w$ (1: no guidance)", xticks=[1, 2, 5, 10], xticklabels=[1, 2, 5, 10])
    ax.minorticks_off()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)


HALVES = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # two Gaussians of width 1/2
LINE = Grid((-5.0,), (5.0,), (500,))


def _halves(scale: float) -> GuidedField:
    """The right one of two equal Gaussians, against both."""
    one, both = (ExactField(VP(), GaussianMixture.isotropic(m, 0.5)) for m in (HALVES[1:], HALVES))
    return GuidedField(one, both, scale)


@claim(broken=-0.5)
def g9(lab: Lab, push: float = 1.0) -> Finding:
    """The law of guided samples can be computed; it is neither the class's nor the tilted one.

    Says: "guidance works remarkably well" (000, 003, in our words).
    Correction: it does for what it looks at. With exact fields more and more of the samples are
    typical of their class, until they overshoot, and ever less of the class is covered; there was
    nothing to mend: for the spiral's people W2 only grows. And the samples do not come from
    p(x) p(c | x)^w, as is often said.
    Source: `guidance_audit` on two Gaussians, where all three laws are known; the guided cloud
    passes against its density at every scale. `push` multiplies what guidance adds.
    """
    scales = [1 + push * s for s in (0.0, 0.25, 0.5, 1.0, 2.0)]
    audits = [
        guided_law(_halves(w), LINE, n=4000, steps=120, seed=lab.seed + i)
        for i, w in enumerate(scales)
    ]
    p = min(holm([a.verdict.p_value for a in audits]))
    last, covered = audits[-1], [a.coverage for a in audits]
    far, error = last.from_tilted
    floor, sd = last.verdict.floor
    fresh, about = _floor(PERSON, 240, lab.seed)
    noisy = guided_law(_halves(scales[-1]), LINE, eta=1.0, n=500, steps=120, seed=lab.seed)
    people = [
        diagnostics.wasserstein(
            _ends(_guided(exact(), PERSON, w), 240, lab.seed), _target(PERSON, 240)
        )
        for w in (1.0, 1 + push * 10)
    ]
    return Finding(
        f"total variation between the guided and the tilted law, w = {scales[-1]:g}",
        far,
        "at least",
        floor + SURE * sd,
        "what a perfect cloud of 4000 shows at most",
        holds=p > 1e-3
        and far - error > floor + SURE * sd
        and people[1] > people[0] + SURE * about
        and max(a.fidelity for a in audits[1:]) > audits[0].fidelity
        and all(a > b for a, b in pairwise(covered)),
        also={
            "error of that number": error,
            "smallest p-value of a guided cloud against its density, after Holm": p,
            "total variation to the class's own law": last.from_conditional[0],
            "total variation between the guided laws of eta 0 and 1": last.guided.total_variation(
                noisy.guided
            ),
            "spiral, people, exact: W2 without guidance": people[0],
            "spiral, people, exact: W2 at w = 11": people[1],
            "spiral, people: W2 of fresh data": fresh,
        }
        | {f"w = {a.scale:g}: fidelity": a.fidelity for a in audits}
        | {f"w = {a.scale:g}: coverage": a.coverage for a in audits},
        draw=lambda fig: _three_laws(fig, audits, lab.seed),
        size=(3.4, 4.2),
    )


def _three_laws(fig: plot.Figure, audits: Sequence[GuidedLaw], seed: int) -> None:
    top, below = fig.subplots(2, 1)
    last = audits[-1]
    x, h = LINE.middles(0), LINE.volume
    top.fill_between(x, last.conditional.mass / h, color=plot.GREY, alpha=0.5, lw=0,
                     label="the class's")  # fmt: skip
    top.plot(x, last.tilted.mass / h, "--", color=plot.ORANGE, label=r"tilted, $p\,p(c|x)^w$")
    top.plot(x, last.guided.mass / h, color=plot.BLUE, label=f"guided, $w = {last.scale:g}$")
    top.hist(
        last.cloud[:, 0].tolist(),
        80,
        density=True,
        histtype="step",
        color=plot.VERMILION,
        lw=0.6,
        label="4000 guided particles",
    )
    top.set(xlim=(-1, 5), xlabel="x", ylabel="density")
    top.legend(loc="center right")
    below.plot([a.coverage for a in audits], [a.fidelity for a in audits], "o-", color=plot.BLUE)
    for a in audits:
        below.annotate(
            f"{a.scale:g}", (a.coverage, a.fidelity), (4, 4), textcoords="offset points"
        )
    below.set(xlabel="coverage", ylabel="fidelity", title="scales $w$, exact fields")


REMOVED = {  # docs/sources.md, N15: unwanted fraction, distance to the curve, at s = w - 1
    0.0: (0.46, 0.007),
    0.5: (0.26, 0.19),
    1.0: (0.15, 0.39),
    3.0: (0.02, 1.19),
}
PRINTED = (0.005, 0.0005, 0.005)  # half units: of a fraction, of the first distance, of the others


@claim(broken=CAT)
def g10(lab: Lab, unwanted: int = DOG) -> Finding:
    """A negative condition removes what it names, and drives what stays off the data.

    Says: "extra fingers and walking backwards" in place of the empty prompt (000, 003).
    Correction: removal is bought with damage: at w = 4 next to no dog is left, and no sample lies
    anywhere near the spiral.
    Source: docs/sources.md, N15: asked for dog or cat, not dog, 2130 particles, exact fields;
    within four standard errors of the two runs. That a negative which says nothing is plain
    guidance, and that a step is one call of the network on twice the rows, is counted on the
    lecture's network.
    """
    pets = ExactField(WIDE, PointSet(POINTS[LABELS != PERSON], LABELS[LABELS != PERSON]))
    found, off = {}, 0.0
    for s, said in REMOVED.items():
        x = _ends(GuidedField(pets, exact().given(unwanted), 1 + s), PARTICLES, lab.seed)
        parts = torch.stack([_dogs_and_distance(part) for part in x.chunk(30)])
        error = parts.std(0) * math.sqrt(2 / len(parts))
        printed = torch.tensor([PRINTED[0], PRINTED[2 if s else 1]])
        found[s] = _dogs_and_distance(x)
        beyond = ((found[s] - torch.tensor(said)).abs() - printed) / error.clamp_min(1e-3)
        off = max(off, float(beyond.max()))
    dogs, damage = (torch.stack([*found.values()])[:, i] for i in (0, 1))
    calls, plain, apart = _wiring(lab.seed, unwanted)

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        w = [1 + s for s in found]
        ax.plot(w, dogs, "o-", color=plot.BLUE)
        ax.set(xlabel="scale $w$ (1: no guidance)")
        ax.set_ylabel("fraction of dogs", color=plot.BLUE)
        right = ax.twinx()
        right.plot(w, damage, "s--", color=plot.VERMILION)
        right.set_ylabel("median distance to the spiral", color=plot.VERMILION)
        right.spines["right"].set_visible(True)

    return Finding(
        "fraction of dogs left at w = 4",
        float(dogs[-1]),
        "about",
        REMOVED[3.0][0],
        "docs/sources.md, N15; to two places",
        holds=off < SURE
        and bool((dogs.diff() < 0).all() and (damage.diff() > 0).all())
        and calls == (1.0, 2.0)
        and plain < 1e-12 < 1e-6 < apart,
        also={
            "largest deviation from N15 (standard errors)": off,
            "network calls per evaluation": calls[0],
            "rows per particle": calls[1],
            "a negative that says nothing, off plain guidance": plain,
            "a negative that says something, off plain guidance": apart,
        }
        | {f"w = {1 + s:g}: fraction of dogs": float(v[0]) for s, v in found.items()}
        | {f"w = {1 + s:g}: distance to the curve": float(v[1]) for s, v in found.items()},
        draw=draw,
    )


def _dogs_and_distance(x: Tensor) -> Tensor:
    """Fraction of dogs, and median distance to the curve."""
    dogs = diagnostics.class_shares(x, POINTS, LABELS)[DOG]
    return torch.stack([dogs, SPIRAL.distance(x).double().median()]).float()


def _wiring(seed: int, unwanted: int) -> tuple[tuple[float, float], float, float]:
    """Of the lecture's network before training: calls per evaluation and rows per particle in a
    guided run; how far guidance away from "no label", and from a class, is from the formula.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lecture_network(WIDE, 3).double()
    field, n = LearnedField(WIDE, network), 256  # one block of rows
    x = WIDE.prior(n, 2, seed, torch.float64)
    null, negative = (GuidedField(field.given(CAT), field.given(k), 3.0) for k in (NONE, unwanted))
    with torch.no_grad():
        eps_c, eps_u = (field.given(k).noise(x, 0.5) for k in (CAT, NONE))
        plain = eps_u + 3.0 * (eps_c - eps_u)
        off, apart = (float((f.noise(x, 0.5) - plain).abs().max()) for f in (null, negative))
    rows: list[int] = []
    network.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    path = SDESolver("euler", 63).solve(ancestral(negative, 0.0), x, 1)
    return (len(rows) / path.nfe, sum(rows) / (n * path.nfe)), off, apart
