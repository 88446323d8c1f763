"""What every family does with every method: derivatives, dtypes, vmap, the compiler, pickle.

`REFUSED` names what cannot be done; it is what the table of the library's README says.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional as F

from hyperspherical_vae import (
    HypersphericalUniform,
    OneHotCodes,
    PowerSpherical,
    ProductDistribution,
    RelaxedCodes,
    SphericalCauchy,
    VonMisesFisher,
)

DIM = 4


def direction(raw: Tensor) -> Tensor:
    return F.normalize(raw, dim=-1)


def product(raw: Tensor, kappa: Tensor, **checks: Any) -> ProductDistribution:
    return ProductDistribution(
        [
            VonMisesFisher(direction(raw), kappa, **checks),
            Independent(Normal(raw[..., :2], torch.ones_like(raw[..., :2]), **checks), 1, **checks),
            PowerSpherical(direction(raw), kappa, **checks),
            VonMisesFisher(direction(raw), 2 * kappa, **checks),
        ]
    )


# From unconstrained vectors (..., 4) and positive numbers (...).
FAMILIES: dict[str, Callable[..., Distribution]] = {
    "von Mises-Fisher": lambda raw, kappa, **checks: VonMisesFisher(direction(raw), kappa, 2.0, **checks),
    "Power Spherical": lambda raw, kappa, **checks: PowerSpherical(direction(raw), kappa, 2.0, **checks),
    "spherical Cauchy": lambda raw, kappa, **checks: SphericalCauchy(direction(raw), kappa / (9 + kappa), **checks),
    "by concentration": lambda raw, kappa, **checks: SphericalCauchy.from_concentration(
        direction(raw), kappa, 2.0, **checks
    ),
    "product": product,
    "one-hot": lambda raw, kappa, **checks: OneHotCodes(raw.unflatten(-1, (2, 2)) * kappa[..., None, None], **checks),
    "relaxed": lambda raw, kappa, **checks: RelaxedCodes(raw.unflatten(-1, (2, 2)), kappa[..., None, None], **checks),
}


def reference(family: str, dtype: torch.dtype = torch.float64) -> Distribution:
    """What the family has a KL divergence to."""
    if family == "product":
        sphere = HypersphericalUniform(DIM - 1, dtype=dtype)
        normal = Independent(Normal(torch.zeros(2, dtype=dtype), torch.ones(2, dtype=dtype)), 1)
        return ProductDistribution([sphere, normal, sphere, sphere])
    if family in ("one-hot", "relaxed"):
        return OneHotCodes(torch.zeros(2, 2, dtype=dtype), validate_args=False)  # the compiler cannot follow checks
    return HypersphericalUniform(DIM - 1, 1.0 if family == "spherical Cauchy" else 2.0, dtype=dtype)


def point(family: str) -> Tensor:
    """A value in the support, not at the mode."""
    sphere = torch.tensor([0.1, -0.5, 0.7, 0.5], dtype=torch.float64)
    if family in ("one-hot", "relaxed"):
        return torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    if family == "product":
        return torch.cat([sphere, sphere[:2], sphere, sphere])
    return sphere * (1 if family == "spherical Cauchy" else 2)


METHODS: dict[str, Callable[[str, Any], Tensor]] = {
    "log_prob": lambda family, q: q.log_prob(point(family).to(q.mean.dtype)),
    "entropy": lambda family, q: q.entropy(),
    "KL": lambda family, q: kl_divergence(q, reference(family, q.mean.dtype)),
    "mean": lambda family, q: q.mean,
    "variance": lambda family, q: q.variance,
    "covariance": lambda family, q: q.covariance_matrix,
    "rsample": lambda family, q: q.rsample(),
}

# Methods that a family does not have, and those whose second derivatives are an error.
MISSING = {("relaxed", "log_prob"), ("one-hot", "rsample")}
REFUSED = {
    ("von Mises-Fisher", "rsample"),
    ("Power Spherical", "rsample"),
    ("product", "rsample"),
    ("spherical Cauchy", "variance"),
    ("spherical Cauchy", "covariance"),
    ("by concentration", "variance"),
    ("by concentration", "covariance"),
}
# As the samples of torch's own Normal, which draws in place.
NOT_UNDER_VMAP = {("product", "rsample")}
PAIRS = [(family, method) for family in FAMILIES for method in METHODS if (family, method) not in MISSING]
EVERY = pytest.mark.parametrize(("family", "method"), PAIRS)
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES)


def parameters(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    raw = torch.tensor([[0.3, -1.0, 0.5, 2.0], [1.5, 0.2, -0.7, 0.1]], dtype=dtype)
    return raw, torch.tensor([1.5, 12.0], dtype=dtype)


def compute(family: str, method: str, *arguments: Tensor, **checks: Any) -> Tensor:
    torch.manual_seed(0)
    return METHODS[method](family, FAMILIES[family](*arguments, **checks))


@EVERY
def test_first_and_second_derivatives_are_right_or_refused(family: str, method: str) -> None:
    arguments = [x.requires_grad_() for x in parameters()]

    def function(*inputs: Tensor) -> Tensor:
        return compute(family, method, *inputs)

    if method == "rsample" and (family, method) in REFUSED:  # by implicit reparameterization; see their own tests
        (first,) = torch.autograd.grad(function(*arguments).sum(), arguments[1], create_graph=True)
        with pytest.raises(NotImplementedError, match="samples on a sphere can be differentiated once, not twice"):
            torch.autograd.grad(first.sum(), arguments)
        return
    assert gradcheck(function, arguments, check_forward_ad=True, fast_mode=True)
    if (family, method) in REFUSED:
        slopes = torch.autograd.grad(function(*arguments).square().sum(), arguments, create_graph=True)
        with pytest.raises(NotImplementedError, match="cannot be differentiated as often"):
            torch.autograd.grad(sum((x.square().sum() for x in slopes), torch.tensor(0.0)), arguments)
        return
    assert gradgradcheck(function, arguments, check_fwd_over_rev=True, fast_mode=True)
    if method == "rsample":
        return
    hessian = torch.func.hessian(lambda raw: function(raw, arguments[1]).sum())(arguments[0].detach())
    expected = torch.autograd.functional.hessian(lambda raw: function(raw, arguments[1]).sum(), arguments[0])
    torch.testing.assert_close(hessian, expected)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_dtypes(family: str, method: str, dtype: torch.dtype) -> None:
    raw, kappa = parameters()
    if dtype == torch.int64:  # of the concentration alone
        inputs = raw.float(), kappa.to(dtype)
        result = torch.float32
    else:
        inputs = raw.to(dtype), kappa.to(dtype)
        result = dtype
    if family in ("relaxed", "one-hot") and dtype == torch.int64:
        inputs = (inputs[0], inputs[1].float())
    found = compute(family, method, *inputs)
    assert found.dtype == result
    assert found.isfinite().all()
    if method != "rsample":
        exact = compute(family, method, *(x.double() for x in inputs))
        eps = torch.finfo(result).eps
        torch.testing.assert_close(found.double(), exact, rtol=20 * eps, atol=60 * eps)


@pytest.mark.parametrize("family", ["von Mises-Fisher", "Power Spherical", "spherical Cauchy", "by concentration"])
@pytest.mark.parametrize(
    ("coarse", "wide"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float16), (torch.float32, torch.float64)],
)
def test_a_direction_of_less_precision_than_the_concentration(
    family: str, coarse: torch.dtype, wide: torch.dtype
) -> None:
    """Its norm is off by its own rounding, which is no error, and does not leave the sphere of the samples."""
    raw, kappa = parameters()
    q: Any = FAMILIES[family](raw.to(coarse), kappa.to(wide))
    z = q.sample((50,))
    assert z.dtype == q.loc.dtype == torch.promote_types(coarse, wide)
    assert (q.loc.norm(dim=-1) - 1).abs().max() < 4 * torch.finfo(z.dtype).eps
    assert q.log_prob(z).isfinite().all()
    with pytest.raises(ValueError, match="loc has to be unit vectors"):
        VonMisesFisher(raw.to(coarse), kappa.to(wide))


def test_samples_of_codes_differ_under_vmap() -> None:
    draw = torch.func.vmap(lambda logits: OneHotCodes(logits).sample((7,)), randomness="different")
    one, other = draw(torch.zeros(2, 20, 4))
    assert one.shape == (7, 80)
    assert not torch.equal(one, other)


@EVERY
def test_vmap_with_default_arguments(family: str, method: str) -> None:
    raw, kappa = parameters()
    mapped = torch.func.vmap(lambda *x: METHODS[method](family, FAMILIES[family](*x)), randomness="different")
    if (family, method) in NOT_UNDER_VMAP:
        with pytest.raises(RuntimeError, match="inplace randomness"):
            mapped(raw, kappa)
        return
    found = mapped(raw, kappa)
    assert found.shape == compute(family, method, raw, kappa).shape
    if method != "rsample":
        torch.testing.assert_close(found, compute(family, method, raw, kappa))


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("product", "one-hot")])
def test_one_graph_under_the_compiler(family: str) -> None:
    methods = [name for name in ("rsample", "log_prob", "KL", "variance") if (family, name) not in MISSING]

    def everything(raw: Tensor, kappa: Tensor) -> list[Tensor]:
        q = FAMILIES[family](raw, kappa, validate_args=False)
        return [METHODS[method](family, q) for method in methods]

    eager, traced = ([x.requires_grad_() for x in parameters()] for _ in range(2))
    expected = everything(*eager)
    found = torch.compile(everything, backend="aot_eager", fullgraph=True)(*traced)
    assert found[0].shape == expected[0].shape
    assert torch.autograd.grad(found[0].sum(), traced[0], retain_graph=True)[0].isfinite().all()
    torch.testing.assert_close(found[1:], expected[1:])
    slopes = [
        torch.autograd.grad(sum((x.sum() for x in results[1:]), torch.tensor(0.0)), inputs[0])
        for results, inputs in ((found, traced), (expected, eager))
    ]
    torch.testing.assert_close(*slopes)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["von Mises-Fisher", "Power Spherical", "by concentration"])
def test_export_with_a_dynamic_batch(family: str) -> None:
    class Everything(torch.nn.Module):
        def forward(self, raw: Tensor, kappa: Tensor) -> list[Tensor]:
            q = FAMILIES[family](raw, kappa, validate_args=False)
            return [method(family, q) for method in METHODS.values()]

    batch = torch.export.Dim("batch", min=2, max=10_000)
    try:
        exported = torch.export.export(
            Everything(), parameters(), dynamic_shapes=({0: batch}, {0: batch}), strict=False
        ).module()
    except RuntimeError as error:
        if "_standard_gamma" in str(error):
            pytest.skip(f"PyTorch {torch.__version__} cannot export Gamma, its own, from which samples are made")
        raise
    inputs = [torch.cat([x, x.flip(0), x]) for x in parameters()]
    for name, found, expected in zip(METHODS, exported(*inputs), Everything()(*inputs), strict=True):
        assert found.shape == expected.shape
        if name != "rsample":
            torch.testing.assert_close(found, expected)


@EVERY_FAMILY
def test_pickle_repr_expand_and_support(family: str) -> None:
    q: Any = FAMILIES[family](*parameters())
    back = pickle.loads(pickle.dumps(q))
    assert repr(back) == repr(q)
    torch.testing.assert_close(back.mean, q.mean)
    assert type(q).support.event_dim == q.support.event_dim == 1
    z = q.sample((3,))
    assert q.support.check(z).shape == (3, 2)
    assert q.support.check(z).all()
    wide = q.expand((5, 2))
    assert type(wide) is type(q)
    assert wide.sample().shape == (5, *q.mean.shape)
    torch.testing.assert_close(wide.variance, q.variance.expand(5, -1, -1))
    torch.testing.assert_close(torch.diagonal(q.covariance_matrix, dim1=-2, dim2=-1), q.variance)
