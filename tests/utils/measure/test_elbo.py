"""The ELBO over a split, and what is reported of it."""

import pytest
import torch
from torch import nn

from hyperspherical_vae.latents import GumbelLatent, NormalLatent, SphericalLatent
from hyperspherical_vae.likelihoods import Bernoulli
from models import VAE
from utils.measure.conditions import Conditions
from utils.measure.elbo import SplitTerms, active_units, evaluate_elbo

SHAPE = (1, 2, 3)


def make(latent_of):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh())
    latent = latent_of(8)
    return VAE(encoder, latent, nn.Linear(latent.event_dim, 6), Bernoulli(), SHAPE).double()


def pixels(n):
    return torch.bernoulli(torch.full((n, *SHAPE), 0.5, dtype=torch.float64))


def test_terms_add_up_and_statistics_are_reported():
    model, images = make(lambda f: SphericalLatent(f, 2)), pixels(500)
    found = evaluate_elbo(model, images, Conditions(1)).summary()
    assert found["elbo"] == pytest.approx(found["log_px_z"] - found["kl"])
    assert set(found["kappa"]) == {"mean", "std", "q05", "q50", "q95"}


@pytest.mark.parametrize(("n", "low", "middle", "high"), [(101, 5.0, 50.0, 95.0), (1, 0.0, 0.0, 0.0)])
def test_quantiles_are_elements_of_each_column(n, low, middle, high):
    zeros = torch.zeros(n, 1)
    values = torch.arange(float(n)).flip(0)[:, None] * torch.tensor([1.0, 2.0])
    found = SplitTerms(zeros[:, 0], zeros, zeros, zeros, zeros, {"kappa": values}, None, {}).summary()["kappa"]
    assert [found[name] for name in ("q05", "q50", "q95")] == [[q, 2 * q] for q in (low, middle, high)]


def test_images_are_placed_where_their_posteriors_are():
    # 1,100 images are two batches.
    model, images = make(lambda f: SphericalLatent(f, 2, radius=2.0)), pixels(1100)
    terms = evaluate_elbo(model, images, Conditions(1))
    assert torch.allclose(terms.modes, model.encode(images), rtol=1e-12)
    assert torch.allclose(terms.samples.norm(dim=-1), torch.full((1100,), 2.0, dtype=torch.float64))
    log_px_z = model.likelihood.log_prob(model.decoder(terms.samples), images.flatten(1))
    assert torch.allclose(log_px_z, terms.log_px_z, rtol=1e-12)
    assert terms.codes is None


def test_codes_are_those_of_the_posteriors():
    model, images = make(lambda f: GumbelLatent(f, 3, 4)), pixels(20)
    terms = evaluate_elbo(model, images, Conditions(1))
    model.eval()
    assert torch.equal(terms.codes, model.latent.codes(model.posterior(images)))
    assert terms.summary()["codes"] == model.latent.code_summary(terms.codes)


def test_evaluation_can_be_stopped():
    def stop():
        raise KeyboardInterrupt

    model, images = make(lambda f: NormalLatent(f, 2)), pixels(10)
    with pytest.raises(KeyboardInterrupt):
        evaluate_elbo(model, images, Conditions(1, stop))


def test_active_units_counts_coordinates_that_move():
    means = torch.zeros(100, 3)
    means[:, 0] = torch.linspace(-1, 1, 100)
    means[:, 1] = 0.01 * means[:, 0]
    assert active_units(means, torch.ones(3)) == 1
    # On a sphere in R^3 the prior variance of a coordinate is 1/3, and smaller movements count.
    assert active_units(0.15 * means, torch.full((3,), 1 / 3)) == 1
