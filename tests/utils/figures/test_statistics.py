"""Figures of numbers: labels, bins, what is not finite."""

import numpy as np
import pytest

from tests.utils.figures.subjects import rendered, subject
from utils.figures.statistics import confusion, kappa, log_px


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def with_kappas(kappas):
    dims = ("s2",) * kappas.shape[1]
    settings = {"name": "vmf", "z": 2} if len(dims) == 1 else {"name": "productspace", "z_dims": dims}
    found = subject(**settings)
    found.concentrations = kappas
    return found


def with_log_px(values, k=5, channels=1):
    found = subject(len(values), shape=(channels, 8, 8), name="normal", z=2)
    found.log_px = k, np.asarray(values)
    return found


@pytest.mark.parametrize("spheres", [1, 3, 8])
@pytest.mark.parametrize("constant", [False, True])
def test_concentrations_of_every_sphere(spheres, constant):
    kappas = np.full((50, spheres), 20.0) if constant else np.random.default_rng(0).gamma(5, 10, (50, spheres))
    (axes,) = rendered(kappa(with_kappas(kappas))).axes
    assert "κ" in axes.get_xlabel()
    assert len(texts(axes)) == min(spheres, 6)
    if constant:
        assert texts(axes)[0] == "$S^{2}$" + " (factor 1)" * (spheres > 1) + ": median 20"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 300])
def test_log_px_names_unit_samples_and_what_is_not_finite(count, channels):
    values = np.append(np.random.default_rng(0).normal(-90, 10, count), np.nan)
    above, below = rendered(log_px(with_log_px(values, 500, channels))).axes
    assert above.get_xlabel() == "log p(x) (nats, K = 500); 1 not finite"
    assert texts(above) == [f"mean {values[:-1].mean():.2f}"]
    assert [label.get_text() for label in below.get_yticklabels()] == ["least likely", "most likely"]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (6, 3), (7, 3), (300, 12)])
def test_log_px_shows_no_image_at_both_ends(count, shown):
    below = rendered(log_px(with_log_px(np.arange(float(count))))).axes[1]
    assert below.get_images()[0].get_array().shape[1] == 2 + 10 * shown  # images are 8 pixels wide, margins 2


def test_log_px_without_any_finite_value():
    assert "2 not finite" in rendered(log_px(with_log_px([np.nan, -np.inf]))).axes[0].get_xlabel()


@pytest.mark.parametrize("count", [1, 5, 18, 300])
def test_ticks_of_counts_are_whole_numbers(count):
    values = np.random.default_rng(0).normal(-90, 10, count)
    for figure in (kappa(with_kappas(values[:, None] + 200)), log_px(with_log_px(values))):
        assert all(tick == round(tick) for tick in rendered(figure).axes[0].get_yticks())


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        # Quartiles of 0, ..., 999 are 249.75 and 749.25: bins of 99.9, 10 of them in 999.
        (np.arange(1000.0), 10),
        (np.append(np.arange(1000.0), 1e12), 60),
        (np.zeros(50), 5),
        (np.array([3.0]), 5),
    ],
    ids=["even", "outlier", "constant", "single"],
)
def test_bins_follow_the_data_within_bounds(values, bins):
    assert len(log_px(with_log_px(values)).axes[0].patches) == bins


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_confusions_are_those_of_the_classifier(classes):
    found = subject(40, classes, name="normal", z=2, classifier=True)
    predicted = found.model.classifier(found.model.encode(found.images)).argmax(-1)
    figure = rendered(confusion(found))
    accuracy = (predicted == found.labels).float().mean()
    axes = figure.axes[0]
    assert axes.get_title() == f"accuracy {accuracy:.2%} of 40 images"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    if classes == 3:
        written = [int(text.get_text()) for text in axes.texts]
        pairs = [(true, guess) for true in range(3) for guess in range(3)]
        assert written == [((found.labels == t) & (predicted == g)).sum() for t, g in pairs]
