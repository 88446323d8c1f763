"""Power Spherical: closed forms, quadrature, samples and their gradients."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn import functional as F

from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical

from .quadrature import polar_rule, pole

DIMS = [2, 3, 4, 5, 11, 40]
CONCENTRATIONS = [0.0, 0.3, 2.0, 30.0, 1e3, 1e6]


def at_pole(dim: int, concentration: float, radius: float = 1.0, dtype: torch.dtype = torch.float64) -> PowerSpherical:
    return PowerSpherical(pole(dim).to(dtype), torch.tensor(concentration, dtype=dtype), radius)


def random_directions(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, dtype=torch.float64, generator=generator), dim=-1)


@pytest.mark.parametrize("radius", [1.0, 2.5])
@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("dim", DIMS)
def test_quadrature_gives_one_and_every_moment(dim: int, concentration: float, radius: float) -> None:
    q = at_pole(dim, concentration, radius)
    points, weights = polar_rule(dim, concentration, radius)
    log_prob = q.log_prob(points)
    mass = weights * log_prob.exp()
    first, square = (mass * points[:, 0]).sum(), (mass * points[:, 0] ** 2).sum()
    assert mass.sum().item() == pytest.approx(1, rel=1e-11)
    assert -(mass * log_prob).sum().item() == pytest.approx(q.entropy().item(), rel=1e-10, abs=1e-10)
    assert q.mean[0].item() == pytest.approx(first.item(), rel=1e-10, abs=1e-12)
    assert q.mean[1:].abs().max() == 0
    # Var[z_1] cancels at large concentrations in E[z_1^2] - E[z_1]^2, not in what is left of r^2 for the other axes.
    across = (mass * points[:, 1] ** 2).sum().item() / (dim - 1)
    assert q.variance[1:].tolist() == pytest.approx([across] * (dim - 1), rel=1e-9)
    assert q.variance[0].item() == pytest.approx((square - first**2).item(), rel=1e-4, abs=1e-13 * radius**2)


def _exact_kl(dim: int, concentration: float) -> tuple[float, float]:
    """KL to the uniform and its derivative for odd dim, whose beta is whole, in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        k, beta = Decimal(concentration), (dim - 1) // 2
        kl = sum((1 + k / (beta + j)).ln() - k / (beta + j + k) for j in range(beta))
        slope = sum(k / (beta + j + k) ** 2 for j in range(beta))
        return float(kl), float(slope)


@pytest.mark.parametrize("dim", [3, 5, 7, 11, 21, 101, 1001])
def test_kl_and_its_slope_to_thirteen_digits(dim: int) -> None:
    concentrations = [1e-8, 1e-4, 0.01, 0.1, 0.124, 0.126, 0.5, 1.0, 3.0, 10.0, 62.4, 62.6, 1e2, 1e3, 1e4, 1e6, 1e8]
    expected = torch.tensor([_exact_kl(dim, k) for k in concentrations], dtype=torch.float64)
    kappa = torch.tensor(concentrations, dtype=torch.float64, requires_grad=True)
    kl = kl_divergence(PowerSpherical(pole(dim), kappa), HypersphericalUniform(dim - 1, dtype=torch.float64))
    (slope,) = torch.autograd.grad(kl.sum(), kappa)
    torch.testing.assert_close(kl.detach(), expected[:, 0], rtol=3e-13, atol=0)
    torch.testing.assert_close(slope, expected[:, 1], rtol=1e-13, atol=0)


@pytest.mark.parametrize("dim", [3, 11, 101])
def test_float32_loses_nothing_but_the_last_rounding(dim: int) -> None:
    kappa = torch.tensor([1e-4, 0.1, 1.0, 30.0, 1e4, 1e7])
    single = PowerSpherical(pole(dim).float(), kappa)
    double = PowerSpherical(pole(dim), kappa.double())
    uniform = HypersphericalUniform(dim - 1)
    for one, other in (
        (kl_divergence(single, uniform), kl_divergence(double, uniform)),
        (single.entropy(), double.entropy()),
        (single.log_prob(pole(dim).float()), double.log_prob(pole(dim))),
    ):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other.double(), rtol=1.2e-7, atol=3e-7)


