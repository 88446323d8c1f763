"""Points of a sphere at a given distance along an axis, in a uniformly random direction across it.

A point is z = w mu + sqrt(1 - w^2) t with w = <mu, z> and t a unit vector across mu. For the axis e_1 a uniform t is
a normalised Gaussian vector v without first coordinate. The reflection H = I - c u u' with u = mu + sign(mu_1) e_1 and
c = 2 / <u, u> = 1 / (1 + |mu_1|) takes e_1 to -sign(mu_1) mu; as |u| >= sqrt 2 it has no singular axis. Hence t = H v
and z = H (-sign(mu_1) w, sqrt(1 - w^2) v), computed from y = 1 - w.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .derivatives import batch_first, differentiable_once


class Radial(NamedTuple):
    """How far from its axis a family puts its points.

    Attributes:
        draw: takes the dimension m, the concentrations (...), and norms (...) as of `draw_across` that it may use;
            returns y = 1 - <mu, z> in [0, 2].
        derivative: takes m, the concentrations and y; returns dy / dconcentration at fixed chance.
    """

    draw: Callable[[int, Tensor, Tensor], Tensor]
    derivative: Callable[[int, Tensor, Tensor], Tensor]


# By name, since a name is what the compiler takes as an argument of a function.
RADIAL: dict[str, Radial] = {}


def draw_across(loc: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what fixes a direction across each axis.

    Args:
        loc: unit vectors (..., m).

    Returns:
        v (..., m), Gaussian but for its first coordinate, which is 0, and its norm (...), by which `place` divides.
        The norm does not depend on the direction, and serves `radial_sample`.
    """
    v = torch.randn(loc.shape, dtype=loc.dtype, device=loc.device)
    v.select(-1, 0).zero_()
    # A normal number can be exactly 0, and on the circle there is only one.
    v.select(-1, 1).add_(1e-15)
    return v, torch.linalg.vector_norm(v, dim=-1)


def place(loc: Tensor, y: Tensor, across: tuple[Tensor, Tensor]) -> Tensor:
    """Point z with <loc, z> = 1 - y and a uniform direction across `loc`; no gradient is recorded.

    Args:
        loc: unit vectors (..., m).
        y: (...) in [0, 2]. Points close to `loc` are resolved as well as y is.
        across: from `draw_across`; overwritten.

    Returns:
        z (..., m) in the dtype of `loc`, of unit norm up to rounding.
    """
    y = y.to(loc.dtype)
    z, norm = across
    scale = (y * (2 - y)).sqrt_().div_(norm)
    first = loc.select(-1, 0)
    bend = (z * loc).sum(-1).mul_(scale).div_(first.abs().add_(1))
    z.mul_(scale.unsqueeze(-1)).addcmul_(loc, (1 - y).sub_(bend).unsqueeze(-1))
    z.select(-1, 0).sub_(torch.copysign(bend, bend * first))
    return z


def place_backward(loc: Tensor, y: Tensor, z: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients in `loc` and y of a function of z = place(loc, y) whose gradient in z is `grad`, for the same draws.

    z = H x at fixed x, so that the gradient in `loc` is c (<u, z> G - <u, G> z), as a function on the sphere.

    Args:
        loc: unit vectors (..., m).
        y: (...), as drawn.
        z: what `place` returned (..., m).
        grad: G (..., m).

    Returns:
        gradients in `loc` (..., m) and in y (...), the latter in the dtype of y.
    """
    along_loc, along_z = (grad * loc).sum(-1), (grad * z).sum(-1)
    y_loc = y.to(loc.dtype)
    w = 1 - y_loc
    first = loc.select(-1, 0)
    c = first.abs().add_(1).reciprocal_()
    signed = torch.copysign(c, first)
    u_z = (c * w).addcmul_(signed, z.select(-1, 0))
    u_grad = (c * along_loc).addcmul_(signed, grad.select(-1, 0))
    grad_loc = (grad * u_z.unsqueeze(-1)).addcmul_(z, u_grad.unsqueeze(-1), value=-1)
    # <G, t> / sqrt(1 - w^2) is (<G, z> - w <G, mu>) / (1 - w^2), which y = 0 must not make infinite.
    sine2 = (y_loc * (1 + w)).clamp_min_(torch.finfo(loc.dtype).eps ** 4)
    across = along_z.addcmul_(w, along_loc, value=-1).div_(sine2)
    return grad_loc, across.mul_(w).sub_(along_loc).to(y.dtype)


class _Sample(torch.autograd.Function):
    """Points on the unit sphere, in single precision or more inside, with the gradients of a reparameterization."""

    @staticmethod
    def forward(family: str, loc: Tensor, concentration: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        axes = loc.to(torch.promote_types(loc.dtype, torch.float32)).expand(shape)
        across = draw_across(axes)
        y = RADIAL[family].draw(shape[-1], concentration.expand(shape[:-1]), across[1])
        return place(axes, y, across).to(loc.dtype), y

    # Found here by PyTorch, which would work it out at each call, for longer than a small sample takes.
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.family, loc, concentration, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(loc, concentration, *output)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        loc, concentration, z, y = ctx.saved_tensors
        if grad is None:
            return None, None, None, None
        wide = torch.promote_types(loc.dtype, torch.float32)
        grad_loc, grad_y = place_backward(loc.to(wide).expand_as(z), y, z.to(wide), grad.to(wide))
        grad_concentration = None
        if ctx.needs_input_grad[2]:
            slope = RADIAL[ctx.family].derivative(loc.shape[-1], concentration.expand_as(y), y)
            grad_concentration = grad_y.mul(slope).to(concentration.dtype).sum_to_size(concentration.shape)
        return None, grad_loc.to(loc.dtype).sum_to_size(loc.shape), grad_concentration, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], family: str, loc: Tensor, concentration: Tensor, shape: torch.Size
    ) -> Any:
        if info.randomness != "different":
            raise RuntimeError("samples on a sphere need vmap(..., randomness='different')")
        loc, concentration = batch_first(info, in_dims[1:3], (loc, concentration))
        new = (1,) * (len(shape) - loc.dim() + 1)
        loc, concentration = (x.reshape(info.batch_size, *new, *x.shape[1:]) for x in (loc, concentration))
        return _Sample.apply(family, loc, concentration, torch.Size((info.batch_size, *shape))), (0, 0)


def sample_around(family: str, loc: Tensor, concentration: Tensor, shape: torch.Size) -> Tensor:
    """Points of the unit sphere around axes, differentiable once in both parameters.

    Args:
        family: a key of `RADIAL`.
        loc: unit vectors (..., m).
        concentration: (...), of the same dtype.
        shape: of the result; ends with the shape of `loc`.
    """
    return _Sample.apply(family, loc, concentration, shape)[0]
