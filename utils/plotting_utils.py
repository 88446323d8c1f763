"""Figures from arrays: the house style and sheets of images.

The modules of `utils.figures` draw the figures of a run with it. Nothing here knows a model, a run or a tensor, and
everything draws without a display.

Shapes: images (N, C, H, W) with values in [0, 1], C being 1 or 3; labels (N,), whole numbers from 0.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

Array = NDArray[Any]

# Okabe and Ito's colours, told apart by colour-blind eyes; line styles and markers tell them apart in grey print. Two
# of Tol's join them, since ten is the usual number of classes.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255", "#888888",
)  # fmt: skip
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
DENSITY = "cividis"

# Sizes of text in points and what else matplotlib is told, within `matplotlib.rc_context`.
HOUSE_STYLE: Any = {
    "font.size": 9,
    "figure.titlesize": 11,
    "figure.labelsize": 8,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
}

# Room for a header between rows of images, as a share of the width of an image.
HEADER = 0.45

# More classes than this have no legend: their colours run through a scale instead.
LEGEND_CLASSES = 20

# Arguments of a `MaxNLocator` for counts.
WHOLE_TICKS: dict[str, Any] = {"integer": True, "steps": (1, 2, 5, 10)}


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure of so many inches with a title that fits, and a note in small print below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(_wrapped(title, max(int(width * 11.5), 20)))
    if note:
        figure.supxlabel(textwrap.fill(note, max(int(width * 14), 20)), color="0.3")
    return figure


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


def panel_grid(wide: Sequence[bool], title: str, note: str, legend: float = 0.0) -> tuple[Figure, list[Any]]:
    """A figure with a place for each panel, in rows of up to three.

    Args:
        wide: for each panel whether it is twice as wide as it is high.
        title, note: as for `new_figure`.
        legend: inches to leave on the right.

    Returns:
        The figure and the places, for `add_subplot`.
    """
    count = len(wide)
    if count == 1:
        figure = new_figure(*((10.4, 5.8) if wide[0] else (7.4 + legend, 7.6)), title, note)
        return figure, [figure.add_gridspec(1, 1)[0]]
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    widths = [max(1.7 if wide[place] else 1.0 for place in range(column, count, columns)) for column in range(columns)]
    figure = new_figure(3.4 * sum(widths) + legend, 3.7 * rows + 0.9, title, note)
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
    return tuple(0.6 * part for part in to_rgb(colour))


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
    present = named_classes(labels)
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
        look: dict[str, Any] = {"color": colour, "markeredgecolor": _darker(colour), "markeredgewidth": 0.5}
        look |= {"marker": marker, "markersize": size, "linestyle": "none"}
        handles.append(Line2D([], [], label=name_of(label, names), **look))
    if handles:
        figure.legend(handles=handles, loc="outside right upper", title="class")
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
    """An image (C, H, W) as a PNG file, pixel by pixel."""
    content = io.BytesIO()
    imsave(content, as_rgb(image), format="png")
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
    later, gap = headers or {}, round(HEADER * width)
    grid = np.insert(grid, np.repeat([1 + height * row for row in later], gap).astype(int), 1.0, axis=0)
    axes.imshow(grid, interpolation="nearest")
    axes.set(xticks=[], yticks=[], frame_on=False)
    columns = [1 + width * (column + 0.5) for column in range(rows.shape[1])]
    tops = [1 + height * row + gap * sum(other <= row for other in later) for row in range(len(rows))]
    if row_labels:
        axes.set_yticks([top + height / 2 for top in tops], row_labels, fontsize="medium")
    if column_labels:
        axes.set_xticks(columns, column_labels, fontsize="medium")
        axes.xaxis.tick_top()
    for row, texts in later.items():
        for place, text in zip(columns, texts, strict=True):
            axes.text(place, tops[row], text, ha="center", va="bottom")
    axes.tick_params(length=0)


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
    across = min(max(0.72 * columns, 5.0), 10.0)
    # A column or row of few images is not blown up to the full width of the sheet.
    down = min(across * count * height / (columns * width), 0.9 * count * max(height / width, 1), 14.0)
    extra = 0.55 + (0.25 if column_labels else 0) + (0.35 if note else 0) + HEADER * 0.72 * len(headers or ())
    beside = max(1.0, 0.085 * max(map(_length, row_labels))) if row_labels else 0.0
    figure = new_figure(across + beside, down + extra, title, note)
    show_rows(figure.subplots(), rows, row_labels, column_labels, headers)
    return figure


def font_size(classes: int) -> int:
    """Points of the names of so many classes along an axis."""
    return 8 if classes <= LEGEND_CLASSES else 4


def matrix(
    figure: Figure, axes: Any, values: Array, texts: Sequence[str], label: str, form: str, written: Array | None = None
) -> None:
    """A square matrix in colour, with its numbers written in where they fit.

    Args:
        figure, axes: where.
        values: (C, C), for the colours.
        texts: names of rows and columns, C.
        label: what the colours mean.
        form: of the numbers.
        written: other numbers to write in, (C, C).
    """
    shown = axes.imshow(values, cmap=DENSITY)
    figure.colorbar(shown, ax=axes, label=label, shrink=0.8)
    places = range(len(texts))
    size = font_size(len(texts))
    axes.set_xticks(places, texts, rotation=90 if max(map(len, texts)) > 3 else 0, fontsize=size)
    axes.set_yticks(places, texts, fontsize=size)
    if len(texts) <= 12:
        middle = (values.min() + values.max()) / 2
        for (row, column), value in np.ndenumerate(values if written is None else written):
            colour = "black" if values[row, column] > middle else "white"
            axes.text(column, row, form.format(value), ha="center", va="center", fontsize=7, color=colour)