@pytest.mark.parametrize("dim", [2, 3, 100_001])
def test_extreme_concentrations_stay_finite(dim: int) -> None:
    kappa = torch.tensor([0.0, 1e-300, 1e8, 1e15], dtype=torch.float64, requires_grad=True)
    q = PowerSpherical(pole(dim), kappa)
    for value in (q.entropy(), q.kl_uniform(), q.log_prob(pole(dim)), q.mean, q.variance, q.rsample()):
        assert value.isfinite().all()
        (slope,) = torch.autograd.grad(value.sum(), kappa)
        assert slope.isfinite().all()


def test_concentration_zero_is_the_uniform() -> None:
    for dim in DIMS:
        q, uniform = at_pole(dim, 0.0), HypersphericalUniform(dim - 1, dtype=torch.float64)
        value = torch.cat([random_directions(5, dim), pole(dim)[None], -pole(dim)[None]])
        torch.testing.assert_close(q.log_prob(value), uniform.log_prob(value), rtol=1e-14, atol=1e-14)
        assert q.entropy() == uniform.entropy()
        assert q.kl_uniform() == 0


@pytest.mark.parametrize("concentration", [0.0, 1.0, 1e6])
def test_density_next_to_and_opposite_of_the_mode(concentration: float) -> None:
    # On the circle at the angle a: log p = const + 2 k log cos(a / 2); the opposite point has density 0 for k > 0.
    q = at_pole(2, concentration)
    angle = torch.tensor([0.0, 1e-9, 1e-4, 1.0, 3.0, math.pi - 1e-4], dtype=torch.float64)
    value = torch.stack([angle.cos(), angle.sin()], -1)
    height = 2 * (-(torch.sin(angle / 4) ** 2) * 2).log1p()
    torch.testing.assert_close(q.log_prob(value) - q.log_prob(value[0]), concentration * height, rtol=1e-9, atol=1e-9)
    opposite = q.log_prob(-pole(2)) - q.log_prob(pole(2))
    assert opposite == 0 if concentration == 0 else opposite < -500 * concentration


@pytest.mark.parametrize("concentration", [0.0, 0.5, 10.0, 1e3, 1e8])
@pytest.mark.parametrize("dim", DIMS)
def test_samples_have_the_right_radial_law(dim: int, concentration: float) -> None:
    """Kolmogorov-Smirnov at p > 1e-4 for each of 30 cases: a right sampler fails this file with probability 0.003."""
    torch.manual_seed(dim)
    loc = random_directions(dim)
    z = PowerSpherical(loc, concentration, radius=2.0).rsample((20_000,)) / 2
    assert (z.norm(dim=-1) - 1).abs().max() < 4 * torch.finfo(z.dtype).eps * math.sqrt(dim)
    beta = (dim - 1) / 2
    rest = (z - loc).square().sum(-1) / 4  # (1 - t) / 2
    assert stats.kstest(rest.numpy(), stats.beta(beta, beta + concentration).cdf).pvalue > 1e-4


