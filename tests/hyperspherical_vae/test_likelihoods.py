"""Likelihoods: against torch.distributions, probabilities that add up to one, gradients, broadcasting."""

from __future__ import annotations

import math
from pkgutil import resolve_name

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hyperspherical_vae.kinds import LIKELIHOODS
from hyperspherical_vae.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood, Normal, Poisson

PIXELS = 6


def params_for(likelihood: Likelihood, *batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = likelihood.params_per_pixel * PIXELS
    return 2 * torch.randn(*batch, width, dtype=torch.float64, generator=generator)


def images_for(likelihood: Likelihood, *batch: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    steps = 1 if likelihood.binary else likelihood.levels
    return torch.randint(0, steps + 1, (*batch, PIXELS), generator=generator).double() / steps


@pytest.mark.parametrize("logits", [-200.0, -30.0, -1.0, 0.0, 2.0, 30.0, 200.0])
def test_bernoulli_is_that_of_torch(logits: float) -> None:
    x = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    params = torch.tensor([logits, logits, -logits], dtype=torch.float64)
    expected = torch.distributions.Bernoulli(logits=params).log_prob(x).sum()
    torch.testing.assert_close(Bernoulli().log_prob(params, x), expected, rtol=1e-13, atol=1e-13)


def test_bernoulli_has_the_right_derivatives() -> None:
    likelihood = Bernoulli()
    x = images_for(likelihood, 4)
    params = params_for(likelihood, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), (params,))
    assert torch.autograd.gradgradcheck(lambda p: likelihood.log_prob(p, x), (params,))


@pytest.mark.parametrize("many_params", [True, False])
def test_bernoulli_reduces_gradients_over_what_was_broadcast(many_params: bool) -> None:
    likelihood = Bernoulli()
    params = params_for(likelihood, *((3, 4) if many_params else (4,))).requires_grad_()
    x = images_for(likelihood, *((4,) if many_params else (3, 4)))
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), (params,))


