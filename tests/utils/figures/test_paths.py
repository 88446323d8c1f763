"""Decoded paths through latent spaces: labels of rows and columns."""

import numpy as np
import pytest

from tests.utils.figures.subjects import subject
from utils.figures.paths import STEPS, interpolation, traversals


def test_interpolation_begins_and_ends_with_the_images():
    figure = interpolation(subject(name="productspace", z_dims=("s2", "e2")))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[:2] + labels[-2:] == ["image", "0%", "100%", "image"]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"name": "normal", "z": 3}, "Linear"),
        ({"name": "vmf", "z": 3}, "Geodesic"),
        ({"name": "productspace", "z_dims": ("e2", "s2")}, "Geodesic"),
    ],
    ids=["flat", "sphere", "product"],
)
def test_paths_of_a_flat_space_are_not_called_geodesic(settings, path):
    assert interpolation(subject(**settings)).get_suptitle().startswith(f"{path} interpolation")


def test_codes_change_one_by_one_from_the_first_image_to_the_second(monkeypatch):
    found = subject(name="gumbel", categories=5, variables=4)
    seen = []
    monkeypatch.setattr(found, "decode", lambda z: (seen.append(z), np.zeros((*z.shape[:2], 1, 8, 6)))[1])
    figure = interpolation(found)
    assert figure.get_suptitle().startswith("Code by code interpolation")
    codes = seen[0].unflatten(-1, (4, 5)).argmax(-1)  # (pairs, steps, variables)
    first, last = codes[:, :1], codes[:, -1:]
    assert ((codes == first) | (codes == last)).all()
    taken = (codes == last).sum(-1)
    assert (taken.diff(dim=1) >= 0).all()


def test_traversals_have_a_header_for_each_kind_of_factor():
    (axes,) = traversals(subject(name="productspace", z_dims=("s2", "s3", "e2"))).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    names = ["$S^{2}$ (factor 1)", "$S^{3}$ (factor 2)", "$R^{2}$ (factor 3)"]
    assert rows == [f"{name}, direction {n}" for name in names for n in (1, 2)]
    above = [label.get_text() for label in axes.get_xticklabels()]
    assert (above[0], above[6], above[-1]) == ("-180°", "0°", "180°")
    assert [text.get_text() for text in axes.texts][:: len(axes.texts) - 1] == ["-3σ", "3σ"]
    # The second header stands between the last row of the spheres and the first of the plane.
    centres = axes.get_yticks()
    assert all(centres[3] < text.get_position()[1] < centres[4] for text in axes.texts)
    assert centres[4] - centres[3] > centres[3] - centres[2]


def test_kinds_that_alternate_have_a_header_each():
    (axes,) = traversals(subject(name="productspace", z_dims=("e1", "s1", "e1"))).axes
    assert [axes.get_xticklabels()[0].get_text(), *(text.get_text() for text in axes.texts[::STEPS])] == [
        "-3σ", "-180°", "-3σ",
    ]  # fmt: skip
