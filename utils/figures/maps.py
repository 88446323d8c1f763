"""Figures of where a model puts images in its latent space.

Shapes: N points, d ambient dimension; points of S^m are unit vectors with d = m + 1. Labels (N,) or None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from utils.figures.geometry import (
    angles,
    circle,
    geodesic_distances,
    hammer,
    kernel_density,
    line_density,
    multidimensional_scaling,
    neighbour_embedding,
    principal_components,
)
from utils.figures.subject import Array, Subject
from utils.plotting_utils import (
    class_legend,
    class_points,
    class_style,
    legend,
    name_of,
    named_classes,
    new_figure,
    panel_grid,
    plane_axes,
    scatter_classes,
    set_title,
    unnamed_style,
)

SCALED = 500
MOST_PANELS = 9


def _note(subject: Subject) -> str:
    count, total = len(subject.embedded), len(subject.images)
    point, of = "mean" if subject.is_flat else "mode", f" of {total:,}" * (count < total)
    return f"Each point is the {point} of q(z|x) for one of {count:,}{of} test images. {subject.warning}".strip()


def latent(subject: Subject) -> Figure:
    """One map for each factor of the latent space.

    A circle becomes a ring with its angular density, S^2 a Hammer projection (and views from the axes where it is
    alone), a line a ridge for each class, a plane itself, and more dimensions their first two principal components. Two
    circles are a square torus too.
    """
    title, note = f"Latent space: {subject.title}", _note(subject)
    labels, factors = subject.embedded_labels, subject.factors[:MOST_PANELS]
    symbols = [factor.symbol for factor in subject.factors]
    if symbols == ["S^2"]:
        return _sphere_views(subject, title, note)
    if len(factors) < len(symbols):
        note += f" The first {len(factors)} of {len(symbols)} factors."
    torus = symbols == ["S^1", "S^1"]
    wide = [factor.symbol == "S^2" for factor in factors] + [False] * torus
    figure, places = panel_grid(wide, title, note, 1.2)
    drawn = []
    for factor, heading, place in zip(factors, subject.names, places, strict=False):
        axes = figure.add_subplot(place, projection="polar" if factor.symbol == "S^1" else None)
        drawn.append(axes)
        if len(factors) > 1 or factor.radius not in (None, 1):
            axes.set_title(heading)
        draw = MAPS.get(factor.symbol, _components)
        draw(axes, factor.unit(subject.modes), labels, factor.unit(subject.prior), subject.class_names)
    if torus:
        drawn.append(figure.add_subplot(places[2]))
        torus_axes(drawn[-1], subject.names, "both angles")
        scatter_classes(drawn[-1], np.degrees(torus_angles(subject, subject.modes)), labels)
    if set(symbols) != {"R^1"}:  # ridges are named one by one
        class_legend(figure, drawn, labels, subject.class_names)
    return figure


def torus_angles(subject: Subject, z: Array) -> Array:
    """The two angles (N, 2) from 0 to 2 pi of latents (N, 4) of a product of two circles."""
    return np.stack([angles(factor.unit(z)) for factor in subject.factors], -1)


def torus_axes(axes: Any, names: Sequence[str], title: str) -> None:
    """A square whose opposite sides are one, since 0° and 360° are."""
    ticks = range(0, 361, 90)
    axes.set(xlim=(0, 360), ylim=(0, 360), xticks=ticks, yticks=ticks, aspect="equal", title=title)
    axes.set(xlabel=f"angle on {names[0]} (degrees)", ylabel=f"angle on {names[1]} (degrees)")


def _sphere_views(subject: Subject, title: str, note: str) -> Figure:
    """The sphere S^2 from the three axes, the far side paler, and as a Hammer projection."""
    labels, (factor,) = subject.embedded_labels, subject.factors
    points, radius = factor.unit(subject.modes), factor.radius
    assert radius is not None
    figure = new_figure(10.8, 8.2, title, note)
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.35))
    drawn = []
    for column, (axis, across, up) in enumerate(((0, 1, 2), (1, 2, 0), (2, 0, 1))):
        axes = figure.add_subplot(grid[0, column])
        axes.set_title(f"seen from +{'xyz'[axis]}")
        axes.add_patch(Circle((0, 0), radius, fill=False, color="0.6"))
        near = points[:, axis] >= 0
        for side, size in ((~near, 5), (near, 8)):
            xy = radius * points[side][:, [across, up]]
            scatter_classes(axes, xy, None if labels is None else labels[side], size)
            if size == 5:
                for collection in axes.collections:
                    collection.set_alpha(0.12)
        ticks, reach = (-radius, 0, radius), (-1.08 * radius, 1.08 * radius)
        axes.set(xlim=reach, ylim=reach, xticks=ticks, yticks=ticks, aspect="equal")
        axes.set(xlabel="xyz"[across], ylabel="xyz"[up])
        drawn.append(axes)
    axes = figure.add_subplot(grid[1, :])
    axes.set_title("Hammer projection (equal areas)")
    hammer_frame(axes)
    scatter_classes(axes, hammer(points), labels)
    class_legend(figure, [*drawn, axes], labels, subject.class_names)
    return figure


def hammer_frame(axes: Any, grid: bool = True) -> None:
    """Outline of the sphere in the Hammer projection, with meridians and parallels every 30 degrees."""
    if grid:
        fine = np.linspace(-np.pi, np.pi, 181) * (1 - 1e-9)
        lines = [(np.full_like(fine, np.radians(degrees)), fine / 2, degrees % 90) for degrees in range(-150, 151, 30)]
        lines += [(fine, np.full_like(fine, np.radians(degrees)), degrees) for degrees in range(-60, 61, 30)]
        for lon, lat, faint in lines:
            line = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
            axes.plot(*hammer(line).T, color="0.9" if faint else "0.75", linewidth=0.6, zorder=1)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 1}
        for text, axis, align in (
            ("+x", (1, 0, 0), "center"),
            ("+y", (0, 1, 0), "center"),
            ("−y", (0, -1, 0), "center"),
            ("+z", (0, 0, 1), "bottom"),
            ("−z", (0, 0, -1), "top"),
        ):
            axes.text(
                *hammer(np.array(axis)), text, ha="center", va=align, fontsize=8, color="0.25", bbox=box, zorder=1.5
            )
    axes.add_patch(Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), fill=False, color="0.5"))
    axes.set(xlim=(-2.9, 2.9), ylim=(-1.62, 1.62), aspect="equal")
    axes.set_axis_off()


def _hammer_map(axes: Any, points: Array, labels: Array | None, prior: Array, names: Sequence[str]) -> None:
    hammer_frame(axes)
    scatter_classes(axes, hammer(points), labels)


def _ring(axes: Any, points: Array, labels: Array | None, prior: Array, names: Sequence[str]) -> None:
    """Each class on a ring of its own, and the density of all around them, relative to uniform."""
    direction, present = angles(points), named_classes(labels)
    for rank, label in enumerate(present):
        chosen = direction[labels == label]
        radius = np.full_like(chosen, 0.35 + 0.65 * (rank + 1) / (len(present) + 1))
        class_points(axes, np.stack([chosen, radius], -1), rank, 12, alpha=0.5)
    if not present:
        axes.scatter(direction, np.ones_like(direction), s=12, alpha=0.3, linewidths=0, **unnamed_style(labels))
    around, density = angular_density(points)
    height = 1.05 + 0.55 * density / density.max()
    axes.plot(around, height, color="black", linewidth=1)
    axes.fill_between(around, 1.05, height, color="0.8")
    axes.plot(around, 1.05 + 0.55 / density.max() * np.ones_like(around), color="0.4", linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.65), yticks=[])
    axes.grid(alpha=0.3)
    axes.set_xlabel(f"outside: density / uniform (dotted: 1), highest {density.max():.2g}", color="0.3")


def angular_density(points: Array) -> tuple[Array, Array]:
    """Angles all around a circle, and the density of unit vectors (N, 2) there relative to uniform."""
    around = np.linspace(0, 2 * np.pi, 361)
    return around, kernel_density(circle(around), points)


def _ridges(axes: Any, points: Array, labels: Array | None, prior: Array, names: Sequence[str]) -> None:
    """The density of each class on a line in a row of its own, and that of all images with the prior's in the last."""
    shown = np.concatenate([points[:, 0], np.quantile(prior, (0.001, 0.999))])
    pad = 0.08 * np.ptp(shown)
    at = np.linspace(shown.min() - pad, shown.max() + pad, 400)
    present = named_classes(labels)
    ridges = [line_density(at, points[labels == label, 0]) for label in present] + [line_density(at, points[:, 0])]
    expected = line_density(at, prior[:, 0])
    # A very narrow class would make all others flat: each row has a scale of its own, as only places are compared.
    last = len(present)
    for row, density in enumerate(ridges):
        height = 0.9 * density / max(density.max(), expected.max() if row == last else 0)
        colour = class_style(row)[0] if row < last else "0.6"
        axes.fill_between(at, -row, height - row, facecolor=colour, edgecolor="0.2", linewidth=0.7, alpha=0.85)
    scale = 0.9 / max(ridges[-1].max(), expected.max())
    axes.plot(at, scale * expected - last, color="black", linestyle="--", linewidth=1, label="prior")
    texts = [name_of(label, names) for label in present] + ["all images"]
    axes.set_yticks(range(0, -len(texts), -1), texts, va="bottom")
    axes.set(xlabel="z (rows: density of a class, each to its own scale)", xlim=(at[0], at[-1]), ylim=(-last - 0.1, 1))
    legend(axes)


