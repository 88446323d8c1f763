"""Models on a card against the same models on the CPU; skipped where there is no card."""

import copy

import pytest
import torch

from tests.test_models import IMAGES, SPACES, built, pixels
from utils.train.batches import binarize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")


@pytest.mark.parametrize("loss", ["bce", "mse", "logistic"])
@pytest.mark.parametrize("space", SPACES)
def test_model_computes_the_same_on_a_card(space, loss):
    _, model = built(f"{SPACES[space]} -lf {loss}")
    model.eval()
    x, twin = pixels(loss), copy.deepcopy(model).cuda()
    q, other = model.posterior(x), twin.posterior(x.cuda())
    torch.testing.assert_close(other.mode.cpu(), q.mode, rtol=1e-4, atol=1e-4)
    z = q.sample()
    torch.testing.assert_close(twin.log_px_z(x.cuda(), z.cuda()).cpu(), model.log_px_z(x, z), rtol=1e-4, atol=1e-3)
    if model.latent.has_density:
        torch.testing.assert_close(other.log_prob(z.cuda()).cpu(), q.log_prob(z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("space", SPACES)
def test_step_on_a_card_has_finite_gradients(space):
    _, model = built(f"{SPACES[space]} --classifier")
    model.cuda()
    x = pixels("bce").cuda()
    terms = model.elbo_terms(x, torch.arange(len(x), device="cuda") % IMAGES.classes)
    (sum(terms.extra.values(), terms.kl - terms.log_px_z)).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_binarization_on_a_card_has_the_probabilities_of_the_grey_levels():
    """200,000 pixels of each level; a frequency is 6 standard deviations off once in 10^9."""
    torch.manual_seed(0)
    grey = torch.tensor([0, 1, 100, 254, 255], dtype=torch.uint8, device="cuda").unsqueeze(-1).expand(-1, 200_000)
    share = binarize(grey, 255).mean(-1).cpu()
    expected = grey[:, 0].float().cpu() / 255
    assert ((share - expected).abs() <= 6 * (expected * (1 - expected) / 200_000).sqrt()).all()
