"""Figures of where the images of all classes, or of each, lie in the latent space together.

Shapes: N points, d ambient dimension; points of S^m are unit vectors with d = m + 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from utils.figures.geometry import (
    areas_and_overlaps,
    chi_density,
    even_points,
    inverse_hammer,
    kernel_density,
    line_density,
    line_kernels,
    uniformity,
)
from utils.figures.maps import MOST_PANELS, angular_density, hammer_frame, prior_plane, torus_angles, torus_axes
from utils.figures.subject import Array, Subject
from utils.plotting_utils import (
    COLOURS,
    DENSITY,
    class_style,
    legend,
    matrix,
    name_of,
    named_classes,
    panel_grid,
    set_title,
)

MOST_NAMES = 12


def aggregate_posterior(subject: Subject) -> Figure:
    """Density of the aggregate posterior beside that of the prior: on circles, on S^2, and in Euclidean spaces."""
    comparable = [place for place, factor in enumerate(subject.factors) if factor.radius is None or factor.dim <= 2]
    shown, names, of = comparable[:MOST_PANELS], subject.names, ""
    note = f"One sample of z for each of {len(subject.embedded):,} test images. {subject.warning}".strip()
    if any(subject.factors[place].radius is not None for place in shown):
        note += " Rayleigh and Bingham: tests of uniformity."
    left_out = [name for place, name in enumerate(names) if place not in shown]
    if left_out:
        of = f" of {names[shown[0]]}" if len(shown) == 1 else f" of {len(shown)} of {len(names)} factors"
        first = f", the first {MOST_PANELS}" if len(shown) == MOST_PANELS else ""
        listed = ", ".join(left_out[:MOST_NAMES]) + ", …" * (len(left_out) > MOST_NAMES)
        note += f" Not shown: {listed} (only circles, spheres $S^{{2}}$ and Euclidean spaces are{first})."
    torus = [factor.symbol for factor in subject.factors] == ["S^1", "S^1"]
    wide = [subject.factors[place].symbol != "R^2" for place in shown] + [True] * torus
    figure, places = panel_grid(wide, f"Aggregate posterior{of} against the prior: {subject.title}", note)
    for number, place in zip(shown, places, strict=False):
        factor, axes = subject.factors[number], figure.add_subplot(place)
        points = factor.unit(subject.samples.astype(np.float64))
        if factor.radius is not None:
            tests = uniformity(points)
            set_title(
                axes,
                f"{names[number]}: mean of length {factor.radius * tests.resultant:.3f}\n"
                f"Rayleigh: p {_p_text(tests.rayleigh)}; Bingham: p {_p_text(tests.bingham)}",
            )
            (_around if factor.dim == 1 else _over)(axes, points)
        else:
            prior = factor.unit(subject.prior).astype(np.float64)
            spread = " to ".join(sorted({f"{points.std(0).min():.2f}", f"{points.std(0).max():.2f}"}))
            set_title(
                axes,
                f"{names[number]}: mean of length {np.linalg.norm(points.mean(0)):.3f}\n"
                f"standard deviation {spread}\n(prior: {prior.std():.2f})",
            )
            if factor.dim == 2:
                _in_plane(axes, points, prior)
            else:
                _along(axes, points, prior, factor.is_normal)
    if torus:
        _on_torus(figure.add_subplot(places[2]), subject)
    return figure


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _around(axes: Any, points: Array) -> None:
    around, density = angular_density(points)
    axes.plot(np.degrees(around), density, color=COLOURS[0], label="aggregate posterior")
    axes.axhline(1, color="0.3", linestyle="--", label="prior")
    axes.set(xlim=(0, 360), ylim=(0, None), xticks=range(0, 361, 60))
    axes.set(xlabel="angle (degrees)", ylabel="density / prior")
    legend(axes)


def _over(axes: Any, points: Array) -> None:
    x, y = np.meshgrid(np.linspace(-2.83, 2.83, 120), np.linspace(-1.415, 1.415, 60))
    # Beyond the rim the value at the rim: the picture is cut along the ellipse, not along its pixels.
    beyond = np.maximum(np.sqrt(x**2 / 8 + y**2 / 2), 1)[..., None] * (1 + 1e-9)
    at = inverse_hammer(np.stack([x, y], -1) / beyond)
    density = kernel_density(at.reshape(-1, 3), points).reshape(x.shape)
    shown = _heat(axes, density, (-2.83, 2.83, -1.415, 1.415))
    shown.set_clip_path(Ellipse((0, 0), 4 * np.sqrt(2), 2 * np.sqrt(2), transform=axes.transData))
    hammer_frame(axes, grid=False)


def _heat(axes: Any, density: Array, extent: Sequence[float], label: str = "density / prior (1: as the prior)") -> Any:
    """An image of a density in a box (left, right, bottom, top), and what its colours mean beside it."""
    shown = axes.imshow(density, origin="lower", extent=extent, cmap=DENSITY, vmin=0, interpolation="bilinear")
    axes.figure.colorbar(shown, ax=axes, label=label, shrink=0.75)
    return shown


def _along(axes: Any, points: Array, prior: Array, is_normal: bool) -> None:
    """Densities of the coordinate on a line; in more dimensions those of the distance from the prior's mean.

    The density of a standard normal prior is known; that of another is estimated from samples.
    """
    line = points.shape[1] == 1
    values = [part[:, 0] if line else np.linalg.norm(part, axis=-1) for part in (points, prior)]
    at = np.linspace(min(map(np.min, values)), max(map(np.max, values)), 300)
    axes.plot(at, line_density(at, values[0]), color=COLOURS[0], label="aggregate posterior")
    if is_normal:
        expected = chi_density(np.abs(at), points.shape[1]) / (2 if line else 1)  # each length has two places on a line
    else:
        expected = line_density(at, values[1])
    axes.plot(at, expected, color="0.3", linestyle="--", label="prior")
    axes.set(xlabel="z" if line else "length of z", ylabel="density", ylim=(0, None))
    legend(axes)


def _in_plane(axes: Any, points: Array, prior: Array) -> None:
    reach = 1.05 * np.abs(np.concatenate([points, prior[:200]])).max()
    at = np.linspace(-reach, reach, 120)
    across, up = (line_kernels(at, points[:, coordinate]) for coordinate in (0, 1))
    _heat(axes, up @ across.T / len(points), (-reach, reach, -reach, reach), "density")
    prior_plane(axes, prior, "white")
    axes.set_aspect("equal", adjustable="box")


def _on_torus(axes: Any, subject: Subject) -> None:
    """Density over both angles, the product of kernels of concentration 12 around the points on each circle."""
    around = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    kernels = [
        np.exp(12 * (np.cos(around[:, None] - angle) - 1))
        for angle in torus_angles(subject, subject.samples.astype(np.float64)).T
    ]
    density = kernels[1] @ kernels[0].T
    _heat(axes, density / density.mean(), (0, 360, 0, 360))
    torus_axes(axes, subject.names, "both angles")


def class_areas(subject: Subject) -> Figure:
    """How much of a circle or sphere S^2 the images of each class take, and how much of it two classes share."""
    number, factor = next((i, f) for i, f in enumerate(subject.factors) if f.radius is not None and f.dim <= 2)
    points, labels = factor.unit(subject.samples.astype(np.float64)), subject.embedded_labels
    assert labels is not None
    present = np.unique(labels).tolist()[: len(named_classes(labels)) or MOST_NAMES]
    at = even_points(factor.dim, 2000)
    densities = np.stack([kernel_density(at, points[labels == label]) for label in present])
    areas, overlaps = areas_and_overlaps(densities)
    texts = [name_of(label, subject.class_names) for label in present]
    note = (
        "Area: the smallest share of the sphere that holds 90 % of the density of samples of q(z|x) of the class. "
        "Overlap: 0 where two classes have nothing in common, 1 where they lie alike."
    )
    where = f" on {subject.names[number]}" if len(subject.factors) > 1 else ""
    figure, places = panel_grid(
        [False] * 2, f"Areas of the classes{where} and their overlap: {subject.title}", note, 2.0
    )
    left, right = map(figure.add_subplot, places)
    for rank, area in enumerate(areas):
        left.barh(rank, 100 * area, color=class_style(rank)[0])
        left.text(100 * area, rank, f" {area:.0%}", va="center")
    left.set_yticks(range(len(texts)), texts)
    left.invert_yaxis()
    mean = overlaps[~np.eye(len(texts), dtype=bool)].mean() if len(texts) > 1 else 0.0
    left.set(xlabel="area (% of the sphere)", title=f"mean area {areas.mean():.0%}")
    left.margins(x=0.15)
    matrix(right, overlaps, texts, "overlap", np.char.mod("%.2f", overlaps))
    right.set_title(f"mean overlap of two classes {mean:.2f}")
    return figure
