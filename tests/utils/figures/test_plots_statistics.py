"""Figures of numbers from made-up arrays, and the divergences between code distributions."""

import numpy as np
import pytest

from utils.figures.plots_statistics import (
    category_usage,
    class_codes,
    code_usage,
    confusion_matrix,
    jensen_shannon,
    kappa_histogram,
    log_px_histogram,
)


def images(count, channels=1):
    return np.random.default_rng(0).uniform(size=(count, channels, 8, 8))


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("spheres", [1, 3, 8])
@pytest.mark.parametrize("constant", [False, True])
def test_kappa_histogram(spheres, constant):
    kappas = np.full((50, spheres), 20.0) if constant else np.random.default_rng(0).gamma(5, 10, (50, spheres))
    figure = kappa_histogram(kappas, [f"S{n}" for n in range(spheres)], "t")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert "κ" in axes.get_xlabel()
    assert len(texts(axes)) == min(spheres, 6)
    if constant:
        assert texts(axes)[0] == "S0: median 20"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 300])
def test_log_px_histogram_names_unit_samples_and_what_is_not_finite(count, channels):
    values = np.append(np.random.default_rng(0).normal(-90, 10, count), np.nan)
    shown = images(min(count, 5), channels)
    figure = log_px_histogram(values, 500, shown, shown, "t")
    figure.canvas.draw()
    above, below = figure.axes
    assert above.get_xlabel() == "log p(x) (nats, K = 500); 1 not finite"
    assert texts(above) == [f"mean {values[:-1].mean():.2f}"]
    assert [label.get_text() for label in below.get_yticklabels()] == ["least likely", "most likely"]


def test_log_px_histogram_without_any_finite_value():
    figure = log_px_histogram(np.array([np.nan, -np.inf]), 5, images(1), images(1), "t")
    figure.canvas.draw()
    assert "2 not finite" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize(
    ("counts", "perplexity", "line"),
    [
        ([5, 5, 5, 5], 4.0, "4 of 4 codes are used; perplexity 4.0"),
        ([7, 0, 0, 0], 1.0, "1 of 4 codes are used; perplexity 1.0"),
        ([0, 0], 0.0, "0 of 2 codes are used; perplexity 0.0"),
    ],
)
def test_code_usage_counts_and_orders(counts, perplexity, line):
    figure = code_usage(np.array(counts), perplexity, "t")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_title().startswith(line)
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)


def test_category_usage_has_a_row_for_each_variable():
    counts = np.array([[4, 0, 0], [1, 2, 1]])
    figure = category_usage(counts, 1.9, "t")
    figure.canvas.draw()
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), counts / 4)
    assert axes.get_title() == "67% of the categories are used; perplexity 1.9 of 3 at most, mean over variables"
    assert "Even use: a share of 0.333." in figure.get_supxlabel()


@pytest.mark.parametrize("count", [1, 5, 18, 300])
def test_ticks_of_counts_are_whole_numbers(count):
    values = np.random.default_rng(0).normal(-90, 10, count)
    shown = images(1)
    for figure in (kappa_histogram(values[:, None] + 200, ["S"], "t"), log_px_histogram(values, 5, shown, shown, "t")):
        figure.canvas.draw()
        assert all(tick == round(tick) for tick in figure.axes[0].get_yticks())


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
    axes = log_px_histogram(values, 5, images(1), images(1), "t").axes[0]
    assert len(axes.patches) == bins


def test_jensen_shannon_of_equal_half_and_disjoint_distributions():
    counts = np.array([[[2, 2, 0, 0]], [[4, 4, 0, 0]], [[0, 0, 3, 3]], [[1, 0, 0, 0]]], float)
    found = jensen_shannon(counts)
    np.testing.assert_allclose(found, found.T)
    assert found[0, 1] == pytest.approx(0, abs=1e-12)
    assert found[0, 2] == pytest.approx(np.log(2))
    half = 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25) + np.log(1 / 0.75))
    assert found[0, 3] == pytest.approx(half)


def test_jensen_shannon_is_a_mean_over_positions():
    first, second = [[1, 0], [1, 0]], [[0, 1], [1, 0]]
    assert jensen_shannon(np.array([first, second], float))[0, 1] == pytest.approx(np.log(2) / 2)


def test_class_codes_draws_matrix_tree_and_map():
    counts = np.random.default_rng(0).integers(1, 9, (5, 3, 6)).astype(float)
    names = ["a", "b", "c", "a long name", "e"]
    figure = class_codes(jensen_shannon(counts), names, "t")
    figure.canvas.draw()
    matrix, tree, plane, _ = figure.axes
    assert [label.get_text() for label in matrix.get_xticklabels()] == names
    assert sorted(label.get_text() for label in tree.get_xticklabels()) == sorted(names)
    assert sorted(text.get_text() for text in plane.texts) == sorted(names)
    with pytest.raises(ValueError, match="2 classes"):
        class_codes(np.zeros((2, 2)), ["a", "b"], "t")


def test_class_codes_of_classes_that_are_all_alike():
    class_codes(np.zeros((3, 3)), ["a", "b", "c"], "t").canvas.draw()


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_confusion_matrix(classes):
    counts = np.diag(np.full(classes, 9))
    counts[0, -1] += 1 if classes > 1 else 0
    figure = confusion_matrix(counts, [], "Confusions")
    figure.canvas.draw()
    assert "accuracy" in figure.get_suptitle()
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    if classes == 3:
        assert figure.get_suptitle() == "Confusions; accuracy 96.43% of 28 images"
        assert [text.get_text() for text in axes.texts] == ["9", "0", "1", "0", "9", "0", "0", "0", "9"]
