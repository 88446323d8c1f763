"""Sheets of images of a run: rows and their names."""

import dataclasses

import pytest
import torch

from tests.utils.figures.subjects import rendered, subject
from utils.figures.images import class_samples, concentrations_side_by_side, reconstructions, side_by_side


def rows_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "pairs"), [(1, 1), (7, 1), (25, 2), (60, 4)])
def test_reconstructions_pair_rows(count, pairs, channels):
    figure = rendered(reconstructions(subject(count, shape=(channels, 8, 6), name="normal", z=2)))
    assert rows_of(figure) == ["binarized", "decoded"] * pairs
    assert figure.axes[0].get_images()


def test_originals_stand_above_binarized_images():
    found = subject(name="normal", z=2)
    found.originals, found.levels = torch.full((30, 1, 8, 6), 128, dtype=torch.uint8), 255
    figure = reconstructions(found)
    assert rows_of(figure) == ["original", "binarized", "decoded"] * 3
    assert figure.axes[0].get_images()[0].get_array()[4, 4, 0] == pytest.approx(128 / 255)
    found.config = dataclasses.replace(found.config, dataset="static_mnist")
    assert rows_of(reconstructions(found))[:2] == ["original", "decoded"]


@pytest.mark.parametrize(
    ("dataset", "binary", "name"),
    [("digits", True, "binarized"), ("digits", False, "original"), ("static_mnist", True, "original")],
    ids=["binarized", "grey", "binary as it ships"],
)
def test_originals_are_called_what_they_are(dataset, binary, name):
    found = subject(name="normal", z=2)
    found.model.likelihood.binary = binary
    found.config = dataclasses.replace(found.config, dataset=dataset)
    assert rows_of(reconstructions(found))[:2] == [name, "decoded"]


def test_side_by_side_has_a_row_for_each_run():
    runs = [subject(name="vmf", z=2), subject(name="normal", z=2), subject(name="vmf", z=2, rs=2)]
    assert rows_of(side_by_side(runs)) == [
        "original",
        "vmf, seed 1\n$S^{2}$ in $R^{3}$",
        "normal, seed 1\n$R^{2}$",
        "vmf, seed 2\n$S^{2}$ in $R^{3}$",
    ]


def test_concentrations_of_several_runs_are_on_one_sheet():
    runs = [subject(name="vmf", z=2), subject(name="vmf", z=2, kappa=20.0)]
    runs[0].kappas = (0.5, 50.0)
    figure = concentrations_side_by_side(runs)
    assert rows_of(figure)[::2] == ["vmf, seed 1\ntrained with learned κ", "vmf, seed 1\ntrained with fixed κ = 20"]
    assert rows_of(figure)[3] == "median κ = 20"
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["image", "κ = 0.5", "κ = 50"]


def test_many_classes_are_shown_in_part():
    figure = class_samples(subject(30, 25, name="normal", z=2))
    assert len(rows_of(figure)) == 20
    assert "The first 20 of 25 classes." in figure.get_supxlabel()
