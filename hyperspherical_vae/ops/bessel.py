"""Modified Bessel functions of the first kind and the von Mises-Fisher terms built on them.

Everything follows from one function of the order ``v`` and the argument ``k``,

    G = log 0F1(; v + 1; k^2 / 4) = log I_v(k) - v log(k / 2) + lgamma(v + 1),

its derivative ``A = I_{v+1}(k) / I_v(k)`` and the derivatives of ``A``. No Bessel value is ever formed, so nothing
underflows or overflows. The order is shifted up to ``w = v + N >= 12``, where the logarithm of the uniform (Debye)
expansion, DLMF 10.41(ii), is accurate to the last bit for every ``k >= 0``; recurrences that only add positive numbers
lead back down. Notation: ``z = k / w``, ``q = sqrt(1 + z^2)``, ``t = 1 / q``, ``s = q - 1``.
"""

import math
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

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

_MIN_ORDER = 12.0  # from here on the expansion below is exact to double precision
_NUM_TERMS = 15
_BLOCK = 7  # a polynomial of 49 coefficients is summed as 7 Horner steps in t^7 of blocks of 7 powers


@lru_cache(maxsize=1)
def _debye_slopes() -> tuple[list[Fraction], ...]:
    """Coefficients of D_k'(t), k = 1..15, where log sum_k U_k(t) w^-k = sum_k D_k(t) w^-k.

    From the differential recurrence of the Debye polynomials U_k (DLMF 10.41.9), rewritten for the logarithm:
    D_{k+1}' = (t - 2 t^3) D_k' + (t^2 - t^4) / 2 (D_k'' + sum_{i+j=k} D_i' D_j').
    """
    slopes = [[Fraction(1, 8), Fraction(0), Fraction(-5, 8)]]
    while len(slopes) < _NUM_TERMS:
        k = len(slopes)
        last = slopes[-1]
        inner = [Fraction(0)] * (3 * k)
        for power in range(1, len(last)):
            inner[power - 1] += power * last[power]
        for i in range(k - 1):
            for a, x in enumerate(slopes[i]):
                if x:
                    for b, y in enumerate(slopes[k - 2 - i]):
                        inner[a + b] += x * y
        following = [Fraction(0)] * (3 * k + 3)
        for power, x in enumerate(last):
            following[power + 1] += x
            following[power + 3] -= 2 * x
        for power, x in enumerate(inner):
            if x:
                following[power + 2] += x / 2
                following[power + 4] -= x / 2
        slopes.append(following)
    return tuple(slopes)


def _shift(order: float) -> int:
    return max(0, math.ceil(_MIN_ORDER - order))


