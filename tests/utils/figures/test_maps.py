"""Latent spaces from made-up points: the right kind of map, nothing empty, odd inputs drawn."""

import numpy as np
import pytest

from tests.utils.figures.subjects import directions, rendered, subject
from utils.figures.maps import aggregate_posterior, latent, latent_overview


def points_on(axes):
    return sum(len(collection.get_offsets()) for collection in axes.collections)


def placed(points, classes=0, **settings):
    """A run whose images are placed at these points."""
    found = subject(len(points), classes, **settings)
    found.modes = found.samples = points
    return found


@pytest.mark.parametrize("classes", [0, 1, 10, 30])
@pytest.mark.parametrize("space", ["s1", "s2", "s10", "e1", "e2", "e5"])
def test_a_map_for_every_space(space, classes):
    dim, sphere = int(space[1:]), space[0] == "s"
    points = directions(60, dim + 1) if sphere else np.random.default_rng(1).normal(size=(60, dim))
    name = "vmf" if sphere else "normal"
    figure = rendered(latent(placed(points, classes, name=name, z=dim)))
    axes = figure.axes[-1 if space == "s2" and classes <= 20 else 0]
    assert axes.name == ("polar" if space == "s1" else "rectilinear")
    if space == "e1":
        assert axes.get_lines() or axes.patches
    else:
        assert points_on(axes) >= 60
    if dim > 3:
        assert "principal component 1 (" in axes.get_xlabel()
    if 0 < classes <= 20:
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list("abcdefghij"[:classes])
    else:
        assert not figure.legends


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 14])
def test_a_panel_for_every_factor(count):
    dims = tuple(f"s{1 + number % 3}" for number in range(count))
    figure = rendered(latent(subject(name="productspace", z_dims=dims)))
    titles = [f"$S^{{{dim[1:]}}}$ (factor {number})" for number, dim in enumerate(dims, 1)]
    assert [axes.get_title() for axes in figure.axes] == titles[:9]
    assert ("The first 9 of 14 factors" in figure.get_supxlabel()) == (count == 14)


@pytest.mark.parametrize("count", [1, 60])
def test_sphere_from_three_axes_and_as_a_map(count):
    figure = rendered(latent(placed(directions(count, 3), name="vmf", z=2)))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["seen from +x", "seen from +y", "seen from +z", "Hammer projection (equal areas)"]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:3]] == [("y", "z"), ("z", "x"), ("x", "y")]
    assert all(points_on(axes) == count for axes in figure.axes)


def test_sphere_is_seen_the_right_way_round():
    # From +x, with +z up, +y is to the right: the view of a right-handed system.
    figure = latent(placed(np.array([[0.0, 1.0, 0.0]]), name="vmf", z=2))
    (near,) = (c.get_offsets() for c in figure.axes[0].collections if len(c.get_offsets()))
    assert near.tolist() == [[1, 0]]
    (on_map,) = (c.get_offsets() for c in figure.axes[3].collections if len(c.get_offsets()))
    assert on_map[0, 0] > 1


@pytest.mark.parametrize("count", [1, 40])
def test_overview_says_what_it_keeps(count):
    figure = rendered(latent_overview(placed(directions(count, 6), 1, name="vmf", z=5)))
    assert "(stress 0" in figure.axes[1].get_xlabel()
    assert f"geodesic distances of {count} images" in figure.axes[1].get_title()
    assert all(points_on(axes) == count for axes in figure.axes)


def test_distances_of_a_flat_space_are_not_called_geodesic():
    titles = {}
    for name, settings in {"flat": {"z": 3}, "product": {"name": "productspace", "z_dims": ("e2", "s2")}}.items():
        titles[name] = latent_overview(subject(**({"name": "normal"} | settings))).axes[1].get_title()
    assert titles["flat"].startswith("Euclidean distances of 30 images")
    assert titles["product"].startswith("geodesic distances of 30 images")


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
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "s3", "e2")))
    assert figure.get_suptitle().startswith("Aggregate posterior of $S^{2}$ (factor 1) against the prior")
    assert "Not shown: $S^{3}$ (factor 2), $R^{2}$ (factor 3) (only" in figure.get_supxlabel()
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "e1", "s1")))
    assert figure.get_suptitle().startswith("Aggregate posterior of 2 of 3 factors against")
    figure = aggregate_posterior(subject(name="vmf", z=2))
    assert figure.get_suptitle().startswith("Aggregate posterior against")
    assert "Not shown" not in figure.get_supxlabel()
