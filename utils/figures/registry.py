"""The pictures of a run: from a model and images to arrays, from arrays to files."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hyperspherical_vae.latents import GumbelLatent
from utils.data.catalogue import DATASETS
from utils.figures import latent as figures_latent
from utils.figures.subject import BLOCK, Array, Subject, Undrawable, symbols
from utils.files import write_atomically
from utils.seeds import derive_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20


def _learning_curves(subject: Subject) -> Figure:
    from utils.figures import plots_curves

    title = f"Learning curves: {subject.trained}, best epoch {subject.best_epoch}"
    constant = subject.model.latent.kl_is_constant
    return plots_curves.learning_curves(subject.metrics, title, subject.best_epoch, constant)


def _reconstructions(subject: Subject) -> Figure:
    from utils import plotting_utils

    chosen = subject.spread(40)
    posterior = subject.model.posterior(subject.images[chosen.to(subject.images.device)])
    spec = DATASETS.get(subject.config.dataset)
    binary = subject.model.likelihood.binary or subject.config.binarize
    return plotting_utils.reconstructions(
        subject.pictures(chosen),
        subject.decode(posterior.sample()),
        "binarized" if binary and (spec is None or spec.levels > 1) else "original",
        f"Test images and their reconstructions: {subject.title}",
    )


def _samples(subject: Subject) -> Figure:
    from utils import plotting_utils

    images = subject.decode(subject.model.latent.prior().sample((100,)))
    return plotting_utils.samples(images, f"Samples from the prior (pixel means): {subject.title}")


def _present_classes(subject: Subject) -> list[int]:
    if subject.labels is None:
        raise Undrawable("the images have no labels")
    return subject.labels.unique().tolist()


def _class_samples(subject: Subject) -> Figure:
    from utils import plotting_utils

    present = _present_classes(subject)
    shown = present[:MOST_CLASSES]
    rows = np.stack([subject.decode(subject.class_latents(label, 10)) for label in shown])
    if subject.knows_classes:
        note = "z from the prior of the class, as the model knows it."
    else:
        note = "z from the posteriors of test images of the class."
    if len(shown) < len(present):
        note += f" The first {len(shown)} of {len(present)} classes."
    names = [plotting_utils.name_of(label, subject.class_names) for label in shown]
    return plotting_utils.image_rows(rows, f"Samples of each class: {subject.title}", names, note=note)


def _kappa(subject: Subject) -> Figure:
    from utils.figures import plots_statistics

    kappas = subject.embedding[2]
    assert kappas is not None
    spheres = [
        heading for factor, heading in zip(subject.factors, subject.headings, strict=True) if factor.radius is not None
    ]
    title = f"Posterior concentrations: {subject.title}"
    return plots_statistics.kappa_histogram(kappas, spheres, title)


def _log_px(subject: Subject) -> Figure:
    from utils.figures import plots_statistics

    if subject.log_px is None:
        raise Undrawable("log p(x) of the single images is not kept with this run; a new -lls K estimates it")
    k, values = subject.log_px
    order = torch.from_numpy(np.argsort(np.nan_to_num(values, nan=-np.inf)))
    count = min(12, len(order))
    return plots_statistics.log_px_histogram(
        values,
        k,
        subject.pictures(order[:count]),
        subject.pictures(order.flip(0)[:count]),
        f"Log-likelihood of single test images: {subject.title}",
    )


def _codes_of(subject: Subject, images: Tensor) -> Tensor:
    """The codes of test images, (N, positions), on the CPU."""
    model = subject.model
    return torch.cat([model.latent.codes(model.posterior(x)).cpu() for x in images.split(BLOCK)])


def _code_usage(subject: Subject) -> Figure:
    from utils.figures import plots_statistics

    latent = subject.model.latent
    codes = _codes_of(subject, subject.images)
    perplexity = latent.code_summary(codes)["perplexity"]
    counts = np.stack([np.bincount(place, minlength=latent.code_count) for place in codes.T.numpy()])
    if isinstance(latent, GumbelLatent):  # a category means something within its variable only
        title = f"Use of the categories by {len(codes):,} images: {subject.title}"
        return plots_statistics.category_usage(counts, perplexity, title)
    title = f"Use of the codes by {len(codes):,} images: {subject.title}"
    return plots_statistics.code_usage(counts.sum(0), perplexity, title)


def _code_counts(subject: Subject) -> Array:
    """How often each code stands at each position in the embedded images of each class, (classes, positions, codes)."""
    codes = _codes_of(subject, subject.images[subject.embedded.to(subject.images.device)]).numpy()
    labels = np.zeros(len(codes), int) if subject.embedded_labels is None else subject.embedded_labels
    present, rank = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(present), codes.shape[1], subject.model.latent.code_count))
    np.add.at(counts, (rank[:, None], np.arange(codes.shape[1])[None], codes), 1)
    return counts


def _class_codes(subject: Subject) -> Figure:
    from utils.figures import plots_statistics

    present = _present_classes(subject)
    counts = _code_counts(subject)
    if len(counts) < 3:
        verb = "is" if len(counts) == 1 else "are"
        raise Undrawable(f"a tree and a map of the classes need three of them; there {verb} {len(counts)}")
    names = [plots_statistics.name_of(label, subject.class_names) for label in present]
    divergences = plots_statistics.jensen_shannon(counts)
    return plots_statistics.class_codes(divergences, names, f"Codes of the classes: {subject.title}")


def _confusion(subject: Subject) -> Figure:
    from utils.figures import plots_statistics

    present = _present_classes(subject)
    model = subject.model
    assert model.classifier is not None
    assert subject.labels is not None
    logits = [model.classifier(model.encode(x)) for x in subject.images.split(BLOCK)]
    predicted = torch.cat(logits).argmax(-1).cpu().numpy()
    labels = subject.labels.numpy()
    classes = max(len(subject.class_names), max(present) + 1, int(predicted.max()) + 1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, predicted), 1)
    return plots_statistics.confusion_matrix(counts, subject.class_names, f"Confusions: {subject.title}")


class Drawing(NamedTuple):
    """An entry of `FIGURES`.

    Attributes:
        figure: draws it; raises `Undrawable` where the run lacks something that runs of its kind may have.
        misfit: why runs of this kind have no such figure, or nothing.
    """

    figure: Callable[[Subject], Figure]
    misfit: Callable[[Subject], str]


def _any(subject: Subject) -> str:
    return ""


def _codes(subject: Subject) -> str:
    return "" if subject.model.latent.code_count else "this latent space has no codes"


def _classifier(subject: Subject) -> str:
    return "" if subject.model.classifier is not None else "this model has no classifier"


def _density(subject: Subject) -> str:
    return "" if subject.model.latent.has_density else "this latent space has no density, and so no log p(x)"


FIGURES: dict[str, Drawing] = {
    "learning_curves": Drawing(_learning_curves, _any),
    "reconstructions": Drawing(_reconstructions, _any),
    "samples": Drawing(_samples, _any),
    "class_samples": Drawing(_class_samples, _any),
    "latent": Drawing(figures_latent.latent, figures_latent.no_geometry),
    "latent_overview": Drawing(figures_latent.latent_overview, figures_latent.no_overview),
    "manifold": Drawing(figures_latent.manifold, figures_latent.no_manifold),
    "traversals": Drawing(figures_latent.traversals, figures_latent.no_traversals),
    "interpolation": Drawing(figures_latent.interpolation, figures_latent.no_geometry),
    "concentration": Drawing(figures_latent.concentration, figures_latent.no_sphere),
    "kappa": Drawing(_kappa, figures_latent.no_learned_kappa),
    "log_px": Drawing(_log_px, _density),
    "aggregate_posterior": Drawing(figures_latent.aggregate_posterior, figures_latent.no_low_sphere),
    "code_usage": Drawing(_code_usage, _codes),
    "class_codes": Drawing(_class_codes, _codes),
    "confusion": Drawing(_confusion, _classifier),
}


@dataclass
class Drawn:
    """What came of drawing.

    Attributes:
        files: in order.
        refused: for each figure that could not be drawn a line that says why.
    """

    files: list[Path]
    refused: list[str]


@torch.no_grad()
def draw(
    subject: Subject,
    folder: Path,
    names: Sequence[str] | None = None,
    pdf: bool = False,
) -> Drawn:
    """Draw figures as PNG files, and as PDF files too if asked.

    Whatever goes wrong in a figure is said and costs no other, since a run of hours must not fail for a picture.

    Args:
        subject: the run.
        folder: where to write.
        names: which figures; else all that fit the kind of run.
        pdf: whether to write PDF files too.

    Raises:
        OSError: a file could not be written.
    """
    drawn = Drawn([], [])
    if importlib.util.find_spec("matplotlib") is None:
        drawn.refused.append("no figures: matplotlib is not installed; install it, and give this run to --from")
        return drawn
    for name, drawing in FIGURES.items():
        if name not in names if names is not None else drawing.misfit(subject):
            continue
        torch.manual_seed(derive_seed(subject.config.rs, "figure", name))
        try:
            figure = drawing.figure(subject)
            contents = _render(figure, pdf)
        except Undrawable as reason:
            drawn.refused.append(f"{name} is not drawn: {reason}")
            continue
        except Exception as error:
            drawn.refused.append(f"{name} could not be drawn: {type(error).__name__}: {error}".splitlines()[0])
            continue
        drawn.files += _write(contents, folder, name)
    return drawn


def save(figure: Figure, folder: Path, name: str, pdf: bool) -> list[Path]:
    """Write one figure as a PNG file, and as a PDF file too if asked; returns the files.

    Raises:
        OSError: a file could not be written.
    """
    return _write(_render(figure, pdf), folder, name)


def _render(figure: Figure, pdf: bool) -> dict[str, bytes]:
    contents = {}
    for kind in ("png", "pdf") if pdf else ("png",):
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=100)
        contents[kind] = content.getvalue()
    return contents


def _write(contents: dict[str, bytes], folder: Path, name: str) -> list[Path]:
    for kind, content in contents.items():
        write_atomically(folder / f"{name}.{kind}", content)
    return [folder / f"{name}.{kind}" for kind in contents]


def side_by_side(subjects: Sequence[Subject], originals: Tensor, columns: int = 12) -> Figure:
    """The same test images as several runs reconstruct them, a row for each.

    Args:
        subjects: runs on one data set.
        originals: its test images before any binarization, (N, C, H, W).
        columns: how many images.
    """
    from utils import plotting_utils

    chosen = subjects[0].spread(columns)
    rows, texts = [originals[chosen].numpy()], ["original"]
    for subject in subjects:
        torch.manual_seed(derive_seed(subject.config.rs, "figure", "side_by_side"))
        posterior = subject.model.posterior(subject.images[chosen.to(subject.images.device)])
        rows.append(subject.decode(posterior.sample()))
        config = subject.config
        texts.append(
            f"{plotting_utils.plain(config.exp_name or str(config.name))}, seed {config.rs}\n{symbols(config.space)}"
        )
    title = f"Test images of {subjects[0].config.dataset} and their reconstructions by {len(subjects)} models"
    epochs = ", ".join(str(subject.best_epoch) for subject in subjects)
    note = f"Models of epochs {epochs}."
    return plotting_utils.image_rows(np.stack(rows), title, texts, note=note)