def test_bernoulli_in_float32_is_as_good_as_a_sum_of_pixels() -> None:
    """A confident decoder of 784 pixels: the error stays below 1e-5 of the largest sum that is formed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (100, 784), generator=generator).float()
    params = (2 * x - 1) * 15 * torch.rand(100, 784, generator=generator)
    exact = Bernoulli().log_prob(params.double(), x.double())
    error = (Bernoulli().log_prob(params, x).double() - exact).abs().max()
    assert error < 1e-5 * (x * params).sum(-1).max()


def test_gaussian_is_that_of_torch() -> None:
    likelihood = Gaussian().double()
    params, x = params_for(likelihood, 4), images_for(likelihood, 4)
    expected = torch.distributions.Normal(torch.sigmoid(params), likelihood.scale).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(params, x), expected)
    torch.testing.assert_close(likelihood.mean(params), torch.sigmoid(params))


def test_gaussian_scale_is_learned_and_bounded() -> None:
    likelihood = Gaussian().double()
    x = images_for(likelihood, 4)
    (slope,) = torch.autograd.grad(likelihood.log_prob(params_for(likelihood, 4), x).sum(), likelihood.log_scale)
    assert slope.isfinite()
    assert slope != 0
    with torch.no_grad():
        likelihood.log_scale.fill_(-1000.0)
    assert likelihood.scale.item() == pytest.approx(0.25 / 255)


@pytest.mark.parametrize("levels", [255, 16, 1])
def test_probabilities_of_all_levels_add_up_to_one(levels: int) -> None:
    likelihood = DiscretizedLogistic(levels)
    location = torch.tensor([-50.0, -9.0, -1.3, 0.0, 0.4, 6.0, 50.0], dtype=torch.float64)
    log_scale = torch.tensor([-30.0, -7.0, -3.0, -1.0, 0.0, 3.0, 30.0], dtype=torch.float64)
    params = torch.cartesian_prod(location, log_scale)  # one pixel each
    x = torch.arange(levels + 1, dtype=torch.float64)[:, None, None] / levels
    total = likelihood.log_prob(params, x).exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-10, atol=0)


def test_discretized_logistic_is_a_difference_of_distribution_functions() -> None:
    likelihood = DiscretizedLogistic()
    params, x = params_for(likelihood, 4), images_for(likelihood, 4)
    location, log_scale = params.chunk(2, -1)

    def distribution(value: Tensor) -> Tensor:
        return torch.sigmoid((value - torch.sigmoid(location)) / log_scale.exp())

    upper = torch.where(x == 1, torch.ones_like(x), distribution(x + 0.5 / 255))
    lower = torch.where(x == 0, torch.zeros_like(x), distribution(x - 0.5 / 255))
    torch.testing.assert_close(likelihood.log_prob(params, x), (upper - lower).log().sum(-1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("levels", [255, 16])
def test_every_grey_level_of_float32_falls_into_its_bin(levels: int) -> None:
    # A narrow logistic in the middle of a bin has nearly all of its mass there, whatever the rounding of k / levels.
    likelihood = DiscretizedLogistic(levels)
    x = (torch.arange(levels + 1) / levels).unsqueeze(-1)
    location = torch.logit(x.double().clamp(1e-6, 1 - 1e-6)).float()
    params = torch.cat([location, torch.full_like(x, -50.0)], -1)
    assert (likelihood.log_prob(params, x).exp() > 0.98).all()


@pytest.mark.parametrize("kind", [Gaussian, DiscretizedLogistic])
def test_derivatives(kind: type[Likelihood]) -> None:
    likelihood = kind().double()
    params = params_for(likelihood, 4).requires_grad_()
    x = images_for(likelihood, 4)
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), (params,))
    assert torch.autograd.gradgradcheck(lambda p: likelihood.log_prob(p, x), (params,))


@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_float32_is_within_rounding_of_float64(name: str, spread: float) -> None:
    """Of 784 pixels: 1e-7 for each of them, as the numbers near 1 that it is made of are rounded, and of the sum."""
    likelihood = resolve_name(LIKELIHOODS[name])()
    generator = torch.Generator().manual_seed(3)
    params = spread * torch.randn(50, 784 * likelihood.params_per_pixel, generator=generator)
    x = torch.rand(50, 784, generator=generator).mul(likelihood.levels).round().div(likelihood.levels)
    if likelihood.binary:
        x = x.round()
    exact_likelihood, exact_x = resolve_name(LIKELIHOODS[name])().double(), x.double()
    leaf, exact_leaf = params.requires_grad_(), params.detach().double().requires_grad_()
    found, exact = likelihood.log_prob(leaf, x), exact_likelihood.log_prob(exact_leaf, exact_x)
    # How far the numbers that go in are rounded: those of a narrow bin decide on what is left of its probability.
    (slope,) = torch.autograd.grad(exact.sum(), exact_leaf)
    bound = 784 * 1e-7 + 3e-7 * (exact.abs() + (slope * exact_leaf).abs().sum(-1))
    assert ((found.double() - exact).abs() < bound).all()
    (found_slope,) = torch.autograd.grad(found.sum(), leaf)
    torch.testing.assert_close(found_slope.double(), slope, rtol=1e-4, atol=1e-4 * slope.abs().max().item())


class Operations(TorchDispatchMode):
    """Notes the names of what is called, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_nothing_is_called_that_is_no_vector_code_on_a_cpu(name: str) -> None:
    likelihood = resolve_name(LIKELIHOODS[name])()
    with Operations() as called:
        params = params_for(likelihood, 4).float().requires_grad_()
        likelihood.log_prob(params, images_for(likelihood, 4).float()).sum().backward()
    assert ("sigmoid" in called.names) == (name not in ("normal", "poisson"))
    assert not called.names & {"log1p", "expm1", "softplus", "log_sigmoid_forward", "logaddexp", "tanh"}


