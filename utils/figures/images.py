"""Figures that are sheets of images: reconstructions, samples, one image as several runs reconstruct it."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from utils.config.seeds import derive_seed
from utils.data.sets import DATASETS
from utils.figures.subject import Subject, symbols
from utils.plotting_utils import image_rows, name_of, plain

MOST_CLASSES = 20
COLUMNS = 10
COMPARED = (0.1, 1.0, 10.0, 100.0, 1000.0)  # concentrations at which several runs are decoded


def reconstructions(subject: Subject) -> Figure:
    """Test images, as the model sees them and before any binarization, and what it makes of them in the next row."""
    chosen = subject.spread(4 * COLUMNS)
    columns = min(COLUMNS, len(chosen))
    chosen = chosen[: len(chosen) // columns * columns]
    shown = {"decoded": subject.decode(subject.model.posterior(subject.chosen(chosen)).sample())}
    spec = DATASETS.get(subject.config.dataset)
    binary = subject.model.likelihood.binary or subject.config.binarize
    name = "binarized" if binary and (spec is None or spec.levels > 1) else "original"
    shown = {name: subject.pictures(chosen)} | shown
    if name != "original" and subject.originals is not None:
        shown = {"original": subject.original_pictures(chosen)} | shown
    groups = np.stack([part.reshape(-1, columns, *part.shape[1:]) for part in shown.values()], 1)
    return image_rows(
        np.concatenate(list(groups)),
        f"Test images and their reconstructions: {subject.title}",
        list(shown) * len(groups),
    )


def samples(subject: Subject) -> Figure:
    """Decoded samples of the prior."""
    images = subject.decode(subject.model.latent.prior().sample((10 * COLUMNS,)))
    return image_rows(
        images.reshape(-1, COLUMNS, *images.shape[1:]), f"Samples from the prior (pixel means): {subject.title}"
    )


def class_samples(subject: Subject) -> Figure:
    """Decoded latents of each class, a row for each."""
    shown = subject.classes[:MOST_CLASSES]
    rows = np.stack([subject.decode(subject.latents(COLUMNS, label)) for label in shown])
    knows = subject.model.knows_classes
    note = f"z from the {'prior of the class, as the model knows it' if knows else 'posteriors of its test images'}."
    if len(shown) < len(subject.classes):
        note += f" The first {len(shown)} of {len(subject.classes)} classes."
    names = [name_of(label, subject.class_names) for label in shown]
    return image_rows(rows, f"Samples of each class: {subject.title}", names, note=note)


def concentrations_side_by_side(subjects: Sequence[Subject]) -> Figure:
    """One test image decoded from its posterior at several concentrations, two rows for each of several runs.

    Args:
        subjects: runs on one data set, all with a sphere.
    """
    chosen = subjects[0].spread(3)[-2:][:1]
    kappas = subjects[0].kappas or COMPARED
    rows, texts = [], []
    for subject in subjects:
        torch.manual_seed(derive_seed(subject.config.rs, "figure", "concentrations"))
        latent, q = subject.model.latent, subject.model.posterior(subject.chosen(chosen))
        z = torch.stack([latent.with_concentration(q, kappa).sample((2,)).squeeze(1) for kappa in kappas], 1)
        images = np.stack([subjects[0].original_pictures(chosen)] * 2)
        rows.append(np.concatenate([images, subject.decode(z)], 1))
        trained = f"fixed κ = {subject.config.kappa:g}" if subject.config.kappa is not None else "learned κ"
        texts += [f"{_name(subject)}\ntrained with {trained}", f"median κ = {np.median(subject.concentrations):.3g}"]
    return image_rows(
        np.concatenate(rows),
        f"One test image of {subjects[0].config.data_name}, decoded at other concentrations than those of training",
        texts,
        ["image", *(f"κ = {kappa:g}" for kappa in kappas)],
        "Two samples of z for each concentration.",
    )


def _name(subject: Subject) -> str:
    return f"{plain(subject.config.exp_name or str(subject.config.name))}, seed {subject.config.rs}"


def side_by_side(subjects: Sequence[Subject], columns: int = 12) -> Figure:
    """The same test images as several runs reconstruct them, a row for each.

    Args:
        subjects: runs on one data set.
        columns: how many images.
    """
    chosen = subjects[0].spread(columns)
    rows, texts = [subjects[0].original_pictures(chosen)], ["original"]
    for subject in subjects:
        torch.manual_seed(derive_seed(subject.config.rs, "figure", "side_by_side"))
        rows.append(subject.decode(subject.model.posterior(subject.chosen(chosen)).sample()))
        texts.append(f"{_name(subject)}\n{symbols(subject.config.space)}")
    return image_rows(
        np.stack(rows),
        f"Test images of {subjects[0].config.data_name} and their reconstructions by {len(subjects)} models",
        texts,
        note=f"Models of epochs {', '.join(str(subject.best_epoch) for subject in subjects)}.",
    )
