"""Figures of the course of a training."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.figures.subject import Array, Subject
from utils.plotting_utils import COLOURS, STYLES, is_narrow, legend, new_figure

Line = dict[str, Any]

MOST_SPHERES = 6
MOST_FACTORS = 8


def learning_curves(subject: Subject) -> Figure:
    """ELBO, reconstruction, KL and KL weight over the epochs; kappa and the KL per factor where the run has them.

    Where the KL is one number in every epoch, its weight moves no gradient, and it and kappa have no panel.
    """
    metrics, constant_kl = subject.metrics, subject.model.latent.kl_is_constant
    kl = partial(_term, key="kl", label="KL divergence")
    draw: list[Callable[..., None]] = [_elbo, partial(_term, key="log_px_z", label="log p(x|z)"), kl]
    if not constant_kl:
        draw.append(_weight)
        if any("kappa" in line["val"] for line in metrics if line["val"]):
            draw.append(_kappa)
    if metrics and "kl_factors" in metrics[0]["train"]:
        draw.append(_kl_factors)
    # One row of three panels, else two rows that are both filled, whatever the number of panels.
    below = len(draw) // 2 if len(draw) > 3 else 0
    above = len(draw) - below
    rows = [np.repeat(range(above), max(below, 1)), np.repeat(range(above, len(draw)), above)]
    width, height = 7.2 if len(draw) == 4 else 10.8, 6.2 if below else 3.4
    if is_narrow():
        rows, width, height = [np.array([place]) for place in range(len(draw))], 3.6, 1.25 * len(draw)
    figure = new_figure(width, height, f"Learning curves: {subject.trained}, best epoch {subject.best_epoch}")
    panels = figure.subplot_mosaic([row.tolist() for row in rows if len(row)])
    for axes, function in zip(panels.values(), draw, strict=True):
        function(axes, metrics)
        axes.grid(alpha=0.3)
        axes.set(xlabel="epoch", title="constant" if constant_kl and function is kl else "")
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
        best = f"best epoch ({subject.best_epoch})"
        axes.axvline(subject.best_epoch, color="0.4", linestyle=(0, (1, 1)), label=best)
        if function in (_elbo, _kappa, _kl_factors):
            legend(axes)
    return figure


def _line(axes: Any, lines: Sequence[Line], values: Sequence[float | None] | Array, **style: Any) -> None:
    """One curve; a single epoch is no line and becomes a point, and a missing value a gap."""
    epochs = [line["epoch"] for line in lines]
    axes.plot(epochs, np.array(values, float), marker="o" if len(epochs) == 1 else None, **style)


def _term(axes: Any, metrics: Sequence[Line], key: str, label: str) -> None:
    for split, name, style, colour in (("train", "training", "--", COLOURS[1]), ("val", "validation", "-", COLOURS[0])):
        lines = [line for line in metrics if line[split]]
        _line(axes, lines, [line[split][key] for line in lines], linestyle=style, color=colour, label=name)
    axes.set_ylabel(f"{label} (nats)")
    low, high = axes.dataLim.intervaly
    if abs(high - low) < 1e-3:  # one constant, whose rounding is not to fill the panel
        axes.set_ylim((low + high) / 2 - 1, (low + high) / 2 + 1)


def _elbo(axes: Any, metrics: Sequence[Line]) -> None:
    _term(axes, metrics, "elbo", "ELBO")
    lines = [line for line in metrics if line["val"] and "log_px" in line["val"]]
    if lines:
        label = f"validation log p(x), K = {lines[0]['val']['k']}"
        _line(axes, lines, [line["val"]["log_px"] for line in lines], linestyle="-.", color=COLOURS[2], label=label)


def _weight(axes: Any, metrics: Sequence[Line]) -> None:
    _line(axes, metrics, [line["kl_weight"] for line in metrics], color=COLOURS[2])
    axes.set(ylabel="weight of the KL", ylim=(0, None))


def _by_factor(axes: Any, lines: Sequence[Line], values: Array, names: Sequence[str]) -> None:
    """One curve for each factor of values (epochs, factors), as many as there are names."""
    for factor, (name, style) in enumerate(zip(names, itertools.cycle(STYLES), strict=False)):
        _line(axes, lines, values[:, factor], color=COLOURS[factor], linestyle=style, label=name)


def _kappa(axes: Any, metrics: Sequence[Line]) -> None:
    lines = [line for line in metrics if line["val"]]
    epochs = [line["epoch"] for line in lines]
    low, median, high = (np.array([line["val"]["kappa"][q] for line in lines], float) for q in ("q05", "q50", "q95"))
    spheres = median.shape[1]
    count = min(spheres, MOST_SPHERES)
    names = ["median"] if spheres == 1 else [f"sphere {number}, median" for number in range(1, count + 1)]
    _by_factor(axes, lines, median, names)
    for sphere in range(count):
        # One entry of the legend explains the bands of all spheres.
        style = {"color": COLOURS[sphere], "label": "5 to 95 % of the images" if sphere == 0 else None}
        if len(epochs) > 1:
            axes.fill_between(epochs, low[:, sphere], high[:, sphere], alpha=0.15, linewidth=0, **style)
        else:
            axes.vlines(epochs, low[:, sphere], high[:, sphere], **style)
    axes.set_ylabel("concentration κ" + (f", first {count} spheres" if count < spheres else ""))


def _kl_factors(axes: Any, metrics: Sequence[Line]) -> None:
    lines = [line for line in metrics if line["val"]] or list(metrics)
    split = "val" if lines[0]["val"] else "train"
    values = np.array([line[split]["kl_factors"] for line in lines], float)
    count = min(values.shape[1], MOST_FACTORS)
    _by_factor(axes, lines, values, [f"factor {number}" for number in range(1, count + 1)])
    axes.set_ylabel("KL per factor (nats)" + (f", first {count}" if count < values.shape[1] else ""))