def test_extreme_parameters_give_finite_values_and_gradients() -> None:
    likelihood = DiscretizedLogistic()
    x = torch.tensor([0.0, 128 / 255, 1.0])
    for location in (-100.0, 0.0, 100.0):
        for log_scale in (-100.0, -7.9, 0.0, 100.0):
            params = torch.tensor([location] * 3 + [log_scale] * 3, requires_grad=True)
            log_prob = likelihood.log_prob(params, x)
            (slope,) = torch.autograd.grad(log_prob, params)
            assert log_prob.isfinite()
            assert slope.isfinite().all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_many_samples_for_each_image(name: str) -> None:
    likelihood = resolve_name(LIKELIHOODS[name])().double()
    params, x = params_for(likelihood, 3, 4), images_for(likelihood, 4)
    found = likelihood.log_prob(params, x)
    assert found.shape == (3, 4)
    assert torch.equal(likelihood.given(x)(params), found)
    for k in range(3):
        torch.testing.assert_close(found[k], likelihood.log_prob(params[k], x))
    assert likelihood.mean(params).shape == (3, 4, PIXELS)


@pytest.mark.parametrize("name", sorted({*LIKELIHOODS} - {"normal", "poisson"}))
def test_images_to_look_at_are_in_range_and_brighten_with_the_parameter(name: str) -> None:
    likelihood = resolve_name(LIKELIHOODS[name])()
    params = torch.zeros(2, likelihood.params_per_pixel * PIXELS)
    params[1, :PIXELS] = 3.0
    mean = likelihood.mean(params)
    assert ((mean > 0) & (mean < 1)).all()
    assert (mean[1] > mean[0]).all()
    assert mean[0].tolist() == pytest.approx([0.5] * PIXELS)


def test_better_parameters_are_more_likely() -> None:
    x = torch.tensor([0.0, 1.0, 0.0, 1.0])
    for name, kind in LIKELIHOODS.items():
        likelihood = resolve_name(kind)()
        scales = [torch.full((4,), math.log(0.1))] * (likelihood.params_per_pixel - 1)
        right, wrong = (torch.cat([sign * (2 * x - 1), *scales]) for sign in (1, -1))
        assert likelihood.log_prob(right, x) > likelihood.log_prob(wrong, x), name


def test_normal_is_that_of_torch_in_the_units_of_the_data() -> None:
    mean, std = torch.tensor([3.0, -1.0, 7.0]).double(), torch.tensor([0.1, 2.0, 30.0]).double()
    likelihood = Normal(log_volume=std.log().sum().item()).double()
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(5, 1, 3, dtype=torch.float64, generator=generator)
    x = mean + std * torch.randn(4, 3, dtype=torch.float64, generator=generator)
    expected = torch.distributions.Normal(mean + std * params, std * likelihood.scale).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(params, (x - mean) / std), expected)
    torch.testing.assert_close(likelihood.mean(params), params)


@pytest.mark.parametrize("levels", [1, 9, 255, 1_000_003])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_poisson_is_that_of_torch(levels: int, dtype: torch.dtype) -> None:
    likelihood = Poisson(levels)
    counts = torch.tensor([0, 1, levels // 2, levels]).double()
    params = torch.tensor([[-9.0, -1.0, -0.5, 0.0], [0.3, -4.0, 2.0, 0.01]], dtype=dtype)
    share = torch.where(params > 0, 1 + params, params.exp()).double()
    expected = torch.distributions.Poisson(levels * share).log_prob(counts).sum(-1)
    found = likelihood.log_prob(params, (counts / levels).to(dtype))
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-3 if levels > 255 else 1e-5)
    torch.testing.assert_close(likelihood.mean(params).double(), share)


def test_the_probabilities_of_poisson_add_up_to_one() -> None:
    likelihood = Poisson(20)
    counts = torch.arange(400, dtype=torch.float64)[:, None]
    probabilities = likelihood.log_prob(torch.tensor([[0.7]], dtype=torch.float64), counts / 20).exp()
    assert probabilities.sum().item() == pytest.approx(1)
    assert (probabilities * counts[:, 0]).sum().item() == pytest.approx(20 * 1.7)


@pytest.mark.parametrize("likelihood", [Normal(), Poisson(20)])
def test_derivatives_of_the_likelihoods_of_numbers(likelihood: Likelihood) -> None:
    likelihood = likelihood.double()
    x, params = images_for(Poisson(20), 4), params_for(Poisson(20), 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), (params,))
