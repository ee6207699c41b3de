"""Every program in examples/ runs by itself, in a new interpreter, and keeps what it asserts."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 30
SECONDS = 500  # the longest needs twelve on an idle machine


OFFLINE = {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}


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
        return [str(program)]
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason="pipelines need pip install 'sdeflow[images]'")
    make, *size = PIPELINES[program.stem]
    return ["-c", TINY, make, str(program), *size]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_runs_and_its_assertions_hold(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command(program)],
        cwd=tmp_path,
        env=os.environ | OFFLINE | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "an example prints the numbers that show its point"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_is_short_and_asserts_its_point(program: Path) -> None:
    text = program.read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST
    title, blank, *prose = (ast.get_docstring(tree) or "").splitlines()
    assert title.endswith(".")
    assert blank == ""
    assert len(prose) == 3
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
    names = {program.stem for program in PROGRAMS}
    first = {"langevin_double_well", "eta_family", "ddpm_is_one_engine_step"}
    assert names >= first | {"density_against_cloud"}
