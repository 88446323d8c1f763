"""Geometry of latent spaces in numpy: maps, distances, grids, geodesics, tests of uniformity.

Shapes: N points, d the ambient dimension; points of S^m are unit vectors with d = m + 1.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Concentrations of the kernels that estimate a density on S^1 and on S^2, by their ambient dimensions.
KERNEL = {2: 150, 3: 40}


def hammer(points: Array) -> Array:
    """The equal-area Hammer projection of S^2, seen from +x with +z upwards.

    x = 2 sqrt(2) cos(lat) sin(lon / 2) / w, y = sqrt(2) sin(lat) / w, w = sqrt(1 + cos(lat) cos(lon / 2)) (Snyder, Map
    Projections: A Working Manual, chapter 24). The sphere fills the ellipse x^2 / 8 + y^2 / 2 <= 1.

    Args:
        points: unit vectors (..., 3).

    Returns:
        Positions in the plane, (..., 2).
    """
    half = np.arctan2(points[..., 1], points[..., 0]) / 2
    z = np.clip(points[..., 2], -1, 1)
    across = np.sqrt(1 - z**2)
    scale = np.sqrt(2) / np.sqrt(1 + across * np.cos(half))
    return np.stack([2 * across * np.sin(half) * scale, z * scale], -1)


def inverse_hammer(positions: Array) -> Array:
    """The unit vectors (..., 3) at positions (..., 2) of the Hammer projection; NaN outside of its ellipse."""
    x, y = positions[..., 0], positions[..., 1]
    w = np.sqrt(np.where(x**2 / 8 + y**2 / 2 <= 1, 1 - x**2 / 16 - y**2 / 4, np.nan))
    lon = 2 * np.arctan2(w * x, 2 * (2 * w**2 - 1))
    z = np.clip(w * y, -1, 1)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(lon), across * np.sin(lon), z], -1)


def angles(points: Array) -> Array:
    """Angles (...) of points (..., 2) of the circle, in radians from 0 to 2 pi."""
    return np.mod(np.arctan2(points[..., 1], points[..., 0]), 2 * np.pi)


def circle(around: Array) -> Array:
    """The unit vectors (..., 2) at angles (...)."""
    return np.stack([np.cos(around), np.sin(around)], -1)


def principal_components(points: Array, count: int = 2) -> tuple[Array, Array, Array]:
    """Principal components of points (N, d).

    Returns:
        Coordinates on the first components (N, count), the components as unit vectors (count, d), and the share of the
        variance on each (count,). `count` is lowered to what the points span at most, min(N, d).
    """
    centred = points - points.mean(0)
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary; fixing it lets two runs of one program draw the same picture.
    axes = axes * np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(-1)] < 0, -1, 1)[:, None]
    total = (scales**2).sum()
    shares = scales**2 / total if total > 0 else np.zeros_like(scales)
    return centred @ axes[:count].T, axes[:count], shares[:count]


# In what a manifold is drawn: the names of the axes, and what gives the places (N, n) on them of points (N, d).
CHARTS: dict[str, tuple[tuple[str, ...], Callable[[Array], Array]]] = {
    "S^1": (("angle",), lambda points: angles(points)[:, None]),
    "S^2": (("hammer x", "hammer y"), hammer),
    "R^1": (("z",), lambda points: points),
    "R^2": (("z 1", "z 2"), lambda points: points),
}
IN_MANY_DIMENSIONS = ("component 1", "component 2"), lambda points: principal_components(points)[0]


def geodesic_distances(points: Array, factors: Sequence[tuple[slice, float | None]]) -> Array:
    """Distances (N, N) between points (N, D) of a product space: the root of the factors' squared distances.

    Args:
        points: coordinates of all factors side by side.
        factors: for each its columns, and the radius of a sphere or None for a Euclidean space.
    """
    squares = np.zeros((len(points), len(points)))
    for columns, radius in factors:
        part = points[:, columns].astype(np.float64)
        chords = np.stack([np.linalg.norm(part - point, axis=-1) for point in part])  # (N, N, d) may be many gigabytes
        if radius is None:
            squares += chords**2
        else:  # the arcsine of half a chord keeps small angles exact, which the arccosine of a product does not
            squares += (2 * radius * np.arcsin(np.clip(chords / (2 * radius), 0, 1))) ** 2
    return np.sqrt(squares)


def multidimensional_scaling(distances: Array) -> tuple[Array, float]:
    """Positions in the plane whose distances are as near as can be to those given.

    Metric multidimensional scaling by stress majorization, from the start that classical scaling gives.

    Args:
        distances: symmetric, (N, N).

    Returns:
        Positions (N, 2), and Kruskal's stress-1: 0 is perfect, above 0.2 a map says little of distances.
    """
    from sklearn.manifold import smacof  # sklearn takes a second to import

    mean = (distances**2).mean(0)
    centred = -0.5 * (distances**2 - mean - mean[:, None] + mean.mean())
    values, vectors = np.linalg.eigh(centred)
    start = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    if not start.any():  # all points are one, or there is but one
        return np.zeros((len(distances), 2)), 0.0
    positions, _ = smacof(distances, n_components=2, init=start, n_init=1, max_iter=100, random_state=0)
    found = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return positions, float(np.sqrt(((found - distances) ** 2).sum() / (distances**2).sum()))


def geodesic(start: Array, end: Array, steps: int, radius: float | None) -> Array:
    """Equally spaced points (steps, d) on the shortest path between two points (d,).

    A straight line where `radius` is None, else the arc of a great circle (Shoemake's slerp). Between antipodes every
    great circle is shortest; one of them is taken.
    """
    t = np.linspace(0, 1, steps)[:, None]
    if radius is None:
        return (1 - t) * start + t * end
    a, b = start / radius, end / radius
    cosine = float(np.clip(a @ b, -1, 1))
    across = b - cosine * a
    if np.linalg.norm(across) < 1e-6:
        # Any direction at right angles to a will do: the axis on which a is smallest, made orthogonal.
        axis = np.eye(len(a))[np.abs(a).argmin()]
        across = axis - (axis @ a) * a
    angle = t * np.arccos(cosine)
    return radius * (np.cos(angle) * a + np.sin(angle) * across / np.linalg.norm(across))


def great_circle(point: Array, direction: Array, turn: Array) -> Array:
    """The great circle through a unit vector (d,) that sets out in a direction (d,): points (T, d) at angles (T,).

    Raises:
        ValueError: the direction is that of the point itself, and so names no circle.
    """
    tangent = direction - (direction @ point) * point
    length = np.linalg.norm(tangent)
    if length < 1e-6:
        raise ValueError("the direction is parallel to the point; a great circle needs one across it")
    return np.cos(turn)[:, None] * point + np.sin(turn)[:, None] * tangent / length


class Uniformity(NamedTuple):
    """Two tests of uniformity on a sphere.

    Attributes:
        resultant: length of the mean vector, 0 to 1.
        rayleigh: p-value against a preferred direction.
        bingham: p-value against a preferred axis or plane, of which the first test sees nothing.
    """

    resultant: float
    rayleigh: float
    bingham: float


def uniformity(points: Array) -> Uniformity:
    """Rayleigh's and Bingham's tests of the hypothesis that unit vectors (N, d) come from the uniform distribution.

    Rayleigh: S = N d |mean|^2 has for large N the chi-squared distribution of d degrees of freedom; the correction
    (1 - 1 / 2N) S + S^2 / (2N (d + 2)) leaves an error of order N^-2. Bingham: N d (d + 2) / 2 (tr T^2 - 1 / d), T
    being the mean of z z', has that of (d - 1)(d + 2) / 2 (Mardia and Jupp, Directional Statistics, 10.4.1 and 10.7.1).
    """
    from scipy.stats import chi2

    count, dim = points.shape
    resultant = float(np.linalg.norm(points.mean(0)))
    statistic = count * dim * resultant**2
    statistic = (1 - 1 / (2 * count)) * statistic + statistic**2 / (2 * count * (dim + 2))
    scatter = points.T @ points / count
    bingham = count * dim * (dim + 2) / 2 * ((scatter**2).sum() - 1 / dim)
    return Uniformity(resultant, float(chi2.sf(statistic, dim)), float(chi2.sf(bingham, (dim - 1) * (dim + 2) // 2)))


def kernel_density(at: Array, points: Array) -> Array:
    """Density (M,) at places (M, d), relative to uniform, of unit vectors (N, d) with d = 2 or 3.

    A von Mises-Fisher kernel around each point; uniform points give 1.
    """
    from scipy.special import ive

    concentration = KERNEL[points.shape[-1]]
    weights = np.exp(concentration * (at @ points.T - 1)).mean(-1)
    if points.shape[-1] == 2:
        return weights / ive(0, concentration)
    return weights * 2 * concentration / -np.expm1(-2 * concentration)


def jensen_shannon(counts: Array) -> Array:
    """Jensen-Shannon divergences between the code distributions of C classes, in nats.

    Codes at different positions are separate distributions; the result is the mean over positions.

    Args:
        counts: (C, positions, codes), how often each code stands at each position; every class has some.

    Returns:
        (C, C), between 0 and log 2.
    """
    from scipy.spatial.distance import jensenshannon

    share = counts / counts.sum(-1, keepdims=True)
    # scipy returns the root, a metric; rounding can make it NaN where two distributions are one.
    return np.stack([np.nan_to_num(jensenshannon(row, share, axis=-1) ** 2).mean(-1) for row in share])


def chi_density(at: Array, dim: int) -> Array:
    """Density (M,) of chi, the length of a standard normal vector of `dim` coordinates, at lengths (M,)."""
    from scipy.special import gammaln, xlogy

    return np.exp(xlogy(dim - 1, at) - 0.5 * at**2 - (dim / 2 - 1) * np.log(2) - gammaln(dim / 2))


def line_density(at: Array, values: Array) -> Array:
    """Density (M,) of values (N,) on a line at places (M,); see `line_kernels`."""
    return line_kernels(at, values).mean(-1)


def line_kernels(at: Array, values: Array) -> Array:
    """Gaussian kernels (M, N) of Silverman's width around values (N,) on a line, at places (M,)."""
    low, high = np.quantile(values, (0.25, 0.75))
    spread = min(values.std(), (high - low) / 1.34) or values.std() or 1e-3
    width = 0.9 * spread * len(values) ** -0.2
    return np.exp(-0.5 * ((at[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def even_points(dim: int, count: int) -> Array:
    """Points (count, dim + 1) that lie evenly on S^1 or, along a Fibonacci spiral, on S^2."""
    places = np.arange(count) + 0.5
    if dim == 1:
        return circle(2 * np.pi * places / count)
    height, around = 1 - 2 * places / count, np.pi * (1 + np.sqrt(5)) * places
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(around), across * np.sin(around), height], -1)


def areas_and_overlaps(densities: Array) -> tuple[Array, Array]:
    """How much of a sphere each class takes, and how much of it two classes share.

    Args:
        densities: of C classes at points that lie evenly on the sphere, relative to uniform, (C, M).

    Returns:
        The smallest share of the sphere that holds 90 % of each class (C,), and the overlap of each two classes, the
        mean of the lower of the two densities (C, C): 0 where they have nothing in common, 1 where they are alike.
    """
    share = densities / densities.sum(-1, keepdims=True)
    held = np.cumsum(-np.sort(-share, -1), -1)
    areas = ((held < 0.9).sum(-1) + 1) / share.shape[1]
    return areas, np.minimum(share[:, None], share[None]).sum(-1)


def neighbour_embedding(distances: Array) -> Array:
    """Positions (N, 2) by t-SNE of distances (N, N): near points stay near, far distances mean nothing."""
    from sklearn.manifold import TSNE  # sklearn takes a second to import

    if len(distances) < 4 or not distances.any():
        return np.zeros((len(distances), 2))
    perplexity = min(30.0, (len(distances) - 1) / 3)
    return TSNE(perplexity=perplexity, metric="precomputed", init="random", random_state=0).fit_transform(distances)
