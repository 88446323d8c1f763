"""The Power Spherical distribution (De Cao and Aziz 2020)."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from scipy.special import zeta
from torch import Tensor
from torch.distributions import Beta
from torch.types import _size

from ..ops.bessel import _working_dtype, log_sphere_area
from ..ops.gamma_ratio import digamma_difference, log_gamma_ratio, trigamma_difference
from ..ops.reflection import point_around
from .base import LocatedOnSphere

# Below this fraction of beta the KL comes from its Taylor series, above from its closed form.
_SERIES_UP_TO = 1 / 8
_SERIES_TERMS = 18


@functools.cache
def _log_growth_at_zero(beta: float) -> float:
    return log_gamma_ratio(torch.tensor(beta, dtype=torch.float64), beta, beta).item()


def _log_growth(beta: float, kappa: Tensor) -> Tensor:
    """-log E[((1 + t) / 2)^kappa] over the uniform distribution; zero at kappa = 0."""
    return log_gamma_ratio(kappa + beta, beta, beta) - _log_growth_at_zero(beta)


@functools.cache
def _kl_series(beta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Coefficients c_k of KL = sum_k c_k (kappa / beta)^(k + 2), from psi' and its derivatives at beta and 2 beta."""
    coefficients = [
        (-1) ** k * (k + 1) / (k + 2) * float(beta ** (k + 2) * (zeta(k + 2, beta) - zeta(k + 2, 2 * beta)))
        for k in range(_SERIES_TERMS)
    ]
    return torch.tensor(coefficients, dtype=dtype, device=device)


class _KLUniform(torch.autograd.Function):
    """KL(Power Spherical || uniform); its derivative is kappa (psi'(alpha) - psi'(alpha + beta))."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, beta: float) -> Tensor:
        k = kappa.to(_working_dtype(kappa))
        closed = _log_growth(beta, k) - k * digamma_difference(k + beta, beta, beta)
        x = (k / beta).clamp_max(_SERIES_UP_TO)
        powers = x.unsqueeze(-1) ** torch.arange(2, 2 + _SERIES_TERMS, device=k.device)
        series = powers @ _kl_series(beta, k.dtype, k.device)
        return torch.where(k < beta * _SERIES_UP_TO, series, closed).to(kappa.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        kappa, ctx.beta = inputs
        ctx.save_for_backward(kappa)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        k = kappa.to(_working_dtype(kappa))
        return grad * (k * trigamma_difference(k + ctx.beta, ctx.beta, ctx.beta)).to(kappa.dtype), None


class PowerSpherical(LocatedOnSphere):
    """Density proportional to (1 + <loc, z>)^concentration on the sphere of `radius` in R^m.

    With t = <loc, z>, (1 + t) / 2 is Beta(alpha, beta) with beta = (m - 1) / 2 and alpha = beta + concentration, and
    the direction across `loc` is uniform (De Cao and Aziz 2020, section 3). Concentration 0 is the uniform
    distribution. The scalars are computed in float64 whatever the dtype of the arguments, and with 1 - t instead of t,
    so that nothing is lost for large concentrations.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        concentration: (...), zero or more; broadcasts with the batch of `loc`.
        radius: radius of the sphere.
        validate_args: whether arguments are checked; without the check, NaN in gives NaN out.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> loc = torch.nn.functional.normalize(torch.ones(4, 5), dim=-1)
        >>> q = PowerSpherical(loc, torch.full((4,), 20.0))
        >>> q.rsample((3,)).shape, q.entropy().shape
        (torch.Size([3, 4, 5]), torch.Size([4]))
    """

    @property
    def _beta(self) -> float:
        return (self.event_shape[0] - 1) / 2

    @property
    def mean(self) -> Tensor:
        """E[z] = r loc kappa / (kappa + m - 1)."""
        length = self.radius * self.concentration / (self.concentration + 2 * self._beta)
        return self.loc * length.unsqueeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, (..., m)."""
        beta = self._beta
        alpha = beta + self.concentration
        total = alpha + beta
        # E[1 - t^2] is shared by the m - 1 directions across loc.
        across = 4 * (alpha / total) * (beta / (total + 1)) / (2 * beta)
        along = 4 * (alpha / total) * (beta / total) / (total + 1)
        square = self.loc.square()
        return self.radius**2 * (along.unsqueeze(-1) * square + across.unsqueeze(-1) * (1 - square))

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Reparameterized samples of shape (*sample_shape, *batch_shape, m)."""
        kappa = self.concentration
        beta = torch.full_like(kappa, self._beta)
        y = 2 * Beta(beta, kappa + self._beta, validate_args=False).rsample(sample_shape)
        noise = torch.randn((*y.shape, self.event_shape[0] - 1), dtype=self.loc.dtype, device=self.loc.device)
        z = point_around(self.loc, y, noise)
        return z if self.radius == 1 else z * self.radius

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of values (..., m)."""
        if self._validate_args:
            self._validate_sample(value)
        near, far = self._distance(value)
        # log((1 + t) / 2) from whichever of 1 - t and 1 + t is small.
        far = (far / 2).clamp_min(torch.finfo(far.dtype).tiny)
        height = torch.where(near < 1, torch.log1p(-near.clamp_max(1) / 2), torch.log(far))
        kappa = self.concentration.to(_working_dtype(self.concentration))
        density = _log_growth(self._beta, kappa) - self._log_area() + kappa * height
        return density.to(height.dtype)

    def entropy(self) -> Tensor:
        """Differential entropy in nats."""
        return self._log_area() - self.kl_uniform()

    def kl_uniform(self) -> Tensor:
        """KL divergence to the uniform distribution on the same sphere, in nats; relative error about 1e-13."""
        kl: Tensor = _KLUniform.apply(self.concentration, self._beta)
        return kl

    def _log_area(self) -> float:
        dim = self.event_shape[0]
        return log_sphere_area(dim) + (dim - 1) * math.log(self.radius)
