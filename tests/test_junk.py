"""Every public callable, driven with arguments of the right and of the wrong kind.

The outcome is a value, or one of our sentences: never an error that an operation inside raised.
The callables are found from `__all__`, so that a new one is driven too, and arguments are chosen
by the name and the annotation of each parameter.
"""

import contextlib
import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterator
from enum import EnumType
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sdeflow as sf
from tests import test_mistakes as m
from tests.problems import f64
from tests.refusals import faults, members, unprintable

# ------------------------------------------------------------------------ what there is to drive


def methods(kind: type) -> Iterator[tuple[str, Callable]]:
    """The public functions that a class of ours defines, its inherited ones left out."""
    for name, thing in vars(kind).items():
        function = getattr(thing, "__func__", thing)
        if inspect.isfunction(function) and (name == "__call__" or not name.startswith("_")):
            yield name, getattr(kind, name)


def callables() -> dict[str, Callable]:
    """Every public function, class and method of the package, by its name."""
    found: dict[str, Callable] = {}
    modules = [getattr(sf, name) for name in sf.__all__ if name != "experiment"]
    for module in (*modules, sf.datasets):
        place = module.__name__.removeprefix("sdeflow.").removeprefix("distributions.")
        for name, thing in members(module):
            if not callable(thing) or not getattr(thing, "__module__", "").startswith("sdeflow"):
                continue
            found[f"{place}.{name}"] = thing
            for inner, method in methods(thing) if isinstance(thing, type) else ():
                found[f"{place}.{name}.{inner}"] = method
    return found


CALLABLES = callables()
NOT_DRIVEN = {
    r"\.(Coefficients|Posterior|TransitionKernel|Recipe|Spread|Arc)\b|\.Pinwheel$": "rows of "
    "numbers, which check nothing",
    r"\.(ErrorSource|ErrorBudget|Verdict|PathVerdict|LossReport|GuidedLaw|Bound|Passage"
    r"|Estimate|OrnsteinUhlenbeck|Training)$": "results, which the package makes",
    r"\.(at|table|row|stepped|noise_mean|posterior|predicted)$": "the inside of a step, where "
    "nothing is checked again",
    r"\.(captured|from_plain|digits_lost)$": "what the package calls with checked arguments",
    r"\.Brownian\.__call__$": "called at every step by the engine",
    r"\.(Convention|DDPM|FlowMatching|Denoiser)\.time$": "called at every step",
    r"\.(MLP|UNet|VectorMLP)\.|\.Conditioned\b|\.Judge\.forward$": "the inside of a network",
    r"\.(Captioned|Judgement)\b": "results, which check nothing",
    r"^simulation\..*\.(reduce|merge|finish)$": "called by simulate, with its own states",
    r"\.(CloudFile|CloudMoments)\b": "results, which the package makes",
    r"\.train_unclip$": "minutes; its parts are driven",
}
"""What is left out, and why."""
DRIVEN = [
    name
    for name, thing in CALLABLES.items()
    if not (inspect.isabstract(thing) or isinstance(thing, EnumType))
    and not any(re.search(p, name) for p in NOT_DRIVEN)
]

# ------------------------------------------------------------------- arguments of the right kind


def distance(x: Tensor) -> Tensor:
    """Positive outside of the unit ball."""
    return (x**2).sum(1) - 1


def log_density(x: Tensor) -> Tensor:
    """Of a standard normal, but for a constant."""
    return -(x**2).sum(1) / 2


def driven(x: Tensor, control: Tensor | float = 1.0) -> Tensor:
    """A potential, driven or not."""
    return control * (x**2).sum(1)


