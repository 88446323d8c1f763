"""Latent spaces from made-up points: the right kind of map, nothing empty, odd inputs drawn."""

import numpy as np
import pytest

from tests.utils.figures.subjects import directions, placed, rendered, subject
from utils.figures.maps import latent, latent_overview


def points_on(axes):
    return sum(len(collection.get_offsets()) for collection in axes.collections)


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
        rows = classes if classes <= 20 else 0
        assert len(axes.collections) == rows + 1  # a ridge for each class and one for all images
        assert [text.get_text() for text in axes.get_yticklabels()] == [*"abcdefghij"[:rows], "all images"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["prior"]
    else:
        assert points_on(axes) >= 60
    if dim > 3:
        assert "principal component 1 (" in axes.get_xlabel()
    if 0 < classes <= 20 and space != "e1":
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
    assert f"geodesic distances of {count}" in figure.axes[1].get_title()
    assert all(points_on(axes) == count for axes in figure.axes)


def test_distances_of_a_flat_space_are_not_called_geodesic():
    titles = {}
    for name, settings in {"flat": {"z": 3}, "product": {"name": "productspace", "z_dims": ("e2", "s2")}}.items():
        titles[name] = latent_overview(subject(**({"name": "normal"} | settings))).axes[1].get_title()
    assert titles["flat"].startswith("MDS of Euclidean distances of 30")
    assert titles["product"].startswith("MDS of geodesic distances of 30")


def test_axes_of_a_sphere_have_its_radius():
    figure = latent(placed(2.5 * directions(20, 3), name="vmf", z=2, radius=2.5))
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["−2.5", "0.0", "2.5"]
    points = np.concatenate([collection.get_offsets() for collection in figure.axes[0].collections])
    assert 1 < np.linalg.norm(points, axis=-1).max() <= 2.5 + 1e-9
    assert latent(subject(name="vmf", z=1, radius=2.5)).axes[0].get_title() == "$S^{1}$ of radius 2.5"


def test_two_circles_are_a_square_torus():
    quarter = np.array([[1.0, 0, 0, 1], [0, -1, 1, 0]])  # (0°, 90°) and (270°, 0°)
    figure = rendered(latent(placed(quarter, name="productspace", z_dims=("s1", "s1"))))
    assert [axes.name for axes in figure.axes] == ["polar", "polar", "rectilinear"]
    torus = figure.axes[2]
    (points,) = (c.get_offsets() for c in torus.collections)
    np.testing.assert_allclose(points, [[0, 90], [270, 0]], atol=1e-9)
    assert torus.get_xlim() == torus.get_ylim() == (0, 360)


def test_overview_has_three_maps():
    titles = [axes.get_title() for axes in latent_overview(subject(name="vmf", z=4)).axes]
    assert [title.split(" of ")[0] for title in titles] == ["principal components", "MDS", "t-SNE"]
