"""What distributions on a hypersphere have in common."""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size

from ..ops.constraints import Sphere, unit_vector

Located = TypeVar("Located", bound="LocatedOnSphere")


class OnSphere(Distribution):
    """A distribution on the sphere of `radius` in R^m; the density is with respect to the sphere's surface measure.

    Args:
        ambient_dim: m >= 2.
        radius: positive.
        batch_shape: shape of the batch.
        validate_args: whether arguments are checked.

    Raises:
        ValueError: the dimension or, under `validate_args`, the radius is not allowed.
    """

    has_rsample = True

    def __init__(
        self, ambient_dim: int, radius: float, batch_shape: torch.Size, validate_args: bool | None = None
    ) -> None:
        name = type(self).__name__
        if ambient_dim < 2:
            raise ValueError(f"{name}: a sphere needs vectors of at least 2 coordinates, not {ambient_dim}")
        self.radius = radius
        super().__init__(batch_shape, torch.Size((ambient_dim,)), validate_args=False)
        self._validate_args = Distribution._validate_args if validate_args is None else validate_args
        if self._validate_args and not (0 < radius < math.inf):
            raise ValueError(f"{name}: radius is {radius}; it has to be positive and finite")

    @property
    def support(self) -> Sphere:
        return Sphere(self.radius)

    def _validate_sample(self, value: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}: the value is of type {type(value).__name__}; it has to be a tensor")
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"{name}: the value has shape {tuple(value.shape)}; its last size has to be {self.event_shape[0]}"
            )
        try:
            torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        except RuntimeError:
            raise ValueError(
                f"{name}: the value has shape {tuple(value.shape)}, which does not broadcast with batch shape "
                f"{tuple(self.batch_shape)}"
            ) from None
        if not self.support.check(value).all():
            norm = torch.linalg.vector_norm(value, dim=-1)
            worst = norm.flatten()[(norm - self.radius).abs().nan_to_num(math.inf).argmax()]
            raise ValueError(
                f"{name}: a value has norm {worst:.7g}; its support is the sphere of radius {self.radius:g}"
            )


class LocatedOnSphere(OnSphere):
    """A distribution on a sphere that is symmetric about a direction and more or less concentrated there.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        concentration: (...), zero or more; broadcasts with the batch of `loc`.
        radius: radius of the sphere.
        validate_args: whether arguments are checked; without the check, NaN in gives NaN out.

    Raises:
        ValueError: an argument is not allowed.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": unit_vector,
        "concentration": constraints.nonnegative,
    }

    def __init__(
        self, loc: Tensor, concentration: Tensor | float, radius: float = 1.0, validate_args: bool | None = None
    ) -> None:
        name = type(self).__name__
        if loc.dim() == 0:
            raise ValueError(f"{name}: loc is a single number; it has to be unit vectors (..., m) with m >= 2")
        if not isinstance(concentration, Tensor):
            concentration = torch.as_tensor(concentration, dtype=loc.dtype, device=loc.device)
        batch_shape = loc.shape[:-1]
        if concentration.shape != batch_shape:
            try:
                batch_shape = torch.broadcast_shapes(batch_shape, concentration.shape)
            except RuntimeError:
                raise ValueError(
                    f"{name}: loc has shape {tuple(loc.shape)} and concentration {tuple(concentration.shape)}; loc "
                    "without its last size has to broadcast with concentration"
                ) from None
            loc = loc.expand(batch_shape + loc.shape[-1:])
            concentration = concentration.expand(batch_shape)
        self.loc = loc
        self.concentration = concentration
        super().__init__(loc.shape[-1], radius, batch_shape, validate_args)
        if self._validate_args:
            self._validate_parameters()

    def _validate_parameters(self) -> None:
        name = type(self).__name__
        if not unit_vector.check(self.loc).all():
            raise ValueError(
                f"{name}: loc has to be unit vectors; divide by the norm, as torch.nn.functional.normalize does"
            )
        allowed = (self.concentration >= 0) & (self.concentration < math.inf)
        if not allowed.all():
            worst = self.concentration[~allowed].flatten()[0]
            raise ValueError(f"{name}: a concentration is {worst:.7g}; it has to be finite and zero or more")

    def expand(self: Located, batch_shape: _size, _instance: Any = None) -> Located:
        new: Located = self._get_checked_instance(type(self), _instance)
        shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(shape + self.event_shape)
        new.concentration = self.concentration.expand(shape)
        new.radius = self.radius
        Distribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mode(self) -> Tensor:
        return self.loc * self.radius

    def _distance(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """1 - <loc, z> and 1 + <loc, z> for the direction z of `value`, each without cancellation where it is small."""
        unit = value if self.radius == 1 else value / self.radius
        return (unit - self.loc).square().sum(-1) / 2, (unit + self.loc).square().sum(-1) / 2
