"""Modified Bessel functions of the first kind and the von Mises-Fisher scalars built on them.

Everything follows from one function of the order v and the argument k,

    G = log 0F1(; v + 1; k^2 / 4) = log I_v(k) - v log(k / 2) + lgamma(v + 1),

its derivative A = I_{v+1}(k) / I_v(k) and the derivative of A. None of them needs a Bessel value, so nothing
underflows or overflows, and what is small (1 - A, k - G, the KL divergence) has a form of its own instead of being a
difference of large numbers. ``_expansion.py`` states the formulas; this module evaluates them on tensors.

Computation is in float64, whatever the dtype of the argument, except on devices without it (MPS). Arguments of any
shape are mapped elementwise. NaN and infinity give NaN. All functions can be differentiated twice, and used under
``torch.func.vmap`` and ``torch.compile``.
"""

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hyperspherical_vae.ops._expansion import expansion

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

_Quantity = Literal["kl", "growth", "excess", "ratio", "log_iv", "log_ive"]
# Up to this length the series are one product of a matrix of powers, beyond it sums by Horner's rule, which take more
# operations and less memory. In float32 they always are: autocast and TF32 would round the factors of a product.
_MATRIX_LENGTH = 4096


class _Series(NamedTuple):
    """Some of the series of one order and its constants, ready for one dtype and device."""

    a: Tensor
    b: Tensor
    inverse_b: Tensor
    inverse_sum: Tensor  # 1 / (a + b)
    log_offset: Tensor
    scaled_log_offset: Tensor
    two: Tensor
    minus_one: Tensor
    constant: Tensor  # (number of series, 1)
    powers: Tensor  # (number of series, degree)


