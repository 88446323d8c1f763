"""The derivative of a Beta variate in one of its shapes, by quadrature."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from .bessel import _working_dtype
from .gamma_ratio import gamma_ratio

# Gauss-Legendre nodes, and the fall of the log density after which the tail of the integral is dropped.
_NODES, _FALL = 24, 23.0
# Samples taken together on a CPU, so that the integrand at all nodes stays in its cache.
_CHUNK = 1024


@functools.cache
def _rule(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes (N, 1) and weights (N,) on [0, 1], denser towards 1, where log(1 - u) may have its singularity."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    rest = (1 - nodes) / 2
    return (
        torch.tensor(1 - rest[:, None] ** 2, dtype=dtype, device=device),
        torch.tensor(weights * rest, dtype=dtype, device=device),
    )


def _integrate(b: float, a: Tensor, x: Tensor) -> Tensor:
    """dx/da of each sample (n,), see `beta_derivative`."""
    mean_log = -gamma_ratio(a, b, b).digamma_difference
    above = torch.log1p(-x) < mean_log
    side = torch.where(above, 1.0, -1.0).to(a.dtype)
    # How far the domain reaches from x on the side away from the mean and on the other, and the exponents of the
    # density there: (ahead - d)^p (behind + d)^q at the distance d.
    rest = 1 - x
    ahead, behind = torch.where(above, rest, x), torch.where(above, x, rest)
    p, q = torch.where(above, a - 0.5, b - 0.5), torch.where(above, b - 0.5, a - 0.5)
    # The distance at which the log density has fallen by _FALL: from its slope and curvature, then one Newton step.
    # The fall is convex in the distance. Where it stays less than that all of the domain counts.
    slope = p / ahead - q / behind
    curvature = p / ahead.square() + q / behind.square()
    reach = 2 * _FALL / (slope + (slope.square() + 2 * _FALL * curvature).sqrt())
    reach = torch.minimum(reach, 0.9 * ahead)
    fall = -(p * torch.log1p(-reach / ahead) + q * torch.log1p(reach / behind))
    reach = reach + (_FALL - fall) / (p / (ahead - reach) - q / (behind + reach))
    reach = torch.where(reach > 0, torch.minimum(reach, ahead), ahead)

    start = x.sqrt().asin_()
    width = (x + side * reach).clamp_(0, 1).sqrt_().asin_() - start
    nodes, weights = _rule(a.dtype, a.device)
    u = torch.addcmul(start, nodes, width).sin_().square_().clamp_max_(1 - torch.finfo(a.dtype).eps)
    log_rest = torch.log1p(-u)
    exponent = torch.addcmul(torch.log1p(-x) * (0.5 - a), log_rest, a - 0.5)
    if b > 0.5:
        exponent.add_((u / x).log_(), alpha=b - 0.5)
    integral = weights @ exponent.exp_().mul_(log_rest.sub_(mean_log))
    return 2 * (x * rest).sqrt_() * width * integral


def beta_derivative(b: float, a: Tensor, x: Tensor) -> Tensor:
    """dx/da of a sample x of Beta(b, a), at the same value of the distribution function.

    Implicit reparameterization (Figurnov, Mohamed and Mnih 2018), dx/da = -(dF/da) / p(x). With x = sin^2 t,
    u = sin^2 s and e = E[log(1 - u)] = psi(a) - psi(a + b),

        dx/da = -sin(2 t) integral of (log(1 - u) - e) (sin s / sin t)^(2b - 1) (cos s / cos t)^(2a - 1) ds

    taken from 0 to t, or with the other sign from t to pi/2, where the integrand keeps one sign; Gauss-Legendre
    quadrature with 24 nodes up to where the density has fallen by exp(-23). Relative error below 1e-8, or of 1e-6 on
    average at b = 0.5 and a < 0.8; the rational approximations behind `torch.distributions.Beta` err by up to 7e-3.

    Args:
        b: first shape, 0.5 or more.
        a: second shapes, not below `b`, any shape.
        x: samples in (0, 1), of the same shape.

    Returns:
        dx/da <= 0, of that shape, in working precision (float64 where the device has it).

    Example:
        >>> x = torch.tensor([0.1, 0.7], dtype=torch.float64)
        >>> beta_derivative(1.0, torch.full_like(x, 2.0), x)  # 1 - x = U^(1/a)
        tensor([-0.0474, -0.1806], dtype=torch.float64)
    """
    a = a.detach().to(_working_dtype(a))
    flat_a = a.reshape(-1)
    info = torch.finfo(a.dtype)
    flat_x = x.detach().to(a.dtype).reshape(-1).clamp(info.tiny, 1 - info.eps)
    if a.device.type != "cpu" or torch.compiler.is_compiling() or a.numel() <= _CHUNK:
        return _integrate(b, flat_a, flat_x).reshape(x.shape)
    chunks = zip(flat_a.split(_CHUNK), flat_x.split(_CHUNK), strict=True)
    return torch.cat([_integrate(b, *chunk) for chunk in chunks]).reshape(x.shape)