@lru_cache(maxsize=256)
def _polynomials(order: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Coefficients, in powers of t, of the four polynomials that the expansion at a fixed order w needs.

    With R(t) = sum_k (D_k(t) - D_k(1)) / w^k they are Q = R / (1 - t), H / t^2 with H = t^2 / 2 + t^3 R',
    F / t^2 with F = H - (t - t^3) H', and F' / t. Shape (7 blocks, 4 polynomials, 7 powers).
    """
    slope = [0.0] * (3 * _NUM_TERMS)
    quotient = [0.0] * (3 * _NUM_TERMS)
    for k, coefficients in enumerate(_debye_slopes(), start=1):
        remaining = Fraction(0)  # R = (1 - t) Q: the coefficients of Q are tail sums of those of -R
        for power in reversed(range(len(coefficients))):
            remaining -= coefficients[power] / (power + 1)
            slope[power] += float(coefficients[power]) / order**k
            quotient[power] += float(remaining) / order**k
    h = [0.0] * (3 * _NUM_TERMS + 3)
    h[2] = 0.5
    for power, x in enumerate(slope):
        h[power + 3] += x
    f = [*h, 0.0, 0.0]
    for power, x in enumerate(h):
        f[power] -= power * x
        if power:
            f[power + 2] += power * x
    curvature = [power * x for power, x in enumerate(f)][1:]
    table = torch.zeros(4, _BLOCK * _BLOCK, dtype=torch.float64)
    for row, values in zip(table, (quotient, h[2:], f[2:], curvature[1:]), strict=True):
        row[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return table.reshape(4, _BLOCK, _BLOCK).transpose(0, 1).to(dtype).contiguous().to(device)


class _Core(NamedTuple):
    growth: Tensor  # G
    excess: Tensor  # k - G
    ratio: Tensor  # A
    complement: Tensor  # 1 - A
    slope: Tensor  # A'
    curvature: Tensor | None  # A''


def _core(order: float, k: Tensor, curvature: bool = False) -> _Core:
    """G, k - G, A, 1 - A, A' and, if asked for, A'' at order > -1, in the dtype of k."""
    steps = _shift(order)
    w = order + steps
    shape = k.shape
    k = k.reshape(-1)
    z = k / w
    q = torch.hypot(z, torch.ones_like(z))
    t = q.reciprocal()
    q1 = q + 1
    s = z * (z / q1)
    t2 = t * t
    t3 = t2 * t
    powers = torch.stack([torch.ones_like(t), t, t2, t3, t2 * t2, t2 * t3, t3 * t3])
    blocks = _polynomials(w, k.dtype, k.device)[:, : 4 if curvature else 3]
    sums = torch.matmul(blocks, powers)
    t7 = powers[6] * t
    total = sums[-1]
    for block in sums.flip(0)[1:]:
        total = total * t7 + block
    quotient, h, f = total[0], total[1] * t2, total[2] * t2

    remainder = s * t * quotient
    half_log_q = torch.log1p(s) / 2
    bend = torch.log1p(s / 2)
    growth = w * (s - bend) - half_log_q + remainder
    qz = q + z
    excess = w * ((s + z) / qz + bend) + half_log_q - remainder
    correction = z * h / w
    ratio = z / q1 - correction
    complement = (1 + 1 / qz) / q1 + correction
    slope = (t / q1 - f / w) / w
    curved = None
    if curvature:
        curved = (total[3] * t2 * t2 / w - t2 * (t + 1 / q1) / q1) * z / w**2

    if steps:
        k2 = k * k
        gains = []
        for j in reversed(range(steps)):
            c = 2 * (order + j + 1)
            d = k * ratio
            gains.append(d / c)
            d = d + c
            numerator = c - k2 * slope
            inverse = 1 / (d * d)
            if curved is not None:
                growth_of_d = ratio + k * slope
                curved = -(2 * k * slope + k2 * curved + 2 * numerator / d * growth_of_d) * inverse
            slope = numerator * inverse
            complement = (c - k * complement) / d
            ratio = k / d
        gain = torch.log1p(torch.stack(gains)).sum(0)
        growth = growth + gain
        excess = excess - gain
    growth, excess, ratio, complement, slope = (x.reshape(shape) for x in (growth, excess, ratio, complement, slope))
    return _Core(growth, excess, ratio, complement, slope, None if curved is None else curved.reshape(shape))


def _working_dtype(x: Tensor) -> torch.dtype:
    """Double precision wherever the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


class VMFTerms(NamedTuple):
    """The scalars of a von Mises-Fisher distribution at each concentration, all in working precision."""

    log_norm_growth: Tensor
    mean_resultant: Tensor
    one_minus_mean_resultant: Tensor
    derivative: Tensor


def vmf_terms(dim: int, kappa: Tensor) -> VMFTerms:
    """The scalars of vMF(kappa) on the unit sphere of R^dim, without autograd, float64 where the device has it.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    Returns:
        G = log 0F1(; m/2; kappa^2/4), A = G' = E[mu.z], 1 - A and A', each of the shape of ``kappa``.
    """
    with torch.no_grad():
        core = _core(dim / 2 - 1, kappa.detach().to(_working_dtype(kappa)))
    return VMFTerms(core.growth, core.ratio, core.complement, core.slope)


def log_sphere_area(dim: int) -> float:
    """Logarithm of the surface area 2 pi^(m/2) / Gamma(m/2) of the unit sphere in R^m, m = ``dim``.

    >>> round(math.exp(log_sphere_area(3)) / math.pi, 12)
    4.0
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


class _Quantity(Enum):
    """What to return as a function of k; ``order`` is v = m/2 - 1 throughout."""

    KL = "vMF || uniform"
    GROWTH = "G"
    EXCESS = "k - G"
    RATIO = "A"
    LOG_IV = "log I_v"
    LOG_IVE = "log I_v - k"


def _value_and_slope(quantity: _Quantity, order: float, k: Tensor) -> tuple[Tensor, Tensor]:
    core = _core(order, k)
    if quantity is _Quantity.KL:
        small = k <= max(order, 1.0)
        kl = torch.where(small, k * core.ratio - core.growth, core.excess - k * core.complement)
        return kl, k * core.slope
    if quantity is _Quantity.GROWTH:
        return core.growth, core.ratio
    if quantity is _Quantity.EXCESS:
        return core.excess, core.complement
    if quantity is _Quantity.RATIO:
        return core.ratio, core.slope
    power = torch.xlogy(torch.full_like(k, order), k / 2) - math.lgamma(order + 1)
    pole = order / k if order else torch.zeros_like(k)
    if quantity is _Quantity.LOG_IV:
        return power + core.growth, pole + core.ratio
    return power - core.excess, pole - core.complement


def _second_derivative(quantity: _Quantity, order: float, k: Tensor) -> Tensor:
    core = _core(order, k, curvature=quantity in (_Quantity.KL, _Quantity.RATIO))
    if core.curvature is not None:
        return core.curvature if quantity is _Quantity.RATIO else core.slope + k * core.curvature
    if quantity is _Quantity.GROWTH:
        return core.slope
    if quantity is _Quantity.EXCESS:
        return -core.slope
    return core.slope - order / k**2 if order else core.slope


class _Slope(torch.autograd.Function):
    """The known first derivative of a quantity, given the means to differentiate it once more."""

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
        second = _second_derivative(ctx.quantity, ctx.order, k.to(_working_dtype(k)))
        return grad * second.to(k.dtype), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, slope: Tensor, quantity: _Quantity, order: float) -> Any:
        return _Slope.apply(k, slope, quantity, order), in_dims[0]


