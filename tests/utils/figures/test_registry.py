"""Which figures are drawn for which run, what is said of the others, and what a new figure or latent costs."""

import dataclasses
import importlib.util
import math
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure
from torch.distributions import Independent, Laplace

from hyperspherical_vae.kinds import KINDS, Kind
from hyperspherical_vae.latents import LATENTS, Latent
from tests.utils.figures.subjects import discrete, subject
from utils.figures import registry
from utils.figures.registry import FIGURES, NEEDS, Picture, draw, draw_side_by_side
from utils.plotting_utils import Style, render

ALWAYS = {"learning_curves", "reconstructions", "samples", "class_samples", "interpolation", "log_px"}


def names_of(drawn):
    return {path.stem for path in drawn.files}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"name": "vmf", "z": 1}, "latent manifold concentration kappa aggregate_posterior class_areas"),
        ({"name": "vmf", "z": 2, "kappa": 5.0}, "latent manifold concentration aggregate_posterior class_areas"),
        (
            {"name": "powerspherical", "z": 4, "radius": 3.0},
            "latent latent_overview traversals concentration kappa",
        ),
        ({"name": "normal", "z": 1}, "latent manifold aggregate_posterior"),
        ({"name": "normal", "z": 2, "covariance_matrix": "full"}, "latent manifold aggregate_posterior"),
        (
            {"name": "normal", "z": 6, "classifier": True},
            "latent latent_overview traversals aggregate_posterior confusion",
        ),
        (
            {"name": "productspace", "z_dims": ("s1", "e2", "s2", "s4")},
            "latent latent_overview manifold traversals concentration kappa aggregate_posterior class_areas",
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


def test_codes_are_drawn(tmp_path):
    for name in ("vq", "gumbel"):
        (tmp_path / name).mkdir()
    drawn = draw(discrete(), tmp_path / "vq")
    assert drawn.refused == []
    assert names_of(drawn) == ALWAYS - {"log_px"} | {"code_usage", "codebook", "class_codes"}
    drawn = draw(subject(name="gumbel", categories=5, variables=3), tmp_path / "gumbel", ["class_codes", "log_px"])
    assert names_of(drawn) == {"class_codes", "log_px"}


@pytest.mark.parametrize("name", FIGURES)
def test_needs_are_known_and_functions_there(name):
    assert set(FIGURES[name].needs) <= NEEDS.keys()
    module, _, function = FIGURES[name].function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("kappa", {"name": "vmf", "z": 2, "kappa": 5.0}, "the concentration is fixed at 5"),
        ("kappa", {"name": "normal", "z": 2}, "this latent space has no sphere"),
        ("latent_overview", {"name": "vmf", "z": 2}, "this latent space has one factor of at most two dimensions"),
        ("latent_overview", {"name": "vq"}, "this latent space is no product of spheres and Euclidean spaces"),
        ("log_px", {"name": "vq"}, "this latent space has no density"),
        ("code_usage", {"name": "normal", "z": 2}, "this latent space has no codes"),
        ("confusion", {"name": "normal", "z": 2}, "this model has no classifier"),
    ],
)
def test_reason_follows_from_the_need(name, settings, reason, tmp_path):
    found = subject(**settings)
    assert FIGURES[name].misfit(found.config).startswith(reason)
    assert draw(found, tmp_path, [name]).refused[0].startswith(f"{name} is not drawn: {reason}")
    assert Picture("", ("labels", "two images")).misfit(found.config) == ""


@pytest.mark.parametrize(("classes", "channels", "count"), [(0, 1, 30), (1, 3, 30), (1, 1, 1), (0, 3, 2)])
def test_odd_runs_are_drawn_or_say_why_not(classes, channels, count, tmp_path):
    drawn = draw(subject(count, classes, (channels, 8, 6), name="vmf", z=3), tmp_path)
    reasons = {line.split()[0]: line for line in drawn.refused}
    expected = (set() if classes else {"class_samples"}) | ({"interpolation"} if count == 1 else set())
    assert set(reasons) == expected
    assert all("is not drawn: " in line and "\n" not in line for line in drawn.refused)


def test_what_a_run_lacks_is_said(tmp_path):
    assert draw(discrete(classes=2), tmp_path, ["class_codes"]).refused == [
        "class_codes is not drawn: a tree and a map of the classes need at least three classes"
    ]
    found = subject(name="vmf", z=2)
    found.metrics, found.log_px = found.metrics[:1], None
    drawn = draw(found, tmp_path, ["learning_curves", "log_px"])
    assert names_of(drawn) == {"learning_curves"}
    assert "a new -lls K estimates it" in drawn.refused[0]


def test_collapsed_posterior_is_drawn(tmp_path):
    found = subject(name="vmf", z=4)
    with torch.no_grad():
        found.model.latent.head.weight.zero_()
    drawn = draw(found, tmp_path, ["latent", "latent_overview", "traversals", "kappa"])
    assert drawn.refused == []
    assert drawn.warnings == [found.collapse] != [""]


def test_non_finite_model_fails_no_run(tmp_path):
    found = subject(name="vmf", z=2)
    with torch.no_grad():
        found.model.latent.head.weight.fill_(math.nan)
    drawn = draw(found, tmp_path, ["learning_curves", "latent", "samples", "kappa", "aggregate_posterior"])
    assert names_of(drawn) >= {"learning_curves"}
    text = "latent, kappa, aggregate_posterior are not drawn: the latents of some images are not finite"
    assert text in drawn.refused
    assert all("\n" not in line for line in drawn.refused)


