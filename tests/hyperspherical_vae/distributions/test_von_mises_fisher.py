"""The von Mises-Fisher distribution against closed forms, quadrature and scipy."""

import math
import time

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn import functional as F

from hyperspherical_vae.distributions import HypersphericalUniform, VonMisesFisher
from hyperspherical_vae.ops.bessel import mean_resultant_length, vmf_log_norm

from .quadrature import polar_rule, pole

DIMS = [2, 3, 5, 10, 50]
CONCENTRATIONS = [1.0, 2.0, 10.0, 10.5, 100.0]


def direction(dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(dim, dtype=torch.float64, generator=generator), dim=-1)


@pytest.mark.parametrize("dim", [2, 3, 5, 11])
@pytest.mark.parametrize("k", [0.1, 1.0, 10.0, 300.0])
def test_density_and_entropy_against_scipy(dim, k):
    loc = direction(dim)
    ours, theirs = VonMisesFisher(loc, k), stats.vonmises_fisher(loc.numpy(), k)
    z = HypersphericalUniform(dim - 1, dtype=torch.float64).sample((50,))
    np.testing.assert_allclose(ours.log_prob(z), theirs.logpdf(z.numpy()), rtol=1e-11, atol=1e-11)
    assert ours.entropy().item() == pytest.approx(theirs.entropy(), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("dim", [2, 3, 5, 21])
@pytest.mark.parametrize("k", [0.0, 0.3, 5.0, 200.0, 1e6])
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_moments_against_quadrature(dim, k, radius):
    q = VonMisesFisher(pole(dim), k, radius)
    points, weights = polar_rule(dim, k, radius)
    p = weights * q.log_prob(points).exp()
    assert p.sum().item() == pytest.approx(1, rel=1e-11)
    assert (p @ points[:, 0]).item() == pytest.approx(q.mean[0].item(), rel=1e-10, abs=1e-13)
    assert q.mean[1:].abs().max() == 0
    behind = radius - points[:, 0]
    along = (p @ behind**2 - (p @ behind) ** 2).item()
    across = (p @ points[:, 1] ** 2).item() / (dim - 1)
    np.testing.assert_allclose(q.variance, [along] + [across] * (dim - 1), rtol=1e-9)
    assert -(p @ q.log_prob(points)).item() == pytest.approx(q.entropy().item(), rel=1e-10, abs=1e-10)


def test_variance_in_any_direction():
    loc = direction(4)
    terms = VonMisesFisher(pole(4), 3.0).variance
    along, across = terms[0], terms[1]
    expected = across + (along - across) * loc.square()
    assert torch.allclose(VonMisesFisher(loc, 3.0).variance, expected)


@pytest.mark.parametrize("dim", [2, 3, 11, 513])
def test_density_keeps_its_digits_in_single_precision(dim):
    """Against float64 at the same float32 points; the largest term is k y, about (m - 1) / 2."""
    torch.manual_seed(0)
    loc = F.normalize(torch.randn(200, dim), dim=-1)
    for k in (0.0, 1.0, 1e3, 1e6, 1e9):
        q = VonMisesFisher(loc, torch.full((200,), k), validate_args=False)
        z = q.sample()
        unit = [F.normalize(x.double(), dim=-1) for x in (z, loc)]
        exact = VonMisesFisher(unit[1], torch.full((200,), k).double()).log_prob(unit[0])
        assert ((q.log_prob(z) - exact).abs() <= 2e-6 * (dim + exact.abs())).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 3, 11, 101, 100_001])
def test_samples_are_on_the_sphere(dim, dtype):
    torch.manual_seed(0)
    count = 20 if dim > 1000 else 500
    first = torch.zeros(2, dim, dtype=dtype)
    first[0, 0], first[1, 0] = 1, -1
    loc = torch.cat([first, F.normalize(torch.randn(count, dim, dtype=dtype), dim=-1)])
    for k in (0.0, 1e-3, 1.0, 1e3, 1e8, 1e15):
        z = VonMisesFisher(loc, torch.full(loc.shape[:1], k, dtype=dtype)).rsample()
        assert ((z.double().norm(dim=-1) - 1).abs() <= 4 * torch.finfo(dtype).eps * math.sqrt(dim)).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_spread_in_single_precision(sign):
    """At k = 1e6, within four standard errors: one of 16,000 runs with fresh seeds fails."""
    torch.manual_seed(0)
    count, dim, k = 200_000, 5, 1e6
    loc = sign * pole(dim).float()
    z = VonMisesFisher(loc, torch.tensor(k)).rsample((count,)).double()
    square = z[:, 1:].square().sum(-1) / (dim - 1)
    exact = mean_resultant_length(dim, torch.tensor(k, dtype=torch.float64)) / k
    assert abs(square.mean() - exact) < 4 * square.std() / math.sqrt(count)


