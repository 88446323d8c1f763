"""Figures of where a model puts images in its latent space.

Shapes: N points, d ambient dimension; points of S^m are unit vectors with d = m + 1. Labels (N,) or None.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from utils.figures.geometry import (
    angles,
    geodesic_distances,
    hammer,
    inverse_hammer,
    kernel_density,
    multidimensional_scaling,
    principal_components,
    uniformity,
)
from utils.figures.subject import Array, Subject
from utils.plotting_utils import (
    COLOURS,
    DENSITY,
    class_legend,
    class_points,
    class_style,
    named_classes,
    new_figure,
    panel_grid,
    plane_axes,
    scatter_classes,
    unnamed_style,
)

SCALED = 500
MOST_PANELS = 9
MOST_NAMES = 12


def _note(subject: Subject) -> str:
    count, total = len(subject.embedded), len(subject.images)
    mode = "mean" if subject.is_flat else "mode"
    return f"Each point is the {mode} of q(z|x) for one of {count:,}{f' of {total:,}' * (count < total)} test images."


def latent(subject: Subject) -> Figure:
    """One map for each factor of the latent space.

    A circle becomes a ring with its angular density, S^2 a Hammer projection (and views from the axes where it is
    alone), a line a histogram, a plane itself, and more dimensions their first two principal components.
    """
    title, note = f"Latent space: {subject.title}", _note(subject)
    labels, factors = subject.embedded_labels, subject.factors[:MOST_PANELS]
    if [factor.symbol for factor in subject.factors] == ["S^2"]:
        return _sphere_views(factors[0].unit(subject.modes), subject, title, note)
    if len(factors) < len(subject.factors):
        note += f" The first {len(factors)} of {len(subject.factors)} factors."
    figure, places = panel_grid([factor.symbol == "S^2" for factor in factors], title, note, 1.2)
    drawn = []
    for factor, heading, place in zip(factors, subject.names, places, strict=False):
        axes = figure.add_subplot(place, projection="polar" if factor.symbol == "S^1" else None)
        if len(factors) > 1:
            axes.set_title(heading)
        MAPS.get(factor.symbol, _components)(axes, factor.unit(subject.modes), labels)
        drawn.append(axes)
    class_legend(figure, drawn, labels, subject.class_names)
    return figure


def _sphere_views(points: Array, subject: Subject, title: str, note: str) -> Figure:
    """Unit vectors (N, 3) from the three axes, the far side paler, and as a Hammer projection."""
    labels = subject.embedded_labels
    figure = new_figure(10.8, 8.2, title, note)
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.35))
    drawn = []
    for column, (axis, across, up) in enumerate(((0, 1, 2), (1, 2, 0), (2, 0, 1))):
        axes = figure.add_subplot(grid[0, column])
        axes.set_title(f"seen from +{'xyz'[axis]}")
        axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
        near = points[:, axis] >= 0
        for side, size in ((~near, 5), (near, 8)):
            scatter_classes(axes, points[side][:, [across, up]], None if labels is None else labels[side], size)
            if size == 5:
                for collection in axes.collections:
                    collection.set_alpha(0.12)
        axes.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
        axes.set(xlabel="xyz"[across], ylabel="xyz"[up])
        drawn.append(axes)
    axes = figure.add_subplot(grid[1, :])
    axes.set_title("Hammer projection (equal areas)")
    _hammer_map(axes, points, labels)
    class_legend(figure, [*drawn, axes], labels, subject.class_names)
    return figure


def hammer_frame(axes: Any, grid: bool = True) -> None:
    """Outline of the sphere in the Hammer projection, with meridians and parallels every 30 degrees."""
    if grid:
        fine = np.linspace(-np.pi, np.pi, 181) * (1 - 1e-9)
        lines = [(np.full_like(fine, np.radians(degrees)), fine / 2, degrees % 90) for degrees in range(-150, 151, 30)]
        lines += [(fine, np.full_like(fine, np.radians(degrees)), degrees) for degrees in range(-60, 61, 30)]
        for longitudes, latitudes, faint in lines:
            shade = "0.9" if faint else "0.75"
            axes.plot(*hammer(_direction(longitudes, latitudes)).T, color=shade, linewidth=0.6, zorder=1)
        for text, longitude, latitude in (("+x", 0, 0), ("+y", 90, 0), ("−y", -90, 0), ("+z", 0, 90), ("−z", 0, -90)):
            x, y = hammer(_direction(np.radians(float(longitude)), np.radians(float(latitude))))
            align = {"+z": "bottom", "−z": "top"}.get(text, "center")
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 1}
            axes.text(x, y, text, ha="center", va=align, fontsize=8, color="0.25", bbox=box, zorder=3)
    axes.add_patch(Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), fill=False, color="0.5"))
    axes.set(xlim=(-2.9, 2.9), ylim=(-1.62, 1.62), aspect="equal")
    axes.set_axis_off()


def _direction(longitude: Any, latitude: Any) -> Array:
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1)


def _hammer_map(axes: Any, points: Array, labels: Array | None) -> None:
    hammer_frame(axes)
    scatter_classes(axes, hammer(points), labels)


def _ring(axes: Any, points: Array, labels: Array | None) -> None:
    """Each class on a ring of its own, and the density of all around them, relative to uniform."""
    direction, present = angles(points), named_classes(labels)
    for rank, label in enumerate(present):
        chosen = direction[labels == label]
        radius = np.full_like(chosen, 0.35 + 0.65 * (rank + 1) / (len(present) + 1))
        class_points(axes, np.stack([chosen, radius], -1), rank, 12, alpha=0.5)
    if not present:
        axes.scatter(direction, np.ones_like(direction), s=12, alpha=0.3, linewidths=0, **unnamed_style(labels))
    around, density = _angular_density(points)
    height = 1.05 + 0.55 * density / density.max()
    axes.plot(around, height, color="black", linewidth=1)
    axes.fill_between(around, 1.05, height, color="0.8")
    axes.plot(around, 1.05 + 0.55 / density.max() * np.ones_like(around), color="0.4", linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.65), yticks=[])
    axes.grid(alpha=0.3)
    axes.set_xlabel(f"angle; outside: density (dotted: uniform = 1, highest {density.max():.2g})", color="0.3")


def _angular_density(points: Array) -> tuple[Array, Array]:
    around = np.linspace(0, 2 * np.pi, 361)
    circle = np.stack([np.cos(around), np.sin(around)], -1)
    return around, kernel_density(circle, points, 150)


def _histogram(axes: Any, points: Array, labels: Array | None) -> None:
    values = points[:, 0]
    bins = np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41)
    present = named_classes(labels)
    if not present:
        axes.hist(values, bins, density=True, color=COLOURS[0])
    for rank, label in enumerate(present):
        colour, marker = class_style(rank)
        density, _ = np.histogram(values[labels == label], bins, density=True)
        axes.plot((bins[1:] + bins[:-1]) / 2, density, color=colour, marker=marker, markersize=3, linewidth=1)
    axes.set(xlabel="z", ylabel="density in each class" if present else "density")


def _plane(axes: Any, points: Array, labels: Array | None) -> None:
    scatter_classes(axes, points, labels)
    for deviations in (1, 2):
        axes.add_patch(Circle((0, 0), deviations, fill=False, color="0.5", linestyle=":", linewidth=1))
    plane_axes(axes, "$z_1$ (dotted: 1 and 2 standard deviations of the prior)", "$z_2$")


def _components(axes: Any, points: Array, labels: Array | None) -> None:
    positions, _, shares = principal_components(points)
    if positions.shape[1] == 1:  # one point spans no second component
        positions, shares = np.pad(positions, ((0, 0), (0, 1))), np.pad(shares, (0, 1))
    scatter_classes(axes, positions, labels)
    first = f"principal component 1 ({shares[0]:.0%} of the variance)"
    plane_axes(axes, first, f"principal component 2 ({shares[1]:.0%})")


MAPS: dict[str, Any] = {"S^1": _ring, "S^2": _hammer_map, "R^1": _histogram, "R^2": _plane}


def latent_overview(subject: Subject) -> Figure:
    """A latent space of many dimensions in two: principal components, and scaling of distances."""
    points, labels = subject.modes, subject.embedded_labels
    chosen = np.linspace(0, len(points) - 1, min(SCALED, len(points))).round().astype(int)
    parts = [(factor.columns, factor.radius) for factor in subject.factors]
    positions, stress = multidimensional_scaling(geodesic_distances(points[chosen], parts))
    figure = new_figure(11.2, 5.4, f"Latent space in two dimensions: {subject.title}", _note(subject))
    left, right = figure.subplots(1, 2)
    left.set_title(f"principal components of {len(points):,} images")
    _components(left, points, labels)
    distances = "Euclidean" if subject.is_flat else "geodesic"
    right.set_title(f"{distances} distances of {len(positions):,} images, scaled to the plane")
    scatter_classes(right, positions, None if labels is None else labels[chosen], 16)
    plane_axes(right, f"MDS 1 (stress {stress:.2f}; 0 keeps all distances)", "MDS 2")
    class_legend(figure, [left, right], labels, subject.class_names)
    return figure


def aggregate_posterior(subject: Subject) -> Figure:
    """Density of the aggregate posterior relative to the uniform prior, on circles and on S^2."""
    low = [place for place, factor in enumerate(subject.factors) if factor.radius is not None and factor.dim <= 2]
    low, names = low[:MOST_PANELS], subject.names
    left_out = [name for place, name in enumerate(names) if place not in low]
    of, note = "", f"One sample of z for each of {len(subject.embedded):,} test images."
    if left_out:
        of = f" of {names[low[0]]}" if len(low) == 1 else f" of {len(low)} of {len(names)} factors"
        first = f", the first {MOST_PANELS}" if len(low) == MOST_PANELS else ""
        listed = ", ".join(left_out[:MOST_NAMES]) + ", …" * (len(left_out) > MOST_NAMES)
        note += f" Not shown: {listed} (only circles and spheres $S^{{2}}$ are{first})."
    title = f"Aggregate posterior{of} against the prior: {subject.title}"
    figure, places = panel_grid([True] * len(low), title, note)
    for number, place in zip(low, places, strict=True):
        points = subject.factors[number].unit(subject.samples.astype(np.float64))
        axes = figure.add_subplot(place)
        (_density_around if points.shape[1] == 2 else _density_over)(figure, axes, points)
        tests = uniformity(points)
        axes.set_title(
            f"{names[number]}: mean of length {tests.resultant:.3f}\n"
            f"uniform? Rayleigh: p {_p_text(tests.rayleigh)}; Bingham: p {_p_text(tests.bingham)}",
            fontsize=9,
        )
    return figure


def _density_around(figure: Figure, axes: Any, points: Array) -> None:
    around, density = _angular_density(points)
    axes.plot(np.degrees(around), density, color=COLOURS[0], label="aggregate posterior")
    axes.axhline(1, color="0.3", linestyle="--", label="prior")
    axes.set(xlim=(0, 360), xticks=range(0, 361, 60), xlabel="angle (degrees)", ylabel="density / prior")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")


def _density_over(figure: Figure, axes: Any, points: Array) -> None:
    x, y = np.meshgrid(np.linspace(-2.83, 2.83, 120), np.linspace(-1.415, 1.415, 60))
    # Beyond the rim the value at the rim: the picture is cut along the ellipse, not along its pixels.
    beyond = np.maximum(np.sqrt(x**2 / 8 + y**2 / 2), 1)[..., None] * (1 + 1e-9)
    at = inverse_hammer(np.stack([x, y], -1) / beyond)
    density = kernel_density(at.reshape(-1, 3), points, 40).reshape(x.shape)
    extent = (-2.83, 2.83, -1.415, 1.415)
    shown = axes.imshow(density, origin="lower", extent=extent, cmap=DENSITY, vmin=0, interpolation="bilinear")
    shown.set_clip_path(Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), transform=axes.transData))
    hammer_frame(axes, grid=False)
    figure.colorbar(shown, ax=axes, label="density / prior (1: as the prior)", shrink=0.75)


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
