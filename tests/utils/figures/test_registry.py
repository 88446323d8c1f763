"""The figures of small untrained models: which are drawn for which, and what is said of the others."""

import dataclasses
import importlib.util
import math

import numpy as np
import pytest
import torch
from torch import nn

from hyperspherical_vae.distributions import ProductDistribution, VonMisesFisher
from models import build_model
from utils.config.config import Config
from utils.config.rules import resolve
from utils.figures.latent import (
    STEPS,
    aggregate_posterior,
    concentration,
    interpolation,
    latent_overview,
    manifold,
    traversals,
)
from utils.figures.registry import FIGURES, Drawing, draw, side_by_side
from utils.figures.subject import Factor, Subject, Undrawable, factors_of, symbols, with_concentration

ALWAYS = {"learning_curves", "reconstructions", "samples", "class_samples", "log_px"}


@dataclasses.dataclass
class Images:
    shape: tuple[int, int, int] = (1, 8, 6)
    levels: int = 1
    likelihood: str = "bce"
    classes: int = 3


def metrics(config):
    terms = {"elbo": -3.0, "log_px_z": -2.0, "kl": 1.0}
    spheres = [kind for kind, _ in config.factors if kind != "normal"]
    if len(config.factors) > 1:
        terms["kl_factors"] = [1.0] * len(config.factors)
    val = {**terms, **({"kappa": {q: [5.0] * len(spheres) for q in ("q05", "q50", "q95")}} if spheres else {})}
    return [{"epoch": epoch, "kl_weight": 1.0, "train": terms, "val": val} for epoch in (1, 2)]


def subject(count=30, classes=3, channels=1, **settings):
    torch.manual_seed(0)
    config = resolve(Config(h_dims=(8,), dataset="digits", **settings))
    shape = (channels, 8, 6)
    model = build_model(config, Images(shape)).eval()
    labels = torch.arange(count) % classes if classes else None
    values = np.linspace(-9, -3, count)
    images = torch.rand(count, *shape).round()
    return Subject(model, config, images, labels, tuple("abc"[:classes]), metrics(config), 2, (20, values))


def discrete(**settings):
    return subject(name="vq", codes=16, positions=2, code_dim=3, **settings)


def names_of(drawn):
    return {path.stem for path in drawn.files}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"name": "vmf", "z": 1}, "latent manifold interpolation concentration kappa aggregate_posterior"),
        ({"name": "vmf", "z": 2, "kappa": 5.0}, "latent manifold interpolation concentration aggregate_posterior"),
        (
            {"name": "powerspherical", "z": 4, "radius": 3.0},
            "latent latent_overview traversals interpolation concentration kappa",
        ),
        ({"name": "normal", "z": 1}, "latent manifold interpolation"),
        ({"name": "normal", "z": 2, "covariance_matrix": "full"}, "latent manifold interpolation"),
        ({"name": "normal", "z": 6}, "latent latent_overview traversals interpolation"),
        (
            {"name": "productspace", "z_dims": ("s1", "e2", "s2", "s4")},
            "latent latent_overview manifold traversals interpolation concentration kappa aggregate_posterior",
        ),
    ],
    ids=["S1", "S2", "S4", "R1", "R2", "R6", "product"],
)
def test_every_figure_that_fits_is_drawn(settings, names, tmp_path):
    drawn = draw(subject(**settings), tmp_path)
    assert drawn.refused == []
    assert names_of(drawn) == ALWAYS | set(names.split())
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn.files)
    assert sorted(tmp_path.iterdir()) == sorted(drawn.files), "something was left behind"


def test_many_factors_are_drawn_in_part(tmp_path):
    found = subject(name="productspace", z_dims=("s2",) * 14)
    drawn = draw(found, tmp_path, ["latent", "traversals", "aggregate_posterior"])
    assert drawn.refused == []
    with torch.no_grad():
        assert "The first 9 of 14 factors" in manifold(found).get_supxlabel()


def test_codes_are_drawn(tmp_path):
    for name in ("vq", "gumbel"):
        (tmp_path / name).mkdir()
    drawn = draw(discrete(), tmp_path / "vq")
    assert drawn.refused == []
    assert names_of(drawn) == ALWAYS - {"log_px"} | {"code_usage", "class_codes"}
    drawn = draw(subject(name="gumbel", categories=5, variables=3), tmp_path / "gumbel", ["class_codes", "log_px"])
    assert names_of(drawn) == {"class_codes", "log_px"}


