"""What a publisher would refuse in a written figure, and drawing one as a user does."""

import os
import subprocess
import sys
from pathlib import Path

from tests.layout import PYPARSING

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 2_000_000  # bytes
FORMATS = ("png", "pdf", "svg")


def file_faults(file: Path) -> list[str]:
    """Too many bytes, or in a PDF letters that are no TrueType."""
    data, found = file.read_bytes(), []
    if len(data) > LARGEST:
        found.append(f"{file.name} has {len(data)} bytes")
    if file.suffix == ".pdf":
        if b"/FontFile2" not in data:
            found.append(f"{file.name} embeds no TrueType")
        if b"/Type3" in data or b"/Subtype /Type1" in data:
            found.append(f"{file.name} has fonts of Type 3 or Type 1")
    return found


def command(*words: str) -> list[str]:
    """`python -m figures` with these words, writing every format into the folder `out`."""
    return [*words, "--quick", "--format", *FORMATS, "--out", "out"]


def run_figures(words: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run it there, in a process that finds git, and neither LaTeX nor ffmpeg."""
    only = folder / "bin"
    only.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        if (Path(place) / "git").is_file() and not (only / "git").exists():
            (only / "git").symlink_to(Path(place) / "git")
    setting = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", PYPARSING, "-m", "figures", *words],
        cwd=folder, env=os.environ | setting | {"PATH": str(only)}, capture_output=True, text=True,
    )  # fmt: skip
