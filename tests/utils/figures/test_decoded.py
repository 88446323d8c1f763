"""Decoded latent spaces: every image is shown once, at its place."""

import numpy as np
import pytest

from tests.utils.figures.subjects import rendered, subject
from utils.figures.decoded import COLUMNS, LOOKED_AT, concentration, hammer_positions, manifold
from utils.figures.geometry import inverse_hammer


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [4, 6, 12])
@pytest.mark.parametrize("space", ["s1", "s2", "e1", "e2"])
def test_every_image_is_shown(space, channels, height):
    settings = {"name": "vmf" if space[0] == "s" else "normal", "z": int(space[1])}
    figure = rendered(manifold(subject(1, shape=(channels, height, 6), **settings)))
    (axes,) = figure.axes
    if space[0] == "s":
        columns = COLUMNS[space.upper().replace("S", "S^")][0]
        expected = columns if space == "s1" else len(hammer_positions(columns, height / 6))
        assert len(axes.get_images()) == expected
    else:
        assert axes.get_xlabel().startswith("$z_1$")
        assert axes.get_images()[0].get_array().shape[1] == COLUMNS["R^1"][0] * 8 + 2


def test_images_do_not_overlap():
    (axes,) = manifold(subject(1, name="vmf", z=2)).axes
    shown = [image.get_extent() for image in axes.get_images()]
    for place, (left, right, low, high) in enumerate(shown):
        for other in shown[:place]:
            assert right <= other[0] or left >= other[1] or high <= other[2] or low >= other[3]


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_grid_of_a_sphere_is_even(aspect):
    places = hammer_positions(20, aspect)
    assert np.isfinite(inverse_hammer(places)).all()
    assert len(places) * (4 * np.sqrt(2) / 20) ** 2 * aspect == pytest.approx(4 * np.pi, rel=0.2)
    np.testing.assert_allclose(places.mean(0), 0, atol=1e-12)
    assert places[0, 1] > places[-1, 1], "the first image has to be on top"


def test_a_panel_for_every_low_factor():
    figure = rendered(manifold(subject(name="productspace", z_dims=("s1", "s2", "s3", "e2"))))
    assert len(figure.axes) == 3
    assert all(axes.get_images() for axes in figure.axes)
    assert "held at the latent of one test image" in figure.get_supxlabel()
    figure = manifold(subject(name="productspace", z_dims=("e1",) * 14))
    assert "The first 9 of 14 factors" in figure.get_supxlabel()


def test_ends_and_middle_of_a_plane_in_a_product_are_labelled():
    found = subject(name="productspace", z_dims=("e2", "s2"))
    found.prior[:, :2] -= np.median(found.prior[:, :2]) + 0.004
    plane = rendered(manifold(found)).axes[0]
    for labels in (plane.get_xticklabels(), plane.get_yticklabels()):
        assert [label.get_text().replace("\u2212", "-") for label in labels] == ["-1.6", "0.0", "1.6"]


def test_two_circles_are_decoded_on_a_square(monkeypatch):
    found, seen = subject(name="productspace", z_dims=("s1", "s1"), radius=2.0), []
    decode = found.decode
    monkeypatch.setattr(found, "decode", lambda z: (seen.append(z), decode(z))[1])
    (axes,) = rendered(manifold(found)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0°", "90°", "180°", "270°"]
    # The last row is that of the angle 0 on the second circle, where the first turns once.
    np.testing.assert_allclose(seen[0][-16:, 2:], [[2, 0]] * 16, atol=1e-12)
    np.testing.assert_allclose(seen[0][-12, :2], [0, 2], atol=1e-12)


def test_plane_is_decoded_at_equal_shares_of_the_prior():
    found = subject(name="normal", z=2)
    found.prior = np.random.default_rng(0).laplace(size=(200_000, 2))
    line = found.prior_line(found.factors[0], 16)
    exact = np.log(2 * (np.arange(8) + 0.5) / 16)
    np.testing.assert_allclose(line, [*exact, *-exact[::-1]], atol=0.03)
    (axes,) = rendered(manifold(found)).axes
    assert axes.get_xticklabels()[0].get_text().replace("\u2212", "-") == f"{line[0]:.1f}"


@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_decoded_points_lie_on_the_sphere_of_the_model(radius, monkeypatch):
    found, seen = subject(name="vmf", z=2, radius=radius), []
    decode = found.decode
    monkeypatch.setattr(found, "decode", lambda z: (seen.append(z), decode(z))[1])
    manifold(found)
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=-1), radius, rtol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_concentrations_have_a_row_and_a_cloud_each(dim):
    figure = rendered(concentration(subject(name="vmf", z=dim)))
    strips, sides = figure.axes[::2], figure.axes[1::2]
    assert len(strips) == len(LOOKED_AT)
    assert all(axes.get_images()[0].get_array().shape[1] == 9 * 8 + 2 for axes in strips)
    assert all(axes.collections or axes.patches for axes in sides)
    assert [axes.get_yticklabels()[0].get_text().endswith("(as learned)") for axes in strips] == [
        scale == 1 for scale in LOOKED_AT
    ]
    assert sides[-1].get_xlabel() == ("degrees from the mode" if dim > 2 else "")


def test_asked_concentrations_are_the_rows():
    found = subject(name="vmf", z=2)
    found.kappas = (0.0, 0.5, 1500.0)
    figure = concentration(found)
    labels = [axes.get_yticklabels()[0].get_text() for axes in figure.axes[::2]]
    assert labels == ["κ = 0", "κ = 0.5", "κ = 1,500"]
