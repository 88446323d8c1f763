"""Figures of what a decoder makes of points all over a latent space.

Shapes: images (N, C, H, W) with values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec
from matplotlib.patches import Circle

from utils.geometry import hammer, inverse_hammer
from utils.plots_latent import hammer_frame
from utils.plotting_utils import COLOURS, Array, as_rgb, new_figure, show_rows


def ring_angles(count: int) -> Array:
    """Angles of `count` images that `ring_manifold` lays around a circle, in radians."""
    return 2 * np.pi * np.arange(count) / count


def hammer_positions(columns: int, aspect: float = 1.0) -> Array:
    """A regular grid in the Hammer projection, which is one of equal areas on the sphere.

    Args:
        columns: cells across the whole map.
        aspect: height of a cell divided by its width.

    Returns:
        Those cell centres (N, 2) whose cell lies within the map.
    """
    width = 4 * np.sqrt(2) / columns
    height = width * aspect
    rows = max(int(2 * np.sqrt(2) / height), 1)
    x = (np.arange(columns) - (columns - 1) / 2) * width
    y = -(np.arange(rows) - (rows - 1) / 2) * height
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    corner = np.abs(grid) + np.array([width, height]) * 0.25
    return grid[np.isfinite(inverse_hammer(corner)[:, 0])]


def _place(axes: Any, image: Array, x: float, y: float, width: float, height: float) -> None:
    extent = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
    axes.imshow(as_rgb(image), extent=extent, interpolation="nearest", zorder=2)


def ring_manifold(images: Array, title: str) -> Figure:
    """Images (N, C, H, W) decoded at N equal steps around a circle, laid out on it."""
    figure = new_figure(7.4, 7.8, title)
    axes = figure.subplots()
    count = len(images)
    aspect = images.shape[-2] / images.shape[-1]
    size = 2 * np.sin(np.pi / count) * 0.98 / max(1, aspect) if count > 1 else 0.5
    for angle, image in zip(ring_angles(count), images, strict=True):
        _place(axes, image, np.cos(angle), np.sin(angle), size, size * aspect)
    inner = 1 - 0.75 * size * max(1, aspect)
    axes.add_patch(Circle((0, 0), inner, fill=False, color="0.7"))
    for degrees in range(0, 360, 45):
        angle = np.radians(degrees)
        axes.text(
            0.88 * inner * np.cos(angle), 0.88 * inner * np.sin(angle), f"{degrees}°",
            ha="center", va="center", color="0.3",
        )  # fmt: skip
    reach = 1 + size * max(1, aspect)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_axis_off()
    return figure


def hammer_manifold(axes: Any, images: Array, columns: int) -> None:
    """Images decoded at `hammer_positions(columns)`, laid out there."""
    aspect = images.shape[-2] / images.shape[-1]
    width = 4 * np.sqrt(2) / columns
    for image, (x, y) in zip(images, hammer_positions(columns, aspect), strict=True):
        _place(axes, image, x, y, width * 0.98, width * aspect * 0.98)
    hammer_frame(axes, grid=False)
    for text, point in (("+z", (0, 0, 1)), ("−z", (0, 0, -1))):
        x, y = hammer(np.array(point, float))
        side = "bottom" if y > 0 else "top"
        axes.text(x, y * 1.03, text, ha="center", va=side, fontsize=8, color="0.25")


def sphere_manifold(images: Array, columns: int, title: str) -> Figure:
    """Images decoded over all of S^2, laid out in the Hammer projection at `hammer_positions(columns)`."""
    figure = new_figure(11, 6.2, title, "Hammer projection: every image stands for an equal area; +x in the middle.")
    hammer_manifold(figure.subplots(), images, columns)
    return figure


def grid_manifold(rows: Array, title: str, x_ticks: Sequence[str], y_ticks: Sequence[str], note: str) -> Figure:
    """Images (R, M, C, H, W) decoded over a grid in a plane, or along a line where R is 1; the first row is on top."""
    across = 9.0
    down = across * rows.shape[0] * rows.shape[3] / (rows.shape[1] * rows.shape[4])
    figure = new_figure(across, down + 1.2, title, note)
    axes = figure.subplots()
    show_rows(axes, rows, y_ticks, x_ticks)
    axes.xaxis.tick_bottom()
    axes.tick_params(length=0, labelsize=8)
    axes.set_xlabel("$z_1$")
    if y_ticks:
        axes.set_ylabel("$z_2$")
    return figure


def concentrations(
    original: Array,
    draws: Array,
    kappas: Sequence[float],
    clouds: Sequence[Array],
    centre: Array,
    backdrop: Array | None,
    title: str,
    note: str,
) -> Figure:
    """One image re-decoded from its posterior at several concentrations, with the cloud of latents of each.

    Args:
        original: the image, (C, H, W).
        draws: decoded samples, (R, M, C, H, W): a row for each concentration.
        kappas: the concentrations, R.
        clouds: samples of z for each concentration, unit vectors (N, d).
        centre: direction of the posterior, (d,).
        backdrop: directions of other images, drawn in grey (N, d), for d of 2 or 3.
        title: what is shown, of which model and data.
        note: small print below.
    """
    rows, columns = draws.shape[:2]
    figure = new_figure(11, 1.5 * rows + 1.2, title, note)
    outer = figure.add_gridspec(1, 2, width_ratios=(columns + 1, 3.0))
    left = figure.add_subplot(outer[0])
    # The original stands at the head of every row, so that each row can be judged by itself.
    first = np.broadcast_to(original, (rows, 1, *original.shape))
    show_rows(
        left, np.concatenate([first, draws], 1), [f"κ = {kappa:.3g}" for kappa in kappas], ["image", *[""] * columns]
    )
    right = GridSpecFromSubplotSpec(rows, 1, outer[1], hspace=0.15)
    dim = len(centre)
    for row, cloud in enumerate(clouds):
        axes = figure.add_subplot(right[row])
        if dim == 3:
            hammer_frame(axes, grid=False)
            if backdrop is not None:
                axes.scatter(*hammer(backdrop).T, s=2, color="0.8", linewidths=0)
            axes.scatter(*hammer(cloud).T, s=5, color=COLOURS[1], alpha=0.5, linewidths=0)
            axes.scatter(*hammer(centre), s=40, color="black", marker="+")
        elif dim == 2:
            axes.scatter(*(cloud * np.random.default_rng(0).uniform(0.85, 1.15, (len(cloud), 1))).T, s=4, color=COLOURS[1],
                         alpha=0.4, linewidths=0)  # fmt: skip
            axes.add_patch(Circle((0, 0), 0.75, fill=False, color="0.7"))
            axes.scatter(*(0.55 * centre), s=40, color="black", marker="+")
            axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
            axes.set_axis_off()
        else:
            degrees = np.degrees(np.arccos(np.clip(cloud @ centre, -1, 1)))
            axes.hist(degrees, np.linspace(0, 180, 61), color=COLOURS[1], density=True)
            axes.axvline(90, color="0.4", linestyle=":")
            axes.set(xlim=(0, 180), xticks=(0, 45, 90, 135, 180), yticks=())
            if row < rows - 1:
                axes.set_xticklabels([])
            else:
                axes.set_xlabel("angle from the posterior's direction (degrees)", fontsize=8)
        if row == 0:
            axes.set_title("samples of z" if dim > 3 else "samples of z (+: direction of the posterior)", fontsize=9)
    return figure
