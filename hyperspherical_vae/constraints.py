"""The constraint to a sphere, and how torch.distributions gets there from unconstrained vectors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to, transform_to
from torch.distributions.constraints import Constraint, real_vector


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
        if not value.is_floating_point():
            value = value.to(torch.get_default_dtype())
        tolerance = max(1e-6, 8 * torch.finfo(value.dtype).eps * math.sqrt(value.shape[-1]))
        norm = torch.linalg.vector_norm(value, dim=-1)
        return (norm - self.radius).abs() <= tolerance * self.radius

    def __repr__(self) -> str:
        return f"Sphere(radius={self.radius:g})"


unit_vector = Sphere()


class ToSphere(Transform):
    """Divides vectors (..., m) by their norm: for an optimizer, whose parameters may be any vectors but 0."""

    domain = real_vector

    def __init__(self, radius: float = 1.0) -> None:
        super().__init__()
        self.radius = radius

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return Sphere(self.radius)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.radius == self.radius

    def _call(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(x, dim=-1) * self.radius

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class Stereographic(ToSphere):
    """R^(m-1) to the sphere in R^m without the pole (0, ..., 0, radius), one to one.

    The Jacobian is with respect to the surface measure of the sphere.
    """

    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        square = x.square().sum(-1, keepdim=True)
        return self.radius * torch.cat((2 * x, square - 1), -1) / (square + 1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y[..., :-1] / (self.radius - y[..., -1:])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.shape[-1] * (math.log(2 * self.radius) - torch.log1p(x.square().sum(-1)))

    def forward_shape(self, shape: Sequence[int]) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Sequence[int]) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] - 1))


transform_to.register(Sphere, lambda sphere: ToSphere(sphere.radius))
biject_to.register(Sphere, lambda sphere: Stereographic(sphere.radius))
