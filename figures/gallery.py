"""Write the pages that show the figures: docs/figures.md, and README's small pictures.

Both are made from the pictures in docs/figures as they stand; nothing is drawn again.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from figures.drawing import GALLERY, caption, module_of, names
from sdeflow.provenance import picture_provenance, write_bytes, write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "figures.md"
README = ROOT / "README.md"
SMALL = GALLERY / "small"
EXAMPLES = ROOT / "examples"
BLOCK = re.compile(r"(?<=<!-- gallery -->\n).*?(?=<!-- end -->)", re.DOTALL)
ACROSS, WIDTH = 4, 440  # pictures in a row; pixels of each, two for one of the page
SHOWN = (
    "density_strip", "paths_over_density", "score_field", "density_against_cloud", "nfe_grid",
    "guidance", "scene_with_and_without_noise", "scene_flow_matching_checkerboard",
)  # fmt: skip
"""The figures that README shows; docs/figures.md has all."""
FILMS = ("film",)
PROGRAMS = (
    "figure_strip", "figure_paths_line", "figure_paths_plane", "figure_arrows",
    "figure_work_precision", "figure_verdict", "figure_film", "figure_guidance",
)  # fmt: skip
"""Programs in examples/ that draw one figure each."""
INTRODUCTION = """\
<!-- written by: python -m figures page -->
# Figures

Each figure is a file in [figures/](../figures). One command draws it, as wide as a venue's text,
for any of the problems, in PNG, PDF or SVG:

```sh
python -m figures list
python -m figures density_strip --venue prl --problem moons --format pdf svg --out paper
python -m figures all --quick        # rough, in seconds each, into runs/figures
```

A picture says what made it: `sdeflow provenance paper/density_strip.pdf`. The lines below each
picture are those that draw it; a copy of them is where a figure of your own may begin. The
programs at the [end of this page](#in-a-program-of-your-own) need fewer than ten.
"""


def write_page() -> Path:
    """Write docs/figures.md."""
    write_text(PAGE, page())
    return PAGE


def page() -> str:
    """docs/figures.md: each figure with its picture, its caption and the lines that draw it."""
    parts = [INTRODUCTION, *(_entry(name, "png") for name in names())]
    parts += [_entry(name, "gif") for name in FILMS if find_spec(f"figures.{name}")]
    parts.append("## In a program of your own\n")
    parts.append("".join(_program(EXAMPLES / f"{name}.py") for name in PROGRAMS))
    return "\n".join(parts)


def _entry(name: str, suffix: str) -> str:
    title = name.replace("_", " ").capitalize()
    return (
        f"## {title}\n\n![{_first(name)}](figures/{name}.{suffix})\n\n{caption(name)}\n\n"
        f"`python -m figures {name}` draws it, by [figures/{name}.py](../figures/{name}.py):\n\n"
        f"```python\n{_lines(name)}\n```\n"
    )


def _lines(name: str) -> str:
    """The file of a figure below its caption."""
    text = inspect.getsource(module_of(name))
    lines = text.splitlines()[ast.parse(text).body[0].end_lineno :]
    return "\n".join(lines).replace("from __future__ import annotations\n", "").strip()


def _program(file: Path) -> str:
    title = file.read_text("utf-8").removeprefix('"""').partition("\n")[0]
    return f"- [{title}](../examples/{file.name})\n"


def _first(name: str) -> str:
    """The first line of a caption, as the text of a picture."""
    return caption(name).splitlines()[0].replace("[", "(").replace("]", ")").replace('"', "'")


# ------------------------------------------------------------------------------------ README's


def write_readme() -> Path:
    """Make the small pictures, and write the block of README that shows them."""
    for name in SHOWN:
        write_bytes(SMALL / f"{name}.png", small(GALLERY / f"{name}.png"))
    text = README.read_text("utf-8")
    write_text(README, BLOCK.sub(lambda _: block(), text, count=1))
    return README


def small(picture: Path) -> bytes:
    """A picture of few pixels, which says of its making what the large one says."""
    about, out = PngInfo(), io.BytesIO()
    for key, value in picture_provenance(picture).items():
        about.add_text(key, value)
    with Image.open(picture) as large:
        size = (WIDTH, round(large.height * WIDTH / large.width))
        shrunk = large.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    shrunk.quantize(128).save(out, "png", pnginfo=about, optimize=True)
    return out.getvalue()


def block() -> str:
    """README's gallery: the pictures in rows, each a link to its place in docs/figures.md."""
    cells = [
        f'<a href="{_address("docs/figures.md")}#{name.replace("_", "-")}">'
        f'<img src="{_address(f"docs/figures/small/{name}.png", True)}" width="{WIDTH // 2}" '
        f'alt="{_first(name)}"></a>'
        for name in SHOWN
    ]
    rows = [cells[k : k + ACROSS] for k in range(0, len(cells), ACROSS)]
    return "\n".join("<p>\n" + "\n".join(row) + "\n</p>" for row in rows) + "\n"


def _address(path: str, raw: bool = False) -> str:
    """Where a file of the repository is read: absolute if pyproject.toml names the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    home = project.get("urls", {}).get("Repository", "").rstrip("/")
    return f"{home}/{'raw' if raw else 'blob'}/main/{path}" if home else path
