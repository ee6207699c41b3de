"""Equations in MathML, made when the site is built: no script and no font from elsewhere."""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

TAG = re.compile(r"\\tag\{([^}]*)\}")
THIN = '<mspace width="0.167em" />'
OPEN = '<mo stretchy="false">&#x00028;'
FUNCTIONS = "ln|log|exp|cos|sin|tan|tanh|cosh|sinh|arctan|arccos|min|max|arg"
SPACING = [  # what browsers space otherwise than TeX does
    (re.compile('width="thinmathspace"'), 'width="0.167em"'),
    (re.compile(r"\\arg"), "arg"),
    (re.compile('<mo stretchy="false">&#x0007C;'), '<mo stretchy="false" lspace="0" rspace="0">|'),
    (re.compile(rf"(<mi>(?:{FUNCTIONS})</mi>)(?!</m|{OPEN})"), rf"\1{THIN}"),
    (re.compile(rf"(<msup><mi>(?:{FUNCTIONS})</mi><mn>\d</mn></msup>)(?!{OPEN})"), rf"\1{THIN}"),
    (re.compile(r"(<mo[^>]*>(?:&#x0003D;|&#x0002C;|&#x00028;|&#x0005B;)</mo>)<mo>&#x02212;"),
     r'\1<mo form="prefix">&#x02212;'),
]  # fmt: skip


def mathml(latex: str, display: str = "inline") -> str:
    """An equation of LaTeX in MathML."""
    drawn = convert(latex, display=display)
    for pattern, instead in SPACING:
        drawn = pattern.sub(instead, drawn)
    return drawn


def inline(self, node: nodes.math) -> None:
    """An equation in a line."""
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def display(self, node: nodes.math_block) -> None:
    """An equation of its own, its number at the right."""
    latex = node.astext()
    numbers = TAG.findall(latex)
    number = f'<span class="number">({html.escape(numbers[0])})</span>' if numbers else ""
    drawn = mathml(TAG.sub("", latex), "block")
    self.body.append(f'<div class="math equation">{drawn}{number}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Name this renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
