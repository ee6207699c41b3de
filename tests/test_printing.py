"""Processes, distributions, fields, SDEs and solvers print themselves in one line of words."""

import inspect
import pydoc
import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.distributions import Arc, Curves, PiecewiseConstant, PointSet
from sdeflow.fields import Prediction
from tests.problems import PROCESSES, lopsided, randn
from tests.refusals import members, unprintable

DOUBLE = torch.float64


class Still(nn.Module):
    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


EXACT = sf.ExactField(sf.VP(), lopsided())
LEARNED = sf.LearnedField(sf.EDM(), Still())
GUIDED = sf.GuidedField(EXACT, EXACT, 2.0)
SQUARES = PiecewiseConstant(torch.zeros(2, dtype=DOUBLE), 1.0, torch.ones(2, 3, dtype=DOUBLE))
LINE = Curves((Arc(lambda u: torch.stack([u, u], 1), 0.0, 1.0),))
EXACT_WORDS = "exact field of VP over a mixture of 3 Gaussians in 2 dimensions"

WORDS = [
    (sf.VP(), "VP, beta 0.1 to 20, t from 0.0001 to 1"),
    (sf.processes.SubVP(beta_max=10), "SubVP, beta 0.1 to 10, t from 0.001 to 1"),
    (sf.VE(), "VE, sigma 0.01 to 10, t from 0 to 1"),
    (sf.EDM(), "EDM, t from 0.002 to 80"),
    (sf.Linear(), "Linear, t from 0.001 to 0.999"),
    (sf.processes.Cosine(), "Cosine, s 0.008, t from 0.001 to 0.999"),
    (
        sf.processes.Tabulated((0.9, 0.5, 0.25)),
        "Tabulated, alpha-bar 0.9 to 0.25 in 3 entries, t from 1 to 3",
    ),
    (lopsided(), "a mixture of 3 Gaussians in 2 dimensions"),
    (lopsided().noised(0.5, 0.1), "a mixture of 3 Gaussians in 2 dimensions"),
    (PointSet(randn(7, 2)), "a set of 7 points"),
    (SQUARES, "a density constant on 6 squares"),
    (LINE, "a distribution along curves"),
    (EXACT, EXACT_WORDS),
    (LEARNED, "learned field of EDM, Still, predicts noise"),
    (
        sf.LearnedField(sf.VP(), sf.MLP(labels=4), data_std=0.7).given(3),
        "learned field of VP, MLP, predicts the unit row, data std 0.7, label 3",
    ),
    (
        sf.LearnedField(sf.VP(), sf.MLP(), Prediction.VELOCITY),
        "learned field of VP, MLP, predicts velocity",
    ),
    (
        LEARNED.given(torch.tensor([0, 1])),
        "learned field of EDM, Still, predicts noise, one label per particle",
    ),
    (GUIDED, f"guided field, scale 2: {EXACT_WORDS}; away from {EXACT_WORDS}"),
    (
        sf.GuidedField(EXACT, EXACT, 1.5, (0.1, 5)),
        f"guided field, scale 1.5 at noise levels 0.1 to 5: {EXACT_WORDS}; "
        f"away from {EXACT_WORDS}",
    ),
    (
        sf.GuidedField(GUIDED, sf.GuidedField(EXACT, EXACT, 3.0), 4.0, rescale=0.5),
        "guided field, scale 4, rescale 0.5: guided field, scale 2; away from guided field, "
        "scale 3",
    ),
    (sf.reverse(EXACT), "reverse SDE of VP, eta 1, t from 1 to 0.0001"),
    (sf.reverse(EXACT, 0.0), "probability flow of VP, eta 0, t from 1 to 0.0001"),
    (sf.ancestral(EXACT, 0.5), "ancestral sampling of VP, eta 0.5, t from 1 to 0.0001"),
    (sf.forward(sf.VE()), "forward SDE of VE, t from 0 to 1"),
    (sf.SDESolver("heun", 50, seed=3), "torchsde heun, 50 steps, seed 3"),
    (sf.ODESolver("rk4", steps=9), "torchdiffeq rk4, 9 steps"),
    (sf.ODESolver(), "torchdiffeq dopri5, rtol 1e-05, atol the cloud's width times rtol"),
    (
        sf.solvers.Brownian(3, 100, 2),
        "Brownian path of 100 particles in 2 dimensions, seed 3",
    ),
]


@pytest.mark.parametrize(("noun", "words"), WORDS, ids=[words for _, words in WORDS])
def test_nouns_print_themselves_in_words(noun: object, words: str) -> None:
    assert repr(noun) == str(noun) == words


