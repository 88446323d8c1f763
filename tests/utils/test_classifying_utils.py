"""Label selection, the classifier's figures and the probe."""

import math

import pytest
import torch
from torch import nn

from hyperspherical_vae.latents import NormalLatent, SphericalLatent
from hyperspherical_vae.likelihoods import Bernoulli
from models import VAE
from utils.classifying_utils import (
    choose_labelled,
    classifier_metrics,
    note_on_labels,
    of_posteriors,
    probe,
    training_labels,
)


def test_choice_is_even_over_classes_and_fixed_by_the_seed():
    labels = torch.arange(1000) % 10
    chosen = choose_labelled(labels, 103, 3)
    counts = labels[chosen].bincount()
    assert counts.sum() == 103
    assert counts.max() - counts.min() <= 1
    assert torch.equal(chosen, chosen.unique())
    assert torch.equal(chosen, choose_labelled(labels, 103, 3))
    assert not torch.equal(chosen, choose_labelled(labels, 103, 4))


def test_scarce_class_gives_all_and_the_others_make_up_for_it():
    labels = torch.tensor([0] * 3 + [1] * 50 + [2] * 50)
    assert labels[choose_labelled(labels, 43, 1)].bincount().tolist() == [3, 20, 20]


def test_every_image_is_as_likely_as_any_other_of_its_class():
    labels = torch.arange(40) % 4
    times = torch.stack([choose_labelled(labels, 20, seed).bincount(minlength=40) for seed in range(400)]).sum(0)
    # Binomial(400, 1/2): 5 standard deviations are 50; fails once in 40,000 choices of seeds.
    assert ((times - 200).abs() < 50).all()


@pytest.mark.parametrize("n", [3, 41])
def test_impossible_number_of_labels_is_refused(n):
    with pytest.raises(ValueError, match=r"from 4, one of each class, to 40"):
        choose_labelled(torch.arange(40) % 4, n, 1)


def test_unequal_shares_are_said():
    labels = torch.arange(1000) % 10
    assert note_on_labels(labels, 100) is None
    line = note_on_labels(labels, 105)
    assert line == "--labels 105: is no equal share; 10 to 11 images of each class are labelled"


def test_training_sees_the_chosen_labels_only():
    labels = torch.arange(1000) % 10
    assert torch.equal(training_labels(labels, None, 1), labels)
    seen = training_labels(labels, 100, 1)
    known = seen >= 0
    assert known.sum() == 100
    assert torch.equal(seen[known], labels[known])
    assert torch.equal(seen, training_labels(labels, 100, 1))


def sphere_model():
    torch.manual_seed(0)
    latent = SphericalLatent(4, 1, kappa=3.0, radius=2.0)
    classifier = nn.Linear(2, 2)
    return VAE(nn.Flatten(), latent, nn.Linear(2, 4), Bernoulli(), (1, 2, 2), classifier)


def test_classifier_figures_are_those_of_the_mean_direction_and_of_averaged_probabilities():
    model = sphere_model()
    images = torch.bernoulli(torch.full((500, 1, 2, 2), 0.5))
    labels = torch.arange(500) % 2
    figures = classifier_metrics(model, images, labels, seed=1, samples=4000)
    with torch.no_grad():
        q = model.posterior(images)
        at_mode = model.classifier(2 * q.loc).argmax(-1)
        # The exact average over the circle by quadrature.
        angle = 2 * math.pi * torch.arange(256) / 256
        z = 2 * torch.stack([angle.cos(), angle.sin()], -1)
        density = q.log_prob(z.unsqueeze(1)).exp()
        probs = torch.einsum("ab,ac->bc", density / density.sum(0), model.classifier(z).softmax(-1))
    assert figures["accuracy"] == (at_mode == labels).double().mean().item()
    exact = -probs.gather(1, labels[:, None]).log().mean().item()
    assert figures["cross_entropy"] == pytest.approx(exact, abs=5e-3)
    assert figures["accuracy_sampled"] == pytest.approx((probs.argmax(-1) == labels).float().mean().item(), abs=0.02)


def test_posteriors_of_many_images_are_those_in_evaluation_mode():
    model, images = sphere_model().train(), torch.rand(30, 1, 2, 2)
    z = of_posteriors(model, images, lambda q: q.mode, batch_size=20)
    assert model.training
    assert torch.allclose(z, model.encode(images), rtol=1e-5)


def clusters(n, spread, classes=3):
    torch.manual_seed(1)
    labels = torch.arange(n) % classes
    angle = 2 * math.pi * labels / classes + spread * torch.randn(n)
    return torch.stack([angle.cos(), angle.sin()], -1), labels


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("utils.classifying_utils.DRAWS", 4)


def test_probe_finds_clusters():
    train, train_labels = clusters(1100, 0.1)
    test, test_labels = clusters(300, 0.1)
    found = probe(train, train_labels, test, test_labels, spherical=True, seed=1)
    assert found["metric"] == "cosine"
    for kind in ("knn", "linear"):
        assert [entry["labels"] for entry in found[kind]] == [100, 600, 1000]
        assert all(entry["mean"] > 99 for entry in found[kind])
    wrong = probe(train, train_labels, test, test_labels.roll(1), spherical=False, seed=1)
    assert wrong["metric"] == "euclidean"
    assert all(entry["mean"] < 1 for entry in wrong["knn"])


def test_probe_is_fixed_by_the_seed_and_leaves_out_numbers_beyond_the_images():
    train, labels = clusters(700, 0.8)
    test, test_labels = clusters(200, 0.8)
    first = probe(train, labels, test, test_labels, True, 1)
    assert [entry["labels"] for entry in first["knn"]] == [100, 600]
    assert first == probe(train, labels, test, test_labels, True, 1)
    assert first != probe(train, labels, test, test_labels, True, 2)
    assert first["knn"][0]["std"] > 0


def test_distance_on_a_sphere_is_the_angle():
    # Images of the first class and all test images are short: by length they belong together.
    train, labels = clusters(300, 0.05)
    test, test_labels = clusters(300, 0.05)
    train = torch.where((labels == 0)[:, None], 0.01 * train, train)
    by_angle = probe(train, labels, 0.01 * test, test_labels, True, 1)["knn"][0]["mean"]
    by_length = probe(train, labels, 0.01 * test, test_labels, False, 1)["knn"][0]["mean"]
    assert by_angle > 99 > 90 > by_length


def test_normal_embeddings_are_means():
    torch.manual_seed(0)
    model = VAE(nn.Flatten(), NormalLatent(4, 2), nn.Linear(2, 4), Bernoulli(), (1, 2, 2))
    x = torch.rand(5, 1, 2, 2)
    assert torch.equal(model.encode(x), model.posterior(x).mean)
