"""Modified Bessel functions of the first kind and the von Mises-Fisher scalars built on them.

Everything follows from one function of the order v and the argument k,

    G = log 0F1(; v + 1; k^2 / 4) = log I_v(k) - v log(k / 2) + lgamma(v + 1),

its derivative A = I_{v+1}(k) / I_v(k) and the derivative of A. None of them needs a Bessel value, so nothing
underflows or overflows, and what is small (1 - A, k - G, the KL divergence) has a form of its own instead of being a
difference of large numbers. ``_expansion.py`` states the formulas and ``_evaluation.py`` applies them to tensors.

Computation is in float64, whatever the dtype of the argument, except on devices without it (MPS). Arguments of any
shape are mapped elementwise. NaN and infinity give NaN. All functions can be differentiated twice, and used under
``torch.func.vmap`` and ``torch.compile``.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._evaluation import QUANTITIES, Point, log_sphere_area, second_derivative

__all__ = [
    "VMFTerms",
    "bessel_ratio",
    "log_iv",
    "log_ive",
    "log_sphere_area",
    "mean_resultant_length",
    "vmf_entropy",
    "vmf_kl_uniform",
    "vmf_log_mode_density",
    "vmf_log_norm",
    "vmf_terms",
]


def working_dtype(x: Tensor) -> torch.dtype:
    """Double precision wherever the device has it."""
    return torch.float32 if x.is_mps else torch.float64


class _Derivative(torch.autograd.Function):
    """Hands on a derivative that is known already; the first can be differentiated once more."""

    @staticmethod
    def forward(k: Tensor, known: Tensor, quantity: str, order: float, degree: int) -> Tensor:
        return known.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        k, _, ctx.quantity, ctx.order, ctx.degree = inputs
        ctx.save_for_backward(k)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.degree > 1:
            raise NotImplementedError("Bessel functions and vMF scalars can be differentiated twice, not three times")
        (k,) = ctx.saved_tensors
        flat = k.detach().reshape(-1).to(working_dtype(k))
        second = second_derivative(ctx.quantity, ctx.order, flat).to(k.dtype).reshape(k.shape)
        if torch.is_grad_enabled():
            second = _Derivative.apply(k, second, ctx.quantity, ctx.order, 2)
        return grad * second, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, known: Tensor, *others: Any) -> Any:
        pair = (  # the two may come with their batches in different places
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip((k, known), in_dims[:2], strict=True)
        )
        return _Derivative.apply(*pair, *others), 0


def _evaluate_flat(k: Tensor, quantity: str, order: float) -> tuple[Tensor, Tensor]:
    value, slope = QUANTITIES[quantity](order, k.reshape(-1).to(working_dtype(k)))
    return value.to(k.dtype).reshape(k.shape), slope.to(k.dtype).reshape(k.shape)


class _Evaluate(torch.autograd.Function):
    """A quantity as a function of k, elementwise, with its derivative computed alongside."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, quantity: str, order: float) -> Tensor:
        value, slope = _evaluate_flat(k, quantity, order)
        ctx.quantity, ctx.order = quantity, order
        ctx.save_for_backward(k, slope)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        k, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = _Derivative.apply(k, slope, ctx.quantity, ctx.order, 1)
        return grad * slope, None, None


class _EvaluateTransformed(torch.autograd.Function):
    """The same in the form that torch.func asks for, which PyTorch calls with an overhead as long as the evaluation."""

    @staticmethod
    def forward(k: Tensor, quantity: str, order: float) -> tuple[Tensor, Tensor]:
        return _evaluate_flat(k, quantity, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        k, ctx.quantity, ctx.order = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(k, output[1])

    backward = staticmethod(_Evaluate.backward)

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, quantity: str, order: float) -> Any:
        return _EvaluateTransformed.apply(k, quantity, order), (in_dims[0], in_dims[0])


def _evaluate(k: Tensor, quantity: str, order: float) -> Tensor:
    if not k.is_floating_point():
        k = k.to(torch.get_default_dtype())
    if torch._C._are_functorch_transforms_active():
        return _EvaluateTransformed.apply(k, quantity, order)[0]
    return _Evaluate.apply(k, quantity, order)


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
