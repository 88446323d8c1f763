"""Figures that are sheets of images: reconstructions, samples, one image as several runs reconstruct it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from utils.data.sets import DATASETS
from utils.figures.subject import Subject, symbols
from utils.plotting_utils import image_rows, name_of, plain
from utils.seeds import derive_seed

MOST_CLASSES = 20
COLUMNS = 10


def reconstructions(subject: Subject) -> Figure:
    """Test images in one row and what the model makes of them in the next."""
    chosen = subject.spread(4 * COLUMNS)
    columns = min(COLUMNS, len(chosen))
    chosen = chosen[: len(chosen) // columns * columns]
    decoded = subject.decode(subject.model.posterior(subject.chosen(chosen)).sample())
    pairs = np.stack([part.reshape(-1, columns, *part.shape[1:]) for part in (subject.pictures(chosen), decoded)], 1)
    spec = DATASETS.get(subject.config.dataset)
    binary = subject.model.likelihood.binary or subject.config.binarize
    name = "binarized" if binary and (spec is None or spec.levels > 1) else "original"
    title = f"Test images and their reconstructions: {subject.title}"
    return image_rows(np.concatenate(list(pairs)), title, [name, "decoded"] * len(pairs))


def samples(subject: Subject) -> Figure:
    """Decoded samples of the prior."""
    images = subject.decode(subject.model.latent.prior().sample((10 * COLUMNS,)))
    title = f"Samples from the prior (pixel means): {subject.title}"
    return image_rows(images.reshape(-1, COLUMNS, *images.shape[1:]), title)


def class_samples(subject: Subject) -> Figure:
    """Decoded latents of each class, a row for each."""
    shown = subject.classes[:MOST_CLASSES]
    rows = np.stack([subject.decode(subject.class_latents(label, COLUMNS)) for label in shown])
    source = "prior of the class, as the model knows it" if subject.knows_classes else "posteriors of its test images"
    note = f"z from the {source}."
    if len(shown) < len(subject.classes):
        note += f" The first {len(shown)} of {len(subject.classes)} classes."
    names = [name_of(label, subject.class_names) for label in shown]
    return image_rows(rows, f"Samples of each class: {subject.title}", names, note=note)


def side_by_side(subjects: Sequence[Subject], originals: Tensor, columns: int = 12) -> Figure:
    """The same test images as several runs reconstruct them, a row for each.

    Args:
        subjects: runs on one data set.
        originals: its test images before any binarization, (N, C, H, W).
        columns: how many images.
    """
    chosen = subjects[0].spread(columns)
    rows, texts = [originals[chosen].numpy()], ["original"]
    for subject in subjects:
        torch.manual_seed(derive_seed(subject.config.rs, "figure", "side_by_side"))
        rows.append(subject.decode(subject.model.posterior(subject.chosen(chosen)).sample()))
        config = subject.config
        texts.append(f"{plain(config.exp_name or str(config.name))}, seed {config.rs}\n{symbols(config.space)}")
    title = f"Test images of {subjects[0].config.dataset} and their reconstructions by {len(subjects)} models"
    epochs = ", ".join(str(subject.best_epoch) for subject in subjects)
    return image_rows(np.stack(rows), title, texts, note=f"Models of epochs {epochs}.")
