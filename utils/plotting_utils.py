"""Figures from arrays: the house style and sheets of images.

The modules of `utils.figures` draw the figures of a run with it. Nothing here knows a model, a run or a tensor, and
everything draws without a display.

Shapes: images (N, C, H, W) with values in [0, 1], C being 1 or 3; labels (N,), whole numbers from 0.
"""

import functools
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

# Seven of Okabe and Ito's colours and three more, chosen so that eyes without one kind of cone tell all ten apart (ten
# being the usual number of classes); line styles and markers tell them apart in grey print.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#6C2400", "#9048FC", "#FCD890",
)  # fmt: skip
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
DENSITY = "cividis"


@dataclass(frozen=True)
class Style:
    """How figures look and which files they become.

    Attributes:
        width: of every figure in inches, such as that of a column of a paper; None for the width that suits each best.
        titles: whether figures have their title and small print; without, the files hold both as metadata only.
        formats: kinds of files, of `png`, `pdf` and `svg`.
    """

    width: float | None = None
    titles: bool = True
    formats: tuple[str, ...] = ("png",)

    @property
    def is_narrow(self) -> bool:
        return self.width is not None and self.width < 5

    @property
    def settings(self) -> Any:
        """Settings of matplotlib: sizes of text in points, and fonts that journals accept in PDF and SVG files."""
        text = 9 if self.width is None else 7 if self.is_narrow else 8
        small = {"figure.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"}
        sizes = dict.fromkeys(small, text - 1 if text > 7 else 6.5) | {"font.size": text, "axes.labelsize": text}
        fonts = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "figures"}
        return sizes | {"axes.titlesize": text + 1, "figure.titlesize": text + 2} | fonts

    def size(self, width: float, height: float) -> tuple[float, float]:
        """Inches of a figure that would be so wide and high by itself: narrower ones are higher in proportion."""
        if self.width is None:
            return width, height
        return self.width, height * min((self.width / width) ** 0.8, 1)


_STYLE: ContextVar[Style] = ContextVar("style", default=Style())  # noqa: B039 (it is frozen)


def render(draw: Callable[[], Figure], style: Style) -> dict[str, bytes]:
    """The contents of the files of a figure by their endings.

    Args:
        draw: makes the figure.
        style: how it looks.
    """
    contents = {}
    token = _STYLE.set(style)
    try:
        with matplotlib.rc_context(style.settings):
            figure = draw()
            about = {"Title": re.sub(r"[$^{}\\]", "", str(figure.get_label()))}
            for kind in style.formats:
                content = io.BytesIO()
                undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
                figure.savefig(
                    content, format=kind, dpi=100 if style.width is None else 300, metadata=about | undated
                )
                contents[kind] = content.getvalue()
    finally:
        _STYLE.reset(token)
    return contents


# Inches that a panel with titles and labels needs.
LEAST_PANEL = 2.5

# More classes than this have no legend: their colours run through a scale instead.
LEGEND_CLASSES = 20

