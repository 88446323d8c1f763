"""The codebook: nearest codes, straight-through gradients, moving averages, revival, priors."""

import itertools
import math

import pytest
import torch

from hyperspherical_vae.latents import CodebookLatent
from hyperspherical_vae.latents.code_priors import CODE_PRIORS


def trained(latent, batches=1, n=40, seed=0):
    torch.manual_seed(seed)
    for _ in range(batches):
        latent.train().posterior(torch.randn(n, 6))
    return latent


@pytest.mark.parametrize("map_shape", [None, (6, 2, 3)])
def test_posterior_is_the_nearest_code(map_shape):
    torch.manual_seed(0)
    latent = CodebookLatent(36 if map_shape else 6, 4, codes=10, positions=6, map_shape=map_shape).eval()
    features = torch.randn(5, 36 if map_shape else 6)
    q = latent.posterior(features)
    encoded = latent.encode(features)
    assert encoded.shape == (5, 6, 4)
    distance = (encoded.unsqueeze(-2) - latent.codebook).square().sum(-1)
    assert torch.equal(latent.codes(q), distance.argmin(-1))
    assert torch.equal(q.sample(), latent.vectors(latent.codes(q)))
    assert torch.equal(q.rsample(), q.sample())
    assert latent.extra_loss(q)["commitment"].tolist() == pytest.approx(distance.amin(-1).sum(-1).tolist(), rel=1e-4)
    assert latent.kl(q, q.sample()).flatten().tolist() == pytest.approx([6 * math.log(10)] * 5)
    assert torch.equal(latent.kl(q, q.sample((3,))), latent.kl(q, q.sample()))
    if map_shape:
        # z is a map whose cell (1, 2) is position 5, and that position's vector depends on that cell alone.
        assert torch.equal(q.mean.unflatten(-1, latent.map_shape)[:, :, 1, 2], q.vectors[:, 5])
        other = features.clone().unflatten(-1, map_shape)
        other[:, :, 0, 0] += 1
        assert torch.equal(latent.encode(other.flatten(1))[:, 1:], encoded[:, 1:])


def test_gradient_of_z_goes_straight_through():
    torch.manual_seed(0)
    latent = CodebookLatent(6, 4, codes=10, positions=3).eval()
    encoded = latent.encode(torch.randn(5, 6)).detach().requires_grad_()
    q = latent.posterior(torch.randn(5, 6))
    q.encoded = encoded
    weights = torch.randn(5, 12)
    (q.rsample() * weights).sum().backward()
    assert torch.equal(encoded.grad, weights.unflatten(-1, (4, 3)).transpose(-2, -1))


def test_codes_move_to_the_mean_of_their_vectors_and_only_in_training():
    latent = trained(CodebookLatent(6, 4, codes=5, positions=3), batches=3)
    before = {name: buffer.clone() for name, buffer in latent.named_buffers()}
    features = torch.randn(40, 6)
    latent.eval().posterior(features)
    assert all(torch.equal(before[name], buffer) for name, buffer in latent.named_buffers())
    assert (before["ema_counts"] > latent.DEAD * 24).all()
    codes = latent.train().posterior(features).codes
    vectors = latent.encode(features).detach()
    for code in range(5):
        chose = vectors[codes == code]
        counts = 0.99 * before["ema_counts"][code] + 0.01 * len(chose)
        sums = 0.99 * before["ema_sums"][code] + 0.01 * chose.sum(0)
        assert torch.allclose(latent.codebook[code], sums / counts, atol=1e-6)


def test_first_batch_places_every_code_and_dead_ones_are_revived():
    latent = CodebookLatent(6, 4, codes=8, positions=3)
    with torch.no_grad():
        latent.codebook.fill_(1e6)
    trained(latent)
    assert latent.codebook.abs().max() < 100
    with torch.no_grad():
        latent.codebook[2] = 1e6
        latent.ema_counts[2], latent.ema_sums[2] = 1e-3, 1e3
    trained(latent, seed=1)
    assert latent.codebook.abs().max() < 100
    assert (latent.ema_counts > 0).all()


def test_revival_is_fixed_by_the_seed():
    torch.manual_seed(0)
    first, second, third = (CodebookLatent(6, 4, codes=30, positions=3) for _ in range(3))
    for latent in (second, third):
        latent.load_state_dict(first.state_dict())
    trained(first, batches=4)
    trained(second, batches=4)
    trained(third, batches=4, seed=1)
    assert torch.equal(first.codebook, second.codebook)
    assert not torch.equal(first.codebook, third.codebook)


def test_code_summary_pools_the_positions():
    latent = CodebookLatent(6, 4, codes=8, positions=2)
    summary = latent.code_summary(torch.tensor([[0, 1], [2, 3], [0, 1], [2, 3]]))
    assert summary == pytest.approx({"usage": 0.5, "perplexity": 4, "bits": 6})


def test_prior_draws_uniform_codes_and_knows_their_moments():
    torch.manual_seed(0)
    latent = CodebookLatent(6, 2, codes=4, positions=3)
    prior = latent.prior()
    z = prior.sample((20_000,))
    error = latent.codebook.std(0, correction=0).max() / math.sqrt(20_000)
    assert (z.mean(0) - prior.mean).abs().max() < 4.5 * error
    assert torch.allclose(z.var(0), prior.variance, rtol=0.05)
    assert prior.sample().shape == (6,)
    assert latent.class_prior(0) is None


@pytest.mark.parametrize("kind", sorted(CODE_PRIORS))
def test_code_prior_is_a_distribution_overall_and_per_class(kind):
    torch.manual_seed(0)
    prior = CODE_PRIORS[kind](3, 4, 2).double().eval()
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    if kind == "independent":
        prior.count(torch.randint(3, (50, 4)), torch.randint(2, (50,)))
    for labels in (None, torch.zeros(81, dtype=torch.long), torch.ones(81, dtype=torch.long)):
        assert prior.log_prob(codes, labels).exp().sum().item() == pytest.approx(1)
    drawn = prior.sample(5000, 1)
    assert drawn.shape == (5000, 4)
    # 81 frequencies within 4.5 standard errors: fails once in 2,000 seeds.
    probs = prior.log_prob(codes, torch.ones(81, dtype=torch.long)).exp()
    found = torch.stack([(drawn == code).all(-1).double().mean() for code in codes])
    assert ((found - probs).abs() < 4.5 * (probs * (1 - probs) / 5000).sqrt()).all()
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        prior.sample(1, 2)


def test_counts_are_smoothed_by_half():
    prior = CODE_PRIORS["independent"](2, 1, 2).double()
    prior.count(torch.tensor([[0], [0], [1]]), torch.tensor([0, 0, 1]))
    assert prior.log_probs.exp().flatten().tolist() == pytest.approx([5 / 6, 1 / 6, 1 / 4, 3 / 4, 5 / 8, 3 / 8])


def test_fitted_prior_serves_the_latent():
    latent = CodebookLatent(6, 2, codes=4, positions=3)
    prior = latent.add_code_prior("independent", 2)
    prior.count(torch.tensor([[1, 1, 1]] * 2000 + [[2, 2, 2]] * 2000), torch.tensor([0] * 2000 + [1] * 2000))
    torch.manual_seed(0)
    assert (latent.class_prior(1).sample_codes(50) == 2).float().mean() > 0.97
    assert 0.2 < (latent.prior().sample_codes(200) == 1).float().mean() < 0.8
    with pytest.raises(ValueError, match="independent, autoregressive"):
        latent.add_code_prior("pixelcnn", 2)
