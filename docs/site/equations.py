"""Equations in MathML, made when the site is built: no script and no font from elsewhere."""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

TAG = re.compile(r"\\tag\{([^}]*)\}")


def inline(self, node: nodes.math) -> None:
    """An equation in a line."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display(self, node: nodes.math_block) -> None:
    """An equation of its own, its number at the right."""
    latex = node.astext()
    numbers = TAG.findall(latex)
    number = f'<span class="number">({html.escape(numbers[0])})</span>' if numbers else ""
    drawn = convert(TAG.sub("", latex), display="block")
    self.body.append(f'<div class="math equation">{drawn}{number}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Name this renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
