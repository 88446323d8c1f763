"""Points placed on a sphere: on it, at the right distance, in every direction alike, with the right gradient."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hyperspherical_vae.ops.placement import draw_across, place, place_backward


def axes(dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Plus and minus e_1, their neighbours, the other axes' ends and random directions."""
    special = torch.zeros(6, dim, dtype=dtype)
    special[0, 0], special[1, 0], special[2, 1], special[3, -1] = 1, -1, 1, -1
    special[4, 0], special[4, 1], special[5, 0], special[5, -1] = 1, 1e-9, -1, 1e-9
    return torch.cat([special, F.normalize(torch.randn(20, dim, dtype=dtype), dim=-1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 3, 10, 513, 100_001])
def test_points_are_on_the_sphere_at_their_distance(dim, dtype):
    torch.manual_seed(0)
    loc = axes(dim, dtype)
    eps = torch.finfo(dtype).eps
    for y in (0.0, 1e-15, 1e-7, 1e-3, 0.5, 1.0, 1.9, 2.0):
        z = place(loc, torch.full((len(loc),), y, dtype=torch.float64), draw_across(loc))
        assert z.dtype == dtype
        assert ((z.double().norm(dim=-1) - 1).abs() <= 4 * eps * math.sqrt(dim)).all()
        distance = (z.double() - loc.double()).square().sum(-1) / 2
        assert ((distance - y).abs() <= 8 * eps * math.sqrt(dim) * (math.sqrt(y) + eps)).all()


def test_directions_are_uniform():
    """Mean and covariance of the direction across the axis, which is the point itself at y = 1.

    13 numbers per axis, within five standard errors.
    """
    torch.manual_seed(0)
    count, dim = 100_000, 4
    for loc in axes(dim)[:8]:
        z = place(loc.expand(count, dim), torch.ones(count, dtype=torch.float64), draw_across(loc.expand(count, dim)))
        assert (z.mean(0).abs() < 5 * (1 / ((dim - 1) * count)) ** 0.5).all()
        exact = (torch.eye(dim, dtype=torch.float64) - torch.outer(loc, loc)) / (dim - 1)
        assert ((z.T @ z / count - exact).abs() < 5 / count**0.5 / (dim - 1)).all()


def test_a_draw_of_zero_leaves_a_direction(monkeypatch):
    locs = [axes(dim) for dim in (2, 3, 7)]
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: torch.zeros(*shape, **options))
    for loc in locs:
        z = place(loc, torch.full((len(loc),), 0.7, dtype=torch.float64), draw_across(loc))
        assert torch.allclose(z.norm(dim=-1), torch.ones(len(loc), dtype=torch.float64))
        assert torch.allclose((z * loc).sum(-1), torch.full((len(loc),), 0.3, dtype=torch.float64))


class _Place(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loc, y):
        torch.manual_seed(3)
        z = place(loc, y, draw_across(loc))
        ctx.save_for_backward(loc, y, z)
        return z

    @staticmethod
    def backward(ctx, grad):
        loc, y, z = ctx.saved_tensors
        return place_backward(loc, y, z, grad)


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_gradients(dim):
    """Against finite differences with the same draws; in the axis as a function on the sphere."""
    torch.manual_seed(0)
    loc = axes(dim)[2:]
    loc = loc[
        loc[:, 0].abs() > 1e-3
    ].requires_grad_()  # the reflection changes where the first coordinate does its sign
    y = torch.rand(len(loc), dtype=torch.float64).mul_(1.8).add_(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda loc, y: _Place.apply(F.normalize(loc, dim=-1), y), (loc, y))


@pytest.mark.parametrize("y", [0.0, 1e-63, 1e-15, 2.0])
def test_gradients_at_the_ends_are_finite(y):
    for dtype in (torch.float32, torch.float64):
        loc = axes(3, dtype)
        distance = torch.full((len(loc),), y, dtype=torch.float64)
        z = place(loc, distance, draw_across(loc))
        for grad in place_backward(loc, distance, z, torch.ones_like(z)):
            assert grad.isfinite().all()
