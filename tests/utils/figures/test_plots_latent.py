"""Latent spaces from made-up arrays: the right kind of map, nothing empty, odd inputs drawn."""

import numpy as np
import pytest

from utils.figures.geometry import uniformity
from utils.figures.plots_latent import Panel, aggregate_posterior, latent_maps, latent_overview, sphere_views


def directions(count, dim):
    points = np.random.default_rng(0).normal(size=(count, dim))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def points_on(axes):
    return sum(len(collection.get_offsets()) for collection in axes.collections)


LABELS = [None, np.zeros(60, int), np.arange(60) % 10, np.arange(60) % 30]
IDS = ["unlabelled", "one class", "ten classes", "thirty classes"]


@pytest.mark.parametrize("labels", LABELS, ids=IDS)
@pytest.mark.parametrize(
    ("points", "sphere"),
    [
        (directions(60, 2), True),
        (directions(60, 3), True),
        (directions(60, 11), True),
        (np.random.default_rng(1).normal(size=(60, 1)), False),
        (np.random.default_rng(1).normal(size=(60, 2)), False),
        (np.random.default_rng(1).normal(size=(60, 5)), False),
    ],
    ids=["circle", "sphere", "sphere of ten dimensions", "line", "plane", "space"],
)
def test_a_map_for_every_space(points, sphere, labels):
    figure = latent_maps([Panel("S", points, sphere)], labels, list("abcdefghij"), "t", "n")
    figure.canvas.draw()
    axes = figure.axes[0]
    dim = points.shape[1]
    assert axes.name == ("polar" if sphere and dim == 2 else "rectilinear")
    if dim == 1:
        assert axes.get_lines() or axes.patches
    else:
        assert points_on(axes) >= 60
    if dim > 3:
        assert "principal component 1 (" in axes.get_xlabel()
    if labels is not None and len(np.unique(labels)) == 10:
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list("abcdefghij")
    else:
        assert len(figure.legends) == (labels is not None and len(np.unique(labels)) == 1)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_a_panel_for_every_factor(count):
    panels = [Panel(f"factor {number}", directions(30, 2 + number % 3), True) for number in range(count)]
    figure = latent_maps(panels, np.arange(30) % 3, [], "t", "n")
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes] == [panel.heading for panel in panels]


@pytest.mark.parametrize("count", [1, 60])
def test_sphere_from_three_axes_and_as_a_map(count):
    figure = sphere_views(directions(count, 3), None, [], "t", "n")
    figure.canvas.draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["seen from +x", "seen from +y", "seen from +z", "Hammer projection (equal areas)"]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:3]] == [("y", "z"), ("z", "x"), ("x", "y")]
    assert all(points_on(axes) == count for axes in figure.axes)


def test_sphere_is_seen_the_right_way_round():
    # From +x, with +z up, +y is to the right: the view of a right-handed system.
    figure = sphere_views(np.array([[0.0, 1.0, 0.0]]), None, [], "t", "n")
    (near,) = (c.get_offsets() for c in figure.axes[0].collections if len(c.get_offsets()))
    assert near.tolist() == [[1, 0]]
    (on_map,) = (c.get_offsets() for c in figure.axes[3].collections if len(c.get_offsets()))
    assert on_map[0, 0] > 1


@pytest.mark.parametrize("count", [1, 40])
def test_overview_says_what_it_keeps(count):
    points = directions(count, 6)
    figure = latent_overview(
        points, np.zeros(count, int), points[:, :2], np.arange(count), 0.25, "geodesic", ["a"], "t", "n"
    )
    figure.canvas.draw()
    assert "stress 0.25" in figure.axes[1].get_xlabel()
    assert "geodesic" in figure.axes[1].get_title()
    assert all(points_on(axes) == count for axes in figure.axes)


def test_aggregate_posterior_reports_the_tests():
    circle, sphere = directions(200, 2), directions(200, 3)
    panels = [(name, points, uniformity(points)) for name, points in (("S1", circle), ("S2", sphere))]
    figure = aggregate_posterior(panels, "t")
    figure.canvas.draw()
    first, second = (axes for axes in figure.axes if "Rayleigh" in axes.get_title())
    assert "Bingham: p" in first.get_title()
    assert first.get_ylabel() == "density / prior"
    assert first.get_xlabel() == "angle (degrees)"
    density = second.get_images()[0].get_array()
    assert 0 <= density.min() < 1 < density.max()