def test_zero_concentration_is_the_uniform_distribution():
    for dim in (2, 3, 8):
        q, uniform = VonMisesFisher(direction(dim), 0.0), HypersphericalUniform(dim - 1, dtype=torch.float64)
        z = uniform.sample((5,))
        assert torch.allclose(q.log_prob(z), uniform.log_prob(z), rtol=1e-14)
        assert torch.allclose(q.entropy(), uniform.entropy(), rtol=1e-14)
        assert kl_divergence(q, uniform) == 0
        assert q.mean.norm() == 0


@pytest.mark.parametrize("dim", [2, 3, 11])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_parameters_that_are_not_finite_give_nan_at_once(dim, bad):
    started = time.monotonic()
    q = VonMisesFisher(direction(dim), torch.tensor(bad, dtype=torch.float64), validate_args=False)
    assert q.rsample((1000,)).isnan().all()
    assert q.log_prob(q.loc).isnan()
    assert q.entropy().isnan()
    q = VonMisesFisher(direction(dim) * bad, 3.0, validate_args=False)
    assert q.rsample((1000,)).isnan().any(-1).all()
    assert time.monotonic() - started < 10
    for loc, k in ((direction(dim), bad), (direction(dim) * bad, 3.0)):
        with pytest.raises(ValueError, match="VonMisesFisher"):
            VonMisesFisher(loc, k, validate_args=True)


def test_sampling_is_reproducible_and_leaves_no_graph_without_need():
    q = VonMisesFisher(direction(5), 3.0)
    torch.manual_seed(1)
    first = q.sample((10,))
    torch.manual_seed(1)
    assert torch.equal(first, q.sample((10,)))
    assert not q.rsample().requires_grad


