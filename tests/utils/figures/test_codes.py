"""Figures of discrete latents: counts, orders, names."""

import numpy as np
import pytest
import torch

from tests.utils.figures.subjects import discrete, rendered, subject
from utils.figures import codes
from utils.figures.codes import class_codes, code_usage, codebook


@pytest.mark.parametrize("count", [30, 2500])
def test_usage_has_the_perplexity_of_the_table(count):
    for found in (subject(count, name="gumbel", categories=5, variables=3), discrete(count)):
        latent = found.model.latent
        chosen = latent.codes(found.model.posterior(found.images))
        axes = code_usage(found).axes[0]
        assert f"perplexity {latent.code_summary(chosen)['perplexity']:.1f} of" in axes.get_title()
        if not latent.shares_codes:
            share = np.stack([np.bincount(place, minlength=5) for place in chosen.T.numpy()]) / count
            np.testing.assert_allclose(axes.get_images()[0].get_array(), share)


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        ([0, 1, 2, 3], "4 of 4 codes are used; perplexity 4.0 of 4 at most"),
        ([2, 2, 2, 2], "1 of 4 codes are used; perplexity 1.0 of 4 at most"),
    ],
)
def test_shared_codes_are_counted_and_put_in_order(chosen, line, monkeypatch):
    found = discrete(codes=4)
    monkeypatch.setattr(found, "codes", lambda images: torch.tensor(chosen).reshape(2, 2))
    (axes,) = rendered(code_usage(found)).axes
    assert axes.get_title() == line
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == sorted(heights, reverse=True)


def test_categories_have_a_row_for_each_variable(monkeypatch):
    found = subject(name="gumbel", categories=3, variables=2)
    monkeypatch.setattr(found, "codes", lambda images: torch.tensor([[0, 0], [0, 1], [0, 1], [0, 2]]))
    figure = rendered(code_usage(found))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), [[1, 0, 0], [0.25, 0.5, 0.25]])
    title = "67% of the categories are used; perplexity 1.9 of 3 at most, mean over variables"
    assert " ".join(axes.get_title().split()) == title
    assert "Even use: a share of 0.333." in figure.get_supxlabel()


@pytest.mark.parametrize(("codes", "shown"), [(16, 10), (8, 8), (300, 100)])
def test_codebook_shows_the_most_used_codes_at_all_positions(codes, shown, monkeypatch):
    found, seen = discrete(codes=codes), []
    used = found.codes(found.images)
    monkeypatch.setattr(found, "decode", lambda z: (seen.append(z), np.zeros((*z.shape[:2], 1, 8, 6)))[1])
    figure = codebook(found)
    assert f"The {shown} most used of {codes} codes" in figure.get_supxlabel()
    most = np.bincount(used.flatten()).argmax()
    torch.testing.assert_close(seen[0][0, 0], found.model.latent.vectors(torch.tensor([most, most])))


def test_categories_replace_those_of_one_image(monkeypatch):
    found, seen = subject(name="gumbel", categories=5, variables=3), []
    monkeypatch.setattr(found, "decode", lambda z: (seen.append(z), np.zeros((*z.shape[:2], 1, 8, 6)))[1])
    figure = codebook(found)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"variable {n}" for n in (1, 2, 3)]
    codes = seen[0].unflatten(-1, (3, 5)).argmax(-1)
    assert all(codes[v, :, v].tolist() == [0, 1, 2, 3, 4] for v in range(3))
    assert (codes[0, :, 1:] == codes[0, 0, 1:]).all()


def test_class_codes_draws_matrix_tree_and_map(monkeypatch):
    counts = np.random.default_rng(0).integers(1, 9, (5, 3, 6)).astype(float)
    monkeypatch.setattr(codes, "_counts_by_class", lambda subject: counts)
    found, names = discrete(classes=5), ["a", "b", "c", "a long name", "e"]
    found.class_names = tuple(names)
    matrix, tree, plane, _ = rendered(class_codes(found)).axes
    assert [label.get_text() for label in matrix.get_xticklabels()] == names
    assert sorted(label.get_text() for label in tree.get_xticklabels()) == sorted(names)
    assert sorted(text.get_text() for text in plane.texts) == sorted(names)


def test_classes_that_use_the_same_codes_are_drawn(monkeypatch):
    found = discrete()
    monkeypatch.setattr(found, "codes", lambda images: torch.zeros(len(images), 2, dtype=torch.int64))
    matrix = rendered(class_codes(found)).axes[0]
    assert {text.get_text() for text in matrix.texts} == {"0.00"}