def test_confusions_are_drawn_of_a_classifier(tmp_path):
    found = subject(name="vmf", z=2)
    found.model.classifier = nn.Linear(3, 3)
    assert names_of(draw(found, tmp_path, ["confusion"])) == {"confusion"}


def test_class_latents_of_a_classifier_are_of_that_class(tmp_path):
    found = subject(name="normal", z=2)
    found.model.classifier = nn.Linear(2, 2)
    with torch.no_grad():
        found.model.classifier.weight.copy_(torch.tensor([[0.0, 0.0], [50.0, 0.0]]))
        found.model.classifier.bias.zero_()
        z = found.class_latents(1, 200)
        assert z.shape == (200, 2)
        assert (z[:, 0] > 0).all()  # the class is that of a positive first coordinate
        found.model.classifier.bias.copy_(torch.tensor([1e6, 0.0]))
        with pytest.raises(Undrawable, match="hardly ever yields class 1"):
            found.class_latents(1, 5)


def test_class_latents_of_a_codebook_come_from_its_prior_of_the_class():
    found = discrete()
    prior = found.model.latent.add_code_prior("independent", 3)
    prior.count(torch.tensor([[4, 4], [7, 7]]).repeat(500, 1), torch.tensor([0, 1]).repeat(500))
    assert found.knows_classes
    z = found.class_latents(1, 50)
    exact = found.model.latent.vectors(torch.tensor([7, 7]))
    assert (z == exact).all(-1).float().mean() > 0.8


def test_class_latents_without_a_classifier_are_of_images_of_the_class():
    found = subject(name="vmf", z=2, kappa=1e6)
    with torch.no_grad():
        modes = found.model.posterior(found.images[1::3]).mode
        z = found.class_latents(1, 20)
    assert (torch.cdist(z, modes).min(-1).values < 0.05).all()
    with pytest.raises(Undrawable, match="no test image of class 7"):
        found.class_latents(7, 1)


@pytest.mark.parametrize(("classes", "channels", "count"), [(0, 1, 30), (1, 3, 30), (1, 1, 1), (0, 3, 2)])
def test_odd_runs_are_drawn_or_say_why_not(classes, channels, count, tmp_path):
    drawn = draw(subject(count, classes, channels, name="vmf", z=3), tmp_path)
    reasons = {line.split()[0]: line for line in drawn.refused}
    expected = (set() if classes else {"class_samples"}) | ({"interpolation"} if count == 1 else set())
    assert set(reasons) == expected
    assert all("is not drawn: " in line and "\n" not in line for line in drawn.refused)


def test_discrete_runs_with_few_classes_say_why_not(tmp_path):
    found = discrete()
    found.labels = torch.arange(30) % 2
    assert draw(found, tmp_path, ["class_codes"]).refused == [
        "class_codes is not drawn: a tree and a map of the classes need three of them; there are 2"
    ]


def test_a_run_of_one_epoch_and_without_log_px(tmp_path):
    found = subject(name="vmf", z=2)
    found.metrics, found.log_px = found.metrics[:1], None
    drawn = draw(found, tmp_path, ["learning_curves", "log_px"])
    assert names_of(drawn) == {"learning_curves"}
    assert "a new -lls K estimates it" in drawn.refused[0]


def test_collapsed_posterior_is_drawn(tmp_path):
    found = subject(name="vmf", z=4)
    with torch.no_grad():
        found.model.latent.head.weight.zero_()
    assert draw(found, tmp_path, ["latent", "latent_overview", "traversals", "kappa"]).refused == []


def test_non_finite_model_fails_no_run(tmp_path):
    found = subject(name="vmf", z=2)
    with torch.no_grad():
        found.model.latent.head.weight.fill_(math.nan)
    drawn = draw(found, tmp_path, ["learning_curves", "latent", "samples", "kappa", "aggregate_posterior"])
    assert names_of(drawn) >= {"learning_curves"}
    assert "latent is not drawn: the latents of some images are not finite" in drawn.refused
    assert all("\n" not in line for line in drawn.refused)