NAMED: dict[str, list] = {
    "times": [m.TIMES, m.DOWN, [0.0, 0.5], np.array([1.0, 0.1])],
    "rho": [m.RHO, m.RHO.tolist()],
    "t": [0.5, f64(0.5), np.float64(0.3)],
    "s": [0.5, 0.0],
    "time_grid": [m.TIMES, lambda k: torch.linspace(0, 1, k + 1).double(), None],
    "u": [f64([0.1, 0.5, 0.9])],
    "labels": [torch.tensor([0, 0, 1, 1, 2, 2]), 3, None],
    "label": [0, np.int64(1), None],
    "covariance": [torch.eye(2), f64([[2.0, 0.3], [0.3, 1.0]])],
    "mean": [torch.zeros(2), 0.5],
    "matrix": [torch.eye(2), [[1.0]], m.GENERATOR.matrix],
    "mass": [m.DENSITY.mass, m.DENSITY1.mass.numpy()],
    "target": [torch.arange(32) > 20, np.arange(32) > 20],
    "potential": [driven, m.WELL],
    "protocol": [lambda t: t, None],
    "sample": [m.SAMPLE],
    "distance": [distance, sf.wasserstein],
    "prior": [log_density, None],
    "variance": [lambda t: 0.1 * torch.ones(len(t) - 1), m.VARIANCE, None, 0.1],
    "weighting": [sf.training.min_snr(), None],
    "time_density": [sf.training.uniform_time, None],
    "log_snr": [f64(0.0), f64([1.0, -1.0])],
    "noise_level": [0.5, f64([0.5, 1.0])],
    "bins": [8, 16],
    "shape": [(8, 8), (16,), 8],
    "low": [-4.0, (-4.0, -4.0), f64([0.0, 0.0])],
    "high": [4.0, (4.0, 4.0)],
    "widths": [0.1],
    "method": ["euler", "heun", "rk4", "dopri5"],
    "calculus": ["ito", "stratonovich"],
    "how": ["add", "attend"],
    "name": ["ring", "spiral"],
    "names": [["a", "b"]],
    "values": [[0.1, 0.2]],
    "particles": [[0, 1], range(3)],
    "sampling_floor": [(0.1, 0.01)],
    "interval": [(0.1, 1.0), None],
    "transition": [None],
    "made_for": [None],
    "checkpoint": [None, "checkpoint.safetensors"],
    "about": [{"a": "b"}, None],
    "path": [m.PATH, "a.png", "field.safetensors"],
    "colour": ["red", m.ROW],
    "save": [2, [0.5], None],
    "other": [m.DENSITY, m.GRID],
    "p_values": [[0.1, 0.9]],
    "betas": [[0.1, 0.2], np.full(3, 0.1)],
    "alpha_bar": [(0.9, 0.5, 0.1)],
    "radii": [(1.0, 0.5)],
    "weights": [torch.ones(1), torch.ones(2, 2), None],
    "means": [m.X[:1]],
    "covariances": [torch.eye(2)[None]],
    "arcs": [sf.datasets.two_moons().curve],
    "fine": [None, m.TIMES],
    "grid": [m.GRID, m.GRID1],
    "densities": [m.DENSITIES, (m.DENSITY,), m.DENSITY],
    "work": [m.ROW],
    "samples": [m.X, m.ROW],
    "solver": [m.HEUN, m.EULER, m.RK4, sf.ODESolver("dopri5")],
    "every": [1, 5],
    "max_steps": [100],
    "finest": [10.0],
    "curves": [{"a": ([8, 16], [0.1, 0.05])}, {"a": (m.RHO, [[0.1, math.nan]] * 3)}],
    "errors": [[0.1, 0.05], {"a": [0.1, math.nan]}],
    "things": [m.X, m.PATH, m.DENSITY, m.DENSITIES, {"a": m.X, "b": m.DENSITY}],
    "below": [m.DENSITY, m.DENSITIES, None],
    "flow": [m.FIELD, m.OU, m.FIELD.velocity, lambda x, t: -x],
    "where": [2.0, "cpu", torch.float32, m.GRID, m.plot.Window(-1.0, 1.0), None],
    "axes": [m.AX, [m.AX]],
    "artist": [m.plot.cloud(m.AX, m.X, m.ROW)],
    "colours": [None, ["red", "blue"], "viridis"],
    "unit": ["m", "data std"],
    "vmax": [None, 0.5],
    "venue": ["prl", "icml", None],
    "columns": [1, 2],
    "panels": [(1, 5), [2, 2], None],
    "guide": [2, [1.0, 2.0], None],
    "history": [m.DENSITIES, None],
    "field": [m.FIELD, m.LEARNED, m.GUIDED, m.FIELD1],
    "file": ["a.gif", "a.png"],
    "fps": [None, 10],
    "seconds": [None],
    "dpi": [50],
    "texts": [["a seven with a hat"], ["one", "belt"]],
    "prompts": [["a seven with a hat"], [["one", "1"], ["two"]]],
    "captions": [["one", "two", "belt"]],
    "words": [("hat", "cap"), ["one"]],
    "drawn": [m.NINE],
    "digit": [torch.tensor([1, 2, 3]), 4],
    "images": [torch.zeros(3, 8, 8)],
    "shift": [torch.ones(3, 2).long(), None],
    "attribute": ["hat", "frame"],
    "part": ["train", "test"],
    "tokens": [torch.tensor([[3, 4, 1]])],
    "plus": [m.PAGES + 1],
    "without": [m.PAGES],
    "vectors": [m.VECTORS],
    "embeddings": [m.VECTORS],
    "text": [m.VECTORS],
    "folder": ["words"],
    "batch": [2, 4, None],
}
"""Values for a parameter of this name."""

