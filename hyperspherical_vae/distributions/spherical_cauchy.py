"""The spherical Cauchy distribution (Kato and McCullagh 2020)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F
from torch.types import _size

from ..constraints import unit_vector
from ..ops.bessel import log_sphere_area, working_dtype
from ..ops.log_distance import mean_log_distance
from .base import LocatedOnSphere, check_range


class SphericalCauchy(LocatedOnSphere):
    """Density proportional to (1 + rho^2 - 2 rho <loc, z>)^-(m - 1) on the sphere of `radius` in R^m.

    With respect to the uniform distribution the density is ((1 - rho^2) / (1 + rho^2 - 2 rho <loc, z>))^(m - 1); its
    tails are heavier than those of the von Mises-Fisher distribution. A sample is the image of a uniform point under a
    Moebius transformation of the sphere, exact without rejection (Kato and McCullagh 2020, "Some properties of a Cauchy
    family on the sphere derived from the Moebius transformations"). rho = 0 is the uniform distribution.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        rho: (...), zero or more and below 1; broadcasts with the batch of `loc`. Very near 1, where 1 - rho has few
            digits, `from_concentration` is the better way.
        radius: radius of the sphere, a number.
        validate_args: whether arguments are checked; without the check, NaN in gives NaN out.

    Raises:
        ValueError: an argument is not allowed.

    Attributes:
        gap: 1 - rho, (...), to all its digits.

    Example:
        >>> q = SphericalCauchy(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.5]))
        >>> q.rsample((3,)).shape, q.mean  # on the circle, rho along loc
        (torch.Size([3, 2, 2]), tensor([[0.0000, 0.0000],
                [0.0000, 0.5000]]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": unit_vector,
        "rho": constraints.half_open_interval(0.0, 1.0),
    }
    batched: ClassVar[dict[str, int]] = {"loc": 1, "rho": 0, "gap": 0}
    scalar: ClassVar[tuple[str, float]] = ("rho", 1.0)

    rho: Tensor

    def __init__(
        self, loc: Tensor, rho: Tensor | float, radius: float = 1.0, validate_args: bool | None = None
    ) -> None:
        super().__init__(loc, rho, radius, validate_args)
        self.gap = 1 - self.rho

    @classmethod
    def from_concentration(
        cls, loc: Tensor, concentration: Tensor | float, radius: float = 1.0, validate_args: bool | None = None
    ) -> SphericalCauchy:
        """The distribution whose log-density bends at the mode as that of a von Mises-Fisher distribution does.

        Its concentration is k = 2 (m - 1) rho / (1 - rho)^2.

        Args:
            loc: as for the class.
            concentration: k, (...), zero or more.
            radius: as for the class.
            validate_args: as for the class.

        Raises:
            ValueError: an argument is not allowed.

        Example:
            >>> q = SphericalCauchy.from_concentration(torch.tensor([0.0, 0.0, 1.0]), 2.0)
            >>> q.rho, q.concentration
            (tensor(0.2679), tensor(2.0000))
        """
        loc, k = cls._joined(loc, concentration, "concentration")
        if Distribution._validate_args if validate_args is None else validate_args:
            check_range(cls.__name__, "concentration", torch.inf, k)
        c = loc.shape[-1] - 1
        gap = 2 * c / (c + (c * c + 2 * c * k.to(working_dtype(k))).sqrt())
        rho = (k * gap.square() / (2 * c)).to(k.dtype).clamp_max(1 - torch.finfo(k.dtype).eps / 2)
        q = cls(loc, rho, radius, validate_args)
        q.gap = gap.to(k.dtype)
        return q

    @property
    def concentration(self) -> Tensor:  # type: ignore[override]
        """k = 2 (m - 1) rho / (1 - rho)^2, (...)."""
        return 2 * (self.event_shape[0] - 1) * self.rho / self.gap.square()

    def _terms(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """rho, 1 - rho, rho^2 and 1 - rho^2 in working precision."""
        working = working_dtype(self.rho)
        gap = self.gap.to(working)
        rho = torch.where(gap < 0.5, 1 - gap, self.rho.to(working))
        return rho, gap, rho.square(), gap * (1 + rho)

    def _kl_uniform(self, dtype: torch.dtype) -> Tensor:
        """(m - 1) (E log(1 + rho^2 + 2 rho s) - log(1 - rho^2)), s a coordinate of a uniform point."""
        dim = self.event_shape[0]
        rho, gap, x, below = self._terms()
        log = torch.where(rho < 0.5, torch.log1p(-x.clamp_max(0.5)), torch.log(below))
        return ((dim - 1) * (mean_log_distance(dim, x, gap) - log)).to(dtype)

    def _length(self) -> Tensor:
        rho, gap, x, below = self._terms()
        return rho * (1 + below * mean_log_distance(self.event_shape[0], x, gap, 1))

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Along `loc` the absolute error is some 1e-16, as 1 - E[1 - t^2] - E[t]^2 with t = <loc, z>."""
        dim = self.event_shape[0]
        _, gap, x, below = self._terms()
        if dim == 2:
            across = below / 2
        else:
            slope, bend = (mean_log_distance(dim, x, gap, degree) for degree in (1, 2))
            across = below.square() * (slope + x * bend) / (dim - 2)
        return (1 - (dim - 1) * across - self._length().square()).clamp_min(0), across

    def _log_density(self, unit: Tensor) -> Tensor:
        dim = self.event_shape[0]
        rho, gap, _, below = self._terms()
        near = (unit - self.loc).square().sum(-1)
        return (dim - 1) * (below.log() - (gap.square() + rho * near).log()) - log_sphere_area(dim)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw a sample of shape `sample_shape` + batch + (m,), as often differentiable as wanted."""
        wide = torch.promote_types(self.loc.dtype, torch.float32)
        shape = self._extended_shape(sample_shape)
        u = F.normalize(torch.randn(shape, dtype=wide, device=self.loc.device), dim=-1)
        rho, gap = self.rho.to(wide).unsqueeze(-1), self.gap.to(wide).unsqueeze(-1)
        centre = rho * self.loc
        shifted = u + centre
        z = gap * (1 + rho) / shifted.square().sum(-1, keepdim=True) * shifted + centre
        return (F.normalize(z, dim=-1) * self.radius).to(self.loc.dtype)
