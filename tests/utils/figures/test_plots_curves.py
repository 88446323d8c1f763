"""Learning curves from made-up metrics: what is on them, and what the odd inputs do."""

import numpy as np
import pytest

from utils.figures.plots_curves import learning_curves


def line(epoch, kappas=0, factors=0, val=True):
    def quantity(name):
        return [float(epoch + place) for place in range(kappas)] if name else None

    split = {"elbo": -100.0 + epoch, "log_px_z": -90.0, "kl": 10.0}
    if factors:
        split["kl_factors"] = [1.0 + place for place in range(factors)]
    validated = dict(split)
    if kappas:
        validated["kappa"] = {name: quantity(name) for name in ("mean", "std", "q05", "q50", "q95")}
    return {"epoch": epoch, "kl_weight": 1.0, "train": split, "val": validated if val else None}


def rendered(figure):
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize(
    ("kappas", "factors", "labels"),
    [
        (0, 0, ["ELBO (nats)", "reconstruction log p(x|z) (nats)", "KL divergence (nats)", "weight of the KL"]),
        (1, 0, ["concentration κ"]),
        (2, 3, ["concentration κ", "KL per factor (nats)"]),
        (9, 10, ["concentration κ, first 6 spheres", "KL per factor (nats), first 8"]),
    ],
)
@pytest.mark.parametrize("epochs", [1, 4])
def test_learning_curves_show_every_term_with_its_unit(kappas, factors, labels, epochs):
    metrics = [line(epoch, kappas, factors) for epoch in range(1, epochs + 1)]
    figure = rendered(learning_curves(metrics, "Learning curves: a model", 1))
    assert figure.get_suptitle() == "Learning curves: a model"
    assert [axes.get_ylabel() for axes in figure.axes][-len(labels) :] == labels
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_lines(), "an empty panel"
    if epochs == 1:
        assert figure.axes[0].get_lines()[0].get_marker() == "o"
    assert "best epoch (1)" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_learning_curves_leave_a_gap_where_a_value_or_validation_is_missing():
    metrics = [line(1), line(2), line(3, val=False)]
    metrics[1]["val"]["elbo"] = None
    validated = rendered(learning_curves(metrics, "t", 0)).axes[0].get_lines()[1].get_ydata()
    assert np.isnan(validated).tolist() == [False, True]


def test_constant_term_is_a_level_line():
    axes = rendered(learning_curves([line(1), line(2)], "t", 0)).axes[2]
    assert axes.get_ylim() == (9, 11)


def test_log_px_of_the_validation_is_drawn_where_it_was_asked_for():
    metrics = [line(1), line(2)]
    for entry in metrics:
        entry["val"] |= {"log_px": -80.0, "k": 10}
    axes = rendered(learning_curves(metrics, "t", 0)).axes[0]
    assert "validation log p(x), K = 10" in [text.get_text() for text in axes.get_legend().get_texts()]
    assert axes.get_lines()[2].get_ydata().tolist() == [-80, -80]


def test_constant_kl_is_called_so_and_has_neither_weight_nor_kappa_beside_it():
    figure = rendered(learning_curves([line(1, 1), line(2, 1)], "t", 2, constant_kl=True))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "ELBO (nats)", "reconstruction log p(x|z) (nats)", "KL divergence (nats)",
    ]  # fmt: skip
    assert [axes.get_title() for axes in figure.axes] == ["", "", "constant"]
    assert all(axes.get_title() == "" for axes in learning_curves([line(1, 1), line(2, 1)], "t", 2).axes)


@pytest.mark.parametrize(("spheres", "medians"), [(1, ["median"]), (2, ["sphere 1, median", "sphere 2, median"])])
@pytest.mark.parametrize("epochs", [1, 3])
def test_band_of_kappa_is_explained(spheres, medians, epochs):
    axes = learning_curves([line(epoch, spheres) for epoch in range(1, epochs + 1)], "t", 0).axes[-1]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(texts) == sorted([*medians, "5 to 95 % of the images"])
