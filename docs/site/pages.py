"""Markdown pages as the repository shows them, with links that lead to pages of the site.

A page of docs/ links programs and folders of the repository. On the site a program of examples/ is
a page of the gallery; other files and folders have no page, so their names stand without a link.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./|examples\.md)[^)\s]*)\)")
CONTINUED = re.compile(r"\n([+-]) (?=\\)")  # a line that goes on with an equation, and is no list
INCLUDED = {"index": "README.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
PAGES = {file: f"{page}.md" for page, file in INCLUDED.items()}
GALLERY = ("examples", "examples.md", "docs/examples.md")
PICTURE = re.compile(r'<a href="docs/([^"]+)"><img src="docs/([^"]+)"[^>]*alt="([^"]*)"></a>')


def site_link(match: re.Match[str]) -> str:
    """A link to a file of the repository: a page of the site, or the words alone."""
    words, target = match.groups()
    path, _, anchor = target.removeprefix("../").partition("#")
    if path.rstrip("/") in GALLERY:
        return f"[{words}](gallery/index.rst)"
    if path in PAGES:
        return f"[{words}]({PAGES[path]}{'#' + anchor if anchor else ''})"
    if path.startswith("examples/") and path.endswith(".py"):
        return f"[{words}](gallery/{Path(path).stem}.rst)"
    return words if words.startswith("`") else f"`{words}`"


def from_the_root(text: str) -> str:
    """A page of the repository's root, as it would stand in docs/."""
    text = PICTURE.sub(r"[![\3](\2)](\1)", text).replace("<p>\n", "").replace("</p>\n", "")
    text = re.sub(r"\]\((?!https?://|#|docs/)([^)]+)\)", r"](../\1)", text)
    return text.replace("](docs/", "](")


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Change a page before it is parsed."""
    text = source[0]
    if name in INCLUDED:
        file = Path(app.srcdir).parent / INCLUDED[name]
        text = from_the_root(file.read_text("utf-8")) + "\n" + text
        app.env.note_dependency(str(file), docname=name)
    text = CONTINUED.sub(r" \1 ", text)
    if "/" not in name:  # a page of a folder links no file of the repository
        text = LINK.sub(site_link, text)
    source[0] = text


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before the parser."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
