"""Figures of what a decoder makes of points all over a factor of the latent space, or of one posterior.

Shapes: images (N, C, H, W) with values in [0, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from utils.figures.geometry import circle, hammer, inverse_hammer
from utils.figures.maps import MOST_PANELS, hammer_frame
from utils.figures.subject import Array, Factor, Subject
from utils.plotting_utils import COLOURS, as_rgb, new_figure, panel_grid, show_rows

CLOUD = 300
LOOKED_AT = (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1, 4)  # times the learned concentration

# Images across the manifold of a factor that is alone, and of one of several.
COLUMNS = {"S^1": (24, 24), "S^2": (22, 15), "R^1": (16, 9), "R^2": (16, 9)}


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


def _all_over(subject: Subject, factor: Factor, columns: int) -> Array:
    """Points (N, d) all over a factor of one or two dimensions, in the order in which `manifold` lays them out."""
    if factor.radius is None:
        line = subject.prior_line(factor, columns)  # no region of the prior is left out or shown twice
        return line[:, None] if factor.dim == 1 else np.stack(np.meshgrid(line, line[::-1]), -1).reshape(-1, 2)
    if factor.dim == 1:
        return factor.radius * circle(np.linspace(0, 2 * np.pi, columns, endpoint=False))
    height, width = subject.pictures(subject.spread(1)).shape[-2:]
    return factor.radius * inverse_hammer(hammer_positions(columns, height / width))


def manifold(subject: Subject) -> Figure:
    """Decoded images around circles, over spheres S^2, along lines and over planes, one panel for each such factor."""
    low = [(f, heading) for f, heading in zip(subject.factors, subject.names, strict=True) if f.dim <= 2]
    shown, single = low[:MOST_PANELS], len(subject.factors) == 1
    note = "" if single else "The other factors are held at the latent of one test image. "
    if any(factor.symbol == "S^2" for factor, _ in shown):
        note += "Hammer projection: every image stands for an equal share of the sphere; +x is in the middle. "
    if len(shown) < len(low):
        note += f"The first {len(shown)} of {len(low)} factors of at most two dimensions."
    title = f"Decoded latent space: {subject.title}"
    if [factor.symbol for factor in subject.factors] == ["S^1", "S^1"]:
        return _torus(subject, title)
    if single and shown[0][0].symbol == "R^1":
        figure = new_figure(11, 2, title, note)
        places = [figure.add_gridspec(1, 1)[0]]
    else:
        figure, places = panel_grid([factor.symbol == "S^2" for factor, _ in shown], title, note)
    for (factor, heading), place in zip(shown, places, strict=True):
        columns = COLUMNS[factor.symbol][not single]
        points = _all_over(subject, factor, columns)
        z = np.tile(subject.base, (len(points), 1))
        z[:, factor.columns] = points
        axes, images = figure.add_subplot(place), subject.decode(z)
        axes.set_title("" if single else heading)
        if factor.radius is None:
            _euclidean(axes, images, subject.prior_line(factor, columns))
        else:
            (_ring if factor.dim == 1 else _hammer)(axes, images, columns)
    return figure


def _torus(subject: Subject, title: str) -> Figure:
    """Images all over a product of two circles, on a square whose opposite sides are one."""
    count = COLUMNS["R^2"][0]
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    angles = np.stack(np.meshgrid(around, around[::-1]), -1).reshape(-1, 2)
    radii = np.array([factor.radius for factor in subject.factors], float)
    images = subject.decode((radii[:, None] * circle(angles)).reshape(len(angles), -1))  # from (places, circles, 2)
    figure, (place,) = panel_grid([False], title, "Opposite sides of the square are one: it is a torus.")
    ticks = {column: f"{np.degrees(around[column]):.0f}°" for column in range(0, count, count // 4)}
    _grid(figure.add_subplot(place), images, count, ticks, [f"angle on {name}" for name in subject.names])
    return figure


def _place(axes: Any, image: Array, x: float, y: float, width: float, height: float) -> None:
    extent = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
    axes.imshow(as_rgb(image), extent=extent, interpolation="nearest", zorder=2)


def _ring(axes: Any, images: Array, count: int) -> None:
    aspect = images.shape[-2] / images.shape[-1]
    size = 2 * np.sin(np.pi / count) * 0.98 / max(1, aspect)
    for angle, image in zip(np.linspace(0, 2 * np.pi, count, endpoint=False), images, strict=True):
        _place(axes, image, np.cos(angle), np.sin(angle), size, size * aspect)
    inner = 1 - 0.8 * size * max(1, aspect)
    axes.add_patch(Circle((0, 0), inner, fill=False, color="0.7"))
    for degrees in range(0, 360, 45):
        x, y = 0.86 * inner * circle(np.radians(degrees))
        axes.text(x, y, f"{degrees}°", ha="center", va="center", color="0.3")
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
        axes.text(x, y, text, ha=across, va=up, color="0.25")


def _euclidean(axes: Any, images: Array, values: Array) -> None:
    """Images at these values of one coordinate, or of each of two."""
    columns = len(values)
    chosen = np.linspace(0, columns - 1, 6 if columns > 9 else 3).round().astype(int)
    ticks = {column: f"{round(values[column], 1) + 0.0:.1f}" for column in chosen}  # -0.0 + 0.0 is 0.0
    _grid(axes, images, columns, ticks, ("$z_1$ (equal shares of the prior)", "$z_2$"))


def _grid(axes: Any, images: Array, columns: int, ticks: Mapping[int, str], names: Sequence[str]) -> None:
    """Images in one row, or in as many rows as columns; `ticks` are by column, and by row from below."""
    rows, places = images.reshape(-1, columns, *images.shape[1:]), np.array(list(ticks))
    show_rows(axes, rows)
    axes.set_xticks(1 + (images.shape[-1] + 2) * (places + 0.5), ticks.values())
    axes.set_xlabel(names[0])
    if len(rows) > 1:
        axes.set_yticks(1 + (images.shape[-2] + 2) * (columns - 0.5 - places), ticks.values())
        axes.set_ylabel(names[1])


def concentration(subject: Subject) -> Figure:
    """One image decoded from its posterior at several concentrations, with the cloud of latents of each.

    The image heads every row, so that each can be judged by itself.
    """
    number, factor = next((i, f) for i, f in enumerate(subject.factors) if f.radius is not None)
    image = subject.embedded[len(subject.embedded) // 2][None]
    q = subject.model.posterior(subject.chosen(image))
    learned = float(subject.model.latent.statistics(q)["kappa"][0, 0])
    kappas = subject.kappas or tuple((learned or 10.0) * scale for scale in LOOKED_AT)
    low = factor.dim <= 2
    note = f"Left: one test image, and decoded samples of its posterior (κ = {learned:.3g}) with other κ. "
    note += "Right: samples, with the modes of other images in grey" if low else "Right: angles of samples to the mode"
    note += f" ({subject.names[number]})." if len(subject.factors) > 1 else "."
    figure = new_figure(
        11.4, 1.05 * len(kappas) + 1.5, f"One posterior at other concentrations: {subject.title}", note
    )
    grid = figure.add_gridspec(len(kappas), 2, width_ratios=(8.4, 2.6))
    centre = factor.unit(q.mode.cpu().numpy()[0])
    for row, kappa in enumerate(kappas):
        z = subject.model.latent.with_concentration(q, kappa).sample((CLOUD,)).squeeze(1)
        images = np.concatenate([subject.pictures(image), subject.decode(z[:8])])
        text = f"κ = {kappa:,.0f}" if kappa >= 100 else f"κ = {kappa:.2g}"
        text += "\n(as learned)" if subject.kappas is None and kappa == learned else ""
        show_rows(figure.add_subplot(grid[row, 0]), images[None], [text], ["image", *[""] * 8] if row == 0 else [])
        axes = figure.add_subplot(grid[row, 1])
        axes.set_title("z" if row == 0 else "")
        cloud = factor.unit(z.cpu().numpy())
        if low:
            _cloud(axes, cloud, centre, factor.unit(subject.modes))
        else:
            is_last = row == len(kappas) - 1
            _angles_to(axes, cloud, centre)
            axes.tick_params(labelbottom=is_last)
            axes.set_xlabel("degrees from the mode" if is_last else "")
    return figure


def _angles_to(axes: Any, cloud: Array, centre: Array) -> None:
    degrees = np.degrees(np.arccos(np.clip(cloud @ centre, -1, 1)))
    axes.hist(degrees, np.linspace(0, 180, 61), color=COLOURS[1])
    axes.axvline(90, color="0.4", linestyle=":")
    axes.set(xlim=(0, 180), xticks=(0, 45, 90, 135, 180), yticks=())


def _cloud(axes: Any, cloud: Array, centre: Array, backdrop: Array) -> None:
    """Samples on a circle or on S^2 in the plane, the modes of other images in grey."""
    if len(centre) == 3:
        hammer_frame(axes, grid=False)
        others, points, mark = hammer(backdrop), hammer(cloud), hammer(centre)
    else:
        # Width for the eye only: the samples lie on the circle itself.
        others, points, mark = backdrop, cloud * np.linspace(0.85, 1.15, len(cloud))[:, None], 0.6 * centre
        axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
        axes.set_axis_off()
    axes.scatter(others[:, 0], others[:, 1], s=2, color="0.8", linewidths=0)
    axes.scatter(points[:, 0], points[:, 1], s=5, color=COLOURS[1], alpha=0.5, linewidths=0)
    axes.scatter(mark[0], mark[1], s=40, color="black", marker="+")
