"""Products of distributions: sums over factors, order of coordinates, one call for each group."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import (
    Distribution,
    Gamma,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import ExpTransform
from torch.nn import functional as F

from hyperspherical_vae.distributions import (
    HypersphericalUniform,
    PowerSpherical,
    ProductDistribution,
    VonMisesFisher,
)

KINDS = ["vmf2", "vmf4", "power2", "power4", "uniform2", "normal2", "normal3", "full2"]


def make(kind: str, batch: tuple[int, ...] = (3,), seed: int = 0) -> Distribution:
    """A distribution of a kind and (intrinsic) dimension with random parameters."""
    generator = torch.Generator().manual_seed(seed)
    name, dim = kind[:-1], int(kind[-1])

    def noise(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, dtype=torch.float64, generator=generator)

    if name == "normal":
        return Independent(Normal(noise(dim), noise(dim).exp()), 1)
    if name == "full":
        return MultivariateNormal(noise(dim), scale_tril=noise(dim, dim).tril(-1) + torch.eye(dim))
    if name == "uniform":
        return HypersphericalUniform(dim, batch_shape=batch, dtype=torch.float64)
    family = {"vmf": VonMisesFisher, "power": PowerSpherical}[name]
    return family(F.normalize(noise(dim + 1), dim=-1), noise().exp() * 5)


def prior_of(kind: str) -> Distribution:
    """Something that every distribution of the kind has a KL divergence to."""
    name, dim = kind[:-1], int(kind[-1])
    return make(kind, (), seed=99) if name in ("normal", "full") else HypersphericalUniform(dim, dtype=torch.float64)


def make_all(kinds: list[str]) -> list[Distribution]:
    return [make(kind, seed=seed) for seed, kind in enumerate(kinds)]


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=7))
def test_everything_is_that_of_the_factors_in_order(kinds: list[str]) -> None:
    factors = make_all(kinds)
    product = ProductDistribution(factors)
    value = torch.cat([factor.sample() for factor in factors], -1)
    parts = product.split(value)
    assert product.factor_dims == tuple(factor.event_shape[0] for factor in factors)
    assert product.event_shape == (sum(product.factor_dims),)
    assert product.batch_shape == (3,)
    assert len(product.groups) == len(set(kinds))
    expected = sum(factor.log_prob(part) for factor, part in zip(factors, parts, strict=True))
    torch.testing.assert_close(product.log_prob(value), expected)
    torch.testing.assert_close(product.entropy(), sum(factor.entropy() for factor in factors))
    for name in ("mean", "variance"):
        torch.testing.assert_close(getattr(product, name), torch.cat([getattr(x, name) for x in factors], -1))
    priors = [prior_of(kind) for kind in kinds]
    torch.testing.assert_close(
        kl_divergence(product, ProductDistribution(priors)),
        sum(kl_divergence(one, other) for one, other in zip(factors, priors, strict=True)),
    )


@settings(max_examples=30, deadline=None)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=7), sample=st.lists(st.integers(1, 3), max_size=2))
def test_shapes_splitting_and_expanding(kinds: list[str], sample: list[int]) -> None:
    product = ProductDistribution(make_all(kinds))
    z = product.rsample(torch.Size(sample))
    assert z.shape == (*sample, 3, sum(product.factor_dims))
    assert product.log_prob(z).shape == (*sample, 3)
    assert product.support.check(z).shape == (*sample, 3)
    parts = product.split(z)
    for (group, positions), block in zip(product.groups, product.split_groups(z), strict=True):
        assert block.shape == (*sample, 3, len(positions), group.event_shape[0])
        for place, position in enumerate(positions):
            assert torch.equal(block[..., place, :], parts[position])
    wide = product.expand((5, 3))
    assert wide.rsample().shape == (5, 3, sum(product.factor_dims))
    torch.testing.assert_close(wide.entropy(), product.entropy().expand(5, 3))


def test_samples_keep_the_order_of_a_mixed_list() -> None:
    # Concentrated so that each sample shows its own factor's location.
    s4, r2, other = torch.eye(5)[1], torch.tensor([7.0, -7.0]), torch.eye(5)[3]
    product = ProductDistribution(
        [VonMisesFisher(s4, 1e6), Independent(Normal(r2, torch.full((2,), 1e-3)), 1), VonMisesFisher(other, 1e6)]
    )
    torch.manual_seed(0)
    torch.testing.assert_close(product.rsample((4,)), torch.cat([s4, r2, other]).expand(4, -1), atol=0.02, rtol=0)
    torch.testing.assert_close(product.mode, torch.cat([s4, r2, other]))
    assert [positions for _, positions in product.groups] == [(0, 2), (1,)]


class _Counted(VonMisesFisher):
    """A von Mises-Fisher distribution that counts the calls for each quantity."""

    calls: ClassVar[Counter[str]] = Counter()

    def rsample(self, *args: Any) -> Tensor:
        self.calls["rsample"] += 1
        return super().rsample(*args)

    def log_prob(self, value: Tensor) -> Tensor:
        self.calls["log_prob"] += 1
        return super().log_prob(value)

    def entropy(self) -> Tensor:
        self.calls["entropy"] += 1
        return super().entropy()


def test_one_call_for_each_group() -> None:
    loc, kappa = torch.eye(4)[:3], torch.ones(3)
    product = ProductDistribution(
        [_Counted(loc, kappa), prior_of("normal2"), _Counted(loc, 2 * kappa), _Counted(loc, kappa, radius=2.0)]
    )
    _Counted.calls.clear()
    product.log_prob(product.rsample((2,)))
    product.entropy()
    # Two groups, as the radii differ.
    assert _Counted.calls == {"rsample": 2, "log_prob": 2, "entropy": 2}


def test_groups_given_as_such_equal_a_list_of_factors() -> None:
    one, two, three = make("vmf4", seed=1), make("vmf4", seed=2), make("normal2", seed=3)
    listed = ProductDistribution([one, three, two])
    (spheres, _), (plane, _) = listed.groups
    grouped = ProductDistribution.from_groups([(plane, (1,)), (spheres, (0, 2))])
    z = listed.rsample((6,))
    torch.testing.assert_close(grouped.log_prob(z), listed.log_prob(z))
    torch.testing.assert_close(grouped.mean, listed.mean)
    assert grouped.factor_dims == listed.factor_dims == (5, 2, 5)
    backwards = ProductDistribution.from_groups([(plane, (1,)), (spheres, (2, 0))])
    torch.testing.assert_close(backwards.log_prob(torch.cat(listed.split(z)[::-1], -1)), listed.log_prob(z))


def test_kl_does_not_depend_on_how_factors_are_grouped() -> None:
    # Three kinds of posterior on the same sphere against one kind of prior, out of order.
    posteriors = [make("vmf2", seed=1), make("power2", seed=2), make("normal3", seed=3), make("vmf2", seed=4)]
    priors = [prior_of("vmf2"), prior_of("vmf2"), prior_of("normal3"), prior_of("vmf2")]
    q, p = ProductDistribution(posteriors), ProductDistribution(priors)
    assert len(q.groups) == 3
    assert len(p.groups) == 2
    expected = sum(kl_divergence(one, other) for one, other in zip(posteriors, priors, strict=True))
    torch.testing.assert_close(kl_divergence(q, p), expected)
    mixed = ProductDistribution([make("full2", seed=5), make("full2", seed=6)])
    fixed = ProductDistribution([make("full2", seed=7), Independent(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 1)])
    with pytest.raises(NotImplementedError, match="No KL"):
        kl_divergence(mixed, fixed)


def test_kl_between_different_structures_is_an_error() -> None:
    one = ProductDistribution([prior_of("uniform2"), prior_of("uniform4")])
    other = ProductDistribution([prior_of("uniform4"), prior_of("uniform2")])
    with pytest.raises(ValueError, match=r"have dimensions \(3, 5\) and \(5, 3\); they have to be equal"):
        kl_divergence(one, other)
    wide = ProductDistribution([HypersphericalUniform(2, 2.0), HypersphericalUniform(4)])
    with pytest.raises(ValueError, match="the radii 1 and 2 differ"):
        kl_divergence(one, wide)


def test_gradients_reach_every_factor() -> None:
    raw = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kappa = torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64, requires_grad=True)
    scale = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    loc = F.normalize(raw, dim=-1)
    product = ProductDistribution(
        [VonMisesFisher(loc, kappa), Independent(Normal(torch.zeros(3, 2), scale), 1), PowerSpherical(loc, kappa)]
    )
    torch.manual_seed(0)
    z = product.rsample()
    slopes = torch.autograd.grad((z * torch.arange(10)).sum() + product.entropy().sum(), (raw, kappa, scale))
    assert all(slope.isfinite().all() and (slope != 0).all() for slope in slopes)


def test_other_distributions_of_torch_can_be_factors() -> None:
    factors = [Independent(Laplace(torch.zeros(2), torch.full((2,), float(i + 1))), 1) for i in range(3)] + [
        Independent(Gamma(torch.ones(1), torch.ones(1)), 1)
    ]
    product = ProductDistribution(factors)
    z = product.sample((5,))
    expected = sum(factor.log_prob(part) for factor, part in zip(factors, product.split(z), strict=True))
    torch.testing.assert_close(product.log_prob(z), expected)
    assert len(product.groups) == 2
    assert product.has_rsample


def test_values_are_checked_as_the_factors_do() -> None:
    strict, lax = (
        ProductDistribution([VonMisesFisher(torch.eye(3)[0], 1.0, validate_args=check) for _ in range(2)])
        for check in (True, False)
    )
    with pytest.raises(ValueError, match="a value has norm 0"):
        strict.log_prob(torch.zeros(6))
    assert lax.log_prob(torch.zeros(6)).shape == ()
    for product in (strict, lax):
        with pytest.raises(ValueError, match=r"shape \(5,\); its last size has to be 6"):
            product.log_prob(torch.zeros(5))
    assert strict.support.check(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    assert not strict.support.check(torch.tensor([1.0, 0, 0, 0, 2, 0]))


def test_what_cannot_be_a_product_is_refused_in_one_line() -> None:
    sphere = HypersphericalUniform(2, batch_shape=(3,))
    logs = [TransformedDistribution(Normal(torch.zeros(2), torch.ones(2)), [ExpTransform()]) for _ in range(2)]
    refused: list[tuple[Any, str]] = [
        (lambda: ProductDistribution([]), "at least one factor"),
        (lambda: ProductDistribution([sphere, Normal(0.0, 1.0)]), r"factor 1 is a Normal of event shape \(\)"),
        (lambda: ProductDistribution([sphere, sphere.expand((2,))]), r"batch shapes \(3,\), \(2,\) of the factors"),
        (lambda: ProductDistribution([Independent(x, 1) for x in logs]), "TransformedDistribution cannot be batched"),
        (lambda: ProductDistribution.from_groups([]), "at least one factor"),
        (lambda: ProductDistribution.from_groups([(sphere, (0, 1))]), r"for 2 factors has batch shape \(3,\)"),
        (lambda: ProductDistribution.from_groups([(sphere, (0, 1, 3))]), "do not name each factor exactly once"),
        (lambda: ProductDistribution.from_groups([(sphere, (0, 1, 1))]), "do not name each factor exactly once"),
        (
            lambda: ProductDistribution.from_groups([(sphere.expand((4, 3)), (0, 1, 2)), (sphere, (3, 4, 5))]),
            r"has batch shape \(3,\) and event shape \(3,\); they have to be \(4, 3\)",
        ),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert str(caught.value).startswith("ProductDistribution: ")
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_sampling_density_and_kl_are_one_graph_under_compile() -> None:
    raw = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
    value = F.normalize(torch.ones(6, 4, 3), dim=-1).flatten(1)

    def terms(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loc, kappa = F.normalize(raw[..., :3], dim=-1), F.softplus(raw[..., 3]) + 1
        spheres = VonMisesFisher(loc, kappa, validate_args=False), PowerSpherical(loc, kappa, validate_args=False)
        q = ProductDistribution.from_groups([(spheres[0], (0, 2)), (spheres[1], (1, 3))])
        prior = ProductDistribution.from_groups(
            [(HypersphericalUniform(2, batch_shape=(4,), validate_args=False), (0, 1, 2, 3))]
        )
        between = kl_divergence(spheres[0], VonMisesFisher(loc, 1.5 * kappa, validate_args=False))
        return q.rsample(), q.log_prob(value), kl_divergence(q, prior) + between.sum(-1)

    # The KL copies spheres to group them anew, which the compiler of torch 2.10 leaves to Python.
    is_whole = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)
    compiled = torch.compile(terms, backend="aot_eager", fullgraph=is_whole)
    eager, traced = (raw.clone().requires_grad_() for _ in range(2))
    expected, found = terms(eager), compiled(traced)
    assert found[0].shape == expected[0].shape
    for one, other in zip(expected[1:], found[1:], strict=True):
        torch.testing.assert_close(one, other)
    slopes = [
        torch.autograd.grad((out[1] + out[2]).sum(), x)[0]
        for out, x in ((expected, eager), (found, traced))
    ]
    torch.testing.assert_close(*slopes)
    assert torch.autograd.grad(compiled(traced)[0].sum(), traced)[0].isfinite().all()


def test_constants_made_without_gradients_serve_gradients_later() -> None:
    # The dimension is used nowhere else, so that its tables are made in inference mode.
    loc, kappa = torch.eye(1, 37), torch.ones(1, requires_grad=True)

    def everything() -> Tensor:
        q = ProductDistribution([PowerSpherical(loc, kappa), VonMisesFisher(loc, kappa)])
        uniform = ProductDistribution([HypersphericalUniform(36), HypersphericalUniform(36)])
        return q.log_prob(q.rsample()) + q.entropy() + kl_divergence(q, uniform)

    with torch.inference_mode():
        everything()
    assert torch.autograd.grad(everything().sum(), kappa)[0].isfinite()


class _Named(VonMisesFisher):
    """A factor with an argument of its own."""

    def __init__(self, loc: Tensor, concentration: float, name: str) -> None:
        super().__init__(loc, concentration)
        self.name = name


def test_factors_keep_their_own_arguments() -> None:
    axes = torch.eye(3)
    factors = [_Named(axis, k, name) for axis, k, name in zip(axes, (1.0, 2.0, 3.0), "aba", strict=True)]
    product: Any = ProductDistribution(factors)
    assert [(type(group), group.name, where) for group, where in product.groups] == [
        (_Named, "a", (0, 2)),
        (_Named, "b", (1,)),
    ]
    assert [group.name for group, _ in product.expand((4,)).groups] == ["a", "b"]


def test_validate_args_reaches_the_factors_or_leaves_them_their_own() -> None:
    axis = torch.eye(3)[0]
    lax, strict = (VonMisesFisher(axis, 1.0, validate_args=check) for check in (False, True))
    with pytest.raises(ValueError, match="a value has norm 0"):
        ProductDistribution([lax], validate_args=True).log_prob(torch.zeros(3))
    assert ProductDistribution([strict], validate_args=False).log_prob(torch.zeros(3)).isfinite()
    mixed = ProductDistribution([strict, lax])
    assert mixed.log_prob(torch.cat([axis, torch.zeros(3)])).isfinite()
    with pytest.raises(ValueError, match="a value has norm 0"):
        mixed.log_prob(torch.cat([torch.zeros(3), axis]))
    for factor, name in (
        (VonMisesFisher(2 * axis, 1.0, validate_args=False), "loc of a VonMisesFisher"),
        (Independent(Normal(torch.zeros(2), -torch.ones(2), validate_args=False), 1), "scale of a Normal"),
    ):
        with pytest.raises(ValueError, match=f"{name} is not within its constraint"):
            ProductDistribution([factor], validate_args=True)


def test_covariance_is_zero_between_factors() -> None:
    factors: list[Any] = [make(name, seed=seed) for seed, name in enumerate(("vmf2", "normal2", "full2", "vmf2"), 1)]
    product = ProductDistribution(factors)
    expected = torch.stack(
        [
            torch.block_diag(
                factors[0].covariance_matrix[i],
                torch.diag(factors[1].variance[i]),
                factors[2].covariance_matrix[i],
                factors[3].covariance_matrix[i],
            )
            for i in range(3)
        ]
    )
    torch.testing.assert_close(product.covariance_matrix, expected)
