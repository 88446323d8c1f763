"""KL divergences, registered for torch.distributions.kl_divergence."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from ..ops.bessel import (
    log_sphere_area,
    mean_resultant_length,
    mean_resultant_slope,
    vmf_growth,
    vmf_log_mode_density,
    vmf_terms,
    working_dtype,
)
from ..ops.derivatives import RULES, Rule, apply_rule
from ..ops.gamma_ratio import GammaRatio
from ..ops.tables import table
from ..ops.tilt import power_spherical_tilt
from .base import LocatedOnSphere
from .hyperspherical_uniform import HypersphericalUniform
from .power_spherical import PowerSpherical
from .product import ProductDistribution, take, total
from .von_mises_fisher import VonMisesFisher


def _check_same_sphere(p: Any, q: Any) -> None:
    names = f"KL({type(p).__name__} || {type(q).__name__})"
    if p.event_shape != q.event_shape:
        raise ValueError(f"{names}: the first is in R^{p.event_shape[0]}, the second in R^{q.event_shape[0]}")
    if p.radius != q.radius:
        raise ValueError(f"{names}: the radii {p.radius:g} and {q.radius:g} differ; they have to be equal")


@register_kl(LocatedOnSphere, HypersphericalUniform)
def _kl_located_uniform(p: LocatedOnSphere, q: HypersphericalUniform) -> Tensor:
    _check_same_sphere(p, q)
    kl = p.kl_uniform()
    if kl.shape[kl.dim() - len(q.batch_shape) :] == q.batch_shape:
        return kl
    return kl.expand(torch.broadcast_shapes(kl.shape, q.batch_shape))


@register_kl(HypersphericalUniform, HypersphericalUniform)
def _kl_uniform_uniform(p: HypersphericalUniform, q: HypersphericalUniform) -> Tensor:
    _check_same_sphere(p, q)
    return p.entropy().new_zeros(torch.broadcast_shapes(p.batch_shape, q.batch_shape))


@table
def _quadrature() -> tuple[tuple[float, ...], ...]:
    """Nodes u in [0, 1] and weights of the integral of (1 - u) f(u)."""
    x, weights = np.polynomial.legendre.leggauss(12)
    nodes = (1 + x) / 2
    return tuple(nodes.tolist()), tuple((weights / 2 * (1 - nodes)).tolist())


def _vmf_divergence(dim: int, k1: Tensor, k2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL(vMF(mu, k1) || vMF(mu, k2)) = G(k2) - G(k1) - A(k1) (k2 - k1) = integral of (k2 - s) A'(s) from k1 to k2.

    The integral serves for concentrations within a factor of two of each other, where the closed form cancels. A' has
    its poles on the imaginary axis, so that twelve Gauss-Legendre nodes reach double precision. Elsewhere the closed
    form is written with E = k - G and B = 1 - A where k1 is large, so that no terms of the size of k1 remain.
    """
    step = k2 - k1
    one, two = vmf_terms(dim, k1), vmf_terms(dim, k2)
    nodes, weights = _quadrature(one.derivative.dtype, k1.device).unbind()
    slopes = vmf_terms(dim, k1.unsqueeze(-1) + step.unsqueeze(-1) * nodes).derivative
    close = step.square() * ((slopes * weights).sum(-1))
    large = k1 > max(dim / 2 - 1, 1.0)
    excess = vmf_log_mode_density(dim, k1) - vmf_log_mode_density(dim, k2)
    apart = torch.where(
        large,
        excess + one.one_minus_mean_resultant * step,
        two.log_norm_growth - one.log_norm_growth - one.mean_resultant * step,
    )
    value = torch.where(step.abs() <= torch.maximum(k1, k2) / 2, close, apart)
    slope = torch.where(
        large,
        one.one_minus_mean_resultant - two.one_minus_mean_resultant,
        two.mean_resultant - one.mean_resultant,
    )
    return value, -step * one.derivative, slope


def _vmf_divergence_slopes(dim: int, k1: Tensor, k2: Tensor) -> tuple[Tensor, Tensor]:
    return (k1 - k2) * mean_resultant_slope(dim, k1), mean_resultant_length(dim, k2) - mean_resultant_length(dim, k1)


