"""Figures of numbers: concentrations, log p(x), codes, confusions.

Shapes: N images, n factors, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.figures.geometry import multidimensional_scaling
from utils.plotting_utils import (
    COLOURS,
    DENSITY,
    LEGEND_CLASSES,
    STYLES,
    Array,
    class_points,
    name_of,
    new_figure,
    show_rows,
)


def kappa_histogram(kappas: Array, headings: Sequence[str], title: str) -> Figure:
    """Histogram of the concentrations (N, n), one outline for each sphere, at most six of them."""
    shown = min(kappas.shape[1], 6)
    note = f"The first {shown} of {kappas.shape[1]} spheres." if shown < kappas.shape[1] else ""
    figure = new_figure(7.4, 4.4, title, note)
    axes = figure.subplots()
    low, high = kappas[:, :shown].min(), kappas[:, :shown].max()
    pad = max(0.02 * (high - low), 1e-3 * high)
    bins = np.linspace(low - pad, high + pad, _bin_count(kappas[:, :shown].ravel()) + 1).tolist()
    for factor in range(shown):
        values, style = kappas[:, factor], STYLES[factor % len(STYLES)]
        label = f"{headings[factor]}: median {np.median(values):.3g}"
        axes.hist(values, bins, histtype="step", color=COLOURS[factor], linestyle=style, linewidth=1.5, label=label)
        if shown == 1:
            axes.hist(values, bins, color=COLOURS[factor], alpha=0.25)
    axes.set_xlabel("concentration κ of q(z|x)")
    _count_axis(axes, len(kappas))
    axes.legend(fontsize=9)
    return figure


def log_px_histogram(values: Array, k: int, worst: Array, best: Array, title: str) -> Figure:
    """Histogram of log p(x) of each image (N,), in nats, with the images of lowest and highest value.

    Args:
        values: those that are not finite are left out and counted in the label.
        k: importance samples of the estimate.
        worst, best: images (M, C, H, W) from the extreme inwards.
        title: what is shown, of which model and data.
    """
    finite = values[np.isfinite(values)]
    figure = new_figure(8.4, 6.4, title)
    above, below = figure.subplots(2, 1, height_ratios=(3, 1.8))
    above.hist(finite, _bin_count(finite), color=COLOURS[0])
    if len(finite):
        above.axvline(finite.mean(), color=COLOURS[1], linestyle="--", label=f"mean {finite.mean():.2f}")
        above.legend()
    lost = len(values) - len(finite)
    above.set_xlabel(f"log p(x) (nats, K = {k})" + (f"; {lost} not finite" if lost else ""))
    _count_axis(above, len(values))
    show_rows(below, np.stack([worst, best]), ["least likely", "most likely"])
    return figure


def _bin_count(values: Array) -> int:
    """Bins of a histogram by the rule of Freedman and Diaconis, between 5 and 60: outliers may ask for millions."""
    if not len(values):
        return 5
    low, first, third, high = np.quantile(values, (0, 0.25, 0.75, 1))
    width = 2 * (third - first) / np.cbrt(len(values))
    return int(np.clip((high - low) / width, 5, 60)) if width > 0 else 5


def _count_axis(axes: Any, total: int) -> None:
    axes.set_ylabel(f"images (of {total:,})")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))


def code_usage(counts: Array, perplexity: float, title: str) -> Figure:
    """How often each code is used, in descending order, beside even use.

    Args:
        counts: (codes,), how often each is used.
        perplexity: of the codes.
        title: what is shown, of which model and data.
    """
    share = np.sort(counts)[::-1] / max(counts.sum(), 1)
    figure = new_figure(7.4, 4.4, title)
    axes = figure.subplots()
    axes.bar(np.arange(1, len(share) + 1), share, width=1.0, color=COLOURS[0])
    axes.axhline(1 / len(share), color=COLOURS[1], linestyle="--", label="all codes alike")
    axes.set_xlabel("code, in order of use")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    axes.set_ylabel("share of all positions")
    axes.set_title(
        f"{(counts > 0).sum()} of {len(share)} codes are used; perplexity {perplexity:.1f} of {len(share)} at most",
        fontsize=10,
    )
    axes.legend()
    return figure


def category_usage(counts: Array, perplexity: float, title: str) -> Figure:
    """How often each category of each variable is used, a row for each variable.

    Args:
        counts: (variables, categories), how often each is used.
        perplexity: of a variable's categories, the mean over variables.
        title: what is shown, of which model and data.
    """
    variables, categories = counts.shape
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    note = f"A category has a meaning within its own variable only. Even use: a share of {1 / categories:.3g}."
    figure = new_figure(7.4, min(max(0.22 * variables + 2.2, 3.6), 9.0), title, note)
    axes = figure.subplots()
    shown = axes.imshow(
        share, cmap=DENSITY, vmin=0, aspect="auto", interpolation="nearest",
        extent=(0.5, categories + 0.5, variables + 0.5, 0.5),
    )  # fmt: skip
    figure.colorbar(shown, ax=axes, label="share of the images")
    axes.set(xlabel="category", ylabel="variable")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10), min_n_ticks=1))
    axes.set_title(
        f"{(counts > 0).mean():.0%} of the categories are used; "
        f"perplexity {perplexity:.1f} of {categories} at most, mean over variables",
        fontsize=10,
    )
    return figure


def jensen_shannon(counts: Array) -> Array:
    """Jensen-Shannon divergences between the code distributions of classes, in nats.

    Codes at different positions are separate distributions; the result is the mean over positions.

    Args:
        counts: (C, positions, codes), how often each code stands at each position; every class has some.

    Returns:
        (C, C), between 0 and log 2.
    """
    from scipy.spatial.distance import jensenshannon

    share = counts / counts.sum(-1, keepdims=True)
    found = np.zeros((len(counts), len(counts)))
    for row in range(len(counts)):
        # scipy returns the root, a metric; rounding can make it NaN where two distributions are one.
        found[row] = np.nan_to_num(jensenshannon(share[row], share, axis=-1) ** 2).mean(-1)
    return found


def class_codes(divergences: Array, names: Sequence[str], title: str) -> Figure:
    """Which classes use the same codes: matrix of Jensen-Shannon divergences, dendrogram and map.

    Args:
        divergences: (C, C) in nats, C being 3 or more.
        names: of the classes, C.
        title: what is shown, of which model and data.

    Raises:
        ValueError: there are fewer than three classes, which have no tree and no map.
    """
    from scipy.cluster.hierarchy import dendrogram, linkage
    from scipy.spatial.distance import squareform

    count = len(divergences)
    if count < 3:
        raise ValueError(f"{count} classes have no tree and no map; three are needed")
    texts = [name_of(label, names) for label in range(count)]
    figure = new_figure(13, 4.9, title, "Divergences in nats; 0: the same codes, 0.69: no code in common.")
    matrix, tree, plane = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _matrix(figure, matrix, divergences, texts, "Jensen–Shannon divergence (nats)", "{:.2f}")
    # A dendrogram and a map need distances: the root of the divergence is a metric, the divergence is not.
    distances = np.sqrt(divergences)
    with warnings.catch_warnings():
        # Classes that are all alike make a tree without height, of which matplotlib warns.
        warnings.filterwarnings("ignore", "Attempting to set identical")
        dendrogram(
            linkage(squareform(distances, checks=False), "average"), labels=texts, ax=tree, color_threshold=0,
            above_threshold_color=COLOURS[0], leaf_rotation=90 if max(map(len, texts)) > 3 else 0,
            leaf_font_size=_font_size(count),
        )  # fmt: skip
    tree.set_title("average linkage", fontsize=10)
    tree.set_ylabel("root of the divergence")
    positions, stress = multidimensional_scaling(distances)
    for label, (x, y) in enumerate(positions):
        class_points(plane, np.array([[x, y]]), label, 40)
        if count <= LEGEND_CLASSES:
            # Towards the middle, so that no name runs out of the picture.
            side, shift = ("left", 6) if x <= 0 else ("right", -6)
            plane.annotate(texts[label], (x, y), xytext=(shift, 5), textcoords="offset points", ha=side, fontsize=9)
    plane.set_title(f"multidimensional scaling (stress {stress:.2f})", fontsize=10)
    plane.margins(0.15)
    plane.set_aspect("equal", adjustable="datalim")
    plane.set_xlabel("MDS 1")
    plane.set_ylabel("MDS 2")
    return figure


def confusion_matrix(counts: Array, names: Sequence[str], title: str) -> Figure:
    """Confusions of a classifier.

    Args:
        counts: (C, C), images of the class of the row that were taken for the class of the column.
        names: of the classes.
        title: what is shown, of which model and data.
    """
    texts = [name_of(label, names) for label in range(len(counts))]
    total = counts.sum()
    accuracy = np.trace(counts) / max(total, 1)
    size = min(max(0.5 * len(counts) + 2, 4.5), 12)
    figure = new_figure(size + 1.2, size, f"{title}; accuracy {accuracy:.2%} of {int(total):,} images")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    _matrix(figure, axes, share, texts, "share of the true class", "{:.0f}", counts)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def _font_size(classes: int) -> int:
    return 8 if classes <= LEGEND_CLASSES else 4


def _matrix(
    figure: Figure, axes: Any, values: Array, texts: Sequence[str], label: str, form: str, written: Array | None = None
) -> None:
    """A square matrix in colour, with its numbers written in where they fit."""
    shown = axes.imshow(values, cmap=DENSITY)
    figure.colorbar(shown, ax=axes, label=label, shrink=0.8)
    places = range(len(texts))
    size = _font_size(len(texts))
    axes.set_xticks(places, texts, rotation=90 if max(map(len, texts)) > 3 else 0, fontsize=size)
    axes.set_yticks(places, texts, fontsize=size)
    if len(texts) <= 12:
        middle = (values.min() + values.max()) / 2
        for row in places:
            for column in places:
                value = (values if written is None else written)[row, column]
                colour = "black" if values[row, column] > middle else "white"
                axes.text(column, row, form.format(value), ha="center", va="center", fontsize=7, color=colour)