# Arguments of a `MaxNLocator` for counts.
WHOLE_TICKS: dict[str, Any] = {"integer": True, "steps": (1, 2, 5, 10)}


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure of so many inches with a title that fits, and a note in small print below.

    The `Style` may make it smaller or leave title and note out.
    """
    style = _STYLE.get()
    width, height = style.size(width, height)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(f"{title}. {note}")
    if style.titles:
        points = matplotlib.rcParams["font.size"] / 9
        figure.suptitle(_wrapped(title, max(int(width * 11.5 / points), 20)))
        if note:
            figure.supxlabel(textwrap.fill(note, max(int(width * 14 / points), 20)), color="0.3")
    return figure


def is_narrow() -> bool:
    """Whether the figure has to fit a column of a paper, with one panel beside another only where they are small."""
    return _STYLE.get().is_narrow


def set_title(axes: Any, text: str) -> None:
    """The title of one panel, in lines that fit its width."""
    points = matplotlib.rcParams["font.size"] + (1 if "\n" not in text else 0)
    inches = axes.get_subplotspec().get_position(axes.figure).width * axes.figure.get_figwidth()
    width = max(int(1.1 * inches * 72 / (0.56 * points)), 12)
    lines = [textwrap.fill(line, width) if _length(line) > width else line for line in text.split("\n")]
    axes.set_title("\n".join(lines), fontsize=points)


def legend(axes: Any) -> None:
    """A legend above the axes, where it covers no data; a title moves up."""
    labels = axes.get_legend_handles_labels()[1]
    if not labels:
        return
    inches = axes.get_position().width * axes.figure.get_figwidth()
    points = 7.5 * matplotlib.rcParams["font.size"] / 9
    columns = min(len(labels), max(1, int(inches / ((max(map(_length, labels)) * 0.5 + 4) * points / 72))))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.1, columnspacing=1.0,
        handlelength=1.6,
    )  # fmt: skip
    axes.set_title(axes.get_title(), pad=6 + 1.9 * points * -(-len(labels) // columns))


def _length(text: str) -> int:
    """Characters of the longest line that can be seen: the signs of mathematics take no place."""
    return max(len(line) for line in re.sub(r"[$^{}]", "", text).split("\n"))


def _wrapped(title: str, width: int) -> str:
    """A title in lines of so many characters: first broken after what is shown, and never within `epoch 56`."""
    head, colon, run = title.partition(": ")
    fits = _length(title) <= width
    parts = [title] if fits or not colon else [f"{head}:", run]
    whole = [re.sub(r"epoch (?=\d)", "epoch\u00a0", part) for part in parts]
    lines = whole if fits else [textwrap.fill(part, width) for part in whole]
    return "\n".join(lines).replace("\u00a0", " ")


def panel_grid(wide: Sequence[bool], title: str, note: str, beside: float = 0.0) -> tuple[Figure, list[Any]]:
    """A figure with a place for each panel, in rows of up to three, fewer where it has to be narrow.

    Args:
        wide: for each panel whether it is twice as wide as it is high.
        title, note: as for `new_figure`.
        beside: inches to leave on the right.

    Returns:
        The figure and the places, for `add_subplot`.
    """
    count = len(wide)
    if count == 1:
        figure = new_figure(*((10.4, 5.8) if wide[0] else (7.4 + beside, 7.6)), title, note)
        return figure, [figure.add_gridspec(1, 1)[0]]
    columns = 2 if count == 4 else min(count, 3)
    if (asked := _STYLE.get().width) is not None:
        columns = min(columns, max(1, int(asked / LEAST_PANEL)))
    rows = -(-count // columns)
    widths = [max(1.7 if wide[place] else 1.0 for place in range(column, count, columns)) for column in range(columns)]
    figure = new_figure(3.4 * sum(widths) + beside, 3.7 * rows + 0.9, title, note)
    grid = figure.add_gridspec(rows, columns, width_ratios=widths)
    return figure, [grid[number // columns, number % columns] for number in range(count)]


def plain(text: str) -> str:
    """A text with nothing in it that matplotlib would read as mathematics."""
    return text.replace("$", r"\$")


def name_of(label: int, names: Sequence[str]) -> str:
    """The name of a class, shortened to what fits in a legend; its number where it has none."""
    return plain(textwrap.shorten(names[label], 22, placeholder="…")) if label < len(names) else str(label)


def plane_axes(axes: Any, xlabel: str, ylabel: str) -> None:
    """Name the axes of a map of points, on which both have one scale."""
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=xlabel, ylabel=ylabel)


def class_style(rank: int) -> tuple[str, str]:
    """Colour and marker of the class with this rank; the first 110 differ."""
    return COLOURS[rank % len(COLOURS)], MARKERS[rank % len(MARKERS)]


@functools.cache
def marker_scale(marker: str) -> float:
    """Factor on the `s` of a scatter that gives a marker the area of the circle; the star has a third of it else."""

    def area(name: str) -> float:
        style = MarkerStyle(name)
        # Curves are cut into lines as fine as pixels, of which a marker of unit size has but one.
        outline = style.get_path().transformed(style.get_transform() + Affine2D().scale(1000))
        x, y = np.asarray(outline.to_polygons()[0]).T
        return float(abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]))

    return area("o") / area(marker)


def class_points(axes: Any, xy: Array, rank: int, size: float, **style: Any) -> None:
    """Points (N, 2) of one class: as much ink for each class, and an outline that stands out where the colour is light.

    Args:
        axes: where.
        xy: the points.
        rank: of the class.
        size: area of a circle of the same ink, in square points.
        style: more for `scatter`.
    """
    colour, marker = class_style(rank)
    axes.scatter(
        xy[:, 0], xy[:, 1], s=size * marker_scale(marker), facecolor=colour, edgecolor=_darker(colour), marker=marker,
        linewidths=0.5, **style,
    )  # fmt: skip


def _darker(colour: str) -> tuple[float, ...]:
    return tuple(0.5 * part for part in to_rgb(colour))


def named_classes(labels: Array | None) -> list[int]:
    """The classes that have a colour and marker of their own, by rank; none if there are no labels or too many."""
    present = [] if labels is None else np.unique(labels).tolist()
    return present if len(present) <= LEGEND_CLASSES else []


def unnamed_style(labels: Array | None) -> dict[str, Any]:
    """Colours for `scatter` where no class has its own: of a scale through the classes, if there are labels."""
    return {"color": COLOURS[0]} if labels is None else {"c": labels, "cmap": "viridis"}


def scatter_classes(axes: Any, xy: Array, labels: Array | None, size: float = 18) -> None:
    """Points (N, 2), with the colour and marker of their class where labels are given.

    `class_legend` explains them. The order of drawing goes through the classes several times, so that no class covers
    all others.
    """
    present, size = named_classes(labels), size * (0.4 if is_narrow() else 1)
    if not present:
        axes.scatter(xy[:, 0], xy[:, 1], s=size, alpha=0.6, linewidths=0, **unnamed_style(labels))
    for turn in range(4):
        for rank, label in enumerate(present):
            class_points(axes, xy[np.flatnonzero(labels == label)[turn::4]], rank, size, alpha=0.8, zorder=2)


def class_legend(figure: Figure, axes: Sequence[Any], labels: Array | None, names: Sequence[str]) -> None:
    """What the colours and markers of `scatter_classes` mean, to the right of all axes."""
    if labels is None:
        return
    handles = []
    for rank, label in enumerate(named_classes(labels)):
        colour, marker = class_style(rank)
        size = 6 * marker_scale(marker) ** 0.5  # of a line in points, not in their square
        look: dict[str, Any] = {
            "color": colour, "markeredgecolor": _darker(colour), "markeredgewidth": 0.5, "marker": marker,
            "markersize": size, "linestyle": "none",
        }  # fmt: skip
        handles.append(Line2D([], [], label=name_of(label, names), **look))
    if handles:
        below = {"loc": "outside lower center", "ncols": 5, "columnspacing": 1.0}
        figure.legend(
            handles=handles, title="class", **(below if is_narrow() else {"loc": "outside right upper"})
        )
    else:
        scale = ScalarMappable(Normalize(labels.min(), labels.max()), "viridis")
        figure.colorbar(scale, ax=list(axes), label="number of the class", shrink=0.6)


def image_grid(images: Array, columns: int) -> Array:
    """Lay images side by side with a margin: (N, C, H, W) to (rows, width, 3), values in [0, 1]."""
    count, _, height, width = images.shape
    grid = np.ones((-(-count // columns) * (height + 2) + 2, columns * (width + 2) + 2, 3))
    for index, image in enumerate(images):
        top, left = index // columns * (height + 2) + 2, index % columns * (width + 2) + 2
        grid[top : top + height, left : left + width] = as_rgb(image)
    return grid


def as_rgb(image: Array) -> Array:
    """An image (C, H, W) of one or three channels as (H, W, 3) with values in [0, 1]."""
    return np.clip(np.broadcast_to(np.moveaxis(image, 0, -1), (*image.shape[1:], 3)), 0, 1)


def png(image: Array) -> bytes:
    """An image (C, H, W) as a PNG file, pixel by pixel: in grey with one channel, in RGB with three."""
    levels = (255 * np.clip(image, 0, 1)).round().astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1)).save(content, "PNG")
    return content.getvalue()


def show_rows(
    axes: Any,
    rows: Array,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    headers: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Show images as rows, without a frame, with labels to the left of rows and above columns; see `image_rows`."""
    grid = image_grid(rows.reshape(-1, *rows.shape[2:]), rows.shape[1])
    height, width = rows.shape[-2] + 2, rows.shape[-1] + 2
    later, gap = headers or {}, round(_header() * width)
    grid = np.insert(grid, np.repeat([1 + height * row for row in later], gap).astype(int), 1.0, axis=0)
    axes.imshow(grid, interpolation="nearest")
    axes.set(xticks=[], yticks=[], frame_on=False)
    columns = [1 + width * (column + 0.5) for column in range(rows.shape[1])]
    tops = [1 + height * row + gap * sum(other <= row for other in later) for row in range(len(rows))]
    if row_labels:
        axes.set_yticks([top + height / 2 for top in tops], row_labels, fontsize="medium")
    if column_labels:
        axes.set_xticks(columns, _thinned(column_labels), fontsize="medium")
        axes.xaxis.tick_top()
    for row, texts in later.items():
        for place, text in zip(columns, _thinned(texts), strict=True):
            axes.text(place, tops[row], text, ha="center", va="bottom")
    axes.tick_params(length=0)