ANNOTATED: dict[str, list] = {
    "Tensor": [m.X, m.LINE, m.X.float(), m.HARD, m.X[:1], m.ROW, f64(0.5), m.TIMES],
    "Noise": [1.0, f64(0.5)],
    "float": [0.5, 1.0, 2, np.float32(0.3), f64(0.7)],
    "int": [1, 2, 3, 4, np.int64(2)],
    "str": ["ring", "red"],
    "bool": [True, False],
    "Grid": [m.GRID, m.GRID1],
    "Density": [m.DENSITY, m.DENSITY1, m.OTHER],
    "Process": [m.VP, sf.VE(), sf.Linear()],
    "Field": [m.FIELD, m.LEARNED, m.GUIDED, m.FIELD1],
    "ExactField": [m.FIELD, m.POINT_FIELD, m.FIELD1],
    "LearnedField": [m.LEARNED, m.LABELLED],
    "GuidedField": [m.GUIDED],
    "LossGuidedField": [m.LOSS_GUIDED],
    "SDE": [m.OU, m.OU1, m.ODE, m.REVERSE, m.FLOW, sf.ancestral(m.FIELD)],
    "FieldSDE": [m.REVERSE, sf.ancestral(m.FIELD)],
    "Axes": [m.AX],
    "Figure": [m.plot.Figure()],
    "FigureBase": [m.plot.Figure()],
    "Diagnostics": [sf.fokker_planck.Diagnostics(1.0, 1.0, 9.0, 1.0, 1.0, 0.1)],
    "Rescaling": [sf.fokker_planck.Rescaling(m.VP)],
    "dtype": [torch.float32, torch.float64],
    "device": ["cpu"],
    "NoisePlace": ["cpu", "device"],
    "Prediction": [sf.fields.Prediction.NOISE],
    "Verdict": [m.VERDICT],
    "NoiseLevel": [m.LEVEL, m.an.NoiseLevel(0.1)],
    "KernelVariance": [m.VARIANCE],
    "Distribution": [m.MIX, m.POINTS, m.CHECKERBOARD],
    "GaussianMixture": [m.MIX, m.MIX1],
    "Drift": [lambda x, t: -x],
    "Diffusion": [lambda x, t: f64(0.5), None],
    "Module": [m.NET],
    "TrainingConfig": [sf.training.TrainingConfig(batch=4), None],
    "Vocabulary": [m.im.VOCABULARY],
    "ContrastiveModel": [m.CLIP],
    "Judge": [m.JUDGE],
    "Prior": [m.PRIOR],
    "LinearPrior": [m.LINEAR],
    "Decoder": [m.DECODER],
    "Pool": [m.POOL],
    "Pictures": [m.pages, m.im.CaptionedPictures().sample, m.SAMPLE],
    "ndarray": [m.DENSITY1.mass.numpy()],
    "tuple": [(), (1.0, 2.0)],
    "list": [None, [0, 1, 2]],
    "Sequence": [[0.1, 0.2], (1.0,)],
    "None": [None],
}
"""Values for a parameter of this annotation."""

