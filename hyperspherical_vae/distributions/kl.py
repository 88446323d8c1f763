"""KL divergences, registered for torch.distributions.kl_divergence."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import kl_divergence, register_kl

from ..ops.bessel import mean_resultant_length, vmf_log_mode_density, vmf_terms, working_dtype
from ..ops.tables import table
from .base import OnSphere
from .hyperspherical_uniform import HypersphericalUniform
from .power_spherical import PowerSpherical
from .product import ProductDistribution, take
from .von_mises_fisher import VonMisesFisher


def _check_same_sphere(p: Any, q: Any) -> None:
    names = f"KL({type(p).__name__} || {type(q).__name__})"
    if p.event_shape != q.event_shape:
        raise ValueError(f"{names}: the first is in R^{p.event_shape[0]}, the second in R^{q.event_shape[0]}")
    if p.radius != q.radius:
        raise ValueError(f"{names}: the radii {p.radius:g} and {q.radius:g} differ; they have to be equal")


def _over_batch_of(q: OnSphere, kl: Tensor) -> Tensor:
    if kl.shape[kl.dim() - len(q.batch_shape) :] == q.batch_shape:
        return kl
    return kl.expand(torch.broadcast_shapes(kl.shape, q.batch_shape))


@register_kl(VonMisesFisher, HypersphericalUniform)
@register_kl(PowerSpherical, HypersphericalUniform)
def _kl_located_uniform(p: VonMisesFisher | PowerSpherical, q: HypersphericalUniform) -> Tensor:
    _check_same_sphere(p, q)
    return _over_batch_of(q, p.kl_uniform())


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


class _ConcentrationDivergence(torch.autograd.Function):
    """KL(vMF(mu, k1) || vMF(mu, k2)) = G(k2) - G(k1) - A(k1) (k2 - k1) = integral of (k2 - s) A'(s) from k1 to k2.

    The integral serves for concentrations within a factor of two of each other, where the closed form cancels. A' has
    its poles on the imaginary axis, so that twelve Gauss-Legendre nodes reach double precision. Elsewhere the closed
    form is written with E = k - G and B = 1 - A where k1 is large, so that no terms of the size of k1 remain.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(k1: Tensor, k2: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
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

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        return grad * first, grad * second, None


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """The divergence for equal directions plus k2 A(k1) (1 - <mu1, mu2>); both are positive."""
    _check_same_sphere(p, q)
    dim = p.event_shape[0]
    working = working_dtype(p.concentration)
    k1, k2 = torch.broadcast_tensors(p.concentration.to(working), q.concentration.to(working))
    turn = (p.loc - q.loc).square().sum(-1) / 2
    kl = _ConcentrationDivergence.apply(k1, k2, dim)[0] + k2 * mean_resultant_length(dim, k1) * turn
    return kl.to(torch.promote_types(p.concentration.dtype, q.concentration.dtype))


@register_kl(ProductDistribution, ProductDistribution)
def _kl_product_product(p: ProductDistribution, q: ProductDistribution) -> Tensor:
    if p.factor_dims != q.factor_dims:
        raise ValueError(
            f"KL(ProductDistribution || ProductDistribution): the factors have dimensions {p.factor_dims} and "
            f"{q.factor_dims}; they have to be equal"
        )
    total: Tensor | None = None
    for p_group, p_positions in p.groups:
        for q_group, q_positions in q.groups:
            if p_positions == q_positions:
                kl = kl_divergence(p_group, q_group)
            else:
                common = sorted(set(p_positions) & set(q_positions))
                if not common:
                    continue
                kl = kl_divergence(
                    take(p_group, [p_positions.index(i) for i in common]),
                    take(q_group, [q_positions.index(i) for i in common]),
                )
            total = kl.sum(-1) if total is None else total + kl.sum(-1)
    assert total is not None
    return total
