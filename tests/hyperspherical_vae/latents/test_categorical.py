"""The categorical latent: schedule, modes, and log p(x) against the sum over all codes."""

import itertools
import math

import pytest
import torch
from torch import nn

from hyperspherical_vae.distributions import OneHotCodes, RelaxedCodes
from hyperspherical_vae.latents import GumbelLatent
from hyperspherical_vae.likelihoods import Bernoulli
from models import VAE
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
from utils.measure.log_px import estimate_log_px

SHAPE = (1, 2, 3)


def model_of(variables=2, categories=3):
    torch.manual_seed(0)
    latent = GumbelLatent(8, variables, categories)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh())
    return VAE(encoder, latent, nn.Linear(latent.event_dim, 6), Bernoulli(), SHAPE).double()


def test_log_px_and_elbo_are_the_sums_over_all_codes():
    model = model_of().eval()
    images = torch.bernoulli(torch.full((30, *SHAPE), 0.5, dtype=torch.float64))
    choices = torch.tensor(list(itertools.product(range(3), repeat=2)))
    z = torch.nn.functional.one_hot(choices, 3).flatten(-2).double()
    with torch.no_grad():
        log_px_z = model.likelihood.log_prob(model.decoder(z).unsqueeze(1), images.flatten(1))
        exact = log_px_z.logsumexp(0) - math.log(9)
        q = model.posterior(images)
        weights = q.log_prob(z.unsqueeze(1)).exp()
        elbo = (weights * (log_px_z - math.log(9) - q.log_prob(z.unsqueeze(1)))).sum(0)
        assert torch.allclose(model.latent.prior().log_prob(z).exp().sum(), torch.ones((), dtype=torch.float64))
    found = estimate_log_px(model, images, 20_000, Conditions(5))
    # 30 images, 4.5 standard errors: fails once in 5,000 seeds.
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()
    assert (elbo < exact).all()
    reached = found.log_px_z - found.kl_factors.sum(-1)
    assert ((reached - elbo).abs() < 4.5 * (found.elbo_variance / 20_000).sqrt() + 1e-12).all()
    drawn = torch.stack([evaluate_elbo(model, images, Conditions(seed)).log_px_z for seed in range(300)])
    expected = (weights * log_px_z).sum(0)
    assert ((drawn.mean(0) - expected).abs() < 4.5 * drawn.std(0) / math.sqrt(300) + 1e-12).all()


def test_training_relaxes_and_evaluation_does_not():
    model = model_of()
    x = torch.rand(4, *SHAPE, dtype=torch.float64)
    assert isinstance(model.train().posterior(x), RelaxedCodes)
    assert type(model.eval().posterior(x)) is OneHotCodes
    z = model.posterior(x).sample((100,))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    model.train()
    estimate_log_px(model, x, 3, Conditions(1))
    assert model.training


def test_temperature_falls_geometrically_and_depends_on_the_epoch_alone():
    latent = GumbelLatent(4, 2, 3, temperature=2.0, temperature_min=0.5, temperature_epochs=4)
    seen = []
    for epoch in (1, 2, 3, 4, 5, 90):
        latent.set_epoch(epoch)
        seen.append(latent.temperature.item())
    assert seen == pytest.approx([2, 2**0.5, 1, 2**-0.5, 0.5, 0.5])
    latent.set_epoch(1)
    assert latent.temperature.item() == 2
    assert GumbelLatent(4, 2, 3, 2.0, 0.5, temperature_epochs=0).temperature.item() == 0.5
    assert "temperature" not in latent.state_dict()


def test_code_summary_counts_categories():
    latent = GumbelLatent(4, 2, 4)
    codes = torch.tensor([[0, 0], [1, 0], [0, 0], [1, 0]])
    summary = latent.code_summary(codes)
    assert summary == pytest.approx({"usage": 3 / 8, "perplexity": 1.5, "bits": 4})


def test_copies_have_a_batch_of_their_own():
    latent = GumbelLatent(4, 2, 3, count=5).eval()
    q = latent.posterior(torch.randn(7, 4))
    assert q.batch_shape == (7, 5)
    assert latent.kl(q, q.sample()).shape == (7, 5)