def test_a_path_prints_its_size_times_and_cost() -> None:
    path = sf.ODESolver("euler", steps=4).solve(sf.reverse(EXACT, 0.0), randn(5, 2))
    assert repr(path) == (
        "path of 5 particles in 2 dimensions, 2 states from t = 1 to 0.0001, 4 evaluations, "
        "finished"
    )


@pytest.mark.parametrize("name", sf.datasets.NAMES)
def test_fields_and_sdes_of_every_data_set_and_process_print_in_one_line(name: str) -> None:
    """And name the process."""
    data = sf.datasets.named(name)
    assert "\n" not in repr(data)
    assert repr(data.distribution) in repr(data)
    for process in PROCESSES.values():
        kind = type(process).__name__
        assert repr(process).startswith(f"{kind}, ")
        if data.distribution.has_posterior:
            field = sf.ExactField(process, data.distribution)
            for noun in (field, sf.reverse(field), sf.sdes.comoving(field)):
                assert f" of {kind}" in repr(noun)
                assert "\n" not in repr(noun)


class Mine(sf.fields.Field):
    """A field of the user, without a `__repr__` of its own."""

    def row(self, c):
        return Prediction.NOISE.row(c)

    def at(self, t, c, like):
        return torch.zeros_like


def test_a_field_of_your_own_prints_its_class_and_process() -> None:
    assert repr(Mine(sf.EDM())) == "Mine of EDM"


# ------------------------------------------------------------------- every public kind of thing

ONE = sf.GaussianMixture.isotropic(torch.zeros(1, 2), 1.0)
EACH = torch.tensor([0.25, 0.5])
VALUES = [
    (sf.Grid(-1.0, 1.0, (4, 8)), "grid of 4 x 8 cells in [-1, 1] x [-1, 1]"),
    (ONE, "a Gaussian in 2 dimensions"),
    (
        ONE.posterior(randn(5, 2), 0.8, 0.6),
        "posterior of 5 points in 2 dimensions, data variance 0.72",
    ),
    (Arc(torch.sin, 0.0, 3.14159), "arc of a curve, parameter from 0 to 3.142"),
    (sf.datasets.pinwheel().distribution, "a pinwheel of 5 arms"),
    (sf.Linear()(torch.tensor(0.5)), "alpha 0.5, sigma 0.5, alpha_dot -1, sigma_dot 1"),
    (sf.Linear()(EACH), "alpha 0.5 to 0.75, sigma 0.25 to 0.5, alpha_dot -1, sigma_dot 1"),
    (
        sf.sdes.TransitionKernel(*torch.tensor([0.5, 0.0, 0.75])),
        "transition kernel, scale 0.5, shift 0, variance 0.75",
    ),
    (sf.sdes.Spread(None, 1.0, 2.0), "data of std 1, widest 2, narrowest unknown"),
    (sf.fokker_planck.Diagnostics(courant=0.25), "diagnostics: negative mass 0, boundary mass 0, "
     "Courant number 0.25, mass drift 0"),
    (sf.MLP(width=8, depth=2, waves=4), "MLP, dim 2, width 8, depth 2, waves 4, finest 60, "
     "266 weights"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "words"), VALUES, ids=[words for _, words in VALUES])
def test_values_print_themselves_in_words(value: object, words: str) -> None:
    assert repr(value) == words


def test_many_classes_or_columns_are_not_all_printed() -> None:
    many = sf.datasets.from_points(randn(40, 6) * torch.arange(1, 7) ** 3, torch.arange(40) % 12)
    assert repr(many).endswith("7, 8, 9 and 2 more")
    assert re.search(r"columns scaled by [\d.e+]+ to [\d.e+]+, whitened", repr(many))


TABLES = [
    (
        sf.training.LossReport(*torch.linspace(0.1, 1.0, 80, dtype=DOUBLE).view(4, 20)),
        "| t     | loss   | irreducible   | excess   | error of excess   |",
        "| 0.1   | 0.884  | 0.328         | 0.556    | 0.784             |",
        9,
    ),
    (
        sf.analysis.Bound(EACH, torch.arange(4.0)[:, None].expand(4, 5)),
        "| part      | nats   |",
        "| 2 steps   | -3     |",
        3,
    ),
    (
        sf.fokker_planck.Diagnostics(courant=0.25),
        "| diagnostic        | value   | warning above   | error above   |",
        "| Courant number    | 0.25    | 0.5             | 1.5           |",
        7,
    ),
]


