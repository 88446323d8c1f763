"""What holds for every distribution on a sphere with a direction and a concentration."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F

from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher

FAMILIES = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
Family = type[VonMisesFisher] | type[PowerSpherical]


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.ones(shape), dim=-1)


@FAMILIES
@settings(max_examples=30, deadline=None)
@given(
    batch=st.lists(st.integers(0, 3), max_size=2),
    sample=st.lists(st.integers(0, 3), max_size=2),
    dim=st.integers(2, 6),
    shared=st.booleans(),
)
def test_shapes(family: Family, batch: list[int], sample: list[int], dim: int, shared: bool) -> None:
    q = family(unit(dim) if shared else unit(*batch, dim), torch.full(batch, 3.0))
    assert isinstance(q, Distribution)
    assert q.batch_shape == torch.Size(batch)
    assert q.event_shape == (dim,)
    z = q.rsample(torch.Size(sample))
    assert z.shape == (*sample, *batch, dim)
    assert q.log_prob(z).shape == (*sample, *batch)
    assert q.entropy().shape == tuple(batch)
    assert q.mean.shape == q.mode.shape == q.variance.shape == (*batch, dim)
    assert kl_divergence(q, HypersphericalUniform(dim - 1)).shape == tuple(batch)
    assert kl_divergence(q, HypersphericalUniform(dim - 1, batch_shape=(4, *batch))).shape == (4, *batch)


@FAMILIES
def test_expand_keeps_everything(family: Family) -> None:
    q = family(unit(3, 4), torch.tensor([0.0, 1.0, 9.0]), radius=2.0)
    wide = q.expand((5, 3))
    assert type(wide) is family
    assert wide.radius == 2.0
    assert wide.batch_shape == (5, 3)
    assert wide.rsample().shape == (5, 3, 4)
    torch.testing.assert_close(wide.entropy(), q.entropy().expand(5, 3))
    assert family(unit(4), 2.0, validate_args=False).expand((2,))._validate_args is False


@FAMILIES
def test_a_number_may_be_the_concentration(family: Family) -> None:
    q = family(unit(2, 3).double(), 4)
    assert q.concentration.dtype == torch.float64
    assert q.batch_shape == (2,)


@FAMILIES
def test_radius_scales_events_and_shifts_densities(family: Family) -> None:
    unit_sphere, wide = (family(unit(5).double(), 3.0, radius=radius) for radius in (1.0, 2.5))
    z = unit_sphere.sample((10,))
    shift = 4 * math.log(2.5)
    torch.testing.assert_close(wide.log_prob(2.5 * z), unit_sphere.log_prob(z) - shift)
    torch.testing.assert_close(wide.entropy(), unit_sphere.entropy() + shift)
    torch.testing.assert_close(wide.mean, 2.5 * unit_sphere.mean)
    torch.testing.assert_close(wide.mode, 2.5 * unit_sphere.loc)
    torch.testing.assert_close(wide.variance, 2.5**2 * unit_sphere.variance)
    assert wide.support.check(wide.sample((10,))).all()
    assert not wide.support.check(z).any()


@FAMILIES
@pytest.mark.parametrize(
    ("loc", "concentration", "radius", "message"),
    [
        (torch.tensor([1.0, 1.0]), 1.0, 1.0, "loc has to be unit vectors"),
        (torch.tensor([math.nan, 1.0]), 1.0, 1.0, "loc has to be unit vectors"),
        (unit(3), -1.0, 1.0, "a concentration is -1; it has to be finite and zero or more"),
        (unit(3), math.nan, 1.0, "a concentration is nan"),
        (unit(2, 3), torch.tensor([1.0, math.inf]), 1.0, "a concentration is inf"),
        (unit(3), 1.0, -2.0, "radius is -2.0; it has to be positive and finite"),
        (torch.tensor(1.0), 1.0, 1.0, "loc is a single number"),
        (torch.ones(1), 1.0, 1.0, "at least 2 coordinates, not 1"),
        (unit(2, 3), torch.ones(2, 1), 1.0, r"concentration \(2, 1\), .* it has to be \(2,\), as squeeze\(-1\) gives"),
        (unit(2, 3), torch.ones(5, 2, 1), 1.0, r"it has to be \(5, 2\)"),
        (unit(3), 1.0, torch.tensor(2.0), "radius is a tensor; it has to be a number"),
        (unit(2, 3), torch.ones(3), 1.0, r"loc has shape \(2, 3\) and concentration \(3,\)"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    family: Family, loc: Tensor, concentration: float | Tensor, radius: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        family(loc, concentration, radius, validate_args=True)
    assert str(caught.value).startswith(family.__name__)
    assert "\n" not in str(caught.value)


@FAMILIES
def test_bad_values_are_refused_in_one_line(family: Family) -> None:
    q = family(unit(3, 4), 2.0, validate_args=True)
    for value, message in (
        (torch.zeros(3, 4), "a value has norm 0"),
        (unit(3, 5), r"shape \(3, 5\); its last size has to be 4"),
        (unit(2, 4), r"shape \(2, 4\), which does not broadcast with batch shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            q.log_prob(value)
        assert "\n" not in str(caught.value)
    assert family(unit(3, 4), 2.0, validate_args=False).log_prob(torch.zeros(3, 4)).shape == (3,)
