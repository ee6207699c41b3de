"""The parts of the site that are our own: docstrings as text, equations, the reference, links."""

import re
from pathlib import Path

import pytest

import sdeflow as sf

pytest.importorskip("sphinx", reason="the site needs pip install 'sdeflow[docs]'")
SITE = Path(__file__).resolve().parents[1] / "docs" / "site"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the site import each other by name, as Sphinx's extensions do."""
    monkeypatch.syspath_prepend(str(SITE))


def test_every_public_name_is_in_the_reference() -> None:
    import reference

    for package in sf.__all__:
        text = reference.section(getattr(sf, package), "=")
        for name in getattr(sf, package).__all__:
            path = rf"sdeflow\.{package}\.{name}"
            assert re.search(rf"^\.\. (auto|py:)\w+:: {path}$", text, re.MULTILINE), path
    top = reference.top()
    for name in dir(sf):
        assert name.startswith("_") or f"`{name}" in top, name


def test_docstrings_are_plain_text() -> None:
    import docstrings

    lines = [
        "Draw |x| * sigma_ of `SDE` and `x`.",
        "",
        "    dx = f * dt",
        "",
        "Args:",
        "    x: (n, d)",
    ]
    text = docstrings.as_markup(lines)
    assert text[0] == r"Draw \|x\| \* sigma\_ of :py:obj:`SDE <sdeflow.sdes.SDE>` and ``x``."
    assert text[text.index("::") + 2] == "    dx = f * dt"
    assert text[-2:] == ["Args:", "    x: (n, d)"]
    assert docstrings.as_markup(["Raises (from `solve` too):"]) == ["Raises:"]


def test_equations_have_their_spaces_and_numbers() -> None:
    import equations

    assert equations.mathml(r"\ln p").count("<mspace") == 1
    assert "<mspace" not in equations.mathml(r"\ln(p)")
    assert 'form="prefix"' in equations.mathml(r"a = -b")
    assert 'form="prefix"' not in equations.mathml(r"a - b")
    assert equations.TAG.sub("", r"x \tag{1.1}") == "x "


def test_links_of_pages_lead_to_pages_of_the_site() -> None:
    import pages

    text = "[a](../README.md#b) [c](../examples/eta_family.py) [d](../figures) [e](theory.md)"
    linked = "[a](index.md#b) [c](gallery/eta_family.rst) `d` [e](theory.md)"
    assert pages.LINK.sub(pages.site_link, text) == linked
    root = "![p](figures/a.png) [t](docs/theory.md#x) [h](https://a.org) [l](#here)"
    moved = "![p](../figures/a.png) [t](theory.md#x) [h](https://a.org) [l](#here)"
    assert pages.from_the_root(root) == moved


def test_broken_links_of_a_built_site_are_found(tmp_path: Path) -> None:
    import links

    (tmp_path / "a.html").write_text('<a href="b.html#here">x</a><img src="c.png"><p id="q">')
    (tmp_path / "b.html").write_text(
        '<p id="here"><a href="a.html#q">x</a> <a href="https://a.b/">'
    )
    (tmp_path / "c.png").touch()
    assert list(links.broken(tmp_path)) == []
    (tmp_path / "b.html").write_text(
        '<a href="a.html#r">x</a><a href="d.html">x</a><a href="http:x">'
    )
    assert len(list(links.broken(tmp_path))) == 4
