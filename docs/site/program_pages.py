"""Pages of the gallery: a program's docstring as text, with a heading, and its stored picture.

sphinx-gallery writes a page from each program of examples/. The programs are not run for the site,
because the tests run them; docs/examples holds the pictures of those that have one.
"""

import re
from pathlib import Path

from docstrings import escaped
from PIL import Image
from sphinx.application import Sphinx

PICTURES = "examples"
THUMBNAIL = (320, 224)


def picture(app: Sphinx, name: str) -> Path | None:
    """The stored picture of a program, or its film."""
    files = [Path(app.srcdir) / PICTURES / f"{name}{suffix}" for suffix in (".png", ".gif")]
    return next((file for file in files if file.exists()), None)


def with_heading(text: str, name: str, shown: Path | None) -> str:
    """The page of a program: its docstring as text, with a heading, and its picture."""
    before, mark, rest = text.partition(f".. _sphx_glr_gallery_{name}.py:\n\n")
    prose, generated, program = rest.partition(".. GENERATED FROM")
    title, under, own = re.match(r"(?:(.*)\n(=+)\n)?(.*)", prose, re.DOTALL).groups()
    if not under:
        title, own = name.replace("_", " ").capitalize(), prose
    image = f".. image:: /{PICTURES}/{shown.name}\n   :alt: {title}\n\n" if shown else ""
    heading = f"{title}\n{'=' * len(title)}\n\n"
    return f"{before}{mark}{heading}{escaped(own)}{image}{generated}{program}"


def read(app: Sphinx, document: str, source: list[str]) -> None:
    """Change the page of a program before it is parsed."""
    folder, _, name = document.rpartition("/")
    if folder == "gallery" and name != "index":
        source[0] = with_heading(source[0], name, picture(app, name))


def thumbnails(app: Sphinx) -> None:
    """Put the stored pictures in the place of the thumbnails that sphinx-gallery made."""
    for thumb in (Path(app.srcdir) / "gallery/images/thumb").glob("*.png"):
        file = picture(app, re.sub(r"sphx_glr_(.*)_thumb", r"\1", thumb.stem))
        if file is not None:
            with Image.open(file) as image:
                small = image.convert("RGB")
                small.thumbnail(THUMBNAIL)
                page = Image.new("RGB", THUMBNAIL, "white")
                page.paste(small, [(THUMBNAIL[i] - small.size[i]) // 2 for i in (0, 1)])
                page.save(thumb)


def setup(app: Sphinx) -> dict[str, bool]:
    """Come after sphinx-gallery."""
    app.connect("source-read", read)
    app.connect("builder-inited", thumbnails, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
