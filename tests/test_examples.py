"""Every program in examples/ runs by itself, keeps what it asserts, and draws its picture.

The picture is looked at as a referee would (`layout_faults`), and compared with the stored one.
"""

import ast
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from PIL import Image

from figures import examples
from sdeflow.provenance import picture_provenance
from tests.layout import PYPARSING

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))
NAMES = [program.stem for program in PROGRAMS]
DRAWING = [name for name in NAMES if name not in examples.WITHOUT]
LONGEST = 30  # lines
WIDEST = 76  # letters of a title
SECONDS = 500  # of wall time; the longest needs eight on an idle machine
CPU_SECONDS = 20
DRAWN_WITH = re.findall(
    r"^matplotlib==(.*)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE
)[0]
ALIKE = 0.02  # of black and white: mean difference of two pictures, as small as a thumbnail


OFFLINE = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}


INSPECTED = """
import runpy, sys
from sdeflow import plot
from tests.layout import layout_faults
write = plot.write
def written(fig, *rest):
    assert not (faults := layout_faults(fig)), faults
    return write(fig, *rest)
plot.write = written
runpy.run_path(sys.argv[1], run_name="__main__")
"""
TINY = """
import runpy, sys, diffusers
from tests.integrations import tiny_pipelines as tiny
_, make, program, *size = sys.argv
kind = type(pipe := getattr(tiny, make)())
kind.from_pretrained = diffusers.DiffusionPipeline.from_pretrained = lambda name: pipe
sys.argv = [program, "weights", *size]
runpy.run_path(program, run_name="__main__")
"""
PIPELINES = {
    "stable_diffusion": ["stable_diffusion"],
    "wan": ["wan_that_reads", "32", "32", "9"],
}


def command(program: Path) -> list[str]:
    """What runs a program; one of a pipeline gets small random weights in place of its own.

    They are not loaded from a folder: diffusers loads WAN's transformer with accelerate only.
    """
    if program.stem not in PIPELINES:
        return ["-c", INSPECTED, str(program)]
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason="pipelines need pip install 'sdeflow[images]'")
    make, *size = PIPELINES[program.stem]
    return ["-c", TINY, make, str(program), *size]


class Done(NamedTuple):
    """A program that has run: its folder, what it printed, the CPU seconds that it took."""

    folder: Path
    printed: str
    seconds: float


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """Each program runs once, when it is first asked for."""

    @cache
    def once(name: str) -> Done:
        folder = tmp_path_factory.mktemp(name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-W",
                PYPARSING,
                *command(ROOT / "examples" / f"{name}.py"),
            ],
            cwd=folder,
            env=os.environ | OFFLINE | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stdout + done.stderr
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(folder, done.stdout, spent)

    return once


@pytest.mark.parametrize("name", NAMES)
def test_example_runs_and_its_assertions_hold(name: str, run: Callable[[str], Done]) -> None:
    done = run(name)
    assert done.printed.strip(), "an example prints the numbers that show its point"
    assert done.seconds < CPU_SECONDS


@pytest.mark.parametrize("name", DRAWING)
def test_example_draws_the_picture_of_the_gallery(name: str, run: Callable[[str], Done]) -> None:
    """One picture; where it is a PNG, it looks like the stored one, which is of the same code."""
    [picture] = (run(name).folder / "runs").iterdir()
    [stored] = examples.stored(name)
    if stored.suffix == ".png":
        assert picture_provenance(stored)["source"] == examples.digest(name), AGAIN
    if picture.suffix == ".png":
        assert picture.stem == name
        if matplotlib.__version__ != DRAWN_WITH:
            pytest.skip(f"matplotlib {DRAWN_WITH} drew the stored one; others set text elsewhere")
        assert abs(thumbnail(picture) - thumbnail(stored)).mean() < ALIKE, AGAIN


AGAIN = "commit, then run: python -m figures.examples"


def thumbnail(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB").resize((64, 48), Image.Resampling.BOX)) / 255


def test_the_page_shows_each_program_as_it_is() -> None:
    assert sorted(examples.names()) == NAMES, "name it in SECTIONS of figures/examples.py"
    assert {file.stem for file in examples.PICTURES.iterdir()} == set(DRAWING)
    assert examples.PAGE.read_text("utf-8") == examples.page(), AGAIN


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_is_short_and_asserts_its_point(program: Path) -> None:
    """Its docstring begins with a title of reStructuredText, which sphinx-gallery asks for."""
    text = program.read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST
    title, line, blank, *prose = (ast.get_docstring(tree) or "").splitlines()
    assert line == "=" * len(title)
    assert len(title) <= WIDEST
    assert blank == ""
    assert 1 <= len(prose) <= 3
    assert prose[-1].endswith(".")
    assert isinstance(tree.body[-1], ast.Assert)


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if p.stem.startswith("figure_")], ids=lambda p: p.stem
)
def test_a_figure_takes_under_ten_lines_with_imports_and_assertion(program: Path) -> None:
    text = program.read_text("utf-8")
    _, body = text.split('"""\n', 1)
    lines = [line.strip() for line in body.splitlines()]
    assert len([line for line in lines if line and not line.startswith("#")]) < 10
    assert ";" not in body


def test_examples_are_found() -> None:
    ten = """langevin_double_well eta_family ddpm_is_one_engine_step your_own_points guidance
        your_own_network density_against_cloud first_passage likelihood probability_current"""
    assert set(NAMES) >= set(ten.split())
