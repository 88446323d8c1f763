"""Constraints on vectors that torch.distributions does not offer."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint


class Sphere(Constraint):
    """Vectors on the sphere of a given radius around the origin, up to rounding.

    The norm may be off by 1e-6 of the radius, or by eight rounding errors times sqrt(m) where that is more.

    Args:
        radius: radius of the sphere.

    Example:
        >>> Sphere(2.0).check(torch.tensor([[0.0, 2.0], [0.0, 1.0]]))
        tensor([ True, False])
    """

    event_dim = 1

    def __init__(self, radius: float = 1.0) -> None:
        self.radius = radius
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        tolerance = max(1e-6, 8 * torch.finfo(value.dtype).eps * math.sqrt(value.shape[-1]))
        norm = torch.linalg.vector_norm(value, dim=-1)
        return (norm - self.radius).abs() <= tolerance * self.radius

    def __repr__(self) -> str:
        return f"Sphere(radius={self.radius:g})"


unit_vector = Sphere()
