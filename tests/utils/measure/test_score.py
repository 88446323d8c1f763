"""What samples are worth: numbers of models that are broken on purpose, beside those of real images."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from benchmarks.broken_samples import Broken, as_subject
from tests.utils.measure.small_judge import digits, digits_judge
from utils.figures.subject import Undrawable
from utils.measure import score as scores
from utils.measure.score import Standard, entropy, score


def standard(judge=True):
    return Standard(digits(), digits_judge() if judge else None, torch.device("cpu"))


BROKEN = Broken(digits()).kinds
real = BROKEN["training images"]


def model_of(images, binary=False):
    return as_subject(images, 10, binary)


@pytest.fixture(scope="module")
def found():
    """The metrics of each model, and of real images."""
    torch.manual_seed(0)
    values = {name: score(model_of(images), standard(), 600)[0] for name, images in BROKEN.items()}
    return values | {"test": standard().of_test_images(600)}


def caught(values, good):
    """The metrics that tell a model from real images by more than four standard errors of both and a tenth."""
    return {
        key
        for key in ("agreement", "entropy", "fid", "kid", "diversity", "class_diversity", "sharpness", "nearest")
        if abs(values[key] - good[key]) > 4 * math.hypot(values[f"{key}_se"], good[f"{key}_se"]) + 0.1 * abs(good[key])
    }


def test_samples_that_are_training_images_pass_but_for_their_distance(found):
    assert caught(found["training images"], found["test"]) == {"nearest"}
    assert found["training images"]["nearest"] == 0


@pytest.mark.parametrize(
    ("name", "telling"),
    [
        ("noise", {"agreement", "fid", "kid", "nearest"}),
        ("untrained", {"agreement", "entropy", "fid", "kid", "diversity", "class_diversity", "nearest"}),
        ("collapsed", {"agreement", "entropy", "fid", "kid", "diversity", "class_diversity", "sharpness"}),
        ("one class", {"agreement", "entropy", "fid", "kid", "diversity"}),
        ("wrong classes", {"agreement"}),
        ("blurred", {"fid", "sharpness"}),
    ],
)
def test_no_broken_model_passes(found, name, telling):
    assert caught(found[name], found["test"]) >= telling


def test_classes_alone_do_not_show_in_single_images(found):
    assert "sharpness" not in caught(found["one class"], found["test"]), "each image is a real one"
    assert caught(found["wrong classes"], found["test"]) == {"agreement", "nearest"}


def test_confusions_are_of_the_class_asked_for():
    def shifted(n, label=None):
        if label == 5:
            raise Undrawable
        return real(n, label if label is None else (label + 1) % 10)

    values, seen = score(model_of(shifted), standard(), 500)
    assert values["agreement"] < 0.1
    assert (seen.argmax(1) == (np.arange(10) + 1) % 10)[np.arange(10) != 5].all()
    assert seen.sum(1).tolist() == [50] * 5 + [0] + [50] * 4, "none of the class that cannot be drawn"


def test_without_labels_only_pixels_are_measured():
    data = dataclasses.replace(digits(), classes=0)
    values, seen = score(model_of(real), dataclasses.replace(standard(judge=False), data=data), 200)
    assert seen is None
    names = ("agreement", "class_diversity", "entropy", "fid", "kid", "diversity")
    absent = {f"{key}{end}" for key in names for end in ("", "_se")}
    assert {key for key, value in values.items() if value is None} == absent
    assert values["nearest"] == 0


def test_binary_data_are_compared_with_binary_samples():
    data = dataclasses.replace(digits(), levels=1)
    of_binary = dataclasses.replace(standard(judge=False), data=data)
    half = model_of(lambda n, label=None: torch.full((n, 1, 8, 8), 0.5), binary=True)
    # Of two independent fair pixels half differ, by one.
    assert score(half, of_binary, 2000)[0]["sharpness"] == pytest.approx(0.5**0.5, abs=0.01)


def test_blocks_bound_the_memory_and_change_nothing(monkeypatch):
    torch.manual_seed(1)
    whole = score(model_of(lambda n, label=None: digits().test.images[:n] / 16.0), standard(), 300)[0]
    monkeypatch.setattr(scores, "BYTES", 4 * 64 * 70)
    sizes = []
    counted = model_of(lambda n, label=None: digits().test.images[:n] / 16.0)
    counted.model.decode = lambda z: (sizes.append(len(z)), z)[1]
    parts = score(counted, standard(), 300)[0]
    assert max(sizes) == 70
    assert parts == pytest.approx(whole, rel=1e-5)


def test_entropy_and_its_error():
    assert entropy(np.array([5, 0, 5])) == pytest.approx((math.log(2), 0))
    counts = np.array([700, 200, 100])
    generator = np.random.default_rng(0)
    draws = [entropy(generator.multinomial(1000, counts / 1000))[0] for _ in range(1000)]
    value, error = entropy(counts)
    assert value == pytest.approx(-(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)))
    assert error == pytest.approx(np.std(draws), rel=0.1)  # 4 of its deviations
