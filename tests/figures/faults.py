"""What a referee would refuse in a figure beside its layout: labels, floors, colours, cut data."""

import re
from collections.abc import Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tests.layout import SLACK, layout_faults, texts

DISTANCE = re.compile(r"W_?\{?[12]\b|[Ww]asserstein|\bdistance|[Tt]otal variation|\bTV\b|residual")
FLOOR = re.compile(
    r"floor|two samples|perfect clouds|undetected|\bchance\b|\(sd\)|exact draws|fresh data"
)
# Between two points, not two distributions.
WAY = re.compile(r"(square|median) distance|distance\s+from|/ distance")
UNIT = re.compile(r"[(\[].+[)\]]|: 0 .+, 1 ")  # or what the numbers 0 and 1 mean
# Quantities that are numbers, and what is counted.
PURE = re.compile(
    r"\$(\\?[a-zA-Z]+)(_.*)?\$|\b(steps?|calls?|evaluations?|particles|shares?|probability|"
    r"fraction|p-value|total variation|TV|weight|rounds?|number|count|scale|ratio|round|class|"
    r"order|exponent|relative|straightness|entropy|cosine|variance explained|time|"
    r"coverage|log SNR|per coordinate)\b|\w / \w"
)
SMALLEST_FRAME = 20.0  # pixels of 1/100 inch
BEYOND = 0.01  # of the points of a cloud may lie outside its frame


def faults(fig: Figure) -> list[str]:
    """Everything that is wrong with a figure, laid out twice, as it is when it is written."""
    fig.draw_without_rendering()
    found = layout_faults(fig)
    for check in (frames_cut, labels_missing, floors_missing, colours_shared, data_cut):
        found += check(fig)
    return found


def seen(fig: Figure) -> list[Axes]:
    return [ax for ax in fig.findobj(Axes) if ax.get_visible()]


def title(ax: Axes) -> str:
    return ax.get_title() or ax.get_ylabel() or ax.get_xlabel() or "axes without a title"


def frames_cut(fig: Figure) -> Iterator[str]:
    """Axes that leave the figure, and texts of one panel on another."""
    for ax in seen(fig):
        box = ax.get_window_extent()
        ends = (-box.x0, -box.y0, box.x1 - fig.bbox.x1, box.y1 - fig.bbox.y1)
        if max(ends) > SLACK:
            yield f"the frame of {title(ax)!r} is cut by the figure's edge"
        if min(box.width, box.height) < SMALLEST_FRAME and not hasattr(ax, "_colorbar"):
            yield f"the frame of {title(ax)!r} has no room"
    drawn = set(texts(fig))
    for ax in seen(fig):
        own = [text for text in ax.findobj(lambda a: a in drawn)]
        for other in seen(fig):
            if other is ax or other in ax.child_axes or ax in other.child_axes or not other.axison:
                continue
            box, mine = other.get_window_extent(), ax.get_window_extent()
            if box.overlaps(mine):  # an inset, or a second scale of one panel
                continue
            for text in own:
                words = text.get_window_extent()
                wide = min(words.x1, box.x1) - max(words.x0, box.x0)
                high = min(words.y1, box.y1) - max(words.y0, box.y0)
                if wide > SLACK and high > SLACK:
                    yield f"{text.get_text()!r} lies over the panel {title(other)!r}"


def labels_missing(fig: Figure) -> Iterator[str]:
    """Numbers along an axis without a quantity, or with one that has no unit."""
    drawn = set(texts(fig))
    for ax in seen(fig):
        if not ax.axison:
            continue
        for which, axis, above in (
            ("x", ax.xaxis, fig.get_supxlabel()), ("y", ax.yaxis, fig.get_supylabel()),
        ):  # fmt: skip
            ticks = [t for tick in axis.get_major_ticks() for t in (tick.label1, tick.label2)]
            numbers = [t.get_text() for t in ticks if t in drawn and number(t.get_text())]
            label = axis.get_label_text() or above
            if not numbers:
                continue
            if not label:
                yield f"the {which} axis of {title(ax)!r} has numbers and no label"
            elif not (UNIT.search(label) or PURE.search(label)):
                yield f"{label!r} has no unit"


def number(text: str) -> bool:
    """Whether a tick's label is one; names of methods are not."""
    return bool(re.fullmatch(r"[-\d.,e+%]+", re.sub(r"[$\\{}^ −]|mathdefault|times", "", text)))


def floors_missing(fig: Figure) -> Iterator[str]:
    """A distance that is shown in a panel, on an axis or in words, without its sampling floor."""
    drawn = set(texts(fig))
    for ax in seen(fig):
        words = [t.get_text() for t in ax.findobj(lambda a: a in drawn)]
        words += [str(a.get_label()) for a in ax.get_children() if isinstance(a, Artist)]
        about = [w for w in words if DISTANCE.search(w) and not WAY.search(w)]
        if about and not any(FLOOR.search(w) for w in words):
            yield f"{about[0]!r} is shown without its floor"


def colours_shared(fig: Figure) -> Iterator[str]:
    """One name in two colours, or two names of one panel in one colour and form."""
    known: dict[str, str] = {}
    for name, colour in meanings(fig):
        if known.setdefault(name, colour) != colour:
            yield f"{name!r} is {known[name]} in one panel and {colour} in another"
    for ax in seen(fig):
        forms: dict[tuple, str] = {}
        for artist, name in named(ax):
            form = (type(artist).__name__, *look(artist))
            if forms.setdefault(form, name) != name:
                yield f"{forms[form]!r} and {name!r} look the same"


def meanings(fig: Figure) -> Iterator[tuple[str, str]]:
    """Each name that a legend may show, with its colour."""
    for ax in seen(fig):
        for artist, name in named(ax):
            yield name, look(artist)[0]


def named(ax: Axes) -> Iterator[tuple[Artist, str]]:
    for artist in ax.get_children():
        name = str(artist.get_label())
        if (
            name
            and not name.startswith("_")
            and isinstance(artist, Line2D | Patch | PathCollection)
        ):
            yield artist, name


def look(artist: Artist) -> tuple[str, ...]:
    if isinstance(artist, Line2D):
        face = str(artist.get_markerfacecolor())
        return (
            to_hex(artist.get_color()),
            str(artist.get_linestyle()),
            str(artist.get_marker()),
            face,
        )
    if isinstance(artist, Patch):
        return to_hex(artist.get_facecolor()), str(artist.get_fill()), str(artist.get_linestyle())
    rows = artist.get_facecolor()
    return (to_hex(rows[0]) if len(rows) == 1 else "by number",)


def data_cut(fig: Figure) -> Iterator[str]:
    """A cloud of which more than a few points lie outside its frame."""
    for ax in seen(fig):
        low, high = np.sort(np.array([ax.get_xlim(), ax.get_ylim()]), axis=1).T
        for dots in ax.collections:
            if isinstance(dots, PathCollection) and len(dots.get_offsets()):
                places = np.asarray(dots.get_offsets())
                beyond = ((places < low) | (places > high)).any(1).mean()
                if beyond > BEYOND and "enlarged" not in title(ax):
                    yield f"{beyond:.0%} of a cloud lie outside the frame of {title(ax)!r}"
