"""What follows from a run for its figures: factors, embeddings, latents of a class."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.utils.figures.subjects import discrete, subject
from utils.figures.decoded import manifold
from utils.figures.subject import Factor, Undrawable, symbols


def test_factors_of_a_mixed_product_keep_their_order():
    found = subject(name="productspace", z_dims=("s2", "e3", "s2"), radius=2.0)
    spheres = (Factor(2, 2.0, slice(0, 3)), Factor(2, 2.0, slice(6, 9)))
    assert found.factors == (spheres[0], Factor(3, None, slice(3, 6), is_normal=True), spheres[1])
    assert found.factors[-1].columns.stop == found.model.latent.event_dim
    assert discrete().factors == ()


def test_title_says_model_data_and_epoch():
    assert subject(name="vmf", z=2).title == "vmf on $S^{2}$ in $R^{3}$, digits, epoch 2"
    assert symbols("S^2 x R^10") == "$S^{2}$ × $R^{10}$"
    assert symbols("S^3 x64 x R^1") == "$S^{3}$ ×64 × $R^{1}$"


def test_embeddings_of_the_evaluation_take_the_place_of_encoding(monkeypatch):
    found = subject(2500, name="vmf", z=2)
    with torch.no_grad():
        modes = found.model.encode(found.images)
    given = subject(2500, name="vmf", z=2)
    given.embeddings = modes
    np.testing.assert_allclose(given.modes, found.modes, rtol=1e-5, atol=1e-6)
    assert given.modes.shape == (2000, 3)
    monkeypatch.setattr(given.model, "posterior", None)
    assert given.base.shape == (3,)


def test_samples_of_a_prior_of_many_dimensions_are_fewer(monkeypatch):
    monkeypatch.setattr("utils.figures.subject.PRIOR_NUMBERS", 3000)
    assert subject(name="vmf", z=2).prior.shape == (1000, 3)
    monkeypatch.undo()
    assert subject(name="vmf", z=2).prior.shape == (20_000, 3)


def test_large_images_are_shrunk_for_figures():
    found = subject(6, 3, (3, 600, 290), name="vmf", z=2)
    numbers = found.spread(2)
    found.originals, found.levels = (255 * found.images).to(torch.uint8), 255
    assert found.pictures(numbers).shape == (2, 3, 200, 96)
    np.testing.assert_allclose(found.original_pictures(numbers), found.pictures(numbers), atol=1e-6)
    z = found.latents(4)
    whole = found.model.decode(z)
    assert whole.shape == (4, 3, 600, 290)
    np.testing.assert_allclose(found.decode(z).mean((2, 3)), whole.mean((2, 3)), atol=1e-3)
    assert manifold(found).axes, "positions on the sphere follow from the shape of the shrunk images"
    small = subject(6, 3, (3, 256, 20), name="vmf", z=2)
    np.testing.assert_array_equal(small.pictures(numbers), small.images[numbers])


def test_collapse_is_found_and_said():
    assert subject(name="vmf", z=4).collapse == ""
    flat = subject(name="gumbel", categories=5, variables=3)
    flat.model.latent.head.weight.zero_()
    assert flat.collapse == "The posterior has collapsed: 0 of 15 units are active; z hardly depends on x."
    assert flat.title.endswith("epoch 2 (posterior collapsed)")
    low = subject(name="normal", z=3)
    low.metrics[1]["val"]["kl"] = 0.01
    assert low.collapse == "The posterior has collapsed: its KL to the prior is 0.01 nats."
    assert [found.warning for found in (flat, low)] == [flat.collapse, low.collapse]


@pytest.mark.parametrize("images", [99, 100])
def test_means_on_a_line_are_said_but_no_collapse(images):
    line = subject(images, name="normal", z=3)
    line.model.latent.head.weight[1:3] = line.model.latent.head.weight[0]
    text = "100.0% of the variance of the posterior means is in one direction: they lie near a line."
    assert line.warning == (text if images == 100 else "")
    assert line.collapse == ""
    assert line.title.endswith("epoch 2")
    assert subject(images, name="vmf", z=4).warning == ""


def test_class_latents_of_a_classifier_are_of_that_class():
    found = subject(name="normal", z=2)
    found.model.classifier = nn.Linear(2, 2)
    with torch.no_grad():
        found.model.classifier.weight.copy_(torch.tensor([[0.0, 0.0], [50.0, 0.0]]))
        found.model.classifier.bias.zero_()
        z = found.latents(200, 1)
        assert z.shape == (200, 2)
        assert (z[:, 0] > 0).all()  # the class is that of a positive first coordinate
        found.model.classifier.bias.copy_(torch.tensor([1e6, 0.0]))
        with pytest.raises(Undrawable, match="hardly ever yields class 1"):
            found.latents(5, 1)


def test_class_latents_of_a_codebook_come_from_its_prior_of_the_class():
    found = discrete()
    prior = found.model.latent.add_code_prior("independent", 3)
    prior.count(torch.tensor([[4, 4], [7, 7]]).repeat(500, 1), torch.tensor([0, 1]).repeat(500))
    assert found.model.knows_classes
    z = found.latents(50, 1)
    exact = found.model.latent.vectors(torch.tensor([7, 7]))
    assert (z == exact).all(-1).float().mean() > 0.8


def test_class_latents_without_a_classifier_are_of_images_of_the_class():
    found = subject(name="vmf", z=2, kappa=1e6)
    with torch.no_grad():
        modes = found.model.posterior(found.images[1::3]).mode
        z = found.latents(20, 1)
    assert (torch.cdist(z, modes).min(-1).values < 0.05).all()
    with pytest.raises(Undrawable, match="no test image of class 7"):
        found.latents(1, 7)