def _plane(axes: Any, points: Array, labels: Array | None, prior: Array, names: Sequence[str]) -> None:
    scatter_classes(axes, points, labels)
    prior_plane(axes, prior, "0.5")


def prior_plane(axes: Any, prior: Array, color: str) -> None:
    """Dotted circles at one and two standard deviations of the prior, and the names of both coordinates."""
    for deviations in (1, 2):
        axes.add_patch(Circle((0, 0), deviations * prior.std(), fill=False, color=color, linestyle=":", linewidth=1))
    plane_axes(axes, "$z_1$ (dotted: 1 and 2 s.d. of the prior)", "$z_2$")


def _components(axes: Any, points: Array, labels: Array | None, prior: Array, names: Sequence[str]) -> None:
    positions, _, shares = principal_components(points)
    if positions.shape[1] == 1:  # one point spans no second component
        positions, shares = np.pad(positions, ((0, 0), (0, 1))), np.pad(shares, (0, 1))
    scatter_classes(axes, positions, labels)
    first = f"principal component 1 ({shares[0]:.0%} of the variance)"
    plane_axes(axes, first, f"principal component 2 ({shares[1]:.0%})")


# What draws a factor: axes, points (N, d), labels, samples of the prior and names of the classes.
MAPS: dict[str, Any] = {"S^1": _ring, "S^2": _hammer_map, "R^1": _ridges, "R^2": _plane}


