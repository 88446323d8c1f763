"""Modified Bessel functions of the first kind and the von Mises-Fisher scalars built on them.

Everything follows from one function of the order v and the argument k,

    G = log 0F1(; v + 1; k^2 / 4) = log I_v(k) - v log(k / 2) + lgamma(v + 1),

its derivative A = I_{v+1}(k) / I_v(k) and the derivative of A. None of them needs a Bessel value, so nothing
underflows or overflows, and what is small (1 - A, k - G, the KL divergence) has a form of its own instead of being a
difference of large numbers. ``_expansion.py`` states the formulas and ``_evaluation.py`` applies them to tensors.

Computation is in float64, whatever the dtype of the argument, except on devices without it (MPS). Arguments of any
shape are mapped elementwise. NaN and infinity give NaN. All functions can be differentiated at least twice, also in
forward mode, and used under ``torch.func`` and ``torch.compile``.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ._evaluation import QUANTITIES, Point, log_sphere_area
from .derivatives import RULES, Rule, apply_rule, refusing

__all__ = [
    "VMFTerms",
    "bessel_ratio",
    "log_iv",
    "log_ive",
    "log_sphere_area",
    "mean_resultant_length",
    "mean_resultant_slope",
    "vmf_entropy",
    "vmf_growth",
    "vmf_kl_uniform",
    "vmf_log_mode_density",
    "vmf_log_norm",
    "vmf_terms",
]


def working_dtype(x: Tensor) -> torch.dtype:
    """Double precision wherever the device has it."""
    return torch.float32 if x.is_mps else torch.float64


def _last_slope(order: float, k: Tensor) -> Tensor:
    third = RULES["curvature"].evaluate(order, k.detach())[1]
    return refusing("Bessel functions and vMF scalars cannot be differentiated as often as that", third, k)


# The derivative in k of each quantity, by others of the same order, to be differentiated again.
_SLOPES: dict[str, Callable[[Callable[[str], Tensor], float, Tensor], Tensor]] = {
    "kl": lambda of, order, k: k * of("slope"),
    "entropy": lambda of, order, k: -k * of("slope"),
    "growth": lambda of, order, k: of("ratio"),
    "log_norm": lambda of, order, k: -of("ratio"),
    "log_mode_density": lambda of, order, k: of("complement"),
    "ratio": lambda of, order, k: of("slope"),
    "complement": lambda of, order, k: -of("slope"),
    "slope": lambda of, order, k: of("curvature"),
    "curvature": lambda of, order, k: _last_slope(order, k),
    "log_iv": lambda of, order, k: of("ratio") + order / k if order else of("ratio"),
    "log_ive": lambda of, order, k: of("scaled_slope") if order else -of("complement"),
    "scaled_slope": lambda of, order, k: of("slope") - order / k / k,
}


def _rule(quantity: str) -> Rule:
    def evaluate(order: float, k: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = QUANTITIES[quantity](order, k.reshape(-1).to(working_dtype(k)))
        return value.to(k.dtype).reshape(k.shape), slope.to(k.dtype).reshape(k.shape)

    def slopes(order: float, k: Tensor) -> tuple[Tensor]:
        wide = k.to(working_dtype(k))
        return (_SLOPES[quantity](lambda name: apply_rule(name, order, wide), order, wide).to(k.dtype),)

    return Rule(evaluate, slopes)


RULES.update({name: _rule(name) for name in QUANTITIES})


def _evaluate(k: Tensor, quantity: str, order: float) -> Tensor:
    return apply_rule(quantity, order, k if k.is_floating_point() else k.to(torch.get_default_dtype()))


class VMFTerms(NamedTuple):
    """The scalars of vMF(kappa), each of the shape of kappa."""

    log_norm_growth: Tensor
    mean_resultant: Tensor
    one_minus_mean_resultant: Tensor
    derivative: Tensor


def vmf_terms(dim: int, kappa: Tensor) -> VMFTerms:
    """The scalars of vMF(kappa) on the unit sphere of R^dim, outside autograd, float64 where the device has it.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Returns:
        G = log 0F1(; m/2; kappa^2/4), A = G' = E[mu.z], 1 - A and A'.

    Example:
        >>> vmf_terms(3, torch.tensor(0.0)).derivative
        tensor(0.3333, dtype=torch.float64)
    """
    k = kappa.detach().reshape(-1).to(working_dtype(kappa))
    x = Point(dim / 2 - 1, k, "growth", "deficit", "slope")
    _, deficit, slope = x.series
    terms = x.growth(), x.ratio(deficit), x.complement(deficit), x.t * x.t * slope
    return VMFTerms(*(term.reshape(kappa.shape) for term in terms))


def mean_resultant_length(dim: int, kappa: Tensor) -> Tensor:
    """A(kappa) = I_{m/2}(kappa) / I_{m/2-1}(kappa) = E[mu.z] under vMF(mu, kappa) on the unit sphere of R^m.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> mean_resultant_length(3, torch.tensor([0.0, 1.0]))  # coth(k) - 1/k
        tensor([0.0000, 0.3130])
    """
    return _evaluate(kappa, "ratio", dim / 2 - 1)


def mean_resultant_slope(dim: int, kappa: Tensor) -> Tensor:
    """A'(kappa), the variance of mu.z under vMF(mu, kappa) on the unit sphere of R^m.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> mean_resultant_slope(3, torch.tensor([0.0, 1.0]))  # 1/3, 1 - coth(k)^2 + 1/k^2
        tensor([0.3333, 0.2759])
    """
    return _evaluate(kappa, "slope", dim / 2 - 1)


def vmf_kl_uniform(dim: int, kappa: Tensor) -> Tensor:
    """KL(vMF(., kappa) || uniform) = kappa A - G on a sphere in R^dim of any radius; its derivative is kappa A'.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> vmf_kl_uniform(3, torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.1516])
    """
    return _evaluate(kappa, "kl", dim / 2 - 1)


def vmf_entropy(dim: int, kappa: Tensor) -> Tensor:
    """Differential entropy of vMF(., kappa) on the unit sphere of R^dim: log area - KL to the uniform.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> vmf_entropy(2, torch.tensor(0.0))  # log(2 pi)
        tensor(1.8379)
    """
    return _evaluate(kappa, "entropy", dim / 2 - 1)


def vmf_growth(dim: int, kappa: Tensor) -> Tensor:
    """G(kappa) = log 0F1(; m/2; kappa^2/4), so that log C_m(kappa) = -log area - G; its derivative is A.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> vmf_growth(3, torch.tensor([0.0, 1.0]))  # log(sinh(k) / k)
        tensor([0.0000, 0.1614])
    """
    return _evaluate(kappa, "growth", dim / 2 - 1)


def vmf_log_norm(dim: int, kappa: Tensor) -> Tensor:
    """log C_m(kappa) = -log area - G, so that log p(z) = log C_m(kappa) + kappa mu.z on the unit sphere of R^dim.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> vmf_log_norm(3, torch.tensor(1.0))  # log(1 / (4 pi sinh(1)))
        tensor(-2.6925)
    """
    return _evaluate(kappa, "log_norm", dim / 2 - 1)


def vmf_log_mode_density(dim: int, kappa: Tensor) -> Tensor:
    """log p(mu) = log C_m(kappa) + kappa without their cancellation: log p(z) = log p(mu) - kappa (1 - mu.z).

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Example:
        >>> vmf_log_mode_density(3, torch.tensor(1e10))  # log(kappa / 2 pi)
        tensor(21.1880)
    """
    return _evaluate(kappa, "log_mode_density", dim / 2 - 1)


def _checked_order(order: float) -> float:
    if not (order >= 0 and math.isfinite(order)):
        raise ValueError(f"order must be a finite number >= 0, got {order!r}")
    return float(order)


def log_iv(order: float, x: Tensor) -> Tensor:
    """Logarithm of the modified Bessel function of the first kind, log I_order(x).

    Args:
        order: any real number >= 0.
        x: arguments >= 0, any shape.

    Raises:
        ValueError: if the order is negative or not finite.

    Example:
        >>> log_iv(0, torch.tensor([0.0, 1.0, 1e6], dtype=torch.float64))
        tensor([0.0000e+00, 2.3591e-01, 9.9999e+05], dtype=torch.float64)
    """
    return _evaluate(x, "log_iv", _checked_order(order))


def log_ive(order: float, x: Tensor) -> Tensor:
    """Logarithm of the exponentially scaled function, log(exp(-x) I_order(x)), without cancellation at large x.

    Args:
        order: any real number >= 0.
        x: arguments >= 0, any shape.

    Raises:
        ValueError: if the order is negative or not finite.

    Example:
        >>> log_ive(150, torch.tensor([1e-3, 1e3], dtype=torch.float64))  # scipy.special.ive is 0.0 at the first
        tensor([-1745.1565,   -15.6073], dtype=torch.float64)
    """
    return _evaluate(x, "log_ive", _checked_order(order))


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """Ratio of modified Bessel functions of the first kind, I_order(x) / I_{order-1}(x).

    Args:
        order: any real number >= 0.
        x: arguments >= 0, any shape.

    Raises:
        ValueError: if the order is negative or not finite.

    Example:
        >>> bessel_ratio(0.5, torch.tensor(1.0))  # tanh(1)
        tensor(0.7616)
    """
    order = _checked_order(order)
    if order >= 1:
        return _evaluate(x, "ratio", order - 1)
    above = _evaluate(x, "ratio", order)
    return x / (2 * order + x * above) if order else above.reciprocal()
