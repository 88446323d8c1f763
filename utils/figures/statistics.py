"""Figures of numbers: concentrations, log p(x), confusions.

Shapes: N images, n spheres, C classes.
"""

import itertools
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.figures.subject import BLOCK, Array, Subject
from utils.plotting_utils import COLOURS, STYLES, WHOLE_TICKS, legend, matrix, name_of, new_figure, show_rows

MOST_SPHERES = 6


def kappa(subject: Subject) -> Figure:
    """Histogram of the concentrations, one outline for each sphere, at most six of them."""
    spheres = [heading for heading, factor in zip(subject.names, subject.factors, strict=True) if factor.radius]
    shown = spheres[:MOST_SPHERES]
    note = f"The first {len(shown)} of {len(spheres)} spheres." if shown != spheres else ""
    kappas = subject.concentrations[:, : len(shown)]
    axes: Any = new_figure(7.4, 4.4, f"Posterior concentrations: {subject.title}", note).subplots()
    low, high = kappas.min(), kappas.max()
    pad = max(0.02 * (high - low), 1e-3 * high)
    bins = np.linspace(low - pad, high + pad, _bin_count(kappas.ravel()) + 1).tolist()
    for heading, values, colour, style in zip(shown, kappas.T, COLOURS, itertools.cycle(STYLES), strict=False):
        label = f"{heading}: median {np.median(values):.3g}"
        axes.hist(values, bins, histtype="step", color=colour, linestyle=style, linewidth=1.5, label=label)
    if len(shown) == 1:
        axes.hist(kappas, bins, color=COLOURS[0], alpha=0.25)
    axes.set_xlabel("concentration κ of q(z|x)")
    _count_axis(axes, len(kappas))
    legend(axes)
    return axes.figure


def log_px(subject: Subject) -> Figure:
    """Histogram of log p(x) of each image, with the images of lowest and highest value if they can be shown.

    Values that are not finite are left out and counted in the label.
    """
    assert subject.log_px is not None
    k, values = subject.log_px
    finite = values[np.isfinite(values)]
    rows = 1 + subject.has_pictures
    figure = new_figure(8.4, (4.4, 6.4)[rows - 1], f"Log-likelihood of single test images: {subject.title}")
    above, *below = figure.subplots(rows, 1, height_ratios=(3, 1.8)[:rows], squeeze=False)[:, 0]
    above.hist(finite, _bin_count(finite), color=COLOURS[0])
    if len(finite):
        above.axvline(finite.mean(), color=COLOURS[1], linestyle="--", label=f"mean {finite.mean():.2f}")
        legend(above)
    lost = len(values) - len(finite)
    above.set_xlabel(f"log p(x) (nats, K = {k})" + (f"; {lost} not finite" if lost else ""))
    _count_axis(above, len(values))
    order = torch.from_numpy(np.argsort(np.nan_to_num(values, nan=-np.inf)))
    for axes in below:
        count = min(12, max(1, len(order) // 2))  # no image is at both ends, unless there is but one
        extremes = np.stack([subject.pictures(end[:count]) for end in (order, order.flip(0))])
        show_rows(axes, extremes, ["least likely", "most likely"])
    return figure


def confusion(subject: Subject) -> Figure:
    """Confusions of the classifier: images of the class of the row that it takes for the class of the column."""
    model = subject.model
    assert model.classifier is not None
    assert subject.labels is not None
    z = subject.embeddings
    if z is None:
        z = torch.cat([model.encode(x) for x in subject.images.split(BLOCK)])
    predicted = model.classifier(z).argmax(-1).cpu().numpy()
    classes = max(len(subject.class_names), max(subject.classes) + 1, int(predicted.max()) + 1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (subject.labels.numpy(), predicted), 1)
    size = min(max(0.5 * classes + 2, 4.5), 12)
    axes: Any = new_figure(size + 1.2, size, f"Confusions: {subject.title}").subplots()
    texts = [name_of(label, subject.class_names) for label in range(classes)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    matrix(axes, shares, texts, "share of the true class", np.char.mod("%d", counts))
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"accuracy {np.trace(counts) / counts.sum():.2%} of {len(predicted):,} images")
    return axes.figure


def _bin_count(values: Array) -> int:
    """Bins of a histogram by the rule of Freedman and Diaconis, between 5 and 60: outliers may ask for millions."""
    if not len(values):
        return 5
    low, first, third, high = np.quantile(values, (0, 0.25, 0.75, 1))
    width = 2 * (third - first) / np.cbrt(len(values))
    return int(np.clip((high - low) / width, 5, 60)) if width > 0 else 5


def _count_axis(axes: Any, total: int) -> None:
    axes.set_ylabel(f"images (of {total:,})")
    axes.yaxis.set_major_locator(MaxNLocator(**WHOLE_TICKS))
