"""The figures of a run: which there are, what each needs, and how they become files.

Importing this module does not import matplotlib.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, NamedTuple

import torch

from hyperspherical_vae.kinds import KINDS
from utils.config.seeds import derive_seed
from utils.figures.subject import Subject, Undrawable, factors_of
from utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from utils.config.config import Config
    from utils.config.request import Revisit


class Need(NamedTuple):
    """What a figure may need of a run.

    Attributes:
        reason: why a run without it has no such figure; a template that may name fields of `config`.
        of_config: whether a run of this configuration has it.
        of_subject: whether this run, with its data and results, has it.
    """

    reason: str
    of_config: Callable[[Config], bool] = lambda config: True
    of_subject: Callable[[Subject], bool] = lambda subject: True


NEEDS = {
    "coordinates": Need(
        "this latent space is no product of spheres and Euclidean spaces", lambda c: bool(factors_of(c))
    ),
    "several dimensions": Need(
        "this latent space has one factor of at most two dimensions, which `latent` and `manifold` show whole",
        lambda c: len(factors_of(c)) > 1 or any(f.dim > 2 for f in factors_of(c)),
    ),
    "low dimension": Need(
        "this latent space has no factor of one or two dimensions", lambda c: any(f.dim <= 2 for f in factors_of(c))
    ),
    "sphere": Need("this latent space has no sphere", lambda c: any(f.radius is not None for f in factors_of(c))),
    "low sphere": Need(
        "this latent space has no factor S^1 or S^2",
        lambda c: any(f.radius is not None and f.dim <= 2 for f in factors_of(c)),
    ),
    "low sphere or line": Need(
        "this latent space has no factor S^1, S^2 or R^d",
        lambda c: any(f.radius is None or f.dim <= 2 for f in factors_of(c)),
    ),
    "learned concentration": Need("the concentration is fixed at {config.kappa:g}", lambda c: c.kappa is None),
    "density": Need(
        "this latent space has no density, and so no log p(x)",
        lambda c: all(KINDS[name].density for name, _ in c.factors),
    ),
    "codes": Need(
        "this latent space has no codes", lambda c: all(KINDS[name].is_discrete for name, _ in c.factors)
    ),
    "classifier": Need("this model has no classifier", lambda c: c.classifier),
    "labels": Need("the images have no labels", of_subject=lambda s: s.labels is not None),
    "three classes": Need(
        "a tree and a map of the classes need at least three classes", of_subject=lambda s: len(s.classes) > 2
    ),
    "pictures": Need("vectors make no pictures", of_subject=lambda s: s.has_pictures),
    "two images": Need("there is only one test image", of_subject=lambda s: len(s.images) > 1),
    "log p(x)": Need(
        "log p(x) of the single images is not stored with this run; a new -lls K estimates it",
        of_subject=lambda s: s.log_px is not None,
    ),
}  # fmt: skip


class Picture(NamedTuple):
    """An entry of `FIGURES`.

    Attributes:
        function: draws it, `module:function`; it takes a `Subject`, returns a matplotlib figure, and raises
            `Undrawable` where the run lacks something that is no need.
        needs: keys of `NEEDS`.
    """

    function: str
    needs: tuple[str, ...] = ()

    def misfit(self, config: Config) -> str:
        """Why runs of this configuration have no such figure, or nothing."""
        unmet = (NEEDS[name].reason for name in self.needs if not NEEDS[name].of_config(config))
        return next(unmet, "").format(config=config)

    def draw(self, subject: Subject) -> Figure:
        """The figure.

        Raises:
            Undrawable: the run lacks something that the figure needs.
        """
        lacking = (NEEDS[name].reason for name in self.needs if not NEEDS[name].of_subject(subject))
        if reason := self.misfit(subject.config) or next(lacking, ""):
            raise Undrawable(reason)
        return resolve_name(self.function)(subject)


FIGURES: dict[str, Picture] = {
    "learning_curves": Picture("utils.figures.curves:learning_curves"),
    "reconstructions": Picture("utils.figures.images:reconstructions", ("pictures",)),
    "samples": Picture("utils.figures.images:samples", ("pictures",)),
    "class_samples": Picture("utils.figures.images:class_samples", ("pictures", "labels")),
    "latent": Picture("utils.figures.maps:latent", ("coordinates",)),
    "latent_overview": Picture("utils.figures.maps:latent_overview", ("coordinates", "several dimensions")),
    "manifold": Picture("utils.figures.decoded:manifold", ("pictures", "low dimension")),
    "traversals": Picture("utils.figures.paths:traversals", ("pictures", "coordinates", "several dimensions")),
    "interpolation": Picture("utils.figures.paths:interpolation", ("pictures", "two images")),
    "concentration": Picture("utils.figures.decoded:concentration", ("pictures", "sphere")),
    "kappa": Picture("utils.figures.statistics:kappa", ("sphere", "learned concentration")),
    "log_px": Picture("utils.figures.statistics:log_px", ("density", "log p(x)")),
    "aggregate_posterior": Picture("utils.figures.aggregate:aggregate_posterior", ("low sphere or line",)),
    "class_areas": Picture("utils.figures.aggregate:class_areas", ("low sphere", "labels")),
    "code_usage": Picture("utils.figures.codes:code_usage", ("codes",)),
    "codebook": Picture("utils.figures.codes:codebook", ("pictures", "codes")),
    "class_codes": Picture("utils.figures.codes:class_codes", ("codes", "labels", "three classes")),
    "confusion": Picture("utils.figures.statistics:confusion", ("classifier", "labels")),
}


@dataclass
class Drawn:
    """The outcome of drawing.

    Attributes:
        files: in order.
        refused: lines that say why figures could not be drawn.
        warnings: what the reader of the figures has to know of the run, such as a collapse of its posterior.
    """

    files: list[Path]
    refused: list[str]
    warnings: list[str] = field(default_factory=list)


@torch.no_grad()
def draw(
    subject: Subject, folder: Path, names: Sequence[str] | None = None, look: Config | Revisit | None = None
) -> Drawn:
    """Draw figures as PNG files, and as others too if asked: those alone where the width is asked for, or no titles.

    A fault in one figure is reported and does not stop the others, since a run of hours must not fail for a picture.

    Args:
        subject: the run.
        folder: where to write.
        names: which figures; else all that fit the kind of run.
        look: kinds of files, width and titles; else those of the run.

    Raises:
        OSError: a file could not be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return Drawn([], ["no figures: matplotlib is not installed; install it, and give this run to --from"])
    drawn = Drawn([], [], [subject.warning] if subject.warning else [])
    lacking: dict[str, list[str]] = {}
    for name, picture in FIGURES.items():
        if name not in names if names is not None else picture.misfit(subject.config):
            continue
        torch.manual_seed(derive_seed(subject.config.rs, "figure", name))
        try:
            contents = _rendered(functools.partial(picture.draw, subject), look or subject.config)
        except Undrawable as error:
            lacking.setdefault(str(error), []).append(name)
        except Exception as error:
            drawn.refused.append(f"{name} could not be drawn: {type(error).__name__}: {error}".splitlines()[0])
        else:
            drawn.files += _write(contents, folder, name)
    for reason, which in lacking.items():
        drawn.refused.append(f"{', '.join(which)} {'is' if len(which) == 1 else 'are'} not drawn: {reason}")
    return drawn


