"""The Power Spherical distribution (De Cao and Aziz 2020)."""

import math

import numpy as np
import scipy.special
import torch
from torch import Tensor
from torch.distributions import Gamma

from ..ops.bessel import log_sphere_area, working_dtype
from ..ops.beta import beta_derivative
from ..ops.derivatives import RULES, Rule, apply_rule
from ..ops.gamma_ratio import GammaRatio, log_gamma_ratio
from ..ops.placement import RADIAL, Radial
from ..ops.tables import table
from .base import LocatedOnSphere

# Below this fraction of beta the KL comes from its Taylor series, above from its closed form.
_SERIES_UP_TO = 1 / 8
_SERIES_TERMS = 18


@table
def _log_ratio_at_zero(beta: float) -> tuple[float]:
    """log Gamma(2 beta) - log Gamma(beta)."""
    return (log_gamma_ratio(beta, beta),)


@table
def _kl_series(beta: float) -> tuple[float, ...]:
    """Coefficients c_n, highest first, of KL = sum_n c_n (kappa / beta)^n, n >= 2, from psi', psi'', ..."""
    n = np.arange(2.0, 2 + _SERIES_TERMS)
    difference = scipy.special.zeta(n, beta) - scipy.special.zeta(n, 2 * beta)
    coefficients = np.where(n % 2 == 0, 1, -1) * (n - 1) / n * beta**n * difference
    return tuple(coefficients[::-1].tolist())


def _kl(beta: float, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """KL(Power Spherical || uniform) and its derivative kappa (psi'(alpha) - psi'(alpha + beta))."""
    k = kappa.to(working_dtype(kappa))
    ratio = GammaRatio(k + beta, beta, beta)
    growth = ratio.log_ratio() - _log_ratio_at_zero(k.dtype, k.device, beta)[0]
    closed = growth - k * ratio.digamma_difference()
    x = (k / beta).clamp_max(_SERIES_UP_TO)
    series, *rest = _kl_series(k.dtype, k.device, beta).unbind()
    for coefficient in rest:
        series = torch.addcmul(coefficient, series, x)
    kl = torch.where(k < beta * _SERIES_UP_TO, series * x * x, closed)
    return kl.to(kappa.dtype), (k * ratio.trigamma_difference()).to(kappa.dtype)


def _kl_slope(beta: float, kappa: Tensor) -> tuple[Tensor]:
    k = kappa.to(working_dtype(kappa))
    return ((k * GammaRatio(k + beta, beta, beta).trigamma_difference()).to(kappa.dtype),)


def _draw(dim: int, kappa: Tensor, norm: Tensor) -> Tensor:
    """1 - t, twice a Beta variate, which is a ratio of Gamma variates; half a squared norm is one."""
    alpha = kappa.to(working_dtype(kappa)) + (dim - 1) / 2
    part = norm.to(alpha.dtype).square() / 2
    x = part / (part + Gamma(alpha, torch.ones_like(alpha), validate_args=False).sample())
    # At the opposite pole itself the direction across loc is lost, and with it the gradient. What the Gamma sampler
    # gives for bad parameters is not NaN.
    x = x.clamp(torch.finfo(x.dtype).tiny, 1 - torch.finfo(x.dtype).eps)
    return 2 * x.where((alpha > 0) & (alpha < math.inf), math.nan)


def _derivative(dim: int, kappa: Tensor, y: Tensor) -> Tensor:
    beta = (dim - 1) / 2
    return 2 * beta_derivative(beta, kappa.to(working_dtype(kappa)) + beta, y / 2)


RULES["power_kl"] = Rule(_kl, _kl_slope)
RADIAL["power"] = Radial(_draw, _derivative)


class PowerSpherical(LocatedOnSphere):
    """Density proportional to (1 + <loc, z>)^concentration on the sphere of `radius` in R^m.

    With t = <loc, z>, (1 + t) / 2 is Beta(alpha, beta) with beta = (m - 1) / 2 and alpha = beta + concentration, and
    the direction across `loc` is uniform (De Cao and Aziz 2020, section 3). Concentration 0 is the uniform
    distribution. The scalars are computed in float64 whatever the dtype of the arguments, and with 1 - t instead of t,
    so that nothing is lost for large concentrations. The KL to the uniform has a relative error of about 1e-13.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        concentration: (...), zero or more; broadcasts with the batch of `loc`.
        radius: radius of the sphere, a number.
        validate_args: whether arguments are checked; without the check, NaN in gives NaN out.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> loc = torch.nn.functional.normalize(torch.ones(4, 5), dim=-1)
        >>> q = PowerSpherical(loc, torch.full((4,), 20.0))
        >>> q.rsample((3,)).shape, q.entropy().shape
        (torch.Size([3, 4, 5]), torch.Size([4]))
    """

    radial = "power"

    @property
    def _beta(self) -> float:
        return (self.event_shape[0] - 1) / 2

    def _kl_uniform(self, dtype: torch.dtype) -> Tensor:
        return apply_rule("power_kl", self._beta, self.concentration.to(dtype))

    def _length(self) -> Tensor:
        """kappa / (kappa + m - 1)."""
        return self._working / (self._working + 2 * self._beta)

    def _spread(self) -> tuple[Tensor, Tensor]:
        beta = self._beta
        alpha = beta + self._working
        total = alpha + beta
        along = 4 * (alpha / total) * (beta / total) / (total + 1)
        # E[1 - t^2] is shared by the m - 1 directions across loc.
        return along, 4 * (alpha / total) * (beta / (total + 1)) / (2 * beta)

    def _log_density(self, unit: Tensor) -> Tensor:
        beta, k = self._beta, self._working
        growth = GammaRatio(k + beta, beta, beta).log_ratio() - _log_ratio_at_zero(k.dtype, k.device, beta)[0]
        near = (unit - self.loc).square().sum(-1) / 2
        far = (unit + self.loc).square().sum(-1) / 2
        # log((1 + t) / 2) from whichever of 1 - t and 1 + t is small.
        far = (far / 2).clamp_min(torch.finfo(far.dtype).tiny)
        height = torch.where(near < 1, torch.log1p(-near.clamp_max(1) / 2), torch.log(far))
        return growth - log_sphere_area(self.event_shape[0]) + self._working * height