def test_fault_in_a_figure_costs_no_other(tmp_path, monkeypatch):
    def faulty(subject):
        raise RuntimeError("broken\nin two lines")

    monkeypatch.setitem(FIGURES, "samples", Drawing(faulty, lambda subject: ""))
    drawn = draw(subject(name="normal", z=2), tmp_path, ["samples", "reconstructions"])
    assert names_of(drawn) == {"reconstructions"}
    assert drawn.refused == ["samples could not be drawn: RuntimeError: broken"]


def test_full_disk_is_not_hidden(tmp_path):
    with pytest.raises(OSError, match="absent"):
        draw(subject(name="normal", z=2), tmp_path / "absent", ["samples"])


def test_without_matplotlib_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    drawn = draw(subject(name="normal", z=2), tmp_path)
    assert drawn.files == []
    assert len(drawn.refused) == 1
    assert "matplotlib is not installed" in drawn.refused[0]


def test_drawing_twice_gives_the_same_files(tmp_path):
    names = ["samples", "class_samples", "latent_overview", "concentration"]

    def content():
        return [path.read_bytes() for path in draw(subject(name="vmf", z=3), tmp_path, names).files]

    assert content() == content()


def test_pdf_beside_png(tmp_path):
    drawn = draw(subject(name="normal", z=2), tmp_path, ["samples"], pdf=True)
    assert [path.name for path in drawn.files] == ["samples.png", "samples.pdf"]
    assert drawn.files[1].read_bytes()[:5] == b"%PDF-"


def test_factors_of_a_mixed_product_keep_their_order():
    config = resolve(Config(name="productspace", z_dims=("s2", "e3", "s2"), h_dims=(8,), dataset="digits", radius=2.0))
    latent = build_model(config, Images()).latent
    expected = (Factor(2, 2.0, slice(0, 3)), Factor(3, None, slice(3, 6)), Factor(2, 2.0, slice(6, 9)))
    assert factors_of(latent) == expected


def test_other_concentration_leaves_the_rest_alone():
    q = VonMisesFisher(nn.functional.normalize(torch.randn(4, 3), dim=-1), torch.full((4,), 5.0), radius=2.0)
    changed = with_concentration(q, 100.0)
    assert changed.concentration.tolist() == [100.0] * 4
    assert torch.equal(changed.mode, q.mode)
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(4, 2), torch.ones(4, 2)), 1)
    product = with_concentration(ProductDistribution([normal, q]), 7.0)
    assert torch.equal(product.mode, torch.cat([normal.mode, q.mode], -1))
    assert product.groups[1][0].concentration.tolist() == [[7.0]] * 4


@torch.no_grad()
def test_asked_concentrations_are_the_rows():
    found = subject(name="vmf", z=2)
    found.kappas = (0.0, 0.5, 1500.0)
    figure = concentration(found)
    labels = [axes.get_yticklabels()[0].get_text() for axes in figure.axes[::2]]
    assert labels == ["κ = 0", "κ = 0.5", "κ = 1,500"]


@torch.no_grad()
def test_interpolation_begins_and_ends_with_the_images():
    figure = interpolation(subject(name="productspace", z_dims=("s2", "e2")))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[:2] + labels[-2:] == ["image", "0%", "100%", "image"]


@torch.no_grad()
@pytest.mark.parametrize(
    ("settings", "distances", "path"),
    [
        ({"name": "normal", "z": 3}, "Euclidean", "Linear"),
        ({"name": "vmf", "z": 3}, "geodesic", "Geodesic"),
        ({"name": "productspace", "z_dims": ("e2", "s2")}, "geodesic", "Geodesic"),
    ],
    ids=["flat", "sphere", "product"],
)
def test_distances_and_paths_of_a_flat_space_are_not_called_geodesic(settings, distances, path):
    found = subject(**settings)
    assert latent_overview(found).axes[1].get_title().startswith(f"{distances} distances of 30 images")
    assert interpolation(found).get_suptitle().startswith(f"{path} interpolation")


