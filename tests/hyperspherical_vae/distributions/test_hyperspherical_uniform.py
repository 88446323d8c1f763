"""The uniform distribution on a sphere."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from hyperspherical_vae.distributions import HypersphericalUniform

AREAS = {1: 2 * math.pi, 2: 4 * math.pi, 3: 2 * math.pi**2, 4: 8 / 3 * math.pi**2, 6: 16 / 15 * math.pi**3}


@pytest.mark.parametrize("radius", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("dim", AREAS)
def test_entropy_is_the_logarithm_of_the_area(dim: int, radius: float) -> None:
    uniform = HypersphericalUniform(dim, radius, dtype=torch.float64)
    expected = math.log(AREAS[dim] * radius**dim)
    assert uniform.entropy().item() == pytest.approx(expected, rel=1e-14)
    assert uniform.log_prob(uniform.sample((3,))).tolist() == pytest.approx([-expected] * 3, rel=1e-14)
    assert uniform.dim == dim
    assert repr(uniform) == f"HypersphericalUniform(dim={dim}, radius={radius:g})"


@pytest.mark.parametrize("dim", [1, 2, 4, 10, 50])
def test_samples_are_uniform(dim: int) -> None:
    """(1 + z_1) / 2 is Beta(dim/2, dim/2): KS at p > 1e-4, 10 cases, fails with probability 1e-3 if right."""
    torch.manual_seed(dim)
    uniform = HypersphericalUniform(dim, radius=2.0, dtype=torch.float64)
    z = uniform.rsample((20_000,))
    assert (z.norm(dim=-1) - 2).abs().max() < 8 * torch.finfo(z.dtype).eps * math.sqrt(dim + 1)
    law = stats.beta(dim / 2, dim / 2)
    for axis in (
        torch.eye(dim + 1, dtype=torch.float64)[0],
        torch.ones(dim + 1, dtype=torch.float64) / (dim + 1) ** 0.5,
    ):
        assert stats.kstest(((1 + z @ axis / 2) / 2).numpy(), law.cdf).pvalue > 1e-4
    assert uniform.mean.abs().max() == 0
    assert uniform.variance.tolist() == pytest.approx([4 / (dim + 1)] * (dim + 1))
    # Five standard errors of a variance of 2e4 draws.
    torch.testing.assert_close(z.var(0), uniform.variance, rtol=5 * math.sqrt(2 / 20_000), atol=0)


def test_shapes_dtypes_and_expand() -> None:
    uniform = HypersphericalUniform(3, batch_shape=(2, 5), dtype=torch.float64)
    wider = uniform.expand((7, 2, 5))
    assert uniform.batch_shape == (2, 5)
    assert uniform.event_shape == (4,)
    assert uniform.rsample((6,)).shape == (6, 2, 5, 4)
    assert wider.rsample().shape == wider.mean.shape == wider.variance.shape == (7, 2, 5, 4)
    assert wider.entropy().shape == wider.log_prob(wider.sample()).shape == (7, 2, 5)
    assert uniform.log_prob(wider.sample()).shape == (7, 2, 5)
    assert uniform.sample().dtype == uniform.entropy().dtype == torch.float64
    assert HypersphericalUniform(3).sample().dtype == torch.get_default_dtype()


def test_the_same_seed_gives_the_same_samples() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(HypersphericalUniform(3).sample((4,)))
    assert torch.equal(*draws)


def test_kl_between_uniforms_is_zero() -> None:
    one, other = HypersphericalUniform(2, batch_shape=(3, 1)), HypersphericalUniform(2, batch_shape=(4,))
    assert torch.equal(kl_divergence(one, other), torch.zeros(3, 4))


def test_values_off_the_sphere_are_refused_in_one_line() -> None:
    uniform = HypersphericalUniform(2, radius=2.0)
    with pytest.raises(ValueError, match=r"a value has norm 1; its support is the sphere of radius 2") as caught:
        uniform.log_prob(torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]]))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"norm nan"):
        uniform.log_prob(torch.full((3,), math.nan))
    with pytest.raises(ValueError, match=r"shape \(4,\); its last size has to be 3"):
        uniform.log_prob(torch.zeros(4))


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_radius_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match=r"radius is .*; it has to be positive and finite"):
        HypersphericalUniform(2, radius)


def test_a_sphere_has_at_least_dimension_one() -> None:
    with pytest.raises(ValueError, match="at least 2 coordinates, not 1"):
        HypersphericalUniform(0)


def test_a_dtype_of_integers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype is torch\.int64; it has to be a floating one"):
        HypersphericalUniform(2, dtype=torch.int64)
