"""Integrals over spheres of functions that depend on the angle to an axis only."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def polar_rule(dim: int, concentration: float, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """Points (N, dim) along a half circle from e_1 and weights (N,) of an integral over the sphere.

    Composite Gauss-Legendre in the angle to e_1, denser towards the far end, where powers of 1 + cos are singular, and
    up to where exp(concentration * cos) has fallen by exp(-1000).
    """
    furthest = math.pi if concentration <= 50 else min(math.pi, math.sqrt(2000 / concentration))
    nodes, weights = np.polynomial.legendre.leggauss(30)
    rest = (np.arange(40)[:, None] + (1 + nodes) / 2).ravel() / 40
    angle = torch.from_numpy(furthest * (1 - rest**3))
    step = torch.from_numpy(furthest * 3 * rest**2 * np.tile(weights, 40) / 80)
    # The sphere of directions across e_1 has area 2 pi^((m-1)/2) / Gamma((m-1)/2).
    log_across = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)
    measure = torch.exp(log_across + (dim - 2) * angle.sin().log()) if dim > 2 else torch.full_like(angle, 2.0)
    points = torch.zeros(len(angle), dim, dtype=torch.float64)
    points[:, 0], points[:, 1] = angle.cos(), angle.sin()
    return radius * points, step * measure * radius ** (dim - 1)


def pole(dim: int) -> Tensor:
    """e_1 in R^dim."""
    return torch.eye(1, dim, dtype=torch.float64)[0]
