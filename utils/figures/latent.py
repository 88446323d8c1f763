"""The figures of a run that look into its latent space: from a model to arrays.

Each has a function that draws it and one that says why some kinds of latent space have no such figure.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch

from utils.figures.geometry import (
    Array,
    Uniformity,
    geodesic,
    geodesic_distances,
    great_circle,
    inverse_hammer,
    multidimensional_scaling,
    principal_components,
    uniformity,
)
from utils.figures.subject import Factor, Subject, symbols, with_concentration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALED = 500
MOST_PANELS = 9
MOST_ROWS = 12
STEPS = 13
CLOUD = 300
LOOKED_AT = (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1, 4)  # times the learned concentration


def no_geometry(subject: Subject) -> str:
    return "" if subject.factors else "this latent space is no product of spheres and Euclidean spaces"


def no_overview(subject: Subject) -> str:
    if len(subject.factors) == 1 and subject.factors[0].dim <= 2:
        return "this latent space has at most two dimensions, which `latent` shows as they are"
    return no_geometry(subject)


def no_manifold(subject: Subject) -> str:
    return (
        "" if any(f.dim <= 2 for f in subject.factors) else "this latent space has no factor of one or two dimensions"
    )


def no_traversals(subject: Subject) -> str:
    if len(subject.factors) == 1 and subject.factors[0].dim <= 2:
        return "this latent space has one factor of at most two dimensions, which `manifold` shows whole"
    return no_geometry(subject)


def no_sphere(subject: Subject) -> str:
    return "" if any(f.radius is not None for f in subject.factors) else "this latent space has no sphere"


def no_learned_kappa(subject: Subject) -> str:
    if subject.config.kappa is not None:
        return f"the concentration is fixed at {subject.config.kappa:g}"
    return no_sphere(subject)


def no_low_sphere(subject: Subject) -> str:
    low = any(f.radius is not None and f.dim <= 2 for f in subject.factors)
    return "" if low else "this latent space has no factor S^1 or S^2"


def _unit(points: Array, factor: Factor) -> Array:
    """The factor's coordinates of points (..., D); on a sphere those on the unit sphere."""
    part = points[..., factor.columns]
    return part if factor.radius is None else part / factor.radius


def _flat(subject: Subject) -> bool:
    """Whether the latent space is Euclidean, where geodesics are straight lines and nobody calls them so."""
    return all(factor.radius is None for factor in subject.factors)


def _embedded_note(subject: Subject) -> str:
    count, total = len(subject.embedded), len(subject.images)
    mode = "mean" if _flat(subject) else "mode"
    return f"Each point is the {mode} of q(z|x) for one of {count:,}{f' of {total:,}' * (count < total)} test images."


def latent(subject: Subject) -> Figure:
    from utils.figures import plots_latent

    points, labels, names = subject.embedding[0], subject.embedded_labels, subject.class_names
    title, note = f"Latent space: {subject.title}", _embedded_note(subject)
    first = subject.factors[0]
    if len(subject.factors) == 1 and first.radius is not None and first.dim == 2:
        return plots_latent.sphere_views(_unit(points, first), labels, names, title, note)
    panels = [
        plots_latent.Panel(heading, _unit(points, factor), factor.radius is not None)
        for factor, heading in list(zip(subject.factors, subject.headings, strict=True))[:MOST_PANELS]
    ]
    if len(panels) < len(subject.factors):
        note += f" The first {len(panels)} of {len(subject.factors)} factors."
    return plots_latent.latent_maps(panels, labels, names, title, note)


def latent_overview(subject: Subject) -> Figure:
    from utils.figures import plots_latent

    points = subject.embedding[0]
    chosen = np.linspace(0, len(points) - 1, min(SCALED, len(points))).round().astype(int)
    parts = [(factor.columns, factor.radius) for factor in subject.factors]
    positions, stress = multidimensional_scaling(geodesic_distances(points[chosen], parts))
    return plots_latent.latent_overview(
        points,
        subject.embedded_labels,
        positions,
        chosen,
        stress,
        "Euclidean" if _flat(subject) else "geodesic",
        subject.class_names,
        f"Latent space in two dimensions: {subject.title}",
        _embedded_note(subject),
    )


