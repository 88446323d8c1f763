"""The uniform distribution on a hypersphere."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F
from torch.types import _size

from ..ops.bessel import log_sphere_area
from .base import OnSphere


class HypersphericalUniform(OnSphere):
    """The uniform distribution on S^dim, the sphere of `radius` in R^m with m = dim + 1.

    Args:
        dim: intrinsic dimension, 1 or more; events have m = dim + 1 coordinates.
        radius: radius of the sphere.
        batch_shape: shape of the batch.
        device: where samples are drawn.
        dtype: dtype of the samples, torch's default unless given.
        validate_args: whether arguments are checked.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> uniform = HypersphericalUniform(2)
        >>> uniform.rsample((5,)).shape
        torch.Size([5, 3])
        >>> uniform.entropy()  # log(4 pi)
        tensor(2.5310)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        dim: int,
        radius: float = 1.0,
        batch_shape: _size = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(dim + 1, radius, torch.Size(batch_shape), validate_args)
        self._zero = torch.zeros((), device=device, dtype=dtype)

    def __repr__(self) -> str:
        return f"HypersphericalUniform(dim={self.dim}, radius={self.radius:g})"

    @property
    def dim(self) -> int:
        """Intrinsic dimension of the sphere."""
        return self.event_shape[0] - 1

    def expand(self, batch_shape: _size, _instance: Any = None) -> HypersphericalUniform:
        new: HypersphericalUniform = self._get_checked_instance(HypersphericalUniform, _instance)
        new.radius = self.radius
        new._zero = self._zero
        Distribution.__init__(new, torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self._zero.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        return self.mean + self.radius**2 / self.event_shape[0]

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Points of shape (*sample_shape, *batch_shape, m)."""
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self._zero.dtype, device=self._zero.device)
        return F.normalize(noise, dim=-1) * self.radius

    def log_prob(self, value: Tensor) -> Tensor:
        """Minus the logarithm of the sphere's area, for every value of shape (..., m)."""
        if self._validate_args:
            self._validate_sample(value)
        return -self.entropy().expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))

    def entropy(self) -> Tensor:
        """Logarithm of the sphere's area, 2 pi^(m/2) r^(m-1) / Gamma(m/2), in nats."""
        area = log_sphere_area(self.event_shape[0]) + self.dim * math.log(self.radius)
        return (self._zero + area).expand(self.batch_shape)
