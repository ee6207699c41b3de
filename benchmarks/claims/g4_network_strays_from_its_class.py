"""Without guidance the lecture's network leaves the class asked for; the exact field never does.

Says: "fit is not great", with "confusion here between people and dog images" (000, 003).
Measured: five networks and the exact field are asked for each class, and the share of samples in
that class is counted; if only the networks miss, the fault is in what they learned and not in
conditioning.
Correction: the fault is the small network's, not that of conditioning: the exact field puts every
sample in its class. Every network takes some dogs for people; some miss far more cats.
Control: the next class is told in the place of the one asked for.
Source: docs/sources.md, N5 and N12; five networks, DDIM over 64 levels from sigma 10. Also the
lecture's cat point, which the exact field takes to (0.684, 0.445).
"""

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, above, at_least, below
from benchmarks.claims.class_networks import lecture_networks
from benchmarks.claims.guided_classes import (
    NAMES,
    Label,
    class_clouds,
    confusion,
    draw_classes,
    judged,
    next_class,
    same_class,
)
from benchmarks.claims.seed_intervals import mean_and_interval, with_interval
from benchmarks.claims.setting import CAT, DOG, PERSON, exact
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = same_class, next_class  # the class that is told
SLOW = True


def _cat_point(told: Label) -> float:
    """The largest deviation of the cat point's end by the exact field, per coordinate."""
    cat = torch.tensor([[1.2640, 1.5190]], dtype=torch.float64)
    sde = ancestral(exact().given(told(CAT)), 0.0)
    end = SDESolver("euler", 255).solve(sde, cat, 1).x[-1, 0]
    return float((end - torch.tensor([0.684, 0.445])).abs().max())


def measure(lab: Lab, told: Label) -> Finding:
    """The shares of the classes in the clouds of five networks, and of the exact field."""
    clouds = [class_clouds(known, 1.0, lab.seed, told) for known in lecture_networks(lab)]
    table = torch.stack([confusion(x) for x in clouds])
    ideal = class_clouds(exact(), 1.0, lab.seed, told)
    mixed = table[:, DOG, PERSON]
    mean, half = (float(v) for v in mean_and_interval(table.diagonal(dim1=1, dim2=2).mean(1)))
    confused, doubt = (float(v) for v in mean_and_interval(mixed))
    far = torch.stack([judged(x)[:, 2].mean() for x in clouds])
    return Finding(
        [
            Check("accuracy over the three classes, mean of five networks", mean,
                  below(1 - half), "1, as of the exact field, less half of the 95 % interval"),
            Check("dogs that are persons, mean of five networks", confused, above(doubt),
                  "none, and half of the 95 % interval"),
            Check("dogs that are persons, in the best network", float(mixed.min()),
                  above(0.0), "none"),
            Check("largest deviation of the cat point's end from N12", _cat_point(told),
                  below(2e-3), "docs/sources.md, N12"),
        ]
        + [
            Check(f"exact field: accuracy of {n}", a, at_least(1.0), "all are in their class")
            for n, a in zip(NAMES, confusion(ideal).diagonal().tolist(), strict=True)
        ],
        draw=lambda fig: draw_classes(fig, {"a network": clouds[0], "exact": ideal}),
        size=(3.4, 2.0),
        notes=_shares(table)
        | with_interval("W2, mean of the classes", far)
        | {"exact field: W2, mean of the classes": float(judged(ideal)[:, 2].mean())},
    )  # fmt: skip


def _shares(table: Tensor) -> dict[str, float]:
    """The shares of each class's samples in the classes, with intervals over the networks."""
    right = table.diagonal(dim1=1, dim2=2)
    cats = {f"cats that are {NAMES[k]}s": table[:, CAT, k] for k in (DOG, PERSON)}
    columns = {name: right[:, i] for i, name in enumerate(NAMES)} | cats
    out = {k: v for name, share in columns.items() for k, v in with_interval(name, share).items()}
    return out | {"cat, in the worst network": float(right[:, CAT].min())}
