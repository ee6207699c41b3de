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


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_example_runs_and_its_assertions_hold(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
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
