"""Hyperspherical latent space with a uniform prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from ..distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher
from ..distributions.base import LocatedOnSphere
from .base import Latent

# By name, what makes a posterior from directions and concentrations.
FAMILIES: dict[str, Callable[..., LocatedOnSphere]] = {
    "vmf": VonMisesFisher,
    "powerspherical": PowerSpherical,
    "spcauchy": SphericalCauchy.from_concentration,
}


class SphericalLatent(Latent):
    """z on the sphere S^dim, p(z) uniform, q(z|x) von Mises-Fisher, Power Spherical or spherical Cauchy.

    The concentration is softplus(.) + 1, learned per input (Davidson et al. 2018), or fixed. It starts at about the
    ambient dimension: much below that, E<loc, z> is close to 0 and hardly any signal reaches the decoder.

    Args:
        in_features: F, the encoder's features.
        dim: intrinsic dimension m; S^m lives in R^(m+1).
        family: a key of `FAMILIES`.
        kappa: a fixed concentration (the KL is then one constant), or None to learn it.
        radius: radius of the sphere.
        count: number of independent copies, see `Latent`.

    Raises:
        ValueError: there is no such family.

    Example:
        >>> latent = SphericalLatent(in_features=128, dim=10)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> z = q.rsample()
        >>> z.shape, latent.kl(q, z).shape
        (torch.Size([3, 11]), torch.Size([3, 1]))
    """

    fixed: Tensor

    def __init__(
        self,
        in_features: int,
        dim: int,
        family: str = "vmf",
        kappa: float | None = None,
        radius: float = 1.0,
        count: int | None = None,
    ) -> None:
        if family not in FAMILIES:
            raise ValueError(f"family is {family!r}; allowed: {', '.join(FAMILIES)}")
        super().__init__(in_features, dim + 1 + (kappa is None), count)
        self.event_dim = dim + 1
        self.family = family
        self.kappa = kappa
        self.kl_is_constant = kappa is not None
        self.radius = radius
        self.register_buffer("fixed", torch.tensor(float("nan") if kappa is None else kappa), persistent=False)
        if kappa is None:
            with torch.no_grad():
                # softplus^-1(dim); the last output of each copy is the raw concentration.
                self.head.bias.view(count or 1, -1)[:, -1] = dim + math.log(-math.expm1(-dim))

    @classmethod
    def from_settings(
        cls, in_features: int, dim: int, settings: Mapping[str, Any], count: int | None = None
    ) -> SphericalLatent:
        return cls(in_features, dim, settings["distribution"], settings["kappa"], settings["radius"], count)

    def posterior(self, features: Tensor) -> Distribution:
        output = self.parameters_of(features)
        if self.kappa is None:
            direction, raw = output.split([self.event_dim, 1], -1)
            concentration = F.softplus(raw.squeeze(-1)) + 1
        else:
            direction, concentration = output, self.fixed.expand(output.shape[:-1])
        loc = F.normalize(direction, dim=-1)
        return FAMILIES[self.family](loc, concentration, radius=self.radius, validate_args=False)

    def prior(self) -> Distribution:
        batch_shape = torch.Size() if self.count is None else torch.Size((self.count,))
        return HypersphericalUniform(
            self.event_dim - 1,
            self.radius,
            batch_shape,
            device=self.fixed.device,
            dtype=self.fixed.dtype,
            validate_args=False,
        )

    def divergence(self, q: Distribution) -> Tensor:
        assert isinstance(q, LocatedOnSphere)
        return q.kl_uniform()

    def statistics(self, q: Distribution) -> dict[str, Tensor]:
        assert isinstance(q, LocatedOnSphere)
        return {"kappa": q.concentration.unsqueeze(-1) if self.count is None else q.concentration}