def _table(order: float, names: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The constants in a first row, then a row for each series."""
    e = expansion(order, torch.finfo(dtype).eps / 10)
    scalars = (e.a, e.b, 1 / e.b, 1 / (e.a + e.b), e.log_offset, e.scaled_log_offset, 2.0, -1.0)
    rows = [scalars + (0.0,) * (len(e.series[names[0]]) - len(scalars)), *(e.series[name] for name in names)]
    return torch.tensor(rows, dtype=dtype, device=device)


def _unpacked(table: Tensor) -> _Series:
    return _Series(*table[0].unbind()[:8], table[1:, :1], table[1:, 1:].contiguous())


@lru_cache(maxsize=1024)
def _kept_series(order: float, names: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> _Series:
    return _unpacked(_table(order, names, dtype, device))


_constant_table = torch.compiler.assume_constant_result(_table)


def _series(order: float, names: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> _Series:
    if torch.compiler.is_compiling():  # one tensor is what a traced program can take in as a constant
        return _unpacked(_constant_table(order, names, dtype, device))
    return _kept_series(order, names, dtype, device)


class _Point:
    """The variables of ``_expansion.py`` at each k of a vector, and the values there of the series asked for."""

    def __init__(self, order: float, k: Tensor, *names: str) -> None:
        self.c = c = _series(order, names, k.dtype, k.device)
        self.k = k
        self.r = torch.hypot(k, c.b)
        self.t = c.b / self.r
        self.p = k * (k / (self.r + c.b))
        u = torch.addcmul(c.minus_one, self.t, c.two)
        if k.dtype == torch.float64 and len(u) <= _MATRIX_LENGTH:
            powers = torch.cumprod(u.expand(c.powers.shape[1], -1), 0)
            self.series = torch.addmm(c.constant, c.powers, powers).unbind(0)
        else:
            first, *others = torch.cat((c.constant, c.powers), dim=1).unsqueeze(-1).flip(1).unbind(1)
            total = first.expand(-1, len(u))
            for coefficient in others:
                total = torch.addcmul(coefficient, total, u)
            self.series = total.unbind(0)

    def log(self) -> Tensor:
        """log((a + r) / (a + b))."""
        return torch.log1p(self.p * self.c.inverse_sum)

    def tail(self) -> Tensor:
        """(1 - t) times the first series."""
        return self.p / self.r * self.series[0]

    def ratio(self, deficit: Tensor) -> Tensor:
        return self.k * self.t * (self.c.inverse_b - self.t * deficit)

    def complement(self, deficit: Tensor) -> Tensor:
        """1 - A."""
        return self.t * (self.c.b / (self.r + self.k) + self.k * self.t * deficit)


def _value_and_slope(quantity: _Quantity, order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    """One of the quantities at each k of a vector and its derivative there; ``order`` is v = m/2 - 1."""
    if quantity == "kl":
        x = _Point(order, k, "divergence", "slope")
        return torch.addcmul(x.tail(), x.log(), x.c.a), x.t * (k * x.t) * x.series[1]
    if quantity == "ratio":
        x = _Point(order, k, "deficit", "slope")
        return x.ratio(x.series[0]), x.t * x.t * x.series[1]
    x = _Point(order, k, "growth", "scaled_excess" if quantity == "log_ive" else "deficit")
    second = x.series[1]
    if quantity == "growth":
        return x.p - x.log() * x.c.a + x.tail(), x.ratio(second)
    rk = x.r + k
    if quantity == "excess":
        return x.c.b * ((k + x.p) / rk) + x.log() * x.c.a - x.tail(), x.complement(second)
    gap = x.c.b * (x.c.b / rk)  # r - k
    ar = x.r + x.c.a
    lead = k / ar
    shared = x.tail() + order * torch.where(lead < 0.5, torch.log(lead), torch.log1p(-(gap + x.c.a) / ar))
    if quantity == "log_iv":
        return shared + x.p - x.log() / 2 + x.c.log_offset, x.ratio(second) + order / k
    slope = x.t * ((order * x.t - x.c.b) / rk + k * x.t * second) + order * gap / x.r / k
    if order < 1:  # keeps the relative precision of what vanishes with the order and x
        return shared - x.c.b * ((k + x.p) / rk) - x.log() / 2 + x.c.log_offset, slope
    return shared + gap - torch.log(ar) / 2 + x.c.scaled_log_offset, slope


def _second_derivative(quantity: _Quantity, order: float, k: Tensor) -> Tensor:
    if quantity in ("kl", "ratio"):
        x = _Point(order, k, "slope", "curvature")
        t2 = x.t * x.t
        curvature = -k * t2 * t2 * x.series[1]
        return curvature if quantity == "ratio" else t2 * x.series[0] + k * curvature
    x = _Point(order, k, "slope")
    slope = x.t * x.t * x.series[0]
    if quantity == "growth":
        return slope
    if quantity == "excess":
        return -slope
    return slope - order / k / k


def _working_dtype(x: Tensor) -> torch.dtype:
    """Double precision wherever the device has it."""
    return torch.float32 if x.is_mps else torch.float64


class _Slope(torch.autograd.Function):
    """Hands on the derivative of a quantity that is known already, with the means to differentiate it once more."""

    @staticmethod
    def forward(k: Tensor, slope: Tensor, quantity: _Quantity, order: float) -> Tensor:
        return slope.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        k, _, ctx.quantity, ctx.order = inputs
        ctx.save_for_backward(k)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (k,) = ctx.saved_tensors
        second = _second_derivative(ctx.quantity, ctx.order, k.reshape(-1).to(_working_dtype(k)))
        return grad * second.to(k.dtype).reshape(k.shape), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, slope: Tensor, quantity: _Quantity, order: float) -> Any:
        return _Slope.apply(k, slope, quantity, order), in_dims[0]


def _evaluate_flat(k: Tensor, quantity: _Quantity, order: float) -> tuple[Tensor, Tensor]:
    value, slope = _value_and_slope(quantity, order, k.reshape(-1).to(_working_dtype(k)))
    return value.to(k.dtype).reshape(k.shape), slope.to(k.dtype).reshape(k.shape)


class _Evaluate(torch.autograd.Function):
    """A quantity as a function of k, elementwise, with its derivative computed alongside."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, quantity: _Quantity, order: float) -> Tensor:
        value, slope = _evaluate_flat(k, quantity, order)
        ctx.quantity, ctx.order = quantity, order
        ctx.save_for_backward(k, slope)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        k, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = _Slope.apply(k, slope, ctx.quantity, ctx.order)
        return grad * slope, None, None


class _EvaluateTransformed(torch.autograd.Function):
    """The same in the form that torch.func asks for, which PyTorch calls with an overhead as long as the evaluation."""

    @staticmethod
    def forward(k: Tensor, quantity: _Quantity, order: float) -> tuple[Tensor, Tensor]:
        return _evaluate_flat(k, quantity, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        k, ctx.quantity, ctx.order = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(k, output[1])

    backward = staticmethod(_Evaluate.backward)

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, quantity: _Quantity, order: float) -> Any:
        return _EvaluateTransformed.apply(k, quantity, order), (in_dims[0], in_dims[0])


def _evaluate(k: Tensor, quantity: _Quantity, order: float) -> Tensor:
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
    """
    with torch.no_grad():
        x = _Point(dim / 2 - 1, kappa.reshape(-1).to(_working_dtype(kappa)), "growth", "deficit", "slope")
        growth = x.p - x.log() * x.c.a + x.tail()
        terms = growth, x.ratio(x.series[1]), x.complement(x.series[1]), x.t * x.t * x.series[2]
        return VMFTerms(*(term.reshape(kappa.shape) for term in terms))


def log_sphere_area(dim: int) -> float:
    """Logarithm of the surface area 2 pi^(m/2) / Gamma(m/2) of the unit sphere in R^m, m = ``dim``.

    >>> round(math.exp(log_sphere_area(3)) / math.pi, 12)
    4.0
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def mean_resultant_length(dim: int, kappa: Tensor) -> Tensor:
    """A(kappa) = I_{m/2}(kappa) / I_{m/2-1}(kappa) = E[mu.z] under vMF(mu, kappa) on the unit sphere of R^m.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    >>> mean_resultant_length(3, torch.tensor([0.0, 1.0], dtype=torch.float64))  # coth(k) - 1/k
    tensor([0.0000, 0.3130], dtype=torch.float64)
    """
    return _evaluate(kappa, "ratio", dim / 2 - 1)


def vmf_kl_uniform(dim: int, kappa: Tensor) -> Tensor:
    """KL(vMF(., kappa) || uniform) = kappa A - G on the sphere of R^dim, for any radius; its derivative is kappa A'.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    >>> vmf_kl_uniform(3, torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.1516])
    """
    return _evaluate(kappa, "kl", dim / 2 - 1)


def vmf_entropy(dim: int, kappa: Tensor) -> Tensor:
    """Differential entropy of vMF(., kappa) on the unit sphere of R^dim: log area - KL to the uniform."""
    return log_sphere_area(dim) - vmf_kl_uniform(dim, kappa)


def vmf_log_norm(dim: int, kappa: Tensor) -> Tensor:
    """log C_m(kappa) = -log area - G, so that log p(z) = log C_m(kappa) + kappa mu.z on the unit sphere of R^dim."""
    return -log_sphere_area(dim) - _evaluate(kappa, "growth", dim / 2 - 1)


def vmf_log_mode_density(dim: int, kappa: Tensor) -> Tensor:
    """log p(mu) = log C_m(kappa) + kappa, free of cancellation, so that log p(z) = log p(mu) - kappa (1 - mu.z)."""
    return _evaluate(kappa, "excess", dim / 2 - 1) - log_sphere_area(dim)


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

    >>> log_iv(0, torch.tensor([0.0, 1.0, 1e6], dtype=torch.float64))
    tensor([0.0000e+00, 2.3591e-01, 9.9999e+05], dtype=torch.float64)
    """
    order = _checked_order(order)
    return _evaluate(x, "log_iv" if order else "growth", order)


def log_ive(order: float, x: Tensor) -> Tensor:
    """Logarithm of the exponentially scaled function, log(exp(-x) I_order(x)), without cancellation at large x.

    Args:
        order: any real number >= 0.
        x: arguments >= 0, any shape.

    Raises:
        ValueError: if the order is negative or not finite.

    >>> log_ive(150, torch.tensor([1e-3, 1e3], dtype=torch.float64))  # scipy.special.ive is 0.0 at the first
    tensor([-1745.1565,   -15.6073], dtype=torch.float64)
    """
    order = _checked_order(order)
    return _evaluate(x, "log_ive", order) if order else -_evaluate(x, "excess", order)


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """Ratio of modified Bessel functions of the first kind, I_order(x) / I_{order-1}(x).

    Args:
        order: any real number >= 0.
        x: arguments >= 0, any shape.

    Raises:
        ValueError: if the order is negative or not finite.

    >>> bessel_ratio(0.5, torch.tensor(1.0))  # tanh(1)
    tensor(0.7616)
    """
    order = _checked_order(order)
    if order >= 1:
        return _evaluate(x, "ratio", order - 1)
    above = _evaluate(x, "ratio", order)
    return x / (2 * order + x * above) if order else above.reciprocal()
