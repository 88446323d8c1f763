"""The mean logarithm of the squared distance between a point inside the unit sphere and the points of the sphere.

For u uniform on the unit sphere of R^m, a unit vector e and x = rho^2, 0 <= rho <= 1, with s = <u, e>,

    J = E log |u + rho e|^2 = E log(1 + x + 2 rho s) = log(1 + x) + E log(1 - y^2 s^2) / 2,    y = 2 rho / (1 + x),

since s and -s are equally likely. For m = 2 it is 0. J / x and the derivatives J' and (1 - x) J'' in x are smooth up to
rho = 1 but for a term (1 - rho)^(m - 1) log(1 - rho) in odd dimensions, which the variable t = (1 - rho)^(1/4) makes
harmless: Chebyshev series of some 50 terms in 2 t - 1 reach double precision for every m.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .derivatives import RULES, Rule, apply_rule, refusing
from .tables import in_chunks, table

_NODES = 64
# Values whose polynomials are computed together on a CPU, so that they stay in its cache.
_CHUNK = 1024


def _rule_over_s(dim: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s^2, 1 - s^2 and weights of an expectation of even functions of s: tanh-sinh quadrature over arcsin s."""
    step = np.arange(-300, 301) / 80
    rise = math.pi / 2 * np.sinh(step)
    width = math.pi / 2 if dim < 120 else math.sqrt(100 / (dim - 2))  # from there on the density is below exp(-50)
    from_end = width / (1 + np.exp(2 * rise))
    angle = width / (1 + np.exp(-2 * rise))
    sine, cosine = np.sin(angle), np.sin(from_end) if width == math.pi / 2 else np.cos(angle)
    weights = np.cosh(step) / np.cosh(rise) ** 2 * cosine ** (dim - 2)
    return sine**2, cosine**2, weights / weights.sum()


@table
def _coefficients(dim: float) -> tuple[tuple[float, ...], ...]:
    """Chebyshev coefficients of J / x, J', (1 - x) J'' and the derivative of the last in t: four rows."""
    if dim == 2:
        return ((0.0,),) * 4
    s2, rest, weights = _rule_over_s(dim)
    odd = 2 * np.arange(_NODES) + 1
    nodes = np.cos(math.pi / (2 * _NODES) * odd)
    gap = ((1 + nodes[:, None]) / 2) ** 4
    x = (1 - gap) ** 2
    below = gap * (2 - gap)  # 1 - x
    # 1 - y^2 s^2 and log(1 - y^2 s^2) / x, each without cancellation
    y2 = 4 * x / (1 + x) ** 2
    inner = (below / (1 + x)) ** 2 + y2 * rest
    log = np.where(y2 * s2 < 0.5, np.log1p(-np.minimum(y2 * s2, 0.5)), np.log(inner)) / x
    slope, bend = 4 * below / (1 + x) ** 3, (8 * x - 16) / (1 + x) ** 4  # of y^2
    ratio = s2 / inner
    first = np.log1p(x) / x + (log @ weights)[:, None] / 2
    second = 1 / (1 + x) - slope * (ratio @ weights)[:, None] / 2
    third = -1 / (1 + x) ** 2 - (bend * (ratio @ weights)[:, None] + slope**2 * ((ratio**2) @ weights)[:, None]) / 2
    basis = np.cos(math.pi / (2 * _NODES) * (np.arange(_NODES)[:, None] * odd % (4 * _NODES)))
    rows = [2 / _NODES * basis @ values[:, 0] for values in (first, second, below * third)]
    for row in rows:
        row[0] /= 2
    derivative = np.append(2 * np.polynomial.chebyshev.chebder(rows[2]), 0.0)
    size = np.abs(np.stack(rows)).max(0)
    count = 1 + np.flatnonzero(size > 2e-16).max()
    return tuple(tuple(row[:count].tolist()) for row in (*rows, derivative))


def _series(dim: float, gap: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
    """Some of the four series at each 1 - rho."""
    coefficients = _coefficients(gap.dtype, gap.device, dim)[first:last]
    series = in_chunks(partial(_sum, coefficients), _CHUNK, 2 * gap.reshape(-1).sqrt().sqrt() - 1)
    return tuple(series.reshape(len(coefficients), *gap.shape).unbind())


def _sum(coefficients: Tensor, u: Tensor) -> Tensor:
    """Chebyshev series of coefficients (R, N) at u (n,): (R, n)."""
    basis = torch.stack((torch.ones_like(u), u))  # the Chebyshev polynomials T_0 ... T_n, doubled until they are enough
    while len(basis) < coefficients.shape[1]:
        basis = torch.cat((basis, 2 * basis[-1] * basis[1:] - basis[:-1].flip(0)))
    basis = basis[: coefficients.shape[1]]
    if u.dtype == torch.float64:
        return coefficients @ basis
    # Where there is no float64, autocast would round the factors of a product.
    return torch.stack([(row.unsqueeze(-1) * basis).sum(0) for row in coefficients.unbind()])


def _value(dim: float, x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    over_x, slope = _series(dim, gap, 0, 2)
    return x * over_x, slope, torch.zeros_like(gap)


def _slope(dim: float, x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slope, bend = _series(dim, gap, 1, 3)
    return slope, bend / (gap * (2 - gap)), torch.zeros_like(gap)


def _bend(dim: float, x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    bend, change = _series(dim, gap, 2, 4)
    below = gap * (2 - gap)
    # dt/dx = -1 / (8 rho t^3); at rho = 0 the change is 0 as well.
    along = change / (8 * (1 - gap).clamp_min(torch.finfo(gap.dtype).tiny) * gap.sqrt() * gap.sqrt().sqrt())
    return bend / below, (bend / below - along) / below, torch.zeros_like(gap)


def _next(name: str) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda dim, x, gap: (apply_rule(name, dim, x, gap), torch.zeros_like(gap))


def _refused(dim: float, x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    _, slope, zero = _bend(dim, x.detach(), gap.detach())
    return refusing("moments of a spherical Cauchy distribution cannot be differentiated as often", slope, x), zero


# 1 - rho is only how rho is known to all digits; derivatives are those in x.
RULES["log_distance"] = Rule(_value, _next("log_distance_slope"))
RULES["log_distance_slope"] = Rule(_slope, _next("log_distance_bend"))
RULES["log_distance_bend"] = Rule(_bend, _refused)


def mean_log_distance(dim: int, x: Tensor, gap: Tensor, degree: int = 0) -> Tensor:
    """J as a function of x = rho^2, or its first or second derivative.

    Args:
        dim: m >= 2.
        x: in [0, 1], any shape, in working precision.
        gap: 1 - rho, which keeps its digits near rho = 1; of the same shape. It gets no gradient, as x does.
        degree: 0, 1 or 2.

    Returns:
        of the shape of `x`; the relative error of J and J' is below 1e-14.

    Example:
        >>> rho = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        >>> mean_log_distance(4, rho**2, 1 - rho)  # x / 2
        tensor([0.0000, 0.1250, 0.5000], dtype=torch.float64)
    """
    name = ("log_distance", "log_distance_slope", "log_distance_bend")[degree]
    return apply_rule(name, dim, x, gap)