# ------------------------------------------------------------------- arguments of the wrong kind

NAN_CLOUD = m.X.clone()
NAN_CLOUD[0, 0] = math.nan
JUNK: list[Any] = [
    None, "junk", "", b"x", -1, 0, -0.5, math.nan, math.inf, 1.5, True, 1j, [], (), {}, [1, "a"],
    [[1.0], [1.0, 2.0]], object(), int, sf.VP, nn.Module, m.NUMPY, m.LIST, np.zeros(0), m.X[:0],
    m.IMAGES, m.INTS, m.COMPLEX, NAN_CLOUD, m.X3, f64(math.nan), m.X > 0, np.array(["a"]),
    m.VP, m.FIELD, m.OU, m.PATH, m.DENSITY, m.GRID, m.MIX, m.NET, sf.datasets.ring(), {1, 2},
    lambda *given: None, lambda *given: m.NUMPY, lambda *given: "junk", range(3), slice(2),
]  # fmt: skip

EXAMPLES: dict[str, list] = {
    "PiecewiseConstant": [m.CHECKERBOARD],
    "PointSet": [m.POINTS],
    "Curves": [sf.datasets.two_moons().distribution],
    "Dataset": [sf.datasets.ring(), sf.datasets.spiral(), sf.datasets.checkerboard()],
    "Pinwheel": [sf.datasets.pinwheel().distribution],
    "Box": [m.BOX],
    "VP": [m.VP],
    "SubVP": [sf.processes.SubVP()],
    "VE": [sf.VE()],
    "EDM": [sf.EDM()],
    "Linear": [sf.Linear()],
    "Cosine": [sf.processes.Cosine()],
    "Tabulated": [sf.processes.Tabulated.ddpm(10)],
    "OrnsteinUhlenbeck": [m.OU, m.OU1],
    "SDESolver": [m.HEUN, m.EULER],
    "ODESolver": [m.RK4, sf.ODESolver()],
    "Brownian": [sf.solvers.Brownian(0, 6, 2)],
    "DensityPath": [m.DENSITIES],
    "FieldTable": [
        sf.fokker_planck.tabulate_field(m.FIELD, sf.Grid(-5.0, 5.0, (4, 4)), [1.0, 0.5], levels=k)
        for k in (8, 9)
    ],
    "MarkovGenerator": [m.GENERATOR],
    "Curve": [m.an.Curve(m.RHO, m.RHO)],
    "Estimate": [m.ESTIMATE],
    "Passage": [m.an.Passage(f64([1.0, 2.0]), torch.tensor([True, False]))],
    "Path": [m.PATH],
    "PathVerdict": [m.dg.PathVerdict(m.TIMES, (m.VERDICT,) * 3)],
    "Units": [m.di.Units(f64([0.0, 1.0]), 2.0)],
    "DDPM": [m.ig().DDPM(m.BAR)],
    "FlowMatching": [m.ig().FlowMatching(1)],
    "Denoiser": [m.ig().Denoiser()],
    "Vocabulary": [m.im.VOCABULARY],
    "CaptionedPictures": [m.im.CaptionedPictures()],
    "ContrastiveModel": [m.CLIP],
    "Judge": [m.JUDGE],
    "Prior": [m.PRIOR],
    "LinearPrior": [m.LINEAR],
    "Decoder": [m.DECODER],
    "UnCLIP": [m.UNCLIP],
    "Pool": [m.POOL],
    "Histogram": [m.sm.Histogram(m.GRID)],
    "Moments": [m.sm.Moments()],
    "Quantiles": [m.sm.Quantiles()],
    "Keep": [m.sm.Keep()],
    "Values": [m.sm.Values(lambda path: path.x[-1], m.sm.Moments())],
}
"""Instances on which methods are called."""


