"""Learning curves from made-up metrics: what is on them, and what the odd inputs do."""

import numpy as np
import pytest

from tests.utils.figures.subjects import line, rendered, subject
from utils.figures.curves import learning_curves


def run(epochs=2, **settings):
    found = subject(**settings)
    found.metrics = [line(epoch, found.config) for epoch in range(1, epochs + 1)]
    return found


PLAIN = {"name": "normal", "z": 2}


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        (PLAIN, ["ELBO (nats)", "log p(x|z) (nats)", "KL divergence (nats)", "weight of the KL"]),
        ({"name": "vmf", "z": 2}, ["concentration κ"]),
        ({"name": "productspace", "z_dims": ("s2", "e1", "s2")}, ["concentration κ", "KL per factor (nats)"]),
        (
            {"name": "productspace", "z_dims": ("s2",) * 9},
            ["concentration κ, first 6 spheres", "KL per factor (nats), first 8"],
        ),
    ],
    ids=["plain", "one sphere", "two spheres", "nine spheres"],
)
@pytest.mark.parametrize("epochs", [1, 4])
def test_learning_curves_show_every_term_with_its_unit(settings, labels, epochs):
    figure = rendered(learning_curves(run(epochs, **settings)))
    assert figure.get_suptitle().startswith("Learning curves:")
    assert [axes.get_ylabel() for axes in figure.axes][-len(labels) :] == labels
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_lines(), "an empty panel"
    if epochs == 1:
        assert figure.axes[0].get_lines()[0].get_marker() == "o"
    assert "best epoch (2)" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_learning_curves_leave_a_gap_where_a_value_or_validation_is_missing():
    found = run(**PLAIN)
    found.metrics.append(line(3, val=False))
    found.metrics[1]["val"]["elbo"] = None
    validated = rendered(learning_curves(found)).axes[0].get_lines()[1].get_ydata()
    assert np.isnan(validated).tolist() == [False, True]


def test_constant_term_is_a_level_line():
    assert rendered(learning_curves(run(**PLAIN))).axes[2].get_ylim() == (9, 11)


def test_log_px_of_the_validation_is_drawn_where_it_was_asked_for():
    found = run(**PLAIN)
    for entry in found.metrics:
        entry["val"] |= {"log_px": -80.0, "k": 10}
    axes = rendered(learning_curves(found)).axes[0]
    assert "validation log p(x), K = 10" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert axes.get_lines()[2].get_ydata().tolist() == [-80, -80]


def test_constant_kl_is_called_so_and_has_neither_weight_nor_kappa_beside_it():
    figure = rendered(learning_curves(run(name="vmf", z=2, kappa=5.0)))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "ELBO (nats)", "log p(x|z) (nats)", "KL divergence (nats)",
    ]  # fmt: skip
    assert [axes.get_title() for axes in figure.axes] == ["", "", "constant"]
    assert all(axes.get_title() == "" for axes in learning_curves(run(name="vmf", z=2)).axes)


@pytest.mark.parametrize(
    ("dims", "medians"),
    [(("s2", "e2"), ["median"]), (("s2", "s2"), ["sphere 1, median", "sphere 2, median"])],
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_band_of_kappa_is_explained(dims, medians, epochs):
    axes = learning_curves(run(epochs, name="productspace", z_dims=dims)).axes[-2]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(texts) == sorted([*medians, "5 to 95 % of the images", "best epoch (2)"])


def test_title_says_which_epoch_is_the_best():
    figure = learning_curves(subject(name="vmf", z=2))
    assert figure.get_suptitle() == "Learning curves: vmf on $S^{2}$ in $R^{3}$, digits, best epoch 2"
