"""The estimates of log p(x) against exact answers, and how they are put together."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from hyperspherical_vae.latents import NormalLatent, ProductLatent, SphericalLatent
from hyperspherical_vae.likelihoods import Bernoulli, Likelihood
from models import VAE
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
from utils.measure.log_px import BLOCK, LogPx, estimate_log_px, joined, log_px_blocks

SHAPE = (1, 2, 3)


class UnitGaussian(Likelihood):
    """Pixels with mean `params` and standard deviation 0.7, so that a linear decoder has a closed-form log p(x)."""

    def log_prob(self, params, x):
        return torch.distributions.Normal(params, 0.7, validate_args=False).log_prob(x).sum(-1)

    def mean(self, params):
        return params


def make(latent_of, likelihood, seed=0):
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh())
    latent = latent_of(8)
    return VAE(encoder, latent, nn.Linear(latent.event_dim, 6), likelihood, SHAPE).double()


@pytest.mark.parametrize("covariance", ["single", "diagonal", "full"])
def test_log_px_of_a_linear_gaussian_model_is_the_closed_form(covariance):
    model = make(lambda f: NormalLatent(f, 3, covariance), UnitGaussian())
    with torch.no_grad():
        # Wider than the true posterior, so that the weights are bounded and the error bars hold.
        model.latent.head.bias[3:6] += 1.5
        images = model.decode(model.latent.prior().sample((40,)))
        images = images + 0.7 * torch.randn_like(images)
    weight, bias = model.decoder.weight, model.decoder.bias
    covariance_x = weight @ weight.T + 0.49 * torch.eye(6)
    exact = torch.distributions.MultivariateNormal(bias, covariance_x).log_prob(images.flatten(1)).detach()
    found = estimate_log_px(model, images, 20_000, Conditions(3))
    # log p(x) has a relative error of 1/sqrt(ESS); 40 images, 4.5 standard errors: fails once in 4,000 seeds.
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()
    summary = found.summary()
    assert summary["log_px"] == pytest.approx(found.values.mean().item())
    assert summary["log_px_se"] == pytest.approx(found.values.std().item() / math.sqrt(40))


def circle(n):
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return torch.stack([angle.cos(), angle.sin()], -1), torch.full((n,), 1 / n, dtype=torch.float64)


def sphere(n):
    # Gauss-Legendre in height, equal steps in longitude: exact for polynomials of degree 2n - 1.
    import numpy as np

    height, weight = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(n))
    ring, _ = circle(2 * n)
    points = torch.cat([(1 - height**2).sqrt()[:, None, None] * ring, height[:, None, None].expand(n, 2 * n, 1)], -1)
    return points.flatten(0, 1), (weight / 2 / (2 * n)).repeat_interleave(2 * n)


@pytest.mark.parametrize(("dim", "rule"), [(1, circle), (2, sphere)])
@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_log_px_on_circle_and_sphere_is_the_quadrature(dim, rule, radius):
    # Not for Power Spherical posteriors: their density is 0 opposite the mean, where the prior's is not, so that the
    # weights have no variance and the estimate no error bar.
    model = make(lambda f: SphericalLatent(f, dim, radius=radius), Bernoulli())
    images = torch.bernoulli(torch.full((30, *SHAPE), 0.5, dtype=torch.float64))
    points, weights = rule(64)
    log_px_z = model.likelihood.log_prob(model.decoder(radius * points).unsqueeze(1), images.flatten(1))
    exact = (log_px_z + weights.log().unsqueeze(-1)).logsumexp(0).detach()
    found = estimate_log_px(model, images, 20_000, Conditions(5))
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()


def test_log_px_on_a_product_is_the_quadrature_over_both_factors():
    build = lambda factor, count: SphericalLatent(8, factor, count=count)  # noqa: E731
    model = make(lambda f: ProductLatent([1, 1], build), Bernoulli())
    images = torch.bernoulli(torch.full((20, *SHAPE), 0.5, dtype=torch.float64))
    points, weights = circle(48)
    grid = torch.cat([points.repeat_interleave(48, 0), points.repeat(48, 1)], -1)
    log_px_z = model.likelihood.log_prob(model.decoder(grid).unsqueeze(1), images.flatten(1))
    exact = (log_px_z.logsumexp(0) + 2 * weights[0].log()).detach()
    found = estimate_log_px(model, images, 20_000, Conditions(5))
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()


@pytest.mark.parametrize(("dim", "rule"), [(1, circle), (2, sphere)])
def test_elbo_is_the_quadrature_and_its_error_is_what_it_says(dim, rule):
    model = make(lambda f: SphericalLatent(f, dim), Bernoulli())
    images = torch.bernoulli(torch.full((30, *SHAPE), 0.5, dtype=torch.float64))
    points, weights = rule(64)
    with torch.no_grad():
        q = model.posterior(images)
        log_q = q.log_prob(points.unsqueeze(1))
        log_p = model.latent.prior().log_prob(points).unsqueeze(1)
        mass = log_q.exp() * weights.unsqueeze(-1) / log_p.exp()
        terms = model.likelihood.log_prob(model.decoder(points).unsqueeze(1), images.flatten(1)) - (log_q - log_p)
        exact = (mass * terms).sum(0)
        assert torch.allclose(mass.sum(0), torch.ones(30, dtype=torch.float64))
    found = [estimate_log_px(model, images, 50, Conditions(seed)).elbo_summary() for seed in range(100)]
    distances = torch.tensor([(each["elbo"] - exact.mean().item()) / each["elbo_mc_se"] for each in found])
    # Standard normal: its mean and its standard deviation over 100 estimates, four standard errors each.
    assert abs(distances.mean()) < 0.4
    assert abs(distances.std() - 1) < 0.3
    assert found[0]["elbo_se"] == pytest.approx(exact.std().item() / math.sqrt(30), rel=0.2)


class WithoutClosedForm(NormalLatent):
    """A latent for whose KL nobody registered a closed form."""

    def divergence(self, q):
        raise NotImplementedError


def test_elbo_without_a_closed_form_of_the_kl_is_the_mean_of_the_log_weights(monkeypatch):
    def build(factor, count):
        return WithoutClosedForm(8, 2, count=count) if factor == "e" else SphericalLatent(8, 1, count=count)

    images = torch.bernoulli(torch.full((20, *SHAPE), 0.5, dtype=torch.float64))
    for latent_of, factors in (
        (lambda f: WithoutClosedForm(f, 2), 1),
        (lambda f: ProductLatent(["e", "e"], build), 2),
        (lambda f: ProductLatent(["e", "s", "e"], build), 3),
    ):
        model = make(latent_of, Bernoulli())
        seen = []
        original = model.log_weights
        monkeypatch.setattr(model, "log_weights", lambda *a, o=original, s=seen: s.append(o(*a)) or s[-1])
        found = estimate_log_px(model, images, 100, Conditions(2))
        assert found.kl_factors.shape == (20, factors)
        elbo = found.log_px_z - found.kl_factors.sum(-1)
        if factors < 3:
            assert torch.allclose(elbo, torch.cat([part[0] for part in seen]).mean(0), rtol=1e-12)
        else:  # that of the sphere has a closed form, which the log weights estimate
            exact = SphericalLatent.divergence(model.latent.members[1], model.posterior(images).groups[1][0])
            assert torch.allclose(found.kl_factors[:, 1:2], exact, rtol=1e-12)
        assert found.elbo_summary()["elbo"] == pytest.approx(elbo.mean().item())
        assert (elbo < found.values).all()


@pytest.mark.parametrize("latent_of", [lambda f: SphericalLatent(f, 2), lambda f: NormalLatent(f, 2)])
def test_log_px_is_above_the_elbo(latent_of):
    model = make(latent_of, Bernoulli())
    images = torch.bernoulli(torch.full((500, *SHAPE), 0.5, dtype=torch.float64))
    found = estimate_log_px(model, images, 200, Conditions(1))
    summary, elbo = found.summary(), found.elbo_summary()
    assert 1 <= summary["ess"] <= 200
    assert summary["log_px"] > elbo["elbo"] - 4 * elbo["elbo_mc_se"]
    # One sample per image estimates the same, with 500 spreads of its own: five standard errors.
    terms = evaluate_elbo(model, images, Conditions(1)).summary()
    assert abs(terms["elbo"] - elbo["elbo"]) < 5 * (found.elbo_variance.sum() / 500**2).sqrt()
    assert terms["kl"] == pytest.approx(elbo["kl"], rel=1e-12)


def test_one_sample_has_no_error_over_samples():
    model = make(lambda f: NormalLatent(f, 2), UnitGaussian())
    found = estimate_log_px(model, torch.randn(5, *SHAPE, dtype=torch.float64), 1, Conditions(2)).elbo_summary()
    assert math.isnan(found["elbo_mc_se"])
    assert found["elbo"] == pytest.approx(found["log_px_z"] - found["kl"])


def test_images_count_equally_whatever_the_blocks():
    # 250 images are blocks of 100, 100 and 50; the mean of block means would weigh the last ones double.
    model = make(lambda f: NormalLatent(f, 2), Bernoulli())
    images = torch.bernoulli(torch.full((2 * BLOCK + 50, *SHAPE), 0.3, dtype=torch.float64))
    found = estimate_log_px(model, images, 3, Conditions(1))
    assert found.values.shape == (250,)
    assert found.summary()["log_px"] == pytest.approx(found.values.sum().item() / 250)


def test_interrupted_estimate_continues_with_the_same_numbers():
    model = make(lambda f: SphericalLatent(f, 2), Bernoulli())
    images = torch.bernoulli(torch.full((350, *SHAPE), 0.3, dtype=torch.float64))
    whole = joined(list(log_px_blocks(model, images, 7, Conditions(2))))
    rest = joined(list(log_px_blocks(model, images, 7, Conditions(2), start=2)))
    assert rest.keys() == {field.name for field in dataclasses.fields(LogPx)} - {"k"}
    assert all(torch.equal(whole[name][200:], rest[name]) for name in rest)


class Kept:
    """Keeps a partial estimate in memory."""

    part = None
    saves = 0

    def load(self):
        return self.part

    def save(self, part):
        self.part, self.saves = part, self.saves + 1


def test_estimate_keeps_what_it_has_and_goes_on_from_there(monkeypatch):
    model = make(lambda f: SphericalLatent(f, 2), Bernoulli())
    images = torch.bernoulli(torch.full((350, *SHAPE), 0.3, dtype=torch.float64))
    whole = estimate_log_px(model, images, 7, Conditions(2))
    kept = Kept()

    def interrupt(done, total):
        if done == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_log_px(model, images, 7, Conditions(2), interrupt, kept)
    assert len(kept.part["values"]) == 200
    blocks = []
    rest = estimate_log_px(model, images, 7, Conditions(2), lambda done, total: blocks.append(done), kept)
    assert blocks == [300, 350]
    assert all(torch.equal(value, getattr(whole, name)) for name, value in vars(rest).items() if name != "k")
    assert kept.saves == 1

    # A killed process says nothing, so a long estimate is kept on the way: here, "long" is any time at all.
    monkeypatch.setattr("utils.measure.log_px.SAVE_EVERY", 0.0)
    kept = Kept()
    estimate_log_px(model, images, 7, Conditions(2), partial=kept)
    assert kept.saves == 4
    again = estimate_log_px(model, images, 7, Conditions(2), partial=kept)
    assert torch.equal(again.values, whole.values)


def test_chunks_over_k_change_nothing_but_memory(monkeypatch):
    model = make(lambda f: NormalLatent(f, 2), UnitGaussian())
    images = torch.randn(50, *SHAPE, dtype=torch.float64)
    torch.manual_seed(0)
    seen = []
    original = model.log_weights
    monkeypatch.setattr(model, "log_weights", lambda x, q, k: seen.append(original(x, q, k)) or seen[-1])
    found = estimate_log_px(model, images, 100, Conditions(2))
    assert len(seen) > 1
    everything, log_px_z = (torch.cat(parts) for parts in list(zip(*seen, strict=True))[:2])
    assert everything.shape == (100, 50)
    assert torch.allclose(found.values, everything.logsumexp(0) - math.log(100), rtol=1e-12)
    weights = everything.softmax(0)
    assert torch.allclose(found.ess, 1 / weights.square().sum(0), rtol=1e-9)
    assert torch.allclose(found.log_px_z, log_px_z.mean(0), rtol=1e-12)
    assert torch.allclose(found.kl_factors, seen[0][2], rtol=1e-12)
    assert torch.allclose(found.elbo_variance, log_px_z.var(0), rtol=1e-9)


def test_value_that_is_not_finite_is_counted_and_not_dropped():
    model = make(lambda f: NormalLatent(f, 2), UnitGaussian())
    images = torch.randn(50, *SHAPE, dtype=torch.float64)
    images[7] = math.nan
    summary = estimate_log_px(model, images, 5, Conditions(2)).summary()
    assert summary["log_px_nonfinite"] == 1
    assert math.isnan(summary["log_px"])
