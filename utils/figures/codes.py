"""Figures of discrete latents: which codes are used, and by which classes.

Shapes: C classes.
"""

import warnings
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.figures.geometry import jensen_shannon, multidimensional_scaling
from utils.figures.subject import Array, Subject
from utils.plotting_utils import (
    COLOURS,
    DENSITY,
    LEGEND_CLASSES,
    WHOLE_TICKS,
    class_points,
    font_size,
    image_rows,
    legend,
    matrix,
    name_of,
    new_figure,
    panel_grid,
    plane_axes,
    set_title,
)

MOST_SHOWN = 12


def code_usage(subject: Subject) -> Figure:
    """How often each code is used by the test images, with the perplexity that the table of the run has."""
    latent = subject.model.latent
    codes = subject.codes(subject.images)
    perplexity = latent.code_summary(codes)["perplexity"]
    counts = np.stack([np.bincount(place, minlength=latent.code_count) for place in codes.T.numpy()])
    run = f"by {len(codes):,} images: {subject.title}"
    if latent.shares_codes:
        return _shared_usage(counts.sum(0), perplexity, f"Use of the codes {run}", subject.warning)
    return _usage_by_variable(counts, perplexity, f"Use of the categories {run}", subject.warning)


def _shared_usage(counts: Array, perplexity: float, title: str, note: str) -> Figure:
    """The shares of codes (codes,) that mean the same at all positions, in descending order, beside even use."""
    share = np.sort(counts)[::-1] / max(counts.sum(), 1)
    axes: Any = new_figure(7.4, 4.4, title, note).subplots()
    axes.bar(np.arange(1, len(share) + 1), share, width=1.0, color=COLOURS[0])
    axes.axhline(1 / len(share), color=COLOURS[1], linestyle="--", label="all codes alike")
    axes.xaxis.set_major_locator(MaxNLocator(**WHOLE_TICKS))
    axes.set(xlabel="code, in order of use", ylabel="share of all positions")
    set_title(
        axes,
        f"{(counts > 0).sum()} of {len(share)} codes are used; perplexity {perplexity:.1f} of {len(share)} at most",
    )
    legend(axes)
    return axes.figure


def _usage_by_variable(counts: Array, perplexity: float, title: str, note: str) -> Figure:
    """The shares of categories that have a meaning within their own variable only, (variables, categories)."""
    variables, categories = counts.shape
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    note = f"A category has a meaning within its own variable only. Even use: a share of {1 / categories:.3g}. {note}"
    axes: Any = new_figure(7.4, min(max(0.22 * variables + 2.2, 3.6), 9.0), title, note).subplots()
    shown = axes.imshow(
        share, cmap=DENSITY, vmin=0, aspect="auto", interpolation="nearest",
        extent=(0.5, categories + 0.5, variables + 0.5, 0.5),
    )  # fmt: skip
    axes.figure.colorbar(shown, ax=axes, label="share of the images")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(**WHOLE_TICKS, min_n_ticks=1))
    axes.set(xlabel="category", ylabel="variable")
    set_title(
        axes,
        f"{(counts > 0).mean():.0%} of the categories are used; "
        f"perplexity {perplexity:.1f} of {categories} at most, mean over variables",
    )
    return axes.figure


def codebook(subject: Subject) -> Figure:
    """What codes stand for: each at all positions, or each category of each variable in place of that of an image.

    Codes of a shared codebook come in order of their use, at most 100 of them. Of categories at most 12 variables and
    12 categories are shown.
    """
    latent = subject.model.latent
    codes = subject.codes(subject.images)
    positions, device = codes.shape[1], subject.images.device
    if latent.shares_codes:
        counts = np.bincount(codes.flatten(), minlength=latent.code_count)
        used = np.argsort(-counts, kind="stable")[:100]
        columns = min(10, len(used))
        used = used[: len(used) // columns * columns]
        z = latent.vectors(torch.from_numpy(used)[:, None].expand(-1, positions).to(device))
        rows = subject.decode(z.unflatten(0, (-1, columns)))
        note = f"The {len(used)} most used of {latent.code_count} codes in reading order, each at all positions."
        return image_rows(rows, f"Codebook: {subject.title}", note=f"{note} {subject.warning}")
    variables, categories = min(positions, MOST_SHOWN), min(latent.code_count, MOST_SHOWN)
    base = codes[len(codes) // 2]
    mixed = base.repeat(variables, categories, 1)
    for variable in range(variables):
        mixed[variable, :, variable] = torch.arange(categories)
    rows = subject.decode(latent.vectors(mixed.to(device)))
    return image_rows(
        rows,
        f"Categories: {subject.title}",
        [f"variable {number}" for number in range(1, variables + 1)],
        [str(number) for number in range(1, categories + 1)],
        f"One variable changes, the others stay with one test image. {subject.warning}",
    )


def class_codes(subject: Subject) -> Figure:
    """Which classes use the same codes: matrix of Jensen-Shannon divergences, dendrogram and map."""
    from scipy.cluster.hierarchy import dendrogram, linkage
    from scipy.spatial.distance import squareform

    divergences = jensen_shannon(_counts_by_class(subject))
    count = len(divergences)
    texts = [name_of(label, subject.class_names) for label in subject.classes]
    figure, places = panel_grid(
        [False] * 3,
        f"Codes of the classes: {subject.title}",
        "Divergences in nats; 0: the same codes, 0.69: no code in common.",
        2.0,
    )
    left, tree, plane = map(figure.add_subplot, places)
    matrix(left, divergences, texts, "Jensen–Shannon divergence (nats)", np.char.mod("%.2f", divergences), np.log(2))
    # A dendrogram and a map need distances: the root of the divergence is a metric, the divergence is not.
    distances = np.sqrt(divergences)
    with warnings.catch_warnings():
        # Classes that are all alike make a tree without height, of which matplotlib warns.
        warnings.filterwarnings("ignore", "Attempting to set identical")
        dendrogram(
            linkage(squareform(distances, checks=False), "average"), labels=texts, ax=tree, color_threshold=0,
            above_threshold_color=COLOURS[0], leaf_rotation=90 if max(map(len, texts)) > 3 else 0,
            leaf_font_size=font_size(count),
        )  # fmt: skip
    tree.set(title="average linkage", ylabel="root of the divergence")
    positions, stress = multidimensional_scaling(distances)
    for rank, (x, y) in enumerate(positions):
        class_points(plane, np.array([[x, y]]), rank, 40)
        if count <= LEGEND_CLASSES:
            # Towards the middle, so that no name runs out of the picture.
            side, shift = ("left", 6) if x <= 0 else ("right", -6)
            plane.annotate(texts[rank], (x, y), xytext=(shift, 5), textcoords="offset points", ha=side)
    plane.margins(0.15)
    set_title(plane, f"multidimensional scaling (stress {stress:.2f})")
    plane_axes(plane, "MDS 1", "MDS 2")
    return figure


def _counts_by_class(subject: Subject) -> Array:
    """How often each code stands at each position in the test images of each class, (C, positions, codes)."""
    assert subject.labels is not None
    codes = subject.codes(subject.images).numpy()
    rank = np.searchsorted(subject.classes, subject.labels.numpy())
    counts = np.zeros((len(subject.classes), codes.shape[1], subject.model.latent.code_count))
    np.add.at(counts, (rank[:, None], np.arange(codes.shape[1])[None], codes), 1)
    return counts
