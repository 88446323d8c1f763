"""The aggregate posterior beside the prior, and the areas of classes."""

import numpy as np
import pytest
from scipy.stats import chi, norm

from tests.utils.figures.subjects import directions, placed, rendered, subject
from utils.figures.aggregate import aggregate_posterior, class_areas


def test_aggregate_posterior_reports_the_tests():
    points = np.concatenate([directions(200, 2), directions(200, 3)], 1)
    figure = rendered(aggregate_posterior(placed(points, name="productspace", z_dims=("s1", "s2"))))
    first, second = (axes for axes in figure.axes if "Rayleigh" in axes.get_title())
    assert "Bingham: p" in first.get_title()
    assert first.get_ylabel() == "density / prior"
    assert first.get_xlabel() == "angle (degrees)"
    density = second.get_images()[0].get_array()
    assert 0 <= density.min() < 1 < density.max()


def test_aggregate_posterior_names_what_it_shows_and_what_not():
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "s3")))
    assert figure.get_suptitle().startswith("Aggregate posterior of $S^{2}$ (factor 1) against the prior")
    assert "Not shown: $S^{3}$ (factor 2) (only" in figure.get_supxlabel()
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "s5", "s1")))
    assert figure.get_suptitle().startswith("Aggregate posterior of 2 of 3 factors against")
    figure = aggregate_posterior(subject(name="vmf", z=2))
    assert figure.get_suptitle().startswith("Aggregate posterior against")
    assert "Not shown" not in figure.get_supxlabel()


@pytest.mark.parametrize(
    ("dim", "label"), [(1, "z"), (2, "$z_1$ (dotted: 1 and 2 s.d. of the prior)"), (6, "length of z")]
)
def test_euclidean_spaces_are_compared_with_their_prior(dim, label):
    points = 0.5 + 2 * np.random.default_rng(0).normal(size=(2000, dim))
    axes = rendered(aggregate_posterior(placed(points, name="normal", z=dim))).axes[0]
    assert axes.get_xlabel() == label
    spread = [float(part) for part in axes.get_title().split("deviation ")[1].split("\n")[0].split(" to ")]
    np.testing.assert_allclose(spread, 2, atol=0.15)
    assert axes.get_title().endswith("(prior: 1.00)")
    if dim != 2:
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == ["aggregate posterior", "prior"]
        densities = [line.get_ydata() for line in axes.get_lines()]
        places = axes.get_lines()[0].get_xdata()
        assert all(np.trapezoid(y, places) == pytest.approx(1, abs=0.03) for y in densities)
        exact = norm.pdf(places) if dim == 1 else chi(dim).pdf(places)
        np.testing.assert_allclose(densities[1], exact, rtol=1e-6)


def test_title_of_a_plane_is_over_it():
    figure = rendered(aggregate_posterior(subject(name="normal", z=2)))
    plane, bar = (axes.get_position() for axes in figure.axes)
    assert plane.x0 < 0.15
    assert abs((plane.x0 + bar.x1) / 2 - figure._suptitle.get_position()[0]) < 0.1


def test_density_of_a_torus_is_where_the_points_are():
    quarter = np.repeat([[1.0, 0, 0, 1]], 50, 0)  # (0°, 90°)
    figure = rendered(aggregate_posterior(placed(quarter, name="productspace", z_dims=("s1", "s1"))))
    (axes,) = (axes for axes in figure.axes if axes.get_title() == "both angles")
    density = axes.get_images()[0].get_array()
    row, column = np.unravel_index(density.argmax(), density.shape)
    assert (4 * column, 4 * row) == pytest.approx((0, 90), abs=4)
    assert density.mean() == pytest.approx(1)


def test_areas_and_overlaps_are_written():
    points = np.repeat([[1.0, 0, 0], [-1, 0, 0]], 20, 0)
    found = placed(points, 2, name="vmf", z=2)
    found.labels = found.labels.sort().values
    bars, matrix, _ = rendered(class_areas(found)).axes
    # A cap that holds 90 % of a von Mises-Fisher kernel of concentration 40 is 2.9 % of the sphere.
    assert [text.get_text() for text in bars.texts] == [" 3%", " 3%"]
    assert [text.get_text() for text in matrix.texts] == ["1.00", "0.00", "0.00", "1.00"]
    assert matrix.get_title() == "mean overlap of two classes 0.00"
    found.samples = directions(40, 3)
    assert rendered(class_areas(found)).axes[1].get_images()[0].get_clim() == (0, 1)
