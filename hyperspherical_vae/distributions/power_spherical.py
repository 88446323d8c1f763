"""The Power Spherical distribution (De Cao and Aziz 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Beta
from torch.types import _size

from ..ops.bessel import log_sphere_area, working_dtype
from ..ops.beta import beta_derivative
from ..ops.gamma_ratio import GammaRatio
from ..ops.placement import draw_across, place, place_backward
from ..ops.tables import constant, table
from .base import LocatedOnSphere

# Below this fraction of beta the KL comes from its Taylor series, above from its closed form.
_SERIES_UP_TO = 1 / 8
_SERIES_TERMS = 18


@constant
def _log_ratio_at_zero(beta: float) -> float:
    """log Gamma(2 beta) - log Gamma(beta)."""
    return GammaRatio(torch.tensor(beta, dtype=torch.float64), beta, beta).log_ratio().item()


@table
def _kl_series(beta: float) -> tuple[float, ...]:
    """Coefficients c_n, highest first, of KL = sum_n c_n (kappa / beta)^n, n >= 2, from psi', psi'', ..."""
    n = torch.arange(2, 2 + _SERIES_TERMS, dtype=torch.float64)
    b = torch.tensor(beta, dtype=torch.float64)
    zeta = torch.special.zeta(n, b) - torch.special.zeta(n, 2 * b)
    coefficients = torch.where(n % 2 == 0, 1, -1) * (n - 1) / n * b**n * zeta
    return tuple(coefficients.flip(0).tolist())


def _kl_and_slope(beta: float, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """KL(Power Spherical || uniform) and its derivative kappa (psi'(alpha) - psi'(alpha + beta))."""
    k = kappa.to(working_dtype(kappa))
    ratio = GammaRatio(k + beta, beta, beta)
    growth = ratio.log_ratio() - _log_ratio_at_zero(beta)
    closed = growth - k * ratio.digamma_difference()
    x = (k / beta).clamp_max(_SERIES_UP_TO)
    series, *rest = _kl_series(k.dtype, k.device, beta).unbind()
    for coefficient in rest:
        series = torch.addcmul(coefficient, series, x)
    kl = torch.where(k < beta * _SERIES_UP_TO, series * x * x, closed)
    return kl.to(kappa.dtype), (k * ratio.trigamma_difference()).to(kappa.dtype)


class _KLUniform(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        return _kl_and_slope(beta, kappa)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:
        kappa, ctx.beta = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(kappa, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:
        kappa, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            _, slope = _kl_and_slope(ctx.beta, kappa)
        return grad * slope, None


class _Sample(torch.autograd.Function):
    """Samples on the unit sphere, with the gradients of a reparameterization."""

    @staticmethod
    def forward(ctx: Any, loc: Tensor, kappa: Tensor) -> Tensor:
        beta = (loc.shape[-1] - 1) / 2
        alpha = kappa.to(working_dtype(kappa)) + beta
        # (1 - t) / 2, drawn as such, keeps its digits close to the mode. At the opposite pole itself the direction
        # across loc is lost, and with it the gradient. What the Gamma sampler gives for bad parameters is not NaN.
        x = Beta(torch.full_like(alpha, beta), alpha, validate_args=False).sample()
        x = x.clamp_max_(1 - torch.finfo(x.dtype).eps).where((alpha > 0) & (alpha < math.inf), math.nan)
        z = place(loc, 2 * x, draw_across(loc))
        ctx.save_for_backward(loc, kappa, alpha, x, z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        loc, kappa, alpha, x, z = ctx.saved_tensors
        grad_loc, grad_y = place_backward(loc, 2 * x, z, grad)
        if not ctx.needs_input_grad[1]:
            return grad_loc, None
        slope = beta_derivative((loc.shape[-1] - 1) / 2, alpha, x)
        return grad_loc, (2 * grad_y * slope).to(kappa.dtype)


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
        shape = self._extended_shape(sample_shape)
        z: Tensor = _Sample.apply(self.loc.expand(shape), self.concentration.expand(shape[:-1]))
        return z if self.radius == 1 else z * self.radius

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of values (..., m)."""
        if self._validate_args:
            self._validate_sample(value)
        near, far = self._distance(value)
        # log((1 + t) / 2) from whichever of 1 - t and 1 + t is small.
        far = (far / 2).clamp_min(torch.finfo(far.dtype).tiny)
        height = torch.where(near < 1, torch.log1p(-near.clamp_max(1) / 2), torch.log(far))
        kappa = self.concentration.to(working_dtype(self.concentration))
        log_ratio = GammaRatio(kappa + self._beta, self._beta, self._beta).log_ratio()
        growth = log_ratio - _log_ratio_at_zero(self._beta)
        return (growth - self._log_area() + kappa * height).to(height.dtype)

    def entropy(self) -> Tensor:
        """Differential entropy in nats."""
        return self._log_area() - self.kl_uniform()

    def kl_uniform(self) -> Tensor:
        """KL divergence to the uniform distribution on the same sphere, in nats; relative error about 1e-13."""
        kl: Tensor = _KLUniform.apply(self.concentration, self._beta)[0]
        return kl

    def _log_area(self) -> float:
        dim = self.event_shape[0]
        return log_sphere_area(dim) + (dim - 1) * math.log(self.radius)
