"""Figures of decoded images along paths through the latent space."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from utils.figures.geometry import geodesic, great_circle, principal_components
from utils.figures.subject import Array, Factor, Subject
from utils.plotting_utils import image_rows

MOST_ROWS = 12
STEPS = 13


def traversals(subject: Subject) -> Figure:
    """One factor moves along its principal directions, the others stay at the latent of one test image."""
    points, base = subject.modes, subject.base
    per_factor = max(1, min(8 if len(subject.factors) == 1 else 2, MOST_ROWS // len(subject.factors)))
    latents: list[Array] = []
    texts, headers = [], {}
    degrees = [f"{angle:.0f}°" for angle in np.linspace(-180, 180, STEPS)]
    deviations = [f"{step:g}σ" for step in np.linspace(-3, 3, STEPS)]
    shown = subject.factors[:MOST_ROWS]
    for place, factor in enumerate(shown):
        # Factors of one kind that follow each other share a header.
        if place == 0 or (factor.radius is None) != (shown[place - 1].radius is None):
            headers[len(latents)] = deviations if factor.radius is None else degrees
        part, own = factor.unit(points), factor.unit(base)
        if factor.radius is not None:  # directions within the sphere at the image's place
            part = part - (part @ own)[:, None] * own
        _, directions, _ = principal_components(part, min(per_factor, factor.dim))
        for number, direction in enumerate(directions, 1):
            z = np.tile(base, (STEPS, 1))
            z[:, factor.columns] = _through(factor, own, direction, factor.unit(subject.prior).std())
            latents.append(z)
            texts.append(f"{subject.names[place]}, direction {number}")
    note = "One factor moves, the others stay with one test image. " if len(subject.factors) > 1 else ""
    if any(factor.radius is not None for factor in shown):
        note += "On spheres: around the great circle from the image (0°) along a principal direction. "
    if any(factor.radius is None for factor in shown):
        note += "In Euclidean spaces: along a principal direction, σ being the standard deviation of the prior. "
    if len(subject.factors) > MOST_ROWS:
        note += f"The first {MOST_ROWS} of {len(subject.factors)} factors."
    rows, first = subject.decode(np.stack(latents)), headers.pop(0)
    return image_rows(rows, f"Traversals: {subject.title}", texts, first, note, headers)


def _through(factor: Factor, own: Array, direction: Array, deviation: float) -> Array:
    """`STEPS` points (STEPS, d) of a factor through a point (d,) of it along a unit direction (d,).

    They go once around a sphere; in a Euclidean space they reach three standard deviations of the prior.
    """
    if factor.radius is None:
        steps = deviation * np.linspace(-3, 3, STEPS)
        return own - (own @ direction) * direction + steps[:, None] * direction
    return factor.radius * great_circle(own, direction, np.linspace(-np.pi, np.pi, STEPS))


def interpolation(subject: Subject) -> Figure:
    """Decoded points between the modes of pairs of test images: on spheres along geodesics, of codes one by one."""
    pairs = min(8, len(subject.images) // 2)
    numbers = subject.spread(2 * pairs)[torch.randperm(2 * pairs)]
    images, pictures = subject.chosen(numbers), subject.pictures(numbers)
    shares = np.linspace(0, 1, STEPS - 2)
    if subject.factors:
        ends = subject.model.encode(images).cpu().numpy()
        pairs_of_ends = zip(ends[::2], ends[1::2], strict=True)
        decoded = subject.decode(np.stack([_path(subject.factors, *pair, len(shares)) for pair in pairs_of_ends]))
        kind = "Linear" if subject.is_flat else "Geodesic"
    else:
        decoded = subject.decode(_exchanged(subject, images, torch.from_numpy(shares)))
        kind = "Code by code"
    rows = np.concatenate([pictures[::2, None], decoded, pictures[1::2, None]], 1)
    headings = ["image", *(f"{share:.0%}" for share in shares), "image"]
    return image_rows(rows, f"{kind} interpolation: {subject.title}", column_labels=headings)


def _path(factors: Sequence[Factor], start: Array, end: Array, steps: int) -> Array:
    """Points (steps, D) on the shortest path between two latents (D,)."""
    parts = [geodesic(start[f.columns], end[f.columns], steps, f.radius) for f in factors]
    return np.concatenate(parts, -1)


def _exchanged(subject: Subject, images: Tensor, shares: Tensor) -> Tensor:
    """Latents (pairs, steps, D) between images (2 pairs, C, H, W): the codes of more and more positions change.

    Args:
        subject: the run.
        images: those of a pair follow each other.
        shares: of the positions that have the codes of the second image, (steps,).
    """
    codes = subject.codes(images)
    order = torch.randperm(codes.shape[1]) / codes.shape[1]
    changed = order < shares[:, None]  # the same positions for all pairs, (steps, positions)
    mixed = torch.where(changed, codes[1::2, None], codes[::2, None])
    return subject.model.latent.vectors(mixed.to(images.device))
