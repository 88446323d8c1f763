"""Vectors on a sphere, up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hyperspherical_vae.constraints import Sphere, unit_vector


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 11, 1000, 100_001])
def test_normalised_vectors_pass_in_every_precision(dtype: torch.dtype, dim: int) -> None:
    torch.manual_seed(0)
    value = F.normalize(torch.randn(20, dim, dtype=dtype), dim=-1)
    assert unit_vector.check(value).shape == (20,)
    assert unit_vector.check(value).all()


def test_other_vectors_do_not() -> None:
    value = torch.tensor([[1.001, 0.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 0.0]])
    assert not unit_vector.check(value).any()


def test_radius_counts() -> None:
    value = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert Sphere(5.0).check(value).tolist() == [True, False]
    assert repr(Sphere(5.0)) == "Sphere(radius=5)"
    assert Sphere.event_dim == 1