def faulty(subject):
    raise RuntimeError("broken\nin two lines")


def test_fault_in_a_figure_costs_no_other(tmp_path, monkeypatch):
    monkeypatch.setitem(FIGURES, "samples", Picture(f"{__name__}:faulty"))
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


def test_runs_with_spheres_are_compared_at_several_concentrations(tmp_path):
    spheres, flat = subject(name="vmf", z=2), subject(name="normal", z=2)
    names = ["side_by_side.png", "side_by_side_concentrations.png"]
    assert [path.name for path in draw_side_by_side([spheres, spheres], tmp_path)] == names
    assert [path.name for path in draw_side_by_side([spheres, flat], tmp_path)] == names[:1]


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"pdf": True, "svg": True}, ["png", "pdf", "svg"]),
        ({"pdf": True, "width": 3.3}, ["pdf"]),
        ({"svg": True, "no_titles": True}, ["svg"]),
        ({"width": 3.3, "no_titles": True}, ["png"]),
    ],
    ids=["formats", "width", "no titles", "no format"],
)
def test_kinds_of_files(tmp_path, asked, kinds):
    look = SimpleNamespace(**{"pdf": None, "svg": None, "width": None, "no_titles": None} | asked)
    drawn = draw(subject(name="normal", z=2), tmp_path, ["samples"], look)
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xm"}
    assert [(path.name, path.read_bytes()[:4]) for path in drawn.files] == [(f"samples.{k}", starts[k]) for k in kinds]


@pytest.mark.slow
@pytest.mark.parametrize("width", [None, 3.3, 6.9])
@pytest.mark.parametrize(
    "settings",
    [
        {"name": "vmf", "z": 2},
        {"name": "normal", "z": 6},
        {"name": "productspace", "z_dims": ("s1", "s1")},
        {"name": "productspace", "z_dims": ("s2", "e1", "s1", "s4", "e2")},
        {"name": "vq", "codes": 30, "positions": 4, "code_dim": 3},
        {"name": "gumbel", "categories": 12, "variables": 12},
    ],
    ids=["S2", "R6", "torus", "product", "vq", "gumbel"],
)
def test_nothing_is_cut_off_and_no_legend_covers_data(settings, width):
    found, faults = subject(60, 10, **settings), []
    for name, picture in FIGURES.items():
        if picture.misfit(found.config):
            continue
        figures = []
        style = Style(width, formats=())
        render(lambda picture=picture, figures=figures: figures.append(picture.draw(found)) or figures[0], style)
        (figure,) = figures
        figure.draw_without_rendering()
        box, whole = figure.get_tightbbox(), figure.get_size_inches()
        if min(box.x0, box.y0, *(whole - box.max)) < -0.05:
            faults.append(f"{name} is cut off: {box} of {whole}")
        for axes in figure.axes:
            if axes.get_legend() and axes.get_legend().get_window_extent().y0 < axes.get_window_extent().y1 - 1:
                faults.append(f"{name}: a legend covers data")
    assert not faults, "\n".join(faults)


def norms(subject):
    """A figure from outside."""
    figure = Figure()
    figure.subplots().hist((subject.modes**2).sum(-1))
    return figure


def test_a_new_figure_is_a_function_and_an_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FIGURES", {"norms": Picture(f"{__name__}:norms", ("coordinates",))})
    assert names_of(draw(subject(name="normal", z=2), tmp_path)) == {"norms"}
    assert names_of(draw(discrete(), tmp_path)) == set()


class LaplaceLatent(Latent):
    """A latent from outside on R^d, whose KL is not registered for its prior."""

    def __init__(self, in_features, dim, count=None):
        super().__init__(in_features, 2 * dim, count)
        self.event_dim = dim

    def posterior(self, features):
        loc, raw = self.parameters_of(features).chunk(2, -1)
        return Independent(Laplace(loc, raw.exp()), 1)

    def prior(self):
        zeros = torch.zeros(*(() if self.count is None else (self.count,)), self.event_dim)
        return Independent(Laplace(zeros, torch.ones_like(zeros)), 1)


@pytest.mark.parametrize(("dim", "low"), [(1, True), (2, True), (5, False)])
def test_a_new_latent_on_a_euclidean_space_has_its_figures_and_name(dim, low, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "laplace", Kind("Laplace", "R"))
    monkeypatch.setitem(LATENTS, "laplace", LaplaceLatent)
    found = subject(name="laplace", z=dim)
    expected = {"latent", "aggregate_posterior"} | ({"manifold"} if low else {"latent_overview", "traversals"})
    assert {name for name, picture in FIGURES.items() if not picture.misfit(found.config)} == ALWAYS | expected
    drawn = draw(found, tmp_path, sorted(expected))
    assert drawn.refused == []
    assert names_of(drawn) == expected
    assert found.names == [f"$R^{{{dim}}}$"]
    assert dataclasses.asdict(found.factors[0]) == {
        "dim": dim, "radius": None, "columns": slice(0, dim), "is_normal": False,
    }  # fmt: skip
