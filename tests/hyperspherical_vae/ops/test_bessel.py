"""The Bessel functions and the vMF scalars against reference values, closed forms, and numerical derivatives.

``vmf_truth*.csv`` come from 126-digit arithmetic, the second with kappa rounded to float32 first, and
``bessel_reference.csv`` from ``make_reference.py`` beside it.
"""

import csv
import math
from pathlib import Path

import pytest
import scipy.special
import torch
from torch import Tensor

from hyperspherical_vae.ops import _evaluation, bessel, bessel_ratio, log_iv, log_ive

DATA = Path(__file__).resolve().parents[2] / "data"
DOUBLE, SINGLE = ("vmf_truth.csv", torch.float64), ("vmf_truth_float32.csv", torch.float32)

FUNCTIONS = {
    "vmf_kl_uniform": lambda k: bessel.vmf_kl_uniform(11, k),
    "vmf_entropy": lambda k: bessel.vmf_entropy(2, k),
    "vmf_log_norm": lambda k: bessel.vmf_log_norm(3, k),
    "vmf_log_mode_density": lambda k: bessel.vmf_log_mode_density(4, k),
    "mean_resultant_length": lambda k: bessel.mean_resultant_length(41, k),
    "log_iv 0": lambda k: log_iv(0, k),
    "log_iv 2.7": lambda k: log_iv(2.7, k),
    "log_ive 0": lambda k: log_ive(0, k),
    "log_ive 0.3": lambda k: log_ive(0.3, k),
    "log_ive 60": lambda k: log_ive(60, k),
    "bessel_ratio 0": lambda k: bessel_ratio(0, k),
    "bessel_ratio 0.4": lambda k: bessel_ratio(0.4, k),
    "bessel_ratio 5.5": lambda k: bessel_ratio(5.5, k),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())


