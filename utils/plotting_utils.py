"""Figures from arrays. Nothing here knows a model, a run or a tensor; everything draws without a display.

Shapes: images (N, C, H, W) with values in [0, 1], C being 1 or 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[Any]

# Okabe and Ito's colours, told apart by colour-blind eyes; line styles tell them apart in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")


def image_grid(images: Array, columns: int) -> Array:
    """Lay images side by side with a margin: (N, C, H, W) to (rows, width, 3), values in [0, 1]."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.ones((rows * (height + 2) + 2, columns * (width + 2) + 2, 3))
    for index, image in enumerate(np.clip(images, 0, 1)):
        top, left = index // columns * (height + 2) + 2, index % columns * (width + 2) + 2
        grid[top : top + height, left : left + width] = (
            np.moveaxis(image, 0, -1) if channels == 3 else image[0][..., None]
        )
    return grid


def _show_grid(axes: Any, grid: Array) -> None:
    axes.imshow(grid, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def learning_curves(metrics: Sequence[dict[str, Any]], title: str, best_epoch: int) -> Figure:
    """ELBO, reconstruction, KL and KL weight over the epochs.

    Args:
        metrics: the lines of `metrics.jsonl`.
        title: what was trained on what.
        best_epoch: marked by a vertical line; 0 for none.
    """
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, 2, sharex=True)
    terms = (("elbo", "ELBO"), ("log_px_z", "reconstruction log p(x|z)"), ("kl", "KL divergence"))
    for axes, (key, label) in zip(panels.flat, terms, strict=False):
        for split, style, colour in (("train", "--", COLOURS[1]), ("val", "-", COLOURS[0])):
            lines = [line for line in metrics if line[split]]
            marker = "o" if len(lines) == 1 else None
            axes.plot(
                [line["epoch"] for line in lines],
                [np.nan if line[split][key] is None else line[split][key] for line in lines],
                style,
                color=colour,
                marker=marker,
                label={"train": "training", "val": "validation"}[split],
            )
        axes.set_ylabel(f"{label} (nats)")
    weight = panels[1, 1]
    marker = "o" if len(metrics) == 1 else None
    weight.plot(
        [line["epoch"] for line in metrics], [line["kl_weight"] for line in metrics], color=COLOURS[2], marker=marker
    )
    weight.set_ylabel("weight of the KL")
    weight.set_ylim(bottom=0)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        if best_epoch:
            axes.axvline(best_epoch, color="0.4", linestyle=":", label=f"best epoch ({best_epoch})")
    for axes in panels[1]:
        axes.set_xlabel("epoch")
    panels[0, 0].legend()
    return figure


def reconstructions(originals: Array, decoded: Array, title: str, columns: int = 10) -> Figure:
    """Originals in one row and what the model makes of them in the next.

    Args:
        originals, decoded: (N, C, H, W).
        title: what was trained on what.
        columns: images in a row.
    """
    columns = min(columns, len(originals))
    pairs = [
        part
        for start in range(0, len(originals) - columns + 1, columns)
        for part in (originals[start : start + columns], decoded[start : start + columns])
    ]
    grid = image_grid(np.concatenate(pairs), columns)
    figure = Figure(figsize=(8, 8 * grid.shape[0] / grid.shape[1] + 0.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()
    _show_grid(axes, grid)
    pitch = grid.shape[0] / len(pairs)
    axes.set_yticks(
        [pitch * (row + 0.5) for row in range(len(pairs))], ["original", "decoded"] * (len(pairs) // 2), fontsize=7
    )
    return figure


def samples(images: Array, title: str, columns: int = 10) -> Figure:
    """Images (N, C, H, W) in a grid."""
    grid = image_grid(images, columns)
    figure = Figure(figsize=(7, 7 * grid.shape[0] / grid.shape[1] + 0.5), layout="constrained")
    figure.suptitle(title)
    _show_grid(figure.subplots(), grid)
    return figure
