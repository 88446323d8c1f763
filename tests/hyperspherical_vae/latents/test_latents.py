"""Latent spaces: shapes, KL against sampling, copies against separate latents, order of products."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, kl_divergence

from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical, ProductDistribution, VonMisesFisher
from hyperspherical_vae.latents import (
    CodebookLatent,
    GumbelLatent,
    Latent,
    NormalLatent,
    PowerSphericalLatent,
    ProductLatent,
    SphericalCauchyLatent,
    SphericalLatent,
)

FEATURES = 7

MAKERS: dict[str, Callable[..., Latent]] = {
    "normal single": lambda **k: NormalLatent(FEATURES, 3, "single", **k),
    "normal diagonal": lambda **k: NormalLatent(FEATURES, 3, "diagonal", **k),
    "normal full": lambda **k: NormalLatent(FEATURES, 3, "full", **k),
    "vmf": lambda **k: SphericalLatent(FEATURES, 3, **k),
    "vmf on a circle": lambda **k: SphericalLatent(FEATURES, 1, **k),
    "vmf fixed": lambda **k: SphericalLatent(FEATURES, 3, kappa=20.0, **k),
    "vmf wide": lambda **k: SphericalLatent(FEATURES, 3, radius=2.0, **k),
    "power spherical": lambda **k: PowerSphericalLatent(FEATURES, 3, **k),
    "spherical Cauchy": lambda **k: SphericalCauchyLatent(FEATURES, 3, **k),
}
ALL = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(autouse=True)
def _seeded_doubles() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def mixed(kinds: str = "s4,e2,s4,p2,f2") -> ProductLatent:
    """A product written as s (von Mises-Fisher), p (Power Spherical), e and f (normal, diagonal and full)."""

    def build(factor: str, count: int) -> Latent:
        dim = int(factor[1:])
        if factor[0] in "ef":
            return NormalLatent(FEATURES, dim, "full" if factor[0] == "f" else "diagonal", count)
        return {"s": SphericalLatent, "p": PowerSphericalLatent}[factor[0]](FEATURES, dim, count=count)

    return ProductLatent(kinds.split(","), build)


@ALL
@pytest.mark.parametrize("count", [None, 1, 4])
def test_shapes(name: str, count: int | None) -> None:
    latent = MAKERS[name](count=count)
    copies = () if count is None else (count,)
    q, p = latent.posterior(torch.randn(5, FEATURES)), latent.prior()
    z = q.rsample((2,))
    assert q.batch_shape == (5, *copies)
    assert p.batch_shape == copies
    assert q.event_shape == p.event_shape == (latent.event_dim,)
    assert z.shape == (2, 5, *copies, latent.event_dim)
    assert q.log_prob(z).shape == p.log_prob(z).shape == (2, 5, *copies)
    assert latent.kl(q, z[0]).shape == (5, count or 1)
    assert all(values.shape == (5, count or 1) for values in latent.statistics(q).values())
    assert latent.has_density


def _check_kl_by_sampling(latent: Latent, q: Any, expected: Tensor) -> None:
    """The mean of log q - log p over 2e5 draws within 5 standard errors of the sum over factors (failure rate 6e-7)."""
    z = q.rsample((200_000,))
    gap = q.log_prob(z) - latent.prior().log_prob(z)
    error = 5 * gap.std(0) / math.sqrt(len(z)) + 1e-9
    assert ((gap.mean(0) - expected).abs() < error).all()


@ALL
def test_kl_is_what_sampling_gives(name: str) -> None:
    latent = MAKERS[name](count=2)
    q = latent.posterior(3 * torch.randn(2, FEATURES))
    _check_kl_by_sampling(latent, q, latent.kl(q, q.rsample()))


def test_kl_of_a_product_is_what_sampling_gives() -> None:
    latent = mixed()
    q = latent.posterior(3 * torch.randn(2, FEATURES))
    kl = latent.kl(q, q.rsample())
    assert kl.shape == (2, 5)
    _check_kl_by_sampling(latent, q, kl.sum(-1))


@ALL
def test_copies_are_separate_latents_side_by_side(name: str) -> None:
    together, alone = MAKERS[name](count=3), [MAKERS[name]() for _ in range(3)]
    features = torch.randn(5, FEATURES)
    for latent, weight, bias in zip(alone, together.head.weight.chunk(3), together.head.bias.chunk(3), strict=True):
        latent.head.load_state_dict({"weight": weight, "bias": bias})
    q = together.posterior(features)
    z = q.rsample()
    kl = together.kl(q, z)
    for i, latent in enumerate(alone):
        one = latent.posterior(features)
        torch.testing.assert_close(q.log_prob(z)[:, i], one.log_prob(z[:, i]))
        torch.testing.assert_close(kl[:, i : i + 1], latent.kl(one, z[:, i]))


def _gradients(latent: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*latent.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("name", [*MAKERS, "product"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    latent = mixed() if name == "product" else MAKERS[name](count=2)
    q = latent.posterior(torch.randn(6, FEATURES))
    z = q.rsample()
    from_sample = _gradients(latent, z.flatten(1) @ torch.randn(z[0].numel()) @ torch.randn(6))
    q = latent.posterior(torch.randn(6, FEATURES))
    both = _gradients(latent, latent.kl(q, z).sum() + (q.rsample() ** 3).sum())
    for slopes in chain(from_sample.values(), both.values()):
        assert slopes.isfinite().all()
        assert (slopes.reshape(len(slopes), -1).abs().sum(-1) > 0).all()


def test_full_covariance_correlates_either_way() -> None:
    latent = NormalLatent(FEATURES, 3, "full")
    q = latent.posterior(torch.randn(200, FEATURES))
    assert isinstance(q, MultivariateNormal)
    covariance = q.covariance_matrix
    rows, columns = torch.tril_indices(3, 3, -1)
    entries = covariance[:, rows, columns]
    assert (entries.amin(0) < 0).all()
    assert (entries.amax(0) > 0).all()
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_single_covariance_is_one_variance() -> None:
    q = NormalLatent(FEATURES, 3, "single").posterior(torch.randn(4, FEATURES))
    assert isinstance(q, Independent)
    torch.testing.assert_close(q.variance, q.variance[:, :1].expand(4, 3))
    assert q.variance[:, 0].unique().numel() == 4


@pytest.mark.parametrize("covariance", ["single", "diagonal"])
@pytest.mark.parametrize("count", [None, 2])
def test_the_kl_of_normal_posteriors_and_its_gradient(covariance, count):
    """Against the general formula of PyTorch, and finite differences."""
    torch.manual_seed(0)
    latent = NormalLatent(FEATURES, 3, covariance, count).double()
    features = torch.randn(4, FEATURES, dtype=torch.float64, requires_grad=True)
    q = latent.posterior(features)
    general = kl_divergence(q, latent.prior())
    assert torch.allclose(latent.kl(q, q.mean), general if count else general.unsqueeze(-1), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda x: latent.kl(latent.posterior(x), q.mean), (features,))
    assert torch.autograd.gradgradcheck(lambda x: latent.kl(latent.posterior(x), q.mean), (features,))


def test_normal_covariances_agree_where_they_can() -> None:
    # A full posterior without correlations is the diagonal one: the same density and KL.
    diagonal, full = (NormalLatent(FEATURES, 3, covariance) for covariance in ("diagonal", "full"))
    with torch.no_grad():
        full.head.weight[:6], full.head.bias[:6] = diagonal.head.weight, diagonal.head.bias
        full.head.weight[6:], full.head.bias[6:] = 0, 0
    features = torch.randn(5, FEATURES)
    one, other = diagonal.posterior(features), full.posterior(features)
    z = one.sample()
    torch.testing.assert_close(one.log_prob(z), other.log_prob(z))
    torch.testing.assert_close(diagonal.kl(one, z), full.kl(other, z))
    torch.testing.assert_close(diagonal.prior().log_prob(z), full.prior().log_prob(z))


def test_spherical_posterior_and_prior() -> None:
    features = torch.randn(5, FEATURES)
    for latent_class, kind in ((SphericalLatent, VonMisesFisher), (PowerSphericalLatent, PowerSpherical)):
        latent = latent_class(FEATURES, 10, radius=3.0)
        q, p = latent.posterior(features), latent.prior()
        assert type(q) is kind
        assert isinstance(p, HypersphericalUniform)
        assert q.radius == p.radius == 3.0
        assert latent.event_dim == 11
        torch.testing.assert_close(q.sample().norm(dim=-1), torch.full((5,), 3.0))
        assert (q.concentration >= 1).all()
        torch.testing.assert_close(latent.statistics(q)["kappa"], q.concentration.unsqueeze(-1))


@pytest.mark.parametrize("dim", [1, 2, 10, 40])
@pytest.mark.parametrize("count", [None, 3])
def test_concentration_starts_at_the_ambient_dimension(dim: int, count: int | None) -> None:
    q = SphericalLatent(FEATURES, dim, count=count).posterior(torch.zeros(1, FEATURES))
    assert isinstance(q, VonMisesFisher)
    torch.testing.assert_close(q.concentration, torch.full_like(q.concentration, dim + 1))


def test_fixed_concentration_has_a_constant_kl() -> None:
    latent = SphericalLatent(FEATURES, 4, kappa=12.5)
    q = latent.posterior(torch.randn(5, FEATURES))
    assert isinstance(q, VonMisesFisher)
    assert q.concentration.tolist() == [12.5] * 5
    kl = latent.kl(q, q.rsample())
    assert kl.unique().numel() == 1
    assert latent.kl_is_constant
    assert not SphericalLatent(FEATURES, 4).kl_is_constant
    assert latent.head.out_features == 5


@pytest.mark.parametrize(("start", "kappa"), [("dim", 5.0), (1.69, 1.69), (1.0001, 1.0001), (50, 50.0), (2e5, 2e5)])
@pytest.mark.parametrize("count", [None, 3])
def test_learned_concentration_starts_where_it_is_told_to(start, kappa, count):
    latent = SphericalLatent(FEATURES, 4, start=start, count=count)
    found = latent.statistics(latent.posterior(torch.zeros(2, FEATURES)))["kappa"]
    assert torch.allclose(found, torch.full_like(found, kappa), rtol=1e-5)


def test_mixed_products_keep_their_order() -> None:
    kinds = "s4,e2,s2,s4,e2,p4"
    latent = mixed(kinds)
    features = torch.randn(3, FEATURES)
    q = latent.posterior(features)
    assert isinstance(q, ProductDistribution)
    assert q.factor_dims == (5, 2, 3, 5, 2, 5)
    assert latent.event_dim == 22
    z = q.rsample()
    parts = q.split(z)
    for kind, part in zip(kinds.split(","), parts, strict=True):
        on_sphere = (part.norm(dim=-1) - 1).abs().max() < 1e-12
        assert on_sphere == (kind[0] != "e")
    # Each factor's KL and density from its own part of its own group's parameters.
    columns = latent.kl(q, z)
    total = torch.zeros(3)
    for member, where in zip(latent.members, latent.positions, strict=True):
        group = member.posterior(features)
        places = torch.stack([parts[i] for i in where], -2)
        torch.testing.assert_close(columns[:, list(where)], member.kl(group, places))
        total += group.log_prob(places).sum(-1)
    torch.testing.assert_close(q.log_prob(z), total)
    torch.testing.assert_close(columns.sum(-1), torch.distributions.kl_divergence(q, latent.prior()))


def test_equal_factors_share_one_matrix_product() -> None:
    latent = mixed("s3,s3,e2,s3")
    assert [module.out_features for module in latent.modules() if isinstance(module, nn.Linear)] == [15, 4]
    assert latent.positions == ((0, 1, 3), (2,))


def test_products_move_and_save_like_any_module() -> None:
    latent, other = mixed(), mixed()
    other.load_state_dict(latent.state_dict())
    features = torch.randn(2, FEATURES)
    torch.testing.assert_close(latent.posterior(features).mean, other.posterior(features).mean)
    single = latent.float()
    z = single.posterior(features.float()).rsample()
    assert (
        z.dtype
        == single.prior().sample().dtype
        == single.kl(single.posterior(features.float()), z).dtype
        == torch.float32
    )


def test_what_is_not_allowed_is_refused_in_one_line() -> None:
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: NormalLatent(FEATURES, 3, "round"), "covariance is 'round'; allowed: single, diagonal, full"),
        (lambda: ProductLatent([], lambda factor, count: NormalLatent(FEATURES, 2)), "at least one factor"),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()


def test_statistics_of_products_are_in_the_order_of_the_factors() -> None:
    latent = mixed("s2,s4,s2")
    q = latent.posterior(torch.randn(3, FEATURES))
    assert isinstance(q, ProductDistribution)
    kappa = torch.empty(3, 3)
    for group, where in q.groups:
        assert isinstance(group, VonMisesFisher)
        kappa[:, list(where)] = group.concentration
    torch.testing.assert_close(latent.statistics(q)["kappa"], kappa)


OTHERS: dict[str, Callable[..., Latent]] = {
    "product": mixed,
    "gumbel": lambda: GumbelLatent(FEATURES, 4, 5),
    "gumbel straight through": lambda: GumbelLatent(FEATURES, 4, 5, straight_through=True),
    "codebook": lambda: CodebookLatent(FEATURES, 4, 8, 3),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*MAKERS, *OTHERS])
def test_training_under_autocast_keeps_the_posterior_in_single_precision(name: str, dtype: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)
    latent = {**MAKERS, **OTHERS}[name]().train()
    features = torch.randn(6, FEATURES)
    for _ in range(2):
        with torch.autocast("cpu", dtype=dtype):
            q = latent.posterior(features.to(dtype))
            z = q.rsample()
            kl = latent.kl(q, z)
            loss = kl.sum() + z.sum() + sum(x.sum() for x in latent.extra_loss(q).values())
        assert z.dtype == kl.dtype == torch.float32
        assert kl.isfinite().all()
        loss.backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in latent.parameters())


@ALL
def test_second_derivatives_of_the_divergence(name: str) -> None:
    latent = MAKERS[name]()

    def divergence(features: Tensor) -> Tensor:
        q = latent.posterior(features)
        return latent.kl(q, q.rsample())

    features = torch.randn(2, FEATURES, requires_grad=True)
    assert torch.autograd.gradcheck(divergence, features)
    if not latent.kl_is_constant:
        assert torch.autograd.gradgradcheck(divergence, features)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_temperature_scales_the_deviation_of_normal_distributions(covariance: str) -> None:
    latent = NormalLatent(FEATURES, 3, covariance)
    for q in (latent.posterior(torch.randn(5, FEATURES)), latent.prior()):
        warm = latent.with_temperature(q, 0.5)
        torch.testing.assert_close(warm.mean, q.mean)
        torch.testing.assert_close(warm.variance, q.variance / 4)


def test_temperature_and_concentration_change_their_own_factors_of_a_product() -> None:
    latent = mixed("s2,e3")
    features = torch.randn(5, FEATURES)
    q = latent.posterior(features)
    warm, wide = latent.with_temperature(q, 3.0), latent.with_concentration(q, 7.0)
    torch.testing.assert_close(warm.variance[:, 3:], 9 * q.variance[:, 3:])
    torch.testing.assert_close(warm.mean[:, :3], q.mean[:, :3])
    assert (latent.statistics(wide)["kappa"] == 7).all()
    torch.testing.assert_close(wide.variance[:, 3:], q.variance[:, 3:])
    sphere = SphericalLatent(FEATURES, 2)
    on_sphere = sphere.posterior(features)
    assert sphere.with_temperature(on_sphere, 3.0) is on_sphere
