"""How much a Power Spherical distribution thinks less of points seen from another direction than its own.

With p = Power Spherical(mu, kappa) on the unit sphere of R^m and nu at 1 - <mu, nu> = turn, the tilt is

    T = E_p log((1 + <mu, z>) / (1 + <nu, z>)) >= 0.

Given w = <mu, z> = cos(theta), 1 + <nu, z> = a + b s with s a coordinate of a uniform point in R^(m-1) and, for c = 1 -
turn, a = 1 + w c, b^2 = (1 - w^2) (1 - c^2), so that a^2 - b^2 = r^2, r = |w + c|. The mean over s is, with J of
`log_distance.py`, log((a + r) / 2) + J(x), x = b^2 / (a + r)^2. What is left is an integral over theta, by Gauss and
Legendre over where the density is not below exp(-45) of its largest, cut at w = -c, where r has a kink.
"""

import math

import numpy as np
import torch
from torch import Tensor

from .log_distance import mean_log_distance
from .tables import table

_FALL = 45.0
_HALVINGS = 40


@table
def _rule() -> tuple[tuple[float, ...], ...]:
    """Distances v^4 from an end of [0, 1] and weights: at that end a logarithm is smooth in v."""
    nodes, weights = np.polynomial.legendre.leggauss(128)
    v = (1 + nodes) / 2
    return tuple((v**4).tolist()), tuple((2 * v**3 * weights).tolist())


def _log_density(dim: int, kappa: Tensor, theta: Tensor) -> Tensor:
    """Of theta up to a constant."""
    height = 2 * kappa * torch.log(torch.cos(theta / 2))
    return height + (dim - 2) * torch.log(torch.sin(theta)) if dim > 2 else height


def _window(dim: int, kappa: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mode of theta and where, below and above it, the log-density has fallen by `_FALL` or ends."""
    # Of sin^(m-2) cos^(2k)(theta / 2): tan^2(theta / 2) = (m - 2) / (m - 2 + 2 k).
    mode = 2 * torch.atan(((dim - 2) / (dim - 2 + 2 * kappa).clamp_min(1e-300)).sqrt()).clamp(1e-100, math.pi - 1e-9)
    floor = _log_density(dim, kappa, mode) - _FALL
    ends = []
    for outer in (torch.zeros_like(mode), torch.full_like(mode, math.pi)):
        inner = mode
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            high = _log_density(dim, kappa, middle) > floor
            inner, outer = torch.where(high, middle, inner), torch.where(high, outer, middle)
        ends.append(outer)
    return mode, ends[0], ends[1]


def power_spherical_tilt(dim: int, kappa: Tensor, turn: Tensor) -> Tensor:
    """T for concentrations (...) and turns (...) of one shape, in working precision; the error is about 1e-12.

    It can be differentiated in both as often as J, `mean_log_distance`.

    Example:
        >>> k, turn = torch.tensor([3.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
        >>> power_spherical_tilt(5, k, turn)  # 1/2 + 1/3 + 1/4, psi(5) - psi(2)
        tensor([1.0833], dtype=torch.float64)
    """
    with torch.no_grad():
        mode, low, high = (x.unsqueeze(-1) for x in _window(dim, kappa))
        largest = _log_density(dim, kappa.unsqueeze(-1), mode)
    turn, kappa = turn.unsqueeze(-1), kappa.unsqueeze(-1)
    # w = -c where pi - theta is the opening; the cut moves with it, so that derivatives may pass through it. Distances
    # from the cut and from the far pole are kept as such, without which r and 1 + w would lose their digits.
    opening = 2 * torch.asin((turn.clamp(1e-300, 2) / 2).sqrt())
    cut = (math.pi - opening).clamp(low, high)
    middle = (cut + high) / 2
    nodes, weights = _rule(kappa.dtype, kappa.device)
    beyond = cut - (math.pi - opening)
    near = torch.cat(((low - cut) * nodes, (middle - cut) * nodes), -1) + beyond
    last = (math.pi - high) + (high - middle) * nodes
    apart = torch.cat((near, opening - last), -1)
    far = torch.cat((opening - near, last), -1)
    width = torch.cat(((cut - low) * weights, (middle - cut) * weights, (high - middle) * weights), -1)
    tiny = torch.finfo(kappa.dtype).tiny
    above = 2 * torch.sin(far / 2).square().clamp_min(tiny)  # 1 + w
    below = 2 * torch.cos(far / 2).square().clamp_min(tiny)  # 1 - w
    log_density = kappa * torch.log(above / 2) - largest
    if dim > 2:
        log_density = log_density + (dim - 2) / 2 * torch.log(above * below)
    density = width * log_density.exp()
    a = (above * (2 - turn) + below * turn) / 2
    r = 2 * (torch.sin(opening - apart / 2) * torch.sin(apart / 2)).abs().clamp_min(tiny)
    log = torch.log((a + r) / (2 * above))
    if dim == 2:  # s is 1 or -1
        log = torch.log(r / above)
    elif dim > 3:
        square = above * below * turn * (2 - turn)
        x = square / (a + r).square()
        gap = ((r + r.square() / (a + square.detach().sqrt())) / (a + r)).detach()
        log = log + mean_log_distance(dim - 1, x, gap)
    return -(density * log).sum(-1) / density.sum(-1)
