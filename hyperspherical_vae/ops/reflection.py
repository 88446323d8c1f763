"""Points of a sphere from their distance to a pole and a direction across it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _PointAround(torch.autograd.Function):
    """z = (1 - y) mu + sqrt(y (2 - y)) e, with e the noise taken to the tangent space of mu by a reflection.

    The reflection H = I - c u u', u = mu + sign(mu_1) e_1, c = 2 / |u|^2 = 1 / (1 + |mu_1|), takes e_1 to
    -sign(mu_1) mu. As |u| >= sqrt 2 it has no singular direction. Its derivative is that of z = H x at fixed x.
    """

    @staticmethod
    def forward(ctx: Any, loc: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        # On the circle the direction is a sign, which must not vanish with the noise.
        across = torch.ones_like(noise).copysign(noise) if noise.shape[-1] == 1 else F.normalize(noise, dim=-1)
        first, rest = loc[..., :1], loc[..., 1:]
        sign = torch.ones_like(first).copysign(first)
        inner = torch.linalg.vecdot(rest, across).unsqueeze(-1)
        scale = 1 / (1 + first.abs())
        tangent = torch.cat([-sign * inner, torch.addcmul(across, rest, inner * scale, value=-1)], -1)
        sine = (y * (2 - y)).sqrt()
        z = torch.addcmul(loc * (1 - y).to(loc.dtype).unsqueeze(-1), tangent, sine.to(loc.dtype).unsqueeze(-1))
        ctx.save_for_backward(loc, y, sine, tangent, z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        loc, y, sine, tangent, z = ctx.saved_tensors
        grad_loc = grad_y = None
        if ctx.needs_input_grad[0]:
            first = loc[..., :1]
            sign = torch.ones_like(first).copysign(first)
            scale = 1 / (1 + first.abs())
            u = torch.cat([first + sign, loc[..., 1:]], -1)
            along_z = torch.linalg.vecdot(u, z).unsqueeze(-1) * scale
            along_grad = torch.linalg.vecdot(u, grad).unsqueeze(-1) * scale
            grad_loc = (along_z * grad - along_grad * z).sum_to_size(loc.shape)
        if ctx.needs_input_grad[1]:
            # At y = 0 the slope across is infinite; it counts as the largest finite number there.
            slope = (1 - y) / sine.clamp_min(torch.finfo(sine.dtype).tiny)
            grad_y = slope * torch.linalg.vecdot(grad, tangent) - torch.linalg.vecdot(grad, loc)
            grad_y = grad_y.to(y.dtype)
        return grad_loc, grad_y, None


def point_around(loc: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """The point of the unit sphere at height 1 - y above the centre along `loc`, in the direction that `noise` gives.

    With standard normal noise the direction is uniform. Differentiable once, in `loc` as a point of the sphere and `y`.

    Args:
        loc: unit vectors (..., m).
        y: 1 - <loc, z> in [0, 2], (...); its precision decides how well points close to `loc` are resolved.
        noise: (..., m - 1), only the direction counts.

    Returns:
        z (..., m), in the dtype of `loc`.

    Example:
        >>> loc = torch.tensor([0.0, 0.0, 1.0])
        >>> z = point_around(loc, torch.tensor(0.5), torch.tensor([3.0, 0.0]))
        >>> z.norm().item(), (z @ loc).item()
        (1.0, 0.5)
    """
    z: Tensor = _PointAround.apply(loc, y, noise)
    return z
