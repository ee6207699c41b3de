"""Run the programs of examples/, keep their pictures, and write the page that shows them.

    python -m figures.examples              # all programs: docs/examples, docs/examples.md
    python -m figures.examples guidance     # one picture, and the page

Each program runs by itself, in an empty folder. Programs that write a PDF for a paper write a PNG
here. Every picture carries a digest of the program's code, so that a test finds an old one.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from figures.sources import code
from sdeflow.provenance import picture_provenance, write_files, write_text

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "examples"
PICTURES = ROOT / "docs" / "examples"
PAGE = ROOT / "docs" / "examples.md"
WIDEST = 1100  # pixels of a stored picture
SECTIONS = {
    "Particles and densities": (
        "langevin_double_well", "first_passage", "probability_current", "density_against_cloud",
        "walls", "escape_through_two_doors", "heston", "fit_a_drift",
    ),
    "From noise to data": (
        "eta_family", "ddpm_is_one_engine_step", "likelihood", "guidance",
    ),
    "Your own": (
        "your_own_points", "own_csv_with_classes", "your_own_network", "your_own_solver",
    ),
    "Pictures and videos from words": ("stable_diffusion", "wan"),
    "Figures in under ten lines": (
        "figure_strip", "figure_paths_line", "figure_paths_plane", "figure_arrows",
        "figure_work_precision", "figure_verdict", "figure_guidance", "figure_film",
    ),
}  # fmt: skip
WITHOUT = SECTIONS["Pictures and videos from words"]
"""Programs that need weights: they are not run, and have no picture."""
INTRODUCTION = """\
<!-- written by: python -m figures.examples -->
# Examples

Each program has at most 30 lines, runs as it stands in seconds, and ends with an assertion of the
law that it shows; the tests run all of them. `python examples/guidance.py` prints its numbers and
writes its picture into `runs/`.
"""


def names() -> list[str]:
    """All programs, in the order of the page."""
    return [name for section in SECTIONS.values() for name in section]


def digest(name: str) -> str:
    """The first 12 digits of the SHA-256 of a program's code, without comments and docstrings."""
    text = (PROGRAMS / f"{name}.py").read_text("utf-8")
    return hashlib.sha256(code(text).encode()).hexdigest()[:12]


def described(name: str) -> tuple[str, str, str]:
    """The title of a program, the text below it, and the lines of the program."""
    text = (PROGRAMS / f"{name}.py").read_text("utf-8")
    docstring = ast.parse(text).body[0]
    title, _, prose = text.partition('"""')[2].partition('"""')[0].split("\n", 2)
    program = "\n".join(text.splitlines()[docstring.end_lineno :])
    return title, prose.strip(), program.strip()


def page() -> str:
    """docs/examples.md: each program with its title, its text, its picture and its lines."""
    parts = [INTRODUCTION]
    for heading, section in SECTIONS.items():
        parts += [f"## {heading}\n", *(_entry(name) for name in section)]
    return "\n".join(parts)


def _entry(name: str) -> str:
    title, prose, program = described(name)
    [shown] = [f"![{title}](examples/{file.name})\n\n" for file in stored(name)] or [""]
    link = f"[examples/{name}.py](../examples/{name}.py)"
    return f"### {title}\n\n{prose}\n\n{shown}{link}:\n\n```python\n{program}\n```\n"


def stored(name: str) -> list[Path]:
    """The picture of a program, if it has one."""
    return [file for suffix in ("png", "gif") for file in PICTURES.glob(f"{name}.{suffix}")]


def drawn(name: str) -> tuple[str, bytes]:
    """Run a program; the suffix of its one picture, and the picture as it is stored."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.py"
        text = (PROGRAMS / file.name).read_text("utf-8")
        file.write_text(text.replace('.pdf"', '.png"'), "utf-8")
        more = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        subprocess.run([sys.executable, file.name], cwd=folder, env=os.environ | more, check=True)
        [picture] = (Path(folder) / "runs").iterdir()
        data = picture.read_bytes() if picture.suffix == ".gif" else _small(picture, digest(name))
    return picture.suffix, data


def _small(picture: Path, source: str) -> bytes:
    """A picture of at most `WIDEST` pixels, with its provenance and the digest of its program."""
    about, out = PngInfo(), io.BytesIO()
    for key, value in (picture_provenance(picture) | {"source": source}).items():
        about.add_text(key, value)
    with Image.open(picture) as large:
        width = min(WIDEST, large.width)
        size = (width, round(large.height * width / large.width))
        shrunk = large.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    shrunk.quantize(256).save(out, "png", pnginfo=about, optimize=True)
    return out.getvalue()


def main(argv: Iterable[str] | None = None) -> None:
    """Run the programs, then write their pictures and the page."""
    parser = argparse.ArgumentParser(prog="python -m figures.examples", description=__doc__)
    every = [name for name in names() if name not in WITHOUT]
    parser.add_argument("name", nargs="*", metavar="NAME", help="a program; all by default")
    chosen = parser.parse_args(argv).name or every
    if not set(chosen) <= set(every):
        parser.error(f"NAME must be one of {', '.join(every)}, got {' '.join(chosen)}")
    found = {name: drawn(name) for name in chosen}  # before one of them changes the working tree
    write_files({PICTURES / f"{name}{suffix}": data for name, (suffix, data) in found.items()})
    write_text(PAGE, page())
    print(PAGE)


if __name__ == "__main__":
    main()
