"""What a referee would refuse in a figure, from matplotlib's own extents."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

MATH = MathTextParser("path")
PYPARSING = (
    "ignore:::pyparsing"  # its diagnostics, which -W turns on, find faults in matplotlib 3.8
)
SMALLEST = 6.0  # points
SLACK = 1.0  # pixels of 1/100 inch


def texts(fig: Figure) -> Iterator[Text]:
    """The texts that are drawn: not those of ticks outside the axes, or of axes switched off."""
    hidden: set[Text] = set()
    for ax in fig.findobj(Axes):
        for axis in (ax.xaxis, ax.yaxis):
            scale = axis.get_transform().transform
            low, high = sorted(scale(axis.get_view_interval()))
            slack = 1e-6 * (high - low)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                seen = low - slack <= scale([tick.get_loc()])[0] <= high + slack
                if not (ax.axison and ax.get_visible() and seen):
                    hidden |= {tick.label1, tick.label2}
        hidden |= set() if ax.axison else set(ax.findobj(Text))
    for text in fig.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            yield text


def smallest(text: Text) -> float:
    """Points of its smallest letter, that of a sub- or superscript, as mathtext sets it."""
    found = [text.get_fontsize()]
    for line in text.get_text().split("\n"):
        if line.count("$") > 1:
            glyphs = MATH.parse(line, 72, text.get_fontproperties()).glyphs
            found += [size for _, size, *_ in glyphs]
    return min(found)


def layout_faults(fig: Figure) -> list[str]:
    """Texts that are too small, outside the figure, or over each other."""
    fig.draw_without_rendering()
    found, boxes = [], [(text, text.get_window_extent()) for text in texts(fig)]
    for text, box in boxes:
        if smallest(text) < SMALLEST:
            found.append(f"{text.get_text()!r} has {smallest(text):.3g} points")
        if (
            min(box.x0, box.y0) < -SLACK
            or box.x1 > fig.bbox.x1 + SLACK
            or box.y1 > fig.bbox.y1 + SLACK
        ):
            found.append(f"{text.get_text()!r} is cut by the figure's edge")
    for (one, a), (other, b) in combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > SLACK and high > SLACK:
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    return found
