"""Figures of what a decoder makes of points all over a latent space.

Shapes: images (N, C, H, W) with values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.stats import norm

from utils.figures.geometry import hammer, inverse_hammer
from utils.figures.plots_latent import hammer_frame
from utils.plotting_utils import COLOURS, Array, as_rgb, new_figure, panel_grid, show_rows


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


class Manifold(NamedTuple):
    """Images decoded all over one factor of a latent space.

    Attributes:
        heading: which factor it is.
        images: (N, C, H, W), at `ring_angles(columns)` of a circle, at `hammer_positions(columns)` of a sphere S^2, at
            `columns` values along a line, or at `columns` x `columns` values of a plane, the highest row first.
        columns: images across.
        dim: 1 or 2.
        sphere: whether it is one.
    """

    heading: str
    images: Array
    columns: int
    dim: int
    sphere: bool


def columns_of(dim: int, sphere: bool, single: bool) -> int:
    """Images across a manifold of this kind, fewer where several share a figure."""
    if sphere:
        return (22 if single else 15) if dim == 2 else 24
    return 16 if single else 9


def manifolds(panels: Sequence[Manifold], title: str, note: str) -> Figure:
    """Decoded images around circles, over spheres, along lines and over planes, one panel for each factor.

    Args:
        panels: at least one.
        title: what is shown, of which model and data.
        note: small print below.
    """
    if len(panels) == 1 and not panels[0].sphere and panels[0].dim == 1:
        figure = new_figure(11, 2, title, note)
        _draw(figure.subplots(), panels[0])
        return figure
    figure, places = panel_grid([panel.sphere and panel.dim == 2 for panel in panels], title, note)
    for panel, place in zip(panels, places, strict=True):
        axes = figure.add_subplot(place)
        axes.set_title(panel.heading, fontsize=10)
        _draw(axes, panel)
    return figure


def _draw(axes: Any, panel: Manifold) -> None:
    if panel.sphere:
        (_ring if panel.dim == 1 else _hammer)(axes, panel.images, panel.columns)
    else:
        _grid(axes, panel.images, panel.columns)


def _ring(axes: Any, images: Array, count: int) -> None:
    aspect = images.shape[-2] / images.shape[-1]
    size = 2 * np.sin(np.pi / count) * 0.98 / max(1, aspect)
    for angle, image in zip(ring_angles(count), images, strict=True):
        _place(axes, image, np.cos(angle), np.sin(angle), size, size * aspect)
    inner = 1 - 0.8 * size * max(1, aspect)
    axes.add_patch(Circle((0, 0), inner, fill=False, color="0.7"))
    for degrees in range(0, 360, 45):
        x, y = 0.86 * inner * np.cos(np.radians(degrees)), 0.86 * inner * np.sin(np.radians(degrees))
        axes.text(x, y, f"{degrees}°", ha="center", va="center", color="0.3", fontsize=9)
    reach = 1 + size * max(1, aspect)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_axis_off()


def _hammer(axes: Any, images: Array, columns: int) -> None:
    aspect = images.shape[-2] / images.shape[-1]
    width = 4 * np.sqrt(2) / columns
    for image, (x, y) in zip(images, hammer_positions(columns, aspect), strict=True):
        _place(axes, image, x, y, width * 0.98, width * aspect * 0.98)
    hammer_frame(axes, grid=False)
    for text, x, y, across, up in (
        ("+z", 0, 1.44, "center", "bottom"),
        ("−z", 0, -1.44, "center", "top"),
        ("−x", 2.86, 0, "left", "center"),
        ("−x", -2.86, 0, "right", "center"),
    ):
        axes.text(x, y, text, ha=across, va=up, fontsize=9, color="0.25")


def _grid(axes: Any, images: Array, columns: int) -> None:
    rows = images.reshape(-1, columns, *images.shape[1:])
    height, width = images.shape[-2] + 2, images.shape[-1] + 2
    show_rows(axes, rows)
    # Every third column, named by the share of the prior to its left and by its place.
    values = norm.ppf((np.arange(columns) + 0.5) / columns)
    chosen = np.arange(0, columns, 3)
    texts = [f"{values[place]:.1f}" for place in chosen]
    axes.set_xticks(1 + width * (chosen + 0.5), texts, fontsize=8)
    axes.set_xlabel("$z_1$ (equal shares of the prior)", fontsize=9)
    if len(rows) > 1:
        axes.set_yticks(1 + height * (columns - 1 - chosen + 0.5), texts, fontsize=8)
        axes.set_ylabel("$z_2$", fontsize=9)


def concentrations(
    original: Array,
    draws: Array,
    row_labels: Sequence[str],
    clouds: Sequence[Array],
    centre: Array,
    backdrop: Array | None,
    title: str,
    note: str,
) -> Figure:
    """One image re-decoded from its posterior at several concentrations, with the cloud of latents of each.

    Args:
        original: the image, (C, H, W); it heads every row, so that each can be judged by itself.
        draws: decoded samples, (R, M, C, H, W): a row for each concentration.
        row_labels: the concentrations in words, R.
        clouds: samples of z for each concentration, unit vectors (N, d).
        centre: direction of the posterior, (d,).
        backdrop: directions of other images, drawn in grey (N, d), or None.
        title: what is shown, of which model and data.
        note: small print below.
    """
    rows, columns = draws.shape[:2]
    figure = new_figure(11.4, 1.05 * rows + 1.5, title, note)
    grid = figure.add_gridspec(rows, 2, width_ratios=(8.4, 2.6))
    for row, cloud in enumerate(clouds):
        strip = figure.add_subplot(grid[row, 0])
        heads = ["image", *[""] * columns] if row == 0 else []
        show_rows(strip, np.concatenate([original[None], draws[row]])[None], [row_labels[row]], heads)
        axes = figure.add_subplot(grid[row, 1])
        _cloud(axes, cloud, centre, backdrop)
        if row == 0:
            axes.set_title("samples of z", fontsize=9)
        if len(centre) > 3:
            axes.tick_params(labelbottom=row == rows - 1, labelsize=8)
            if row == rows - 1:
                axes.set_xlabel("degrees from the mode", fontsize=8)
    return figure


def _cloud(axes: Any, cloud: Array, centre: Array, backdrop: Array | None) -> None:
    """Samples on a circle or on S^2 in the plane; on other spheres how far they are from the centre."""
    if len(centre) > 3:
        degrees = np.degrees(np.arccos(np.clip(cloud @ centre, -1, 1)))
        axes.hist(degrees, np.linspace(0, 180, 61), color=COLOURS[1])
        axes.axvline(90, color="0.4", linestyle=":")
        axes.set(xlim=(0, 180), xticks=(0, 45, 90, 135, 180), yticks=())
        return
    if len(centre) == 3:
        hammer_frame(axes, grid=False)
        points, mark = hammer(cloud), hammer(centre)
        others = None if backdrop is None else hammer(backdrop)
    else:
        # Width for the eye only: the samples lie on the circle itself.
        others, points = backdrop, cloud * np.linspace(0.85, 1.15, len(cloud))[:, None]
        mark = 0.6 * centre
        axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
        axes.set_axis_off()
    if others is not None:
        axes.scatter(others[:, 0], others[:, 1], s=2, color="0.8", linewidths=0)
    axes.scatter(points[:, 0], points[:, 1], s=5, color=COLOURS[1], alpha=0.5, linewidths=0)
    axes.scatter(mark[0], mark[1], s=40, color="black", marker="+")
