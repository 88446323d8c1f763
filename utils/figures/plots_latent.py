"""Figures of where a model puts images in its latent space.

Shapes: N points, d ambient dimension; points of S^m are unit vectors with d = m + 1. Labels (N,) or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from utils.figures.geometry import Uniformity, angles, hammer, inverse_hammer, kernel_density, principal_components
from utils.plotting_utils import (
    COLOURS,
    DENSITY,
    LEGEND_CLASSES,
    Array,
    class_legend,
    class_points,
    class_style,
    new_figure,
    panel_grid,
    scatter_classes,
)


class Panel(NamedTuple):
    """One map of a latent space.

    Attributes:
        heading: which factor it is, such as `S^2`.
        points: (N, d): unit vectors where `sphere`, else coordinates.
        sphere: whether it is one.
    """

    heading: str
    points: Array
    sphere: bool


def latent_maps(panels: Sequence[Panel], labels: Array | None, names: Sequence[str], title: str, note: str) -> Figure:
    """One map for each factor of a latent space.

    A circle becomes a ring with its angular density, S^2 a Hammer projection, a line a histogram, a plane itself, and
    more dimensions their first two principal components.

    Args:
        panels: at least one.
        labels: classes of the points, the same for every panel.
        names: of the classes.
        title: what is shown, of which model and data.
        note: small print below.
    """
    single = len(panels) == 1
    figure, places = panel_grid([panel.sphere and panel.points.shape[-1] == 3 for panel in panels], title, note, 1.2)
    drawn = []
    for panel, place in zip(panels, places, strict=True):
        dim = panel.points.shape[-1]
        polar = {"projection": "polar"} if panel.sphere and dim == 2 else {}
        axes = figure.add_subplot(place, **polar)
        if not single:
            axes.set_title(panel.heading, fontsize=10)
        if panel.sphere and dim == 2:
            _ring(axes, panel.points, labels)
        elif panel.sphere and dim == 3:
            hammer_frame(axes)
            scatter_classes(axes, hammer(panel.points), labels, names)
        elif dim == 1:
            _histogram(axes, panel.points[:, 0], labels)
        elif dim == 2:
            _plane(axes, panel.points, labels, names)
        else:
            _components(axes, panel.points, labels, names)
        drawn.append(axes)
    class_legend(figure, drawn, labels, names)
    return figure


def sphere_views(points: Array, labels: Array | None, names: Sequence[str], title: str, note: str) -> Figure:
    """Unit vectors (N, 3) from the three axes, the far side paler, and as a Hammer projection."""
    figure = new_figure(10.8, 8.2, title, note)
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.35))
    drawn = []
    for column, (axis, across, up) in enumerate(((0, 1, 2), (1, 2, 0), (2, 0, 1))):
        axes = figure.add_subplot(grid[0, column])
        name = "xyz"
        axes.set_title(f"seen from +{name[axis]}", fontsize=10)
        axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        far = points[:, axis] < 0
        scatter_classes(axes, points[far][:, [across, up]], labels[far] if labels is not None else None, names, 5)
        for collection in axes.collections:
            collection.set_alpha(0.12)
        near = ~far
        scatter_classes(axes, points[near][:, [across, up]], labels[near] if labels is not None else None, names, 8)
        axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
        axes.set_xlabel(name[across])
        axes.set_ylabel(name[up])
        drawn.append(axes)
    axes = figure.add_subplot(grid[1, :])
    axes.set_title("Hammer projection (equal areas)", fontsize=10)
    hammer_frame(axes)
    scatter_classes(axes, hammer(points), labels, names)
    class_legend(figure, [*drawn, axes], labels, names)
    return figure


def hammer_frame(axes: Any, grid: bool = True) -> None:
    """Outline of the sphere in the Hammer projection, with meridians and parallels every 30 degrees."""
    if grid:
        fine = np.linspace(-np.pi, np.pi, 181) * (1 - 1e-9)
        for longitude in np.radians(np.arange(-150, 151, 30)):
            _curve(axes, np.full_like(fine, longitude), fine / 2, 0.9 if round(np.degrees(longitude)) % 90 else 0.75)
        for latitude in np.radians(np.arange(-60, 61, 30)):
            _curve(axes, fine, np.full_like(fine, latitude), 0.9 if latitude else 0.75)
        for text, longitude, latitude in (("+x", 0, 0), ("+y", 90, 0), ("−y", -90, 0), ("+z", 0, 90), ("−z", 0, -90)):
            x, y = hammer(_unit(np.radians(float(longitude)), np.radians(float(latitude))))
            align = {"+z": "bottom", "−z": "top"}.get(text, "center")
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 1}
            axes.text(x, y, text, ha="center", va=align, fontsize=8, color="0.25", bbox=box, zorder=3)
    axes.add_patch(Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), fill=False, color="0.5"))
    axes.set(xlim=(-2.9, 2.9), ylim=(-1.62, 1.62), aspect="equal")
    axes.set_axis_off()


def _unit(longitude: Any, latitude: Any) -> Array:
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1)


def _curve(axes: Any, longitude: Array, latitude: Array, shade: float) -> None:
    line = hammer(_unit(longitude, latitude))
    axes.plot(line[:, 0], line[:, 1], color=str(shade), linewidth=0.6, zorder=1)


def _ring(axes: Any, points: Array, labels: Array | None) -> None:
    """Each class on a ring of its own, and the density of all around them, relative to uniform."""
    direction = angles(points)
    present = np.unique(labels) if labels is not None else np.zeros(0)
    few = 0 < len(present) <= LEGEND_CLASSES
    if few and labels is not None:
        for rank, label in enumerate(present):
            chosen = direction[labels == label]
            radius = np.full_like(chosen, 0.35 + 0.65 * (rank + 1) / (len(present) + 1))
            class_points(axes, np.stack([chosen, radius], -1), rank, 12, alpha=0.5)
    else:
        style: dict[str, Any] = {"color": COLOURS[0]} if labels is None else {"c": labels, "cmap": "viridis"}
        axes.scatter(direction, np.ones_like(direction), s=12, alpha=0.3, linewidths=0, **style)
    around, density = _angular_density(points)
    height = 1.05 + 0.55 * density / density.max()
    axes.plot(around, height, color="black", linewidth=1)
    axes.fill_between(around, 1.05, height, color="0.8")
    axes.plot(around, 1.05 + 0.55 / density.max() * np.ones_like(around), color="0.4", linestyle=":", linewidth=1)
    axes.set_ylim(0, 1.65)
    axes.set_yticks([])
    axes.grid(alpha=0.3)
    axes.set_xlabel(
        f"angle; outside: density (dotted: uniform = 1, highest {density.max():.2g})", fontsize=8, color="0.3"
    )


def _angular_density(points: Array) -> tuple[Array, Array]:
    around = np.linspace(0, 2 * np.pi, 361)
    circle = np.stack([np.cos(around), np.sin(around)], -1)
    return around, kernel_density(circle, points, 150)


def _histogram(axes: Any, values: Array, labels: Array | None) -> None:
    bins = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41)
    present = np.unique(labels) if labels is not None else np.zeros(0)
    if labels is None or len(present) > LEGEND_CLASSES:
        axes.hist(values, bins, density=True, color=COLOURS[0])
    else:
        for rank, label in enumerate(present):
            colour, marker = class_style(rank)
            density, _ = np.histogram(values[labels == label], bins, density=True)
            axes.plot((bins[1:] + bins[:-1]) / 2, density, color=colour, marker=marker, markersize=3, linewidth=1)
    axes.set_xlabel("z")
    axes.set_ylabel("density" if labels is None else "density in each class")


def _plane(axes: Any, points: Array, labels: Array | None, names: Sequence[str]) -> None:
    scatter_classes(axes, points, labels, names)
    for deviations in (1, 2):
        axes.add_patch(Circle((0, 0), deviations, fill=False, color="0.5", linestyle=":", linewidth=1))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("$z_1$ (dotted: 1 and 2 standard deviations of the prior)", fontsize=9)
    axes.set_ylabel("$z_2$", fontsize=9)


def _components(axes: Any, points: Array, labels: Array | None, names: Sequence[str]) -> None:
    positions, _, shares = principal_components(points)
    if positions.shape[1] == 1:  # one point spans no second component
        positions, shares = np.pad(positions, ((0, 0), (0, 1))), np.pad(shares, (0, 1))
    scatter_classes(axes, positions, labels, names)
    axes.set_xlabel(f"principal component 1 ({shares[0]:.0%} of the variance)", fontsize=9)
    axes.set_ylabel(f"principal component 2 ({shares[1]:.0%})", fontsize=9)
    axes.set_aspect("equal", adjustable="datalim")


def latent_overview(
    points: Array,
    labels: Array | None,
    positions: Array,
    chosen: Array,
    stress: float,
    distances: str,
    names: Sequence[str],
    title: str,
    note: str,
) -> Figure:
    """A latent space of many dimensions in two: principal components, and scaling of distances.

    Args:
        points: all coordinates, (N, D).
        labels: their classes.
        positions: of the points that were scaled, (M, 2).
        chosen: which points those are, (M,).
        stress: Kruskal's stress-1 of the scaling.
        distances: of which kind they are, such as `geodesic`.
        names: of the classes.
        title: what is shown, of which model and data.
        note: small print below.
    """
    figure = new_figure(11.2, 5.4, title, note)
    left, right = figure.subplots(1, 2)
    left.set_title(f"principal components of {len(points):,} images", fontsize=10)
    _components(left, points, labels, names)
    right.set_title(f"{distances} distances of {len(positions):,} images, scaled to the plane", fontsize=10)
    scatter_classes(right, positions, labels[chosen] if labels is not None else None, names, 16)
    right.set_aspect("equal", adjustable="datalim")
    right.set_xlabel(f"MDS 1 (stress {stress:.2f}; 0 keeps all distances)", fontsize=9)
    right.set_ylabel("MDS 2", fontsize=9)
    class_legend(figure, [left, right], labels, names)
    return figure


def aggregate_posterior(panels: Sequence[tuple[str, Array, Uniformity]], title: str, note: str = "") -> Figure:
    """Density of the aggregate posterior relative to the uniform prior, on circles and on S^2.

    Args:
        panels: heading, unit vectors (N, 2) or (N, 3), and the outcome of the tests, for each factor.
        title: what is shown, of which model and data.
        note: more for the small print below.
    """
    note = f"One sample of z for each of {len(panels[0][1]):,} test images. {note}".strip()
    figure, places = panel_grid([True] * len(panels), title, note)
    for (heading, points, tests), place in zip(panels, places, strict=True):
        axes = figure.add_subplot(place)
        if points.shape[1] == 2:
            around, density = _angular_density(points)
            axes.plot(np.degrees(around), density, color=COLOURS[0], label="aggregate posterior")
            axes.axhline(1, color="0.3", linestyle="--", label="prior")
            axes.set(xlim=(0, 360), xticks=range(0, 361, 60), xlabel="angle (degrees)", ylabel="density / prior")
            axes.set_ylim(bottom=0)
            axes.legend(fontsize=8, loc="upper right")
        else:
            x, y = np.meshgrid(np.linspace(-2.83, 2.83, 120), np.linspace(-1.415, 1.415, 60))
            # Beyond the rim the value at the rim: the picture is cut along the ellipse, not along its pixels.
            beyond = np.maximum(np.sqrt(x**2 / 8 + y**2 / 2), 1)[..., None] * (1 + 1e-9)
            at = inverse_hammer(np.stack([x, y], -1) / beyond)
            density = kernel_density(at.reshape(-1, 3), points, 40).reshape(x.shape)
            shown = axes.imshow(
                density, origin="lower", extent=(-2.83, 2.83, -1.415, 1.415), cmap=DENSITY, vmin=0,
                interpolation="bilinear",
            )  # fmt: skip
            rim = Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), transform=axes.transData)
            shown.set_clip_path(rim)
            hammer_frame(axes, grid=False)
            figure.colorbar(shown, ax=axes, label="density / prior (1: as the prior)", shrink=0.75)
        axes.set_title(
            f"{heading}: mean of length {tests.resultant:.3f}\n"
            f"uniform? Rayleigh: p {_p_text(tests.rayleigh)}; Bingham: p {_p_text(tests.bingham)}",
            fontsize=9,
        )
    return figure


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
