"""The pictures of a run: from a model and images to arrays, from arrays to files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from utils.seeds import derive_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models import VAE
    from utils.config import Config


@dataclass
class Subject:
    """What there is to draw of a run.

    Attributes:
        model: the best model.
        config: the run.
        images: test images as the model sees them, (N, C, H, W).
        metrics: the lines of `metrics.jsonl`.
        best_epoch: the epoch that the model is from.
    """

    model: VAE
    config: Config
    images: Tensor
    metrics: list[dict[str, Any]]
    best_epoch: int

    @property
    def title(self) -> str:
        return f"{self.config.name} on {self.config.space}, {self.config.dataset}, epoch {self.best_epoch}"


def _learning_curves(subject: Subject) -> Figure:
    from utils import plotting_utils

    return plotting_utils.learning_curves(subject.metrics, f"Learning curves: {subject.title}", subject.best_epoch)


def _reconstructions(subject: Subject) -> Figure:
    from utils import plotting_utils

    # Evenly spread over the split, since some data sets are sorted by class.
    chosen = torch.linspace(0, len(subject.images) - 1, min(40, len(subject.images))).long()
    images = subject.images[chosen.to(subject.images.device)]
    decoded = subject.model.decode(subject.model.posterior(images).sample())
    return plotting_utils.reconstructions(
        images.cpu().numpy(), decoded.cpu().numpy(), f"Test images and their reconstructions: {subject.title}"
    )


def _samples(subject: Subject) -> Figure:
    from utils import plotting_utils

    decoded = subject.model.decode(subject.model.latent.prior().sample((100,)))
    return plotting_utils.samples(decoded.cpu().numpy(), f"Samples from the prior (pixel means): {subject.title}")


FIGURES: dict[str, Callable[[Subject], Figure]] = {
    "learning_curves": _learning_curves,
    "reconstructions": _reconstructions,
    "samples": _samples,
}


@torch.no_grad()
def draw(subject: Subject, folder: Path) -> list[Path]:
    """Draw every figure as a PNG file.

    Returns:
        The files, in order.

    Raises:
        OSError: a file could not be written.
    """
    written = []
    for name, figure_of in FIGURES.items():
        torch.manual_seed(derive_seed(subject.config.rs, "figure", name))
        path = folder / f"{name}.png"
        temporary = path.with_name(f".{path.name}.tmp")
        figure_of(subject).savefig(temporary, format="png", dpi=100)
        temporary.replace(path)
        written.append(path)
    return written