class _Evaluate(torch.autograd.Function):
    """A quantity as a function of k, elementwise, with its derivative computed alongside."""

    @staticmethod
    def forward(k: Tensor, quantity: _Quantity, order: float) -> tuple[Tensor, Tensor]:
        value, slope = _value_and_slope(quantity, order, k.to(_working_dtype(k)))
        return value.to(k.dtype), slope.to(k.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        k, ctx.quantity, ctx.order = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(k, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        k, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            slope = _Slope.apply(k, slope, ctx.quantity, ctx.order)
        return grad * slope, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, k: Tensor, quantity: _Quantity, order: float) -> Any:
        return _Evaluate.apply(k, quantity, order), (in_dims[0], in_dims[0])


def mean_resultant_length(dim: int, kappa: Tensor) -> Tensor:
    """A(kappa) = I_{m/2}(kappa) / I_{m/2-1}(kappa) = E[mu.z] under vMF(mu, kappa) on the unit sphere of R^m.

    Args:
        dim: ambient dimension m >= 2.
        kappa: concentrations >= 0, any shape.

    >>> mean_resultant_length(3, torch.tensor([0.0, 1.0], dtype=torch.float64))  # coth(k) - 1/k
    tensor([0.0000, 0.3130], dtype=torch.float64)
    """
    return _Evaluate.apply(kappa, _Quantity.RATIO, dim / 2 - 1)[0]


def vmf_kl_uniform(dim: int, kappa: Tensor) -> Tensor:
    """KL(vMF(., kappa) || uniform) = kappa A - G on the sphere of R^dim, for any radius; gradient kappa A'."""
    return _Evaluate.apply(kappa, _Quantity.KL, dim / 2 - 1)[0]


def vmf_entropy(dim: int, kappa: Tensor) -> Tensor:
    """Differential entropy of vMF(., kappa) on the unit sphere of R^dim: log area - KL to the uniform."""
    return log_sphere_area(dim) - vmf_kl_uniform(dim, kappa)


def vmf_log_norm(dim: int, kappa: Tensor) -> Tensor:
    """log C_m(kappa) = -log area - G, so that log p(z) = log C_m(kappa) + kappa mu.z on the unit sphere of R^dim."""
    return -log_sphere_area(dim) - _Evaluate.apply(kappa, _Quantity.GROWTH, dim / 2 - 1)[0]


def vmf_log_mode_density(dim: int, kappa: Tensor) -> Tensor:
    """log p(mu) = log C_m(kappa) + kappa, free of cancellation: log p(z) = this - kappa (1 - mu.z)."""
    return _Evaluate.apply(kappa, _Quantity.EXCESS, dim / 2 - 1)[0] - log_sphere_area(dim)


def _checked_order(order: float) -> float:
    if not (order >= 0 and math.isfinite(order)):
        raise ValueError(f"order must be a finite number >= 0, got {order!r}")
    return float(order)


def log_iv(order: float, x: Tensor) -> Tensor:
    """log I_order(x)."""
    return _Evaluate.apply(x, _Quantity.LOG_IV, _checked_order(order))[0]


def log_ive(order: float, x: Tensor) -> Tensor:
    """log I_order(x) - x."""
    return _Evaluate.apply(x, _Quantity.LOG_IVE, _checked_order(order))[0]


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """I_order(x) / I_{order-1}(x)."""
    if _checked_order(order) == 0:
        return bessel_ratio(1.0, x).reciprocal()
    return _Evaluate.apply(x, _Quantity.RATIO, order - 1)[0]
