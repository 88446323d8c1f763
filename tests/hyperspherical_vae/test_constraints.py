"""Vectors on a sphere, up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import biject_to, transform_to
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


def test_whole_numbers_are_checked_as_numbers() -> None:
    assert unit_vector.check(torch.tensor([[1, 0], [1, 1]])).tolist() == [True, False]


def test_transforms_lead_to_the_sphere() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sphere = Sphere(2.5)
    to = transform_to(sphere)
    assert sphere.check(to(x)).all()
    torch.testing.assert_close(to(to.inv(to(x))), to(x))
    onto = biject_to(sphere)
    y = onto(x)
    assert y.shape == onto.forward_shape(x.shape) == (5, 4)
    assert onto.inverse_shape(y.shape) == x.shape
    assert sphere.check(y).all()
    torch.testing.assert_close(onto.inv(y), x)
    # The volume of the image of the unit cube: the square root of det J'J.
    jacobian = torch.func.vmap(torch.func.jacrev(onto))(x)
    expected = torch.logdet(jacobian.mT @ jacobian) / 2
    torch.testing.assert_close(onto.log_abs_det_jacobian(x, y), expected)