@pytest.mark.parametrize(("noun", "head", "row", "rows"), TABLES, ids=["loss", "bound", "run"])
def test_tables_are_markdown_in_print_and_in_notebooks(
    noun: object, head: str, row: str, rows: int
) -> None:
    table = noun._repr_markdown_()
    lines = table.splitlines()
    assert lines[0] == head
    assert row in lines
    assert sum(line.startswith("|") for line in lines) == rows + 2
    one_line = isinstance(noun, sf.training.LossReport)  # of 64 levels: a table is too long
    assert str(noun) == (repr(noun) if one_line else table)


def test_estimates_print_few_digits() -> None:
    two = sf.analysis.Estimate(torch.tensor([[1 / 3], [2.0]]), torch.tensor([[0.0123], [1.0]]))
    assert str(two) == "[[0.333333], [2]] +- [[0.012], [1]]"


def test_a_network_prints_its_layers() -> None:
    net = sf.MLP(width=8, depth=2, waves=4)
    assert str(net) == nn.Module.__repr__(net)
    assert "(first): Linear(in_features=10, out_features=8" in str(net)


# Settings, which print as the call that makes them.
SETTINGS = {"TrainingConfig", "UnCLIPConfig", "CaptionedPictures", "Window", "Recipe"}
OTHERS = {"Figure": "of matplotlib", "Distribution": "abstract, as is", "Process": "its kinds"}


def kinds() -> dict[str, type]:
    """Every public class of the package by its name, without enumerations and errors."""
    modules = [getattr(sf, name) for name in sf.__all__]
    names = {
        name: thing
        for module in modules
        if inspect.ismodule(module)
        for name, thing in members(module)
        if isinstance(thing, type)
    }
    return {k: v for k, v in names.items() if not issubclass(v, Enum | Exception)}


def own_words(kind: type) -> bool:
    """Whether its `__repr__` is written in the package: not `object`'s, nor a dataclass's."""
    code = getattr(inspect.unwrap(kind.__repr__), "__code__", None)
    return code is not None and code.co_filename.startswith(str(Path(sf.__file__).parent))


def test_every_public_kind_says_in_words_what_it_is() -> None:
    found = kinds()
    assert len(found) > 60
    without = {name for name, kind in found.items() if not own_words(kind)}
    assert without - SETTINGS - {*OTHERS} == set()
    assert not own_words(dataclass(type("Made", (), {"__annotations__": {"x": int}})))
    assert not own_words(type("Opaque", (), {}))


@dataclass
class Dump:
    """A tensor, printed as a dataclass prints it."""

    x: Tensor


Dump.__module__ = "sdeflow.made_up"


def test_a_dump_or_an_address_is_caught() -> None:
    """tests/test_junk.py looks so at everything that a public callable gives."""
    opaque = type("Opaque", (), {"__module__": "sdeflow.made_up"})()
    assert "tensor(" in unprintable(Dump(torch.zeros(2)))
    assert " at 0x" in unprintable(opaque)
    assert unprintable(sf.VP()) == unprintable(torch.zeros(2)) == ""


# ---------------------------------------------------------------------------------- help

SCREEN = 50  # lines


def screen(thing: object) -> int:
    """Lines of `help` that are written for this name.

    For a function the whole page. For a class its docstring, and a line for each public method
    and property that it defines: the rest of the page is what Python and torch add.
    """
    if not isinstance(thing, type):
        return len(pydoc.render_doc(thing, renderer=pydoc.plaintext).splitlines())
    own = [v for k, v in vars(thing).items() if not k.startswith("_")]
    members = [v for v in own if inspect.isroutine(v) or isinstance(v, property | cached_property)]
    return 3 + len((inspect.getdoc(thing) or "").splitlines()) + len(members)


def test_help_of_every_public_name_fits_a_screen() -> None:
    long, count = {}, 0
    for module in (getattr(sf, name) for name in sf.__all__):
        for name, thing in members(module) if inspect.ismodule(module) else ():
            if inspect.isfunction(thing) or isinstance(thing, type):
                count += 1
                if (lines := screen(thing)) > SCREEN:
                    long[name] = lines
    assert count > 200
    assert long == {}


def test_a_long_help_is_caught() -> None:
    def told() -> None: ...

    told.__doc__ = "Line.\n" * SCREEN
    assert screen(told) > SCREEN
    many = {f"f{i}": told for i in range(30)}
    assert screen(type("Many", (), {"__doc__": "Line.\n" * 20, **many})) > SCREEN