def test_gradients_at_fixed_draws_in_three_dimensions():
    """On S^2 the radial part is an inverse distribution function, so that finite differences know the gradient."""

    def sample(loc: Tensor, k: Tensor) -> Tensor:
        torch.manual_seed(0)
        return VonMisesFisher(F.normalize(loc, dim=-1), k).rsample((4,))

    loc = torch.stack([direction(3, 1), direction(3, 2), -direction(3, 1)]).requires_grad_()
    k = torch.tensor([0.5, 4.0, 60.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample, (loc, k), rtol=1e-5)


def test_gradients_sum_over_what_is_shared():
    """One direction and one concentration for many samples get the sum of the single gradients."""
    loc = direction(4).requires_grad_()
    k = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(3, 2, 4, dtype=torch.float64)
    torch.manual_seed(0)
    shared = torch.autograd.grad(VonMisesFisher(loc, k).rsample((3, 2)), (loc, k), grad)
    torch.manual_seed(0)
    single = torch.autograd.grad(VonMisesFisher(loc.expand(3, 2, 4), k.expand(3, 2)).rsample(), (loc, k), grad)
    for one, other in zip(shared, single, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
    torch.manual_seed(0)
    alone = VonMisesFisher(loc, k.detach()).rsample((3, 2))
    assert torch.allclose(torch.autograd.grad(alone, loc, grad)[0], shared[0], rtol=1e-12)


def test_densities_and_moments_have_gradients():
    z = direction(4, 9)

    def quantities(loc: Tensor, k: Tensor) -> tuple[Tensor, ...]:
        q = VonMisesFisher(F.normalize(loc, dim=-1), k)
        return q.log_prob(z), q.entropy(), q.mean

    inputs = (direction(4).requires_grad_(), torch.tensor(7.0, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(quantities, inputs)
    assert torch.autograd.gradgradcheck(quantities, inputs)


def exact_values(a: Tensor, loc: Tensor, k: Tensor) -> Tensor:
    """E[<a, z>], E[<a, z>^2] and E[exp <a, z>] in closed form."""
    dim = len(a)
    along = a @ loc
    length = mean_resultant_length(dim, k)
    square = length / k * (a @ a - along**2) + (1 - (dim - 1) * length / k) * along**2
    exponential = (vmf_log_norm(dim, k) - vmf_log_norm(dim, (k * loc + a).norm())).exp()
    return torch.stack([length * along, square, exponential])


def check_gradients(dim: int, k: float, count: int, chunk: int) -> None:
    """Monte Carlo gradients of the expectations, in k and in two tangent directions, within four standard errors."""
    torch.manual_seed(dim)
    loc, a = direction(dim, 1), direction(dim, 2)
    concentration = torch.tensor(k, dtype=torch.float64)
    tangents = [a - (a @ loc) * loc]
    if dim > 2:
        other = direction(dim, 3)
        tangents.append(other - (other @ loc) * loc)
    frame = torch.stack([F.normalize(t, dim=-1) for t in tangents], -1)

    total, squares = torch.zeros(2, 3, 1 + len(tangents), dtype=torch.float64)
    for _ in range(count // chunk):
        locs = loc.expand(chunk, dim).clone().requires_grad_()
        ks = concentration.expand(chunk).clone().requires_grad_()
        along = VonMisesFisher(locs, ks, validate_args=False).rsample() @ a
        for i, values in enumerate((along, along**2, along.exp())):
            by_loc, by_k = torch.autograd.grad(values.sum(), (locs, ks), retain_graph=True)
            each = torch.cat([by_k.unsqueeze(-1), by_loc @ frame], -1)
            total[i] += each.sum(0)
            squares[i] += each.square().sum(0)
    mean = total / count
    error = ((squares / count - mean**2) / count).sqrt()

    inputs = (loc.clone().requires_grad_(), concentration.clone().requires_grad_())
    for i, value in enumerate(exact_values(a, *inputs)):
        by_loc, by_k = torch.autograd.grad(value, inputs, retain_graph=True)
        exact = torch.cat([by_k.reshape(1), by_loc @ frame])
        assert ((mean[i] - exact).abs() <= 4 * error[i] + 1e-12).all(), (i, mean[i], exact, error[i])


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_gradients_of_expectations(dim):
    """27 numbers within four standard errors: one of 600 runs with fresh seeds fails."""
    check_gradients(dim, 2.0, 20_000, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("k", CONCENTRATIONS)
def test_gradients_of_expectations_with_a_million_draws(dim, k):
    """210 numbers in all within four standard errors: 1.3 % of the runs with fresh seeds fail, hence the fixed seed."""
    check_gradients(dim, k, 1_000_000, 50_000)


@pytest.mark.parametrize("dim", [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow)])
def test_compiles_into_one_graph(dim):
    """For any batch size; the dimension is a constant of the graph."""
    torch.compiler.reset()
    # The compiler of torch 2.10 does not get along with a symbolic batch size here; that of 2.13 does.
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    uniform = HypersphericalUniform(dim - 1, validate_args=False)

    def loss(loc: Tensor, k: Tensor) -> Tensor:
        q = VonMisesFisher(loc, k, validate_args=False)
        z = q.rsample()
        return q.log_prob(z).sum() + kl_divergence(q, uniform).sum() + z.square()[..., 0].sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=None if version >= (2, 13) else False)
    for batch in (5, 7, 4):
        loc = direction(dim).expand(batch, dim).clone().requires_grad_()
        k = torch.full((batch,), 4.0, dtype=torch.float64, requires_grad=True)
        value = compiled(loc, k)
        assert value.isfinite()
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(value, (loc, k)))


def test_vmap():
    loc = torch.stack([direction(5, seed) for seed in range(4)])
    k = torch.tensor([0.0, 1.0, 10.0, 1e4], dtype=torch.float64)
    z = torch.stack([direction(5, seed) for seed in range(10, 14)])

    def log_prob(loc: Tensor, k: Tensor, z: Tensor) -> Tensor:
        return VonMisesFisher(loc, k, validate_args=False).log_prob(z)

    expected = VonMisesFisher(loc, k).log_prob(z)
    assert torch.allclose(torch.func.vmap(log_prob)(loc, k, z), expected)
    by_k = torch.func.vmap(torch.func.grad(log_prob, argnums=1))(loc, k, z)
    assert torch.allclose(by_k, (loc * z).sum(-1) - mean_resultant_length(5, k))