@torch.no_grad()
def test_traversals_have_a_header_for_each_kind_of_factor():
    (axes,) = traversals(subject(name="productspace", z_dims=("s2", "s3", "e2"))).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [f"${space}$, direction {n}" for space in ("S^{2}", "S^{3}", "R^{2}") for n in (1, 2)]
    above = [label.get_text() for label in axes.get_xticklabels()]
    assert (above[0], above[6], above[-1]) == ("-180°", "0°", "180°")
    assert [text.get_text() for text in axes.texts][:: len(axes.texts) - 1] == ["-3σ", "3σ"]
    # The second header stands between the last row of the spheres and the first of the plane.
    centres = axes.get_yticks()
    assert all(centres[3] < text.get_position()[1] < centres[4] for text in axes.texts)
    assert centres[4] - centres[3] > centres[3] - centres[2]


@torch.no_grad()
def test_rows_of_factors_of_one_kind_are_numbered():
    (axes,) = traversals(subject(name="productspace", z_dims=("e1", "s1", "e1"))).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["$R^{1}$ (factor 1), direction 1", "$S^{1}$, direction 1", "$R^{1}$ (factor 3), direction 1"]
    assert [axes.get_xticklabels()[0].get_text(), *(text.get_text() for text in axes.texts[::STEPS])] == [
        "-3σ", "-180°", "-3σ",
    ]  # fmt: skip


@torch.no_grad()
def test_aggregate_posterior_names_what_it_shows_and_what_not():
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "s3", "e2")))
    assert figure.get_suptitle().startswith("Aggregate posterior of $S^{2}$ against the prior")
    assert "Not shown: $S^{3}$, $R^{2}$ (only" in figure.get_supxlabel()
    figure = aggregate_posterior(subject(name="productspace", z_dims=("s2", "e1", "s1")))
    assert figure.get_suptitle().startswith("Aggregate posterior of 2 of 3 factors against")
    figure = aggregate_posterior(subject(name="vmf", z=2))
    assert figure.get_suptitle().startswith("Aggregate posterior against")
    assert "Not shown" not in figure.get_supxlabel()


@torch.no_grad()
def test_side_by_side_has_a_row_for_each_run():
    runs = [subject(name="vmf", z=2), subject(name="normal", z=2), subject(name="vmf", z=2, rs=2)]
    figure = side_by_side(runs, runs[0].images)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [
        "original",
        "vmf, seed 1\n$S^{2}$ in $R^{3}$",
        "normal, seed 1\n$R^{2}$",
        "vmf, seed 2\n$S^{2}$ in $R^{3}$",
    ]


@torch.no_grad()
@pytest.mark.parametrize("count", [30, 2500])
def test_code_usage_carries_the_perplexity_of_the_table(count):
    for found in (subject(count, name="gumbel", categories=5, variables=3), discrete(count=count)):
        latent = found.model.latent
        codes = latent.codes(found.model.posterior(found.images))
        axes = FIGURES["code_usage"].figure(found).axes[0]
        assert f"perplexity {latent.code_summary(codes)['perplexity']:.1f} of" in axes.get_title()
        if found.config.name == "gumbel":
            share = np.stack([np.bincount(place, minlength=5) for place in codes.T.numpy()]) / count
            np.testing.assert_allclose(axes.get_images()[0].get_array(), share)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dataset", "binary", "name"),
    [("digits", True, "binarized"), ("digits", False, "original"), ("static_mnist", True, "original")],
    ids=["binarized", "grey", "binary as it ships"],
)
def test_originals_are_called_what_they_are(dataset, binary, name):
    found = subject(name="normal", z=2)
    found.model.likelihood.binary = binary
    found.config = dataclasses.replace(found.config, dataset=dataset)
    (axes,) = FIGURES["reconstructions"].figure(found).axes
    assert [label.get_text() for label in axes.get_yticklabels()[:2]] == [name, "decoded"]


@torch.no_grad()
def test_learning_curves_say_which_epoch_is_the_best_and_that_a_kl_is_constant():
    figure = FIGURES["learning_curves"].figure(subject(name="vmf", z=2, kappa=5.0))
    assert figure.get_suptitle() == "Learning curves: vmf on $S^{2}$ in $R^{3}$, digits, best epoch 2"
    assert figure.axes[2].get_title() == "constant"
    assert "constant" not in [axes.get_title() for axes in FIGURES["learning_curves"].figure(subject(z=2)).axes]


def test_title_says_model_data_and_epoch():
    assert subject(name="vmf", z=2).title == "vmf on $S^{2}$ in $R^{3}$, digits, epoch 2"
    assert symbols("S^2 x R^10") == "$S^{2}$ × $R^{10}$"