def right(parameter: inspect.Parameter) -> list:
    """Values of the kind that this parameter takes."""
    found = [] if parameter.name not in NAMED else list(NAMED[parameter.name])
    words = re.findall(r"\w+", str(parameter.annotation))
    for word in words if not found else ():
        found += ANNOTATED.get(word, [])
    return found or ANNOTATED["Tensor"]


FUNCTIONS = {
    "Callable", "Potential", "Protocol", "Sample", "Distance", "LogDensity", "Weighting",
    "TimeDensity", "Coupling", "Variance", "Drift", "Diffusion", "Transition",
}  # fmt: skip


def junk(parameter: inspect.Parameter) -> list:
    """Values of the wrong kind; for a function, none that fails in its own code."""
    if FUNCTIONS.isdisjoint(re.findall(r"\w+", str(parameter.annotation))):
        return JUNK
    return [value for value in JUNK if not callable(value) or inspect.isfunction(value)]


def owner(name: str, function: Callable) -> list | None:
    """Instances to call a method on; None for functions, classes and static methods."""
    kind = name.split(".")[-2]
    first = next(iter(inspect.signature(function).parameters), "")
    if first != "self":
        return None
    return EXAMPLES.get(kind) or ANNOTATED.get(kind, [])


@st.composite
def calls(draw: st.DrawFn, name: str) -> tuple[list, dict[str, Any]]:
    """Arguments for a callable: of the right kind, but for one or none."""
    function = CALLABLES[name]
    parameters = dict(inspect.signature(function).parameters)
    first: list = []
    instances = owner(name, function)
    if instances is not None:
        parameters.pop("self")
        first = [draw(st.sampled_from(instances))]
    # What is asked for its truth may be anything; a name in a message is the package's own.
    open_to_junk = [k for k, p in parameters.items() if p.annotation != "bool" and k != "name"]
    wrong = draw(st.sampled_from([None, *open_to_junk, *open_to_junk]))
    chosen: dict[str, Any] = {}
    for key, parameter in parameters.items():
        values = junk(parameter) if key == wrong else right(parameter)
        chosen[key] = draw(st.sampled_from(values))
    return first, chosen


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files that a call writes go to a folder of their own."""
    with contextlib.chdir(tmp_path_factory.mktemp("junk")):
        yield


@pytest.mark.parametrize("name", DRIVEN)
def test_any_call_gives_a_value_or_a_sentence(name: str) -> None:
    function = CALLABLES[name]
    if owner(name, function) == []:
        pytest.fail(f"{name} is a method without an instance: give one in EXAMPLES")

    @settings(
        max_examples=EXAMPLES_EACH,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(calls(name))
    def drive(call: tuple[list, dict[str, Any]]) -> None:
        first, chosen = call
        if name.startswith("plot."):
            m.AX.clear()  # of the last call's logarithmic scales
        positional = [v for k, v in chosen.items() if positional_only(function, k)]
        rest = {k: v for k, v in chosen.items() if not positional_only(function, k)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            value, error = m.outcome(partial(function, *first, *positional, **rest))
        fault = unprintable(value) if error is None else faults(error)
        assert not fault, f"{name}({described(chosen)}): {fault}"

    drive()


EXAMPLES_EACH = 12


def positional_only(function: Callable, key: str) -> bool:
    """Whether a parameter has no name in a call."""
    kind = inspect.signature(function).parameters[key].kind
    return kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


def described(chosen: dict[str, Any]) -> str:
    """Arguments on one line."""
    words = []
    for key, value in chosen.items():
        text = (
            f"tensor{tuple(value.shape)}"
            if isinstance(value, Tensor)
            else " ".join(repr(value).split())
        )
        words.append(f"{key}={text[:40]}")
    return ", ".join(words)


def test_every_public_name_is_found() -> None:
    """A package without callables, or a pattern that leaves out nothing, is a mistake here."""
    places = {name.split(".")[0] for name in CALLABLES}
    assert places >= {*sf.__all__, "datasets"} - {"experiment"}
    assert len(DRIVEN) > 200
    for pattern in NOT_DRIVEN:
        assert any(re.search(pattern, name) for name in CALLABLES), pattern
