"""Decoded latent spaces from made-up arrays."""

import numpy as np
import pytest

from utils.figures.geometry import inverse_hammer
from utils.figures.plots_manifold import (
    Manifold,
    columns_of,
    concentrations,
    hammer_positions,
    manifolds,
    ring_angles,
)


def images(count, channels=1, height=8, width=6):
    return np.random.default_rng(0).uniform(size=(count, channels, height, width))


def manifold(dim, sphere, channels=1, single=True, height=8):
    columns = columns_of(dim, sphere, single)
    count = columns**dim
    if sphere:
        count = columns if dim == 1 else len(hammer_positions(columns, height / 6))
    return Manifold("factor", images(count, channels, height), columns, dim, sphere)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [4, 6, 12])
@pytest.mark.parametrize(("dim", "sphere"), [(1, True), (2, True), (1, False), (2, False)])
def test_every_image_is_shown(dim, sphere, channels, height):
    panel = manifold(dim, sphere, channels, height=height)
    figure = manifolds([panel], "t", "n")
    figure.canvas.draw()
    (axes,) = figure.axes
    if sphere:
        assert len(axes.get_images()) == len(panel.images)
    else:
        assert axes.get_xlabel().startswith("$z_1$")
        assert axes.get_images()[0].get_array().shape[1] == panel.columns * 8 + 2


def test_images_do_not_overlap():
    for panel in (manifold(1, True), manifold(2, True)):
        shown = [image.get_extent() for image in manifolds([panel], "t", "").axes[0].get_images()]
        # On a circle neighbours may touch at corners of their frames, in a map nowhere.
        for place, (left, right, low, high) in enumerate(shown) if panel.dim == 2 else ():
            for other in shown[:place]:
                assert right <= other[0] or left >= other[1] or high <= other[2] or low >= other[3]


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_grid_of_a_sphere_is_even(aspect):
    places = hammer_positions(20, aspect)
    assert np.isfinite(inverse_hammer(places)).all()
    assert len(places) * (4 * np.sqrt(2) / 20) ** 2 * aspect == pytest.approx(4 * np.pi, rel=0.2)
    np.testing.assert_allclose(places.mean(0), 0, atol=1e-12)
    assert places[0, 1] > places[-1, 1], "the first image has to be on top"


def test_angles_of_a_ring():
    np.testing.assert_allclose(np.diff(ring_angles(8)), np.pi / 4)


def test_a_panel_for_every_factor():
    panels = [manifold(1, True, single=False), manifold(2, True, single=False), manifold(2, False, single=False)]
    figure = manifolds(panels, "t", "n")
    figure.canvas.draw()
    assert len(figure.axes) == 3
    assert all(axes.get_images() for axes in figure.axes)


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize("rows", [1, 4])
def test_concentrations_have_a_row_and_a_cloud_each(dim, rows):
    rng = np.random.default_rng(0)
    clouds = rng.normal(size=(rows, 50, dim))
    clouds /= np.linalg.norm(clouds, axis=-1, keepdims=True)
    draws = images(rows * 5).reshape(rows, 5, 1, 8, 6)
    labels = [f"κ = {row}" for row in range(rows)]
    backdrop = clouds[0] if dim < 4 else None
    figure = concentrations(images(1)[0], draws, labels, list(clouds), clouds[0, 0], backdrop, "t", "n")
    figure.canvas.draw()
    strips, sides = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_yticklabels()[0].get_text() for axes in strips] == labels
    assert all(axes.get_images()[0].get_array().shape[1] == 6 * 8 + 2 for axes in strips)
    assert all(axes.collections or axes.patches for axes in sides)
    if dim > 3:
        assert sides[-1].get_xlabel() == "degrees from the mode"