def table(name: str, key: str) -> dict[float, dict[str, Tensor]]:
    """The columns of a file as float64, for each value of the key column."""
    with (DATA / name).open() as file:
        rows = list(csv.DictReader(file))
    groups: dict[float, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(float(row[key]), []).append(row)
    return {
        value: {c: torch.tensor([float(row[c]) for row in group], dtype=torch.float64) for c in rows[0]}
        for value, group in groups.items()
    }


def assert_within(got: Tensor, expected: Tensor, tolerance: float, scale: Tensor | None = None) -> None:
    error = (got.double() - expected).abs() / (expected if scale is None else scale).abs()
    assert error.max() <= tolerance, error


def derivatives(function, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = function(x)
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return value.detach(), first.detach(), second


@pytest.fixture
def single_precision(monkeypatch):
    """What a device without float64 does."""
    monkeypatch.setattr(bessel, "working_dtype", lambda x: torch.float32)


def check_vmf(name: str, dtype: torch.dtype, tolerance: float) -> None:
    for m, truth in table(name, "m").items():
        dim, kappa = int(m), truth["kappa"].to(dtype)
        kl, slope, _ = derivatives(lambda k, dim=dim: bessel.vmf_kl_uniform(dim, k), kappa)
        assert kl.dtype == slope.dtype == dtype
        terms = bessel.vmf_terms(dim, kappa)
        log_area = torch.tensor(bessel.log_sphere_area(dim), dtype=torch.float64)
        growth = -truth["logC"] - log_area
        largest = torch.maximum(growth.abs(), log_area.abs())
        assert_within(kl, truth["KL"], tolerance)
        assert_within(slope, truth["dKL"], tolerance)
        assert_within(bessel.mean_resultant_length(dim, kappa), truth["A"], tolerance)
        assert_within(terms.mean_resultant, truth["A"], tolerance)
        assert_within(terms.one_minus_mean_resultant, truth["one_minus_A"], tolerance)
        assert_within(terms.derivative * truth["kappa"], truth["dKL"], tolerance)
        assert_within(terms.log_norm_growth, growth, tolerance, largest)
        assert_within(bessel.vmf_log_norm(dim, kappa), truth["logC"], tolerance, largest)
        assert_within(bessel.vmf_entropy(dim, kappa), truth["entropy"], tolerance, largest)
        mode = truth["logC"] + truth["kappa"]  # the sum has lost digits: compare on the scale of its terms
        assert_within(bessel.vmf_log_mode_density(dim, kappa), mode, tolerance, torch.maximum(largest, truth["kappa"]))
        v = m / 2 - 1
        power = v * torch.log(truth["kappa"] / 2)
        largest = torch.stack([truth["logI"], power, growth, torch.full_like(power, math.lgamma(v + 1))]).abs().amax(0)
        assert_within(log_iv(v, kappa), truth["logI"], tolerance, largest)
        assert_within(derivatives(lambda k, v=v: log_iv(v, k), kappa)[1], truth["dlogI"], tolerance)
        assert_within(bessel_ratio(m / 2, kappa), truth["A"], tolerance)


@pytest.mark.parametrize(("name", "dtype", "tolerance"), [(*DOUBLE, 1e-14), (*SINGLE, 1e-7)])
def test_vmf_scalars_reach_the_truth(name, dtype, tolerance):
    check_vmf(name, dtype, tolerance)


@pytest.mark.usefixtures("single_precision")
def test_vmf_scalars_without_float64():
    check_vmf(*SINGLE, 2e-6)


@pytest.mark.parametrize(("order", "truth"), table("bessel_reference.csv", "order").items())
def test_any_real_order_reaches_the_reference(order, truth):
    x, m = truth["x"], 2 * order + 2
    value, first, second = derivatives(lambda x: bessel_ratio(order + 1, x), x)
    assert_within(value, truth["ratio"], 1e-14)
    assert_within(first, truth["slope"], 2e-14)
    assert_within(second, truth["curvature"], 1e-12)
    assert_within(bessel.vmf_terms(m, x).one_minus_mean_resultant, truth["complement"], 1e-14)
    value, first, second = derivatives(lambda x: bessel.vmf_kl_uniform(m, x), x)
    assert_within(value, truth["divergence"], 1e-14)
    assert_within(first, x * truth["slope"], 2e-14)
    terms = truth["slope"].abs() + (x * truth["curvature"]).abs()
    assert_within(second, truth["slope"] + x * truth["curvature"], 1e-12, terms)

    scale = torch.stack([truth["log_iv"], order * torch.log(x / 2), torch.full_like(x, math.lgamma(order + 1))])
    value, first, second = derivatives(lambda x: log_iv(order, x), x)
    assert_within(value, truth["log_iv"], 1e-14, scale.abs().amax(0))
    assert_within(first, order / x + truth["ratio"], 1e-14)
    assert_within(second, truth["slope"] - order / x**2, 2e-14, truth["slope"] + order / x**2)
    value, first, _ = derivatives(lambda x: log_ive(order, x), x)
    assert_within(value, truth["log_ive"], 1e-14, truth["log_ive"].abs().clamp_min(0.0 if order == 0 else 1.0))
    # the slope changes sign near x = v^2, where its two leading terms cancel
    assert_within(first, truth["log_ive_slope"], 1e-14, truth["log_ive_slope"].abs() + 1 / x.clamp_min(1.0))


def test_log_ive_agrees_with_scipy_where_scipy_does_not_underflow():
    for order in (0, 0.5, 3, 20):
        x = torch.logspace(-2, 8, 41, dtype=torch.float64)
        expected = torch.from_numpy(scipy.special.ive(order, x.numpy())).log()
        torch.testing.assert_close(log_ive(order, x), expected, rtol=1e-12, atol=1e-12)


def test_three_dimensions_have_closed_forms():
    k = torch.tensor([0.5, 1.0, 3.0, 12.0], dtype=torch.float64)
    coth = 1 / torch.tanh(k)
    assert_within(bessel.mean_resultant_length(3, k), coth - 1 / k, 1e-14)
    assert_within(bessel.vmf_log_norm(3, k), torch.log(k / (4 * math.pi * torch.sinh(k))), 1e-14)
    assert_within(bessel.vmf_kl_uniform(3, k), k * coth - 1 + torch.log(k / torch.sinh(k)), 1e-13)
    assert_within(bessel_ratio(0.5, k), torch.tanh(k), 1e-15)
    x = torch.tensor(2.0, dtype=torch.float64)  # I_{-1} = I_1
    assert_within(bessel_ratio(0, x), torch.tensor(scipy.special.iv(0, 2.0) / scipy.special.iv(1, 2.0)), 1e-15)


@every_function
def test_first_and_second_derivatives(function):
    k = torch.tensor([[0.02, 0.7, 2.5], [9.0, 40.0, 300.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, k, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, k, check_fwd_over_rev=True)


@every_function
def test_higher_derivatives_are_right_until_one_is_refused(function):
    k = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    def derivative(x, times):
        value = function(x)
        for _ in range(times):
            (value,) = torch.autograd.grad(value, x, create_graph=True)
        return value

    assert torch.autograd.gradcheck(lambda x: derivative(x, 2), k)
    with pytest.raises(NotImplementedError, match="cannot be differentiated as often as that"):
        derivative(k, 6)


@every_function
def test_vmap_and_grad_transforms(function):
    k = torch.tensor([[0.02, 0.7, 2.5], [9.0, 40.0, 300.0]], dtype=torch.float64)
    value, first, second = derivatives(function, k)
    for in_dim in (0, 1):
        assert torch.equal(torch.func.vmap(function, in_dims=in_dim, out_dims=in_dim)(k), value)
    assert torch.equal(torch.func.vmap(torch.func.vmap(function))(k), value)
    scalar = torch.func.grad(function)
    torch.testing.assert_close(torch.func.vmap(scalar)(k.flatten()), first.flatten(), rtol=1e-14, atol=0.0)
    twice = torch.func.vmap(torch.func.grad(scalar))(k.flatten())
    torch.testing.assert_close(twice, second.flatten(), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_nested_transforms_over_any_dimension(dim):
    k = torch.linspace(0.1, 20, 24, dtype=torch.float64).reshape(2, 3, 4)

    def squared_slopes(k: Tensor) -> Tensor:
        return torch.func.grad(lambda k: bessel.vmf_kl_uniform(5, k).sum())(k).square().sum()

    expected = torch.func.grad(squared_slopes)(k)
    inner = torch.func.vmap(torch.func.grad(squared_slopes), in_dims=-1, out_dims=-1)
    torch.testing.assert_close(torch.func.vmap(inner, in_dims=dim, out_dims=dim)(k), expected, rtol=1e-13, atol=0.0)
    hessian = torch.func.jacrev(torch.func.jacrev(lambda k: bessel.vmf_kl_uniform(5, k).sum()))(k[0, 0])
    curvature = derivatives(lambda k: bessel.vmf_kl_uniform(5, k), k[0, 0])[2]
    torch.testing.assert_close(hessian, torch.diag(curvature), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("name", ["vmf_kl_uniform", "vmf_log_mode_density", "log_ive 0.3", "bessel_ratio 0.4"])
def test_compiles_to_one_graph(name):
    function = FUNCTIONS[name]
    k = torch.tensor([0.02, 2.5, 300.0], dtype=torch.float64, requires_grad=True)
    value, first, _ = derivatives(function, k.detach())
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(k)
    torch.testing.assert_close(compiled.detach(), value, rtol=1e-14, atol=0.0)
    (slope,) = torch.autograd.grad(compiled.sum(), k)
    torch.testing.assert_close(slope, first, rtol=1e-14, atol=0.0)


def test_long_vectors_take_the_same_values():
    k = torch.logspace(-6, 8, _evaluation.MATRIX_LENGTH, dtype=torch.float64)
    for m in (2, 11, 513):
        short, long = bessel.vmf_terms(m, k), bessel.vmf_terms(m, torch.cat((k, k)))
        for one, other in zip(short, long, strict=True):
            torch.testing.assert_close(other[: len(k)], one, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("m", [2, 3, 11, 100_001])
def test_no_concentration_has_exact_limits(m, dtype):
    zero = torch.zeros((), dtype=dtype)
    kl, slope, curvature = derivatives(lambda k: bessel.vmf_kl_uniform(m, k), zero)
    assert (kl, slope) == (0.0, 0.0)
    assert_within(curvature, torch.tensor(1 / m, dtype=torch.float64), 1e-14 if dtype == torch.float64 else 1e-7)
    terms = bessel.vmf_terms(m, zero)
    assert (terms.log_norm_growth, terms.mean_resultant, terms.one_minus_mean_resultant) == (0.0, 0.0, 1.0)
    assert bessel.vmf_entropy(m, zero) == torch.tensor(bessel.log_sphere_area(m), dtype=dtype)
    assert log_iv(0, zero) == log_ive(0, zero) == bessel_ratio(m, zero) == 0.0
    assert log_iv(0.5, zero) == log_ive(0.5, zero) == -math.inf
    assert bessel_ratio(0, zero) == math.inf


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("m", [2, 3, 11, 513, 100_001])
def test_huge_concentrations_stay_finite(m, single, request):
    if single:
        request.getfixturevalue("single_precision")
    k = torch.logspace(8, 15, 15, dtype=torch.float32 if single else torch.float64)
    for function in (bessel.vmf_kl_uniform, bessel.vmf_log_mode_density, bessel.mean_resultant_length):
        for result in derivatives(lambda k, function=function: function(m, k), k)[:2]:
            assert torch.isfinite(result).all()
    # for k >> m^2 the density is Gaussian around the mode: log p(mu) -> (m - 1) / 2 log(k / 2 pi)
    far = k[-1:].double()
    expected = (m - 1) / 2 * torch.log(far / (2 * math.pi))
    assert_within(bessel.vmf_log_mode_density(m, k[-1:]), expected, 1e-5)
    kl, slope, _ = derivatives(lambda k: bessel.vmf_kl_uniform(m, k), k[-1:])
    assert_within(slope * far, torch.tensor((m - 1) / 2, dtype=torch.float64), 1e-4)
    assert_within(kl, bessel.log_sphere_area(m) + expected - (m - 1) / 2, 1e-5)


@every_function
def test_not_a_number_gives_not_a_number_and_harms_no_other_element(function):
    k = torch.tensor([1.0, math.nan, math.inf, -math.inf, 2.0], dtype=torch.float64)
    clean = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for got, expected in zip(derivatives(function, k), derivatives(function, clean), strict=True):
        assert torch.isnan(got[1])
        torch.testing.assert_close(got[[0, 4]], expected, rtol=1e-15, atol=1e-15)
    assert torch.isnan(function(k)[2:4]).all()


@every_function
def test_shapes_and_dtypes(function):
    k = torch.tensor([[0.5, 2.0], [7.0, 100.0]])
    value = function(k)
    assert value.shape == k.shape
    assert value.dtype == torch.float32
    assert torch.equal(function(k[1, 1]), value[1, 1])
    assert torch.equal(function(k.T), value.T)
    assert function(torch.zeros(0, 3)).shape == (0, 3)
    assert function(k.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(function(torch.tensor([2])), value[0, 1:])


def test_first_use_of_an_order_may_be_inside_a_transform():
    k = torch.tensor([0.5, 2.0], dtype=torch.float64)
    with torch.inference_mode():
        inside = log_iv(41.25, k)
    inside_vmap = torch.func.vmap(torch.func.grad(lambda k: log_iv(42.25, k)))(k)
    value, first, _ = derivatives(lambda k: log_iv(41.25, k), k)
    assert torch.equal(inside, value)
    assert not torch.equal(first, inside_vmap)
    assert torch.equal(derivatives(lambda k: log_iv(42.25, k), k)[1], inside_vmap)


@pytest.mark.parametrize("function", [log_iv, log_ive, bessel_ratio])
@pytest.mark.parametrize("order", [-0.5, math.nan, math.inf])
def test_impossible_orders_are_refused(function, order):
    with pytest.raises(ValueError, match=r"order must be a finite number >= 0, got "):
        function(order, torch.ones(2))


@pytest.mark.parametrize(("dim", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_log_sphere_area(dim, area):
    assert bessel.log_sphere_area(dim) == pytest.approx(math.log(area), rel=1e-15)