def test_directions_across_loc_are_uniform() -> None:
    """In R^3 the azimuth about loc is uniform: KS at p > 1e-4 for 3 axes, failing with probability 0.0003 if right."""
    torch.manual_seed(1)
    for loc in (pole(3), -pole(3), random_directions(3)):
        z = PowerSpherical(loc, 5.0).rsample((20_000,))
        first = F.normalize(torch.linalg.cross(loc, random_directions(3, seed=3)), dim=-1)
        azimuth = torch.atan2(z @ torch.linalg.cross(loc, first), z @ first)
        assert stats.kstest(azimuth.numpy(), stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4


def test_float32_keeps_the_spread_at_large_concentration() -> None:
    """The transverse variance of 1e5 draws at kappa = 1e6 within five standard errors (failure rate 6e-7)."""
    torch.manual_seed(2)
    loc = F.normalize(torch.ones(11), dim=-1)
    q = PowerSpherical(loc, 1e6)
    z = q.rsample((100_000,))
    across = (z - (z @ loc).unsqueeze(-1) * loc).double().square().sum(-1)
    expected = 4 * 5 / 1e6  # E[1 - t^2] = 4 alpha beta / ((alpha + beta) (alpha + beta + 1))
    assert abs(across.mean().item() / expected - 1) < 5 * across.std().item() / across.mean().item() / 316


def _expectation(dim: int, kappa: Tensor, function: str) -> Tensor:
    """E[f(<a, z>)] with <a, loc> = 0.6 for f the square or the exponential, by quadrature over both angles."""
    points, weights = polar_rule(dim, kappa.item())
    mass = weights * PowerSpherical(pole(dim), kappa).log_prob(points).exp()
    if function == "square":
        return (mass * (0.36 * points[:, 0] ** 2 + 0.64 * points[:, 1] ** 2 / (dim - 1))).sum()
    return (mass * points[:, 0]).sum() * 0.6


@pytest.mark.parametrize("function", ["square", "linear"])
@pytest.mark.parametrize("concentration", [0.5, 5.0, 100.0])
@pytest.mark.parametrize("dim", [2, 3, 5, 11])
def test_gradients_of_expectations_are_unbiased(dim: int, concentration: float, function: str) -> None:
    """Within 4.5 standard errors at 1e5 draws: 24 cases, a right gradient fails this with probability 2e-4."""
    torch.manual_seed(3)
    kappa = torch.tensor(concentration, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(_expectation(dim, kappa, function), kappa)
    each = torch.full((100_000,), concentration, dtype=torch.float64, requires_grad=True)
    axis = 0.6 * pole(dim) + 0.8 * torch.eye(dim, dtype=torch.float64)[1]
    along = PowerSpherical(pole(dim), each).rsample() @ axis
    (slopes,) = torch.autograd.grad((along.square() if function == "square" else along).sum(), each)
    assert abs(slopes.mean() - expected) < 4.5 * slopes.std() / math.sqrt(len(slopes))


def test_gradient_in_loc_turns_the_sample_with_it() -> None:
    # E[z] = A loc, so that d E[<a, z>] / d loc is A a as a function on the sphere: within 5 standard errors.
    torch.manual_seed(4)
    raw = random_directions(5).expand(100_000, 5).clone().requires_grad_()
    axis = random_directions(5, seed=9)
    q = PowerSpherical(F.normalize(raw, dim=-1), 4.0)
    (slopes,) = torch.autograd.grad((q.rsample() @ axis).sum(), raw)
    loc = raw[0].detach()
    expected = (4 / 8) * (axis - (axis @ loc) * loc)
    assert ((slopes.mean(0) - expected).abs() < 5 * slopes.std(0) / math.sqrt(len(slopes))).all()


def test_exact_derivatives_of_density_entropy_and_kl() -> None:
    raw = random_directions(4, 5).requires_grad_()
    kappa = torch.tensor([0.01, 0.4, 3.0, 50.0], dtype=torch.float64, requires_grad=True)
    value = random_directions(4, 5, seed=5)

    def log_prob(raw: Tensor, kappa: Tensor) -> Tensor:
        return PowerSpherical(F.normalize(raw, dim=-1), kappa).log_prob(value)

    def entropy(kappa: Tensor) -> Tensor:
        return PowerSpherical(value, kappa).entropy()

    for function, inputs in ((log_prob, (raw, kappa)), (entropy, (kappa,))):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_vmap_over_log_prob_and_kl() -> None:
    loc, value = random_directions(6, 5), random_directions(6, 5, seed=1)
    kappa = torch.linspace(0.01, 40, 6, dtype=torch.float64)

    def both(loc: Tensor, kappa: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        q = PowerSpherical(loc, kappa, validate_args=False)
        return q.log_prob(value), kl_divergence(q, HypersphericalUniform(4))

    mapped = torch.func.vmap(both)(loc, kappa, value)
    torch.testing.assert_close(mapped, both(loc, kappa, value))
    slopes = torch.func.vmap(torch.func.grad(lambda k: both(loc[0], k, value[0])[1]))(kappa)
    torch.testing.assert_close(slopes, torch.func.grad(lambda k: both(loc, k, value)[1].sum())(kappa))


def test_nan_and_infinity_come_out_as_nan_unless_checked() -> None:
    for bad in (math.nan, math.inf, -7.0):
        q = PowerSpherical(pole(3), torch.tensor(bad, dtype=torch.float64), validate_args=False)
        assert q.rsample((10,)).isnan().all()
        assert q.kl_uniform().isnan() or bad < 0