def _base(subject: Subject) -> Array:
    """The latent (D,) of one image, at which the factors that are not looked at are held."""
    middle: Array = subject.embedding[0][len(subject.embedded) // 2]
    return middle


def manifold(subject: Subject) -> Figure:
    from utils.figures import plots_manifold

    low = [
        (factor, heading) for factor, heading in zip(subject.factors, subject.headings, strict=True) if factor.dim <= 2
    ]
    single = len(subject.factors) == 1
    aspect = subject.images.shape[-2] / subject.images.shape[-1]
    base, panels = _base(subject), []
    for factor, heading in low[:MOST_PANELS]:
        columns = plots_manifold.columns_of(factor.dim, factor.radius is not None, single)
        part = _over(factor, columns, aspect)
        z = np.tile(base, (len(part), 1))
        z[:, factor.columns] = part * (factor.radius or 1.0)
        panels.append(
            plots_manifold.Manifold(
                heading if not single else "", subject.decode(z), columns, factor.dim, factor.radius is not None
            )
        )
    note = "" if single else "The other factors are held at the latent of one test image. "
    if any(panel.sphere and panel.dim == 2 for panel in panels):
        note += "Hammer projection: every image stands for an equal share of the sphere; +x is in the middle. "
    if len(panels) < len(low):
        note += f"The first {len(panels)} of {len(low)} factors of at most two dimensions."
    return plots_manifold.manifolds(panels, f"Decoded latent space: {subject.title}", note)


def _over(factor: Factor, columns: int, aspect: float) -> Array:
    """Points (N, d) all over a factor of one or two dimensions, as `plots_manifold` lays them out."""
    from scipy.stats import norm

    from utils.figures import plots_manifold

    if factor.radius is None:
        # Equal shares of the prior between neighbours, so that no region of it is left out or shown twice.
        line = norm.ppf((np.arange(columns) + 0.5) / columns)
        return line[:, None] if factor.dim == 1 else np.stack(np.meshgrid(line, line[::-1]), -1).reshape(-1, 2)
    if factor.dim == 1:
        around = plots_manifold.ring_angles(columns)
        return np.stack([np.cos(around), np.sin(around)], -1)
    return inverse_hammer(plots_manifold.hammer_positions(columns, aspect))


def traversals(subject: Subject) -> Figure:
    from utils import plotting_utils

    points, base = subject.embedding[0], _base(subject)
    per_factor = max(1, min(8, MOST_ROWS // len(subject.factors)))
    if len(subject.factors) > 1:
        per_factor = min(per_factor, 2)
    latents: list[Array] = []
    texts, headers = [], {}
    degrees = [f"{angle:.0f}°" for angle in np.linspace(-180, 180, STEPS)]
    deviations = [f"{step:g}σ" for step in np.linspace(-3, 3, STEPS)]
    shown = subject.factors[:MOST_ROWS]
    for place, factor in enumerate(shown):
        # Factors of one kind that follow each other share a header.
        if place == 0 or (factor.radius is None) != (shown[place - 1].radius is None):
            headers[len(latents)] = deviations if factor.radius is None else degrees
        part = _unit(points, factor)
        own = _unit(base, factor)
        if factor.radius is not None:  # directions within the sphere at the image's place
            part = part - (part @ own)[:, None] * own
        _, directions, _ = principal_components(part, min(per_factor, factor.dim))
        for number, direction in enumerate(directions, 1):
            z = np.tile(base, (STEPS, 1))
            if factor.radius is None:
                steps = np.linspace(-3, 3, STEPS)[:, None]
                z[:, factor.columns] = own - (own @ direction) * direction + steps * direction
            else:
                turn = np.linspace(-np.pi, np.pi, STEPS)
                z[:, factor.columns] = factor.radius * great_circle(own, direction, turn)
            latents.append(z)
            texts.append(f"{_short_name(subject, place)}, direction {number}")
    note = "One factor moves, the others stay with one test image. " if len(subject.factors) > 1 else ""
    if any(factor.radius is not None for factor in shown):
        note += "On spheres: around the great circle from the image (0°) along a principal direction. "
    if any(factor.radius is None for factor in shown):
        note += "In Euclidean spaces: along a principal direction, σ being the standard deviation of the prior. "
    if len(subject.factors) > MOST_ROWS:
        note += f"The first {MOST_ROWS} of {len(subject.factors)} factors."
    first = headers.pop(0)
    return plotting_utils.image_rows(
        subject.decode(np.stack(latents)), f"Traversals: {subject.title}", texts, first, note, headers
    )


def _short_name(subject: Subject, place: int) -> str:
    """The symbol of a factor, with its number where it is not the only one of that kind."""
    symbol = subject.factors[place].symbol
    alone = sum(factor.symbol == symbol for factor in subject.factors) == 1
    return symbols(symbol) if alone else f"{symbols(symbol)} (factor {place + 1})"


def interpolation(subject: Subject) -> Figure:
    from utils import plotting_utils
    from utils.figures.subject import Undrawable

    pairs = min(8, len(subject.images) // 2)
    if not pairs:
        raise Undrawable("there is but one test image")
    chosen = subject.spread(2 * pairs)
    order = torch.randperm(2 * pairs)
    images = subject.images[chosen[order].to(subject.images.device)]
    ends = subject.model.posterior(images).mode.cpu().numpy()
    steps, latents = 11, []
    for start, end in zip(ends[::2], ends[1::2], strict=True):
        z = np.empty((steps, len(start)))
        for factor in subject.factors:
            z[:, factor.columns] = geodesic(start[factor.columns], end[factor.columns], steps, factor.radius)
        latents.append(z)
    pictures = images.cpu().numpy()
    rows = np.concatenate([pictures[::2, None], subject.decode(np.stack(latents)), pictures[1::2, None]], 1)
    columns = ["image", *(f"{share:.0%}" for share in np.linspace(0, 1, steps)), "image"]
    kind = "Linear" if _flat(subject) else "Geodesic"
    return plotting_utils.image_rows(rows, f"{kind} interpolation: {subject.title}", [], columns)


def concentration(subject: Subject) -> Figure:
    from utils.figures import plots_manifold

    number, factor = next((i, f) for i, f in enumerate(subject.factors) if f.radius is not None)
    image = subject.embedded[len(subject.embedded) // 2]
    q = subject.model.posterior(subject.images[image][None])
    learned_kappa = float(subject.model.latent.statistics(q)["kappa"][0, 0])
    kappas, texts = subject.kappas, []
    if kappas is None:
        kappas = tuple((learned_kappa or 10.0) * scale for scale in LOOKED_AT)
        texts = ["\n(as learned)" if kappa == learned_kappa else "" for kappa in kappas]
    numbers = [f"κ = {kappa:,.0f}" if kappa >= 100 else f"κ = {kappa:.2g}" for kappa in kappas]
    draws, clouds = [], []
    for kappa in kappas:
        z = with_concentration(q, kappa).sample((CLOUD,)).squeeze(1)
        draws.append(subject.decode(z[:8]))
        clouds.append(_unit(z.cpu().numpy(), factor))
    centre = _unit(q.mode.cpu().numpy()[0], factor)
    low = factor.dim <= 2
    note = f"Left: one test image, and decoded samples of its posterior (κ = {learned_kappa:.3g}) with other κ. "
    note += "Right: samples, with the modes of other images in grey" if low else "Right: angles of samples to the mode"
    note += f" ({subject.headings[number]})." if len(subject.factors) > 1 else "."
    return plots_manifold.concentrations(
        subject.pictures(image[None])[0],
        np.stack(draws),
        [a + b for a, b in itertools.zip_longest(numbers, texts, fillvalue="")],
        clouds,
        centre,
        _unit(subject.embedding[0], factor) if low else None,
        f"One posterior at other concentrations: {subject.title}",
        note,
    )


def aggregate_posterior(subject: Subject) -> Figure:
    from utils.figures import plots_latent

    samples = subject.embedding[1].astype(np.float64)
    panels: list[tuple[str, Array, Uniformity]] = []
    shown, left_out = [], []
    for place, factor in enumerate(subject.factors):
        if factor.radius is None or factor.dim > 2 or len(panels) == MOST_PANELS:
            left_out.append(_short_name(subject, place))
            continue
        shown.append(_short_name(subject, place))
        points = _unit(samples, factor)
        panels.append((shown[-1], points, uniformity(points)))
    of, note = "", ""
    if left_out:
        of = f" of {shown[0]}" if len(shown) == 1 else f" of {len(shown)} of {len(subject.factors)} factors"
        names = ", ".join(left_out[:MOST_ROWS]) + ", …" * (len(left_out) > MOST_ROWS)
        first = f", the first {MOST_PANELS}" if len(panels) == MOST_PANELS else ""
        note = f"Not shown: {names} (only circles and spheres $S^{{2}}$ are{first})."
    return plots_latent.aggregate_posterior(panels, f"Aggregate posterior{of} against the prior: {subject.title}", note)