def _header() -> float:
    """Room for a header between rows of images, as a share of the width of an image."""
    return 1.5 if is_narrow() else 0.45


def _thinned(labels: Sequence[str]) -> list[str]:
    """Labels of columns, of which a narrow figure has room for every third only."""
    step = 3 if is_narrow() and len(labels) > 6 else 1
    return [label if place % step == 0 else "" for place, label in enumerate(labels)]


def image_rows(
    rows: Array,
    title: str,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    note: str = "",
    headers: Mapping[int, Sequence[str]] | None = None,
) -> Figure:
    """A sheet of images.

    Args:
        rows: (R, M, C, H, W).
        title: what is shown, of which model and data.
        row_labels: one for each row, or none.
        column_labels: one for each column, or none.
        note: small print below.
        headers: other labels of the columns, by the number of the row, from 1 on, from which they hold.
    """
    count, columns, _, height, width = rows.shape
    style, points = _STYLE.get(), matplotlib.rcParams["font.size"] / 9
    beside = max(1.0, 0.085 * max(map(_length, row_labels))) * points if row_labels else 0.0
    across = min(max(0.72 * columns, 5.0), 10.0) if style.width is None else style.width - beside
    # A column or row of few images is not blown up to the full width of the sheet.
    down = min(across * count * height / (columns * width), 0.9 * count * max(height / width, 1), 14.0)
    extra = 0.1 + 0.45 * style.titles + 0.25 * bool(column_labels) + 0.35 * (style.titles and bool(note))
    extra += _header() * across / columns * len(headers or ())
    figure = new_figure(across + beside, down + extra, title, note)
    figure.set_layout_engine("compressed")  # the other engine cuts off names of rows beside axes of a fixed aspect
    show_rows(figure.subplots(), rows, row_labels, column_labels, headers)
    return figure


def font_size(classes: int) -> int:
    """Points of the names of so many classes along an axis."""
    return 8 if classes <= LEGEND_CLASSES else 4


def matrix(axes: Any, values: Array, texts: Sequence[str], label: str, written: Array, top: float = 1.0) -> None:
    """A square matrix in colour, with numbers written in where they fit.

    Args:
        axes: where.
        values: (C, C), for the colours.
        texts: names of rows and columns, C.
        label: what the colours mean.
        written: the numbers as texts, (C, C).
        top: the highest value that there can be; the lowest is 0.
    """
    shown = axes.imshow(values, cmap=DENSITY, vmin=0, vmax=top)
    axes.figure.colorbar(shown, ax=axes, label=label, shrink=0.8)
    places = range(len(texts))
    size = font_size(len(texts))
    axes.set_xticks(places, texts, rotation=90 if max(map(len, texts)) > 3 else 0, fontsize=size)
    axes.set_yticks(places, texts, fontsize=size)
    if len(texts) <= 12:
        for (row, column), text in np.ndenumerate(written):
            colour = "black" if values[row, column] > top / 2 else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
