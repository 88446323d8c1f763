"""Figures from arrays: the house style and sheets of images.

The modules `plots_curves`, `plots_latent`, `plots_manifold` and `plots_statistics` draw the rest in the same style.
None of them knows a model, a run or a tensor, and everything draws without a display.

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
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
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

# Room for a header between rows of images, as a share of the width of an image.
HEADER = 0.45

# More classes than this have no legend: their colours run through a scale instead.
LEGEND_CLASSES = 20


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure of so many inches with a title that fits, and a note in small print below."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(_wrapped(title, max(int(width * 11.5), 20)), fontsize=11)
    if note:
        figure.supxlabel(textwrap.fill(note, max(int(width * 14), 20)), fontsize=8, color="0.3")
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


def _darker(colour: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def scatter_classes(axes: Any, xy: Array, labels: Array | None, names: Sequence[str], size: float = 18) -> None:
    """Points (N, 2), with the colour and marker of their class where labels are given.

    `class_legend` explains them. The order of drawing goes through the classes several times, so that no class covers
    all others.
    """
    if labels is None:
        axes.scatter(xy[:, 0], xy[:, 1], s=size, color=COLOURS[0], alpha=0.5, linewidths=0)
        return
    present = np.unique(labels)
    if len(present) > LEGEND_CLASSES:
        axes.scatter(xy[:, 0], xy[:, 1], s=size, c=labels, cmap="viridis", alpha=0.7, linewidths=0)
        return
    for turn in range(4):
        for rank, label in enumerate(present):
            class_points(axes, xy[np.flatnonzero(labels == label)[turn::4]], rank, size, alpha=0.8, zorder=2)


def class_legend(figure: Figure, axes: Sequence[Any], labels: Array | None, names: Sequence[str]) -> None:
    """What the colours and markers of `scatter_classes` mean, to the right of all axes."""
    from matplotlib.lines import Line2D

    if labels is None:
        return
    present = np.unique(labels)
    if len(present) > LEGEND_CLASSES:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = ScalarMappable(Normalize(present[0], present[-1]), "viridis")
        figure.colorbar(scale, ax=list(axes), label="number of the class", shrink=0.6)
        return
    handles = []
    for rank, label in enumerate(present):
        colour, marker = class_style(rank)
        name = name_of(int(label), names)
        size = 6 * marker_scale(marker) ** 0.5  # of a line in points, not in their square
        handle = Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=size, label=name)
        handle.set_markeredgecolor(_darker(colour))
        handle.set_markeredgewidth(0.5)
        handles.append(handle)
    figure.legend(handles=handles, loc="outside right upper", title="class", fontsize=9)


def image_grid(images: Array, columns: int) -> Array:
    """Lay images side by side with a margin: (N, C, H, W) to (rows, width, 3), values in [0, 1]."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.ones((rows * (height + 2) + 2, columns * (width + 2) + 2, 3))
    for index, image in enumerate(np.clip(images, 0, 1)):
        top, left = index // columns * (height + 2) + 2, index % columns * (width + 2) + 2
        grid[top : top + height, left : left + width] = as_rgb(image) if channels == 3 else image[0][..., None]
    return grid


def as_rgb(image: Array) -> Array:
    """An image (C, H, W) of one or three channels as (H, W, 3) with values in [0, 1]."""
    return np.clip(np.broadcast_to(np.moveaxis(image, 0, -1), (*image.shape[1:], 3)), 0, 1)


def png(image: Array) -> bytes:
    """An image (C, H, W) as a PNG file, pixel by pixel."""
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(content, as_rgb(image), format="png")
    return content.getvalue()


def show_grid(axes: Any, grid: Array) -> None:
    """Show a grid of images without ticks or frame."""
    axes.imshow(grid, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def show_rows(
    axes: Any,
    rows: Array,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    headers: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Show images as rows, with labels to the left of the rows and above the columns; see `image_rows`."""
    grid = image_grid(rows.reshape(-1, *rows.shape[2:]), rows.shape[1])
    height, width = rows.shape[-2] + 2, rows.shape[-1] + 2
    later, gap = headers or {}, round(HEADER * width)
    show_grid(axes, np.insert(grid, np.repeat([1 + height * row for row in later], gap).astype(int), 1.0, axis=0))
    columns = [1 + width * (column + 0.5) for column in range(rows.shape[1])]

    def top(row: int) -> int:
        return 1 + height * row + gap * sum(other <= row for other in later)

    if row_labels:
        axes.set_yticks([top(row) + height / 2 for row in range(len(rows))], row_labels, fontsize=9)
    if column_labels:
        axes.set_xticks(columns, column_labels, fontsize=9)
        axes.xaxis.tick_top()
    for row, texts in later.items():
        for place, text in zip(columns, texts, strict=True):
            axes.text(place, top(row), text, ha="center", va="bottom", fontsize=9)
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


def samples(images: Array, title: str, columns: int = 10) -> Figure:
    """Images (N, C, H, W) in a grid.

    Args:
        images: as many as fit in whole rows are shown, all of them if they are fewer than one row.
        title: what they are samples of.
        columns: images in a row.
    """
    columns = min(columns, len(images))
    count = len(images) // columns * columns
    return image_rows(images[:count].reshape(-1, columns, *images.shape[1:]), title)


def reconstructions(originals: Array, decoded: Array, name: str, title: str, columns: int = 10) -> Figure:
    """Originals in one row and what the model makes of them in the next.

    Args:
        originals, decoded: (N, C, H, W).
        name: of the originals as they are here, such as `binarized`.
        title: what was trained on what.
        columns: images in a row.
    """
    columns = min(columns, len(originals))
    count = len(originals) // columns * columns
    shape = (-1, 1, columns, *originals.shape[1:])
    pairs = np.concatenate([originals[:count].reshape(shape), decoded[:count].reshape(shape)], 1)
    rows = pairs.reshape(-1, columns, *originals.shape[1:])
    return image_rows(rows, title, [name, "decoded"] * len(pairs))
