"""Hyperspherical latent space with a uniform prior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from ..distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher
from ..distributions.base import LocatedOnSphere
from .base import Latent


class SphericalLatent(Latent[LocatedOnSphere]):
    """z on the sphere S^dim, q(z|x) a von Mises-Fisher distribution, p(z) uniform.

    A subclass with another `family` of distributions on the sphere is another kind of latent.

    The concentration is softplus(.) + 1, learned per input (Davidson et al. 2018), or fixed.

    Args:
        in_features: F, the encoder's features.
        dim: intrinsic dimension m; S^m lives in R^(m+1).
        kappa: a fixed concentration (the KL is then one constant), or None to learn it.
        radius: radius of the sphere.
        start: where a learned concentration starts, above 1: that of features of zeros. `dim` is the ambient dimension:
            much below that, E<loc, z> is close to 0 and hardly any signal reaches the decoder. The published code
            starts at softplus(0) + 1, about 1.69.
        count: number of independent copies, see `Latent`.

    Attributes:
        family: makes q(z|x) from its mean direction (..., dim + 1) and concentration (...).

    Example:
        >>> latent = SphericalLatent(in_features=128, dim=10)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> z = q.rsample()
        >>> z.shape, latent.kl(q, z).shape
        (torch.Size([3, 11]), torch.Size([3, 1]))
    """

    family: Callable[..., LocatedOnSphere] = VonMisesFisher
    fixed: Tensor

    def __init__(
        self,
        in_features: int,
        dim: int,
        kappa: float | None = None,
        radius: float = 1.0,
        start: float | str = "dim",
        count: int | None = None,
    ) -> None:
        super().__init__(in_features, dim + 1 + (kappa is None), count)
        self.event_dim = dim + 1
        self.kl_is_constant = kappa is not None
        self.radius = radius
        self.register_buffer("fixed", torch.tensor(float("nan") if kappa is None else kappa), persistent=False)
        if kappa is None:
            with torch.no_grad():
                above = (dim + 1 if start == "dim" else float(start)) - 1
                # softplus^-1(start - 1); the last output of each copy is the raw concentration.
                self.head.bias.view(count or 1, -1)[:, -1] = above + math.log(-math.expm1(-above))

    def posterior(self, features: Tensor) -> LocatedOnSphere:
        output = self.parameters_of(features)
        if self.kl_is_constant:
            direction, concentration = output, self.fixed.expand(output.shape[:-1])
        else:
            direction, raw = output.split([self.event_dim, 1], -1)
            concentration = F.softplus(raw.squeeze(-1)) + 1
        loc = F.normalize(direction, dim=-1)
        return self.family(loc, concentration, radius=self.radius, validate_args=False)

    def prior(self) -> Distribution:
        return HypersphericalUniform(
            self.event_dim - 1,
            self.radius,
            () if self.count is None else (self.count,),
            device=self.fixed.device,
            dtype=self.fixed.dtype,
            validate_args=False,
        )

    def divergence(self, q: LocatedOnSphere) -> Tensor:
        return q.kl_uniform()

    def statistics(self, q: LocatedOnSphere) -> dict[str, Tensor]:
        return {"kappa": q.concentration.unsqueeze(-1) if self.count is None else q.concentration}

    def with_concentration(self, q: LocatedOnSphere, kappa: float) -> Distribution:
        return self.family(q.loc, torch.full_like(q.concentration, kappa), radius=q.radius, validate_args=False)


class PowerSphericalLatent(SphericalLatent):
    """z on the sphere S^dim, q(z|x) a Power Spherical distribution, p(z) uniform; see `SphericalLatent`."""

    family = PowerSpherical


class SphericalCauchyLatent(SphericalLatent):
    """z on the sphere S^dim, q(z|x) a spherical Cauchy distribution, p(z) uniform; see `SphericalLatent`.

    The concentration is that of the von Mises-Fisher distribution with the same curvature at the mode.
    """

    family = SphericalCauchy.from_concentration
