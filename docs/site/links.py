"""Links of the built site: each leads to a file and, where it names one, to a place in it."""

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

OUTSIDE = ("http", "https", "mailto", "data")


class Page(HTMLParser):
    """What a page links, and the places that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and the ids of a tag."""
        for name, value in attrs:
            if value is not None and (name in ("id", "name") and tag != "meta"):
                self.places.add(value)
            if value is not None and name in ("href", "src"):
                self.links.append(value)


def broken(folder: Path) -> Iterator[str]:
    """Links of the pages of a folder that lead nowhere, or to what is no address."""

    @cache
    def page(file: Path) -> Page:
        return Page(file.read_text("utf-8"))

    for file in sorted(folder.rglob("*.html")):
        for link in dict.fromkeys(page(file).links):
            parts = urlsplit(link)
            if parts.scheme in OUTSIDE:
                if parts.scheme in ("http", "https") and "." not in parts.netloc:
                    yield f"{file.relative_to(folder)}: {link} is no address"
                continue
            path = unquote(parts.path)
            target = (file.parent / path).resolve() if path else file
            if not target.exists():
                yield f"{file.relative_to(folder)}: {link} leads to no file"
            elif target.suffix == ".html" and unquote(parts.fragment) not in page(target).places:
                yield f"{file.relative_to(folder)}: {link} leads to no place in its page"


def check(app: Sphinx, error: Exception | None) -> None:
    """Fail a build of pages with links that lead nowhere."""
    if error is None and app.builder.format == "html":
        found = list(broken(Path(app.outdir)))
        if found:
            raise ExtensionError("\n".join(found))


def setup(app: Sphinx) -> dict[str, bool]:
    """Look once the pages are written."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