def latent_overview(subject: Subject) -> Figure:
    """A latent space of many dimensions in two: principal components, scaling of distances, and t-SNE."""
    points, labels = subject.modes, subject.embedded_labels
    chosen = np.linspace(0, len(points) - 1, min(SCALED, len(points))).round().astype(int)
    parts = [(factor.columns, factor.radius) for factor in subject.factors]
    distances, kind = geodesic_distances(points[chosen], parts), "Euclidean" if subject.is_flat else "geodesic"
    positions, stress = multidimensional_scaling(distances)
    figure, places = panel_grid([False] * 3, f"Latent space in two dimensions: {subject.title}", _note(subject), 1.2)
    first, *others = drawn = [figure.add_subplot(place) for place in places]
    _components(first, points, labels, subject.prior, subject.class_names)
    set_title(first, f"principal components of {len(points):,} images")
    scaled = positions, "MDS", f"stress {stress:.2f}; 0 keeps all distances"
    near = neighbour_embedding(distances), "t-SNE", "only who is near whom has a meaning"
    for axes, (xy, name, meaning) in zip(others, (scaled, near), strict=True):
        scatter_classes(axes, xy, None if labels is None else labels[chosen], 16)
        plane_axes(axes, f"{name} 1 ({meaning})", f"{name} 2")
        set_title(axes, f"{name} of {kind} distances of {len(chosen):,} images")
    class_legend(figure, drawn, labels, subject.class_names)
    return figure