@torch.no_grad()
def draw_side_by_side(
    subjects: Sequence[Subject], folder: Path, look: Config | Revisit | None = None
) -> list[Path]:
    """Draw the same test images as several runs reconstruct them; returns the files.

    Where all runs have spheres, a second figure shows one image at the same concentrations in each.

    Args:
        subjects: runs on one data set.
        folder: where to write.
        look: as for `draw`; else that of the first run.

    Raises:
        OSError: a file could not be written.
    """
    from utils.figures.images import concentrations_side_by_side, side_by_side

    figures: dict[str, Callable[[Sequence[Subject]], Figure]] = {"side_by_side": side_by_side}
    if all(NEEDS["sphere"].of_config(subject.config) for subject in subjects):
        figures["side_by_side_concentrations"] = concentrations_side_by_side
    files = []
    for name, function in figures.items():
        files += _write(_rendered(functools.partial(function, subjects), look or subjects[0].config), folder, name)
    return files


def _rendered(function: Callable[[], Figure], look: Config | Revisit) -> dict[str, bytes]:
    from utils.plotting_utils import Style, render

    formats = tuple(kind for kind in ("pdf", "svg") if getattr(look, kind))
    if not formats or not (look.width or look.no_titles):  # else the PNG files stay as they are, for the report
        formats = ("png", *formats)
    return render(function, Style(look.width, not look.no_titles, formats))


def _write(contents: dict[str, bytes], folder: Path, name: str) -> list[Path]:
    files = {folder / f"{name}.{kind}": content for kind, content in contents.items()}
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)
