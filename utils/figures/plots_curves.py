"""Figures of the course of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.plotting_utils import COLOURS, STYLES, Array, new_figure


def learning_curves(
    metrics: Sequence[dict[str, Any]], title: str, best_epoch: int, constant_kl: bool = False
) -> Figure:
    """ELBO, reconstruction, KL and KL weight over the epochs; kappa and the KL per factor where the run has them.

    Args:
        metrics: the lines of `metrics.jsonl`.
        title: what was trained on what.
        best_epoch: marked by a vertical line; 0 for none.
        constant_kl: whether the KL is one number in whatever epoch; its weight then moves no gradient, and it and kappa
            have no panel.
    """
    validated = [line for line in metrics if line["val"]]
    draw: list[Any] = [_elbo, _reconstruction, _kl] if constant_kl else [_elbo, _reconstruction, _kl, _weight]
    if validated and "kappa" in validated[0]["val"] and not constant_kl:
        draw.append(_kappa)
    if metrics and "kl_factors" in metrics[0]["train"]:
        draw.append(_kl_factors)
    # One row of three panels, else two rows that are both filled, whatever the number of panels.
    below = len(draw) // 2 if len(draw) > 3 else 0
    above = len(draw) - below
    figure = new_figure(7.2 if len(draw) == 4 else 10.8, 6.2 if below else 3.4, title)
    grid = figure.add_gridspec(2 if below else 1, above * max(below, 1))
    for number, function in enumerate(draw):
        row, place = (0, number) if number < above else (1, number - above)
        span = max(below, 1) if row == 0 else above
        axes = figure.add_subplot(grid[row, place * span : (place + 1) * span])
        function(axes, metrics)
        if function is _kl and constant_kl:
            axes.set_title("constant", fontsize=10)
        axes.grid(alpha=0.3)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
        if best_epoch:
            axes.axvline(best_epoch, color="0.4", linestyle=(0, (1, 1)), label=f"best epoch ({best_epoch})")
        if function in (_elbo, _kappa, _kl_factors):
            axes.legend(fontsize=8)
    return figure


def _line(axes: Any, epochs: Sequence[int], values: Sequence[float | None] | Array, **style: Any) -> None:
    """One curve; a single epoch is no line and becomes a point, and a missing value a gap."""
    numbers = [np.nan if value is None else value for value in values]
    axes.plot(epochs, numbers, marker="o" if len(epochs) == 1 else None, **style)


def _term(axes: Any, metrics: Sequence[dict[str, Any]], key: str, label: str) -> None:
    for split, name, style, colour in (("train", "training", "--", COLOURS[1]), ("val", "validation", "-", COLOURS[0])):
        lines = [line for line in metrics if line[split]]
        epochs = [line["epoch"] for line in lines]
        _line(axes, epochs, [line[split][key] for line in lines], linestyle=style, color=colour, label=name)
    axes.set_ylabel(f"{label} (nats)")
    low, high = axes.dataLim.intervaly
    if abs(high - low) < 1e-3:  # one constant, whose rounding is not to fill the panel
        axes.set_ylim((low + high) / 2 - 1, (low + high) / 2 + 1)


def _elbo(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    _term(axes, metrics, "elbo", "ELBO")
    lines = [line for line in metrics if line["val"] and "log_px" in line["val"]]
    if lines:
        values = [line["val"]["log_px"] for line in lines]
        name = f"validation log p(x), K = {lines[0]['val']['k']}"
        _line(axes, [line["epoch"] for line in lines], values, linestyle="-.", color=COLOURS[2], label=name)


def _reconstruction(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    _term(axes, metrics, "log_px_z", "reconstruction log p(x|z)")


def _kl(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    _term(axes, metrics, "kl", "KL divergence")


def _weight(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    _line(axes, [line["epoch"] for line in metrics], [line["kl_weight"] for line in metrics], color=COLOURS[2])
    axes.set_ylabel("weight of the KL")
    axes.set_ylim(bottom=0)


def _kappa(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    lines = [line for line in metrics if line["val"]]
    epochs = [line["epoch"] for line in lines]
    median = np.array([line["val"]["kappa"]["q50"] for line in lines], float)
    count = min(median.shape[1], 6)
    for factor in range(count):
        colour, style = COLOURS[factor], STYLES[factor % len(STYLES)]
        low, high = (np.array([line["val"]["kappa"][q] for line in lines], float)[:, factor] for q in ("q05", "q95"))
        name = "median" if median.shape[1] == 1 else f"sphere {factor + 1}, median"
        _line(axes, epochs, median[:, factor], color=colour, linestyle=style, label=name)
        spread = "5 to 95 % of the images" if factor == 0 else None  # one entry explains the bands of all spheres
        if len(epochs) > 1:
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0, label=spread)
        else:
            axes.vlines(epochs, low, high, color=colour, label=spread)
    axes.set_ylabel("concentration κ" + (f", first {count} spheres" if count < median.shape[1] else ""))


def _kl_factors(axes: Any, metrics: Sequence[dict[str, Any]]) -> None:
    lines = [line for line in metrics if line["val"]] or list(metrics)
    split = "val" if lines[0]["val"] else "train"
    values = np.array([line[split]["kl_factors"] for line in lines], float)
    count = min(values.shape[1], 8)
    for factor in range(count):
        colour, style = COLOURS[factor], STYLES[factor % len(STYLES)]
        epochs = [line["epoch"] for line in lines]
        _line(axes, epochs, values[:, factor], color=colour, linestyle=style, label=f"factor {factor + 1}")
    axes.set_ylabel("KL per factor (nats)" + (f", first {count}" if count < values.shape[1] else ""))