RULES["vmf_divergence"] = Rule(_vmf_divergence, _vmf_divergence_slopes)


def _promoted(p: LocatedOnSphere, q: LocatedOnSphere) -> tuple[Tensor, Tensor, Tensor, torch.dtype]:
    """Both scalars in working precision and one shape, 1 - <mu1, mu2>, and the dtype of the result."""
    _check_same_sphere(p, q)
    one, two = torch.broadcast_tensors(p.concentration, q.concentration)
    working = working_dtype(one)
    wide = torch.promote_types(p.loc.dtype, torch.float32)
    turn = (p.loc.to(wide) - q.loc).square().sum(-1) / 2
    return one.to(working), two.to(working), turn, torch.promote_types(p.loc.dtype, q.loc.dtype)


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """The divergence for equal directions plus k2 A(k1) (1 - <mu1, mu2>); both are positive."""
    k1, k2, turn, dtype = _promoted(p, q)
    dim = p.event_shape[0]
    return (apply_rule("vmf_divergence", dim, k1, k2) + k2 * mean_resultant_length(dim, k1) * turn).to(dtype)


@register_kl(PowerSpherical, VonMisesFisher)
def _kl_power_vmf(p: PowerSpherical, q: VonMisesFisher) -> Tensor:
    """KL(p || uniform) + G(k2) - k2 E<mu2, z>; from k2 - G(k2) where k2 is large, so that no terms of its size stay."""
    k1, k2, turn, dtype = _promoted(p, q)
    dim = p.event_shape[0]
    length, rest = (x / (k1 + dim - 1) for x in (k1, dim - 1))
    excess = vmf_log_mode_density(dim, k2) + log_sphere_area(dim)
    cross = torch.where(k2 > dim, k2 * rest - excess, vmf_growth(dim, k2) - k2 * length)
    return (p._kl_uniform(k1.dtype) + cross + k2 * length * turn).to(dtype)


@register_kl(PowerSpherical, PowerSpherical)
def _kl_power_power(p: PowerSpherical, q: PowerSpherical) -> Tensor:
    """For equal directions R(k1) - R(k2) + (k2 - k1) R'(k1), R = log Gamma(k + m - 1) - log Gamma(k + (m - 1) / 2).

    That is the integral of (s - k2) R''(s) from k1 to k2, which serves for concentrations near each other, where the
    closed form cancels. Different directions add k2 times the tilt.
    """
    k1, k2, turn, dtype = _promoted(p, q)
    dim = p.event_shape[0]
    beta = (dim - 1) / 2
    step = k2 - k1
    nodes, weights = _quadrature(k1.dtype, k1.device).unbind()
    between = GammaRatio(k1.unsqueeze(-1) + step.unsqueeze(-1) * nodes + beta, beta, beta)
    close = step.square() * (between.trigamma_difference() * weights).sum(-1)
    one, two = (GammaRatio(k + beta, beta, beta) for k in (k1, k2))
    apart = one.log_ratio() - two.log_ratio() + step * one.digamma_difference()
    kl = torch.where(step.abs() <= (torch.minimum(k1, k2) + beta) / 2, close, apart)
    if p.loc is not q.loc:
        k1, turn = torch.broadcast_tensors(k1, turn.to(k1.dtype))
        kl = kl + k2 * power_spherical_tilt(dim, k1, turn)
    return kl.to(dtype)


@register_kl(ProductDistribution, ProductDistribution)
def _kl_product_product(p: ProductDistribution, q: ProductDistribution) -> Tensor:
    if p.factor_dims != q.factor_dims:
        raise ValueError(
            f"KL(ProductDistribution || ProductDistribution): the factors have dimensions {p.factor_dims} and "
            f"{q.factor_dims}; they have to be equal"
        )
    parts = []
    for p_group, p_positions in p.groups:
        for q_group, q_positions in q.groups:
            common = [i for i in p_positions if i in q_positions]
            if common:
                p_part = take(p_group, [p_positions.index(i) for i in common])
                parts.append(kl_divergence(p_part, take(q_group, [q_positions.index(i) for i in common])))
    return total(parts)
