"""What there is to draw of a run: model, images and labels, and what follows from them once, for all figures.

Shapes: N test images, M of them that are placed in the latent space, D latent width.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from hyperspherical_vae.kinds import KINDS
from models import point_of
from utils.config.seeds import derive_seed
from utils.figures.geometry import Array, principal_components
from utils.model_utils import in_parts

if TYPE_CHECKING:
    from models import VAE
    from utils.config.config import Config

EMBEDDED = 2000
BLOCK = 500
LONGEST = 256  # pixels
PRIOR_SAMPLES, PRIOR_NUMBERS = 20_000, 2**25  # as many samples as hold so many numbers, at most

# A coordinate is active if its posterior mean varies over images by more than this share of the prior's variance; a
# validation KL below so many nats means a collapse too.
ACTIVE, LEAST_KL = 0.01, 0.05

# Means whose variance lies to more than this share in one direction are worth a word, if they are of so many images: a
# few images lie near a line in any case.
ONE_LINE, LEAST_IMAGES = 0.98, 100


class Undrawable(Exception):
    """A figure cannot be drawn of this run; the text says why."""


@dataclass(frozen=True)
class Factor:
    """One factor of a latent space.

    Attributes:
        dim: intrinsic dimension.
        radius: of a sphere, None for a Euclidean space.
        columns: its coordinates in z.
        is_normal: whether its prior is known to be standard normal.
    """

    dim: int
    radius: float | None
    columns: slice
    is_normal: bool = False

    @property
    def symbol(self) -> str:
        """The letter of the manifold and its dimension, such as `S^2`."""
        return f"{'R' if self.radius is None else 'S'}^{self.dim}"

    def unit(self, z: Array) -> Array:
        """This factor's coordinates in latents (..., D); on a sphere those on the unit sphere."""
        part = z[..., self.columns]
        return part if self.radius is None else part / self.radius


def factors_of(config: Config) -> tuple[Factor, ...]:
    """The spheres and Euclidean spaces that a latent space is the product of, in order; none if any factor is codes."""
    found, start = [], 0
    for name, dim in config.factors:
        kind = KINDS[name]
        if kind.is_discrete:
            return ()
        columns = slice(start, start := start + dim + kind.is_sphere)
        radius = float(getattr(config, kind.arguments["radius"])) if kind.is_sphere else None
        found.append(Factor(dim, radius, columns, is_normal=kind.normal_prior))
    return tuple(found)


def symbols(text: str) -> str:
    """`S^2 x R^3 x4` set as mathematics."""
    return re.sub(r"([SR])\^(\d+)", r"$\1^{\2}$", text).replace(" x", " ×")


@dataclass
class Subject:
    """A run to be drawn.

    Attributes:
        model: the best model.
        config: the run.
        images: test images as the model sees them, (N, C, H, W).
        labels: their classes, (N,) on the CPU, or None.
        class_names: names of the classes, where known.
        metrics: the lines of `metrics.jsonl`.
        best_epoch: the epoch that the model is from.
        log_px: importance samples K and log p(x) of each test image, where it was estimated.
        kappas: concentrations to decode at, or None for some around the learned one.
        embeddings: modes of q(z|x) of all test images, (N, D), where the evaluation has computed them.
        originals: whole grey levels of the test images, (N, C, H, W), before any binarization, where they are at hand.
        levels: the highest grey level.
    """

    model: VAE
    config: Config
    images: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    metrics: list[dict[str, Any]]
    best_epoch: int
    log_px: tuple[int, Array] | None = None
    kappas: tuple[float, ...] | None = None
    embeddings: Tensor | None = None
    originals: Tensor | None = None
    levels: int = 1

    @property
    def trained(self) -> str:
        """What was trained on what."""
        return f"{self.config.name} on {symbols(self.config.space)}, {self.config.data_name}"

    @property
    def title(self) -> str:
        """The model that is drawn: what was trained on what, for how long, and whether its posterior has collapsed."""
        return f"{self.trained}, epoch {self.best_epoch}" + " (posterior collapsed)" * bool(self.collapse)

    @functools.cached_property
    def means(self) -> Tensor:
        """The means of the posteriors, or their modes where they have no mean, (M, D)."""
        return torch.cat([point_of(q, "mean", "mode") for q in self.posteriors]).double().cpu()

    @functools.cached_property
    def collapse(self) -> str:
        """Why the posterior counts as collapsed, as a sentence; empty if it does not."""
        means = self.means
        if not means.isfinite().all() or len(means) < 2:
            return ""
        try:
            variances = self.model.latent.prior().variance.double().cpu()
        except NotImplementedError:
            return ""
        active = int((means.var(0, correction=0) > ACTIVE * variances).sum())
        if not active:
            return f"The posterior has collapsed: 0 of {len(variances)} units are active; z hardly depends on x."
        best = [line["val"]["kl"] for line in self.metrics if line["epoch"] == self.best_epoch and line["val"]]
        if not self.model.latent.kl_is_constant and best and best[0] is not None and best[0] < LEAST_KL:
            return f"The posterior has collapsed: its KL to the prior is {best[0]:.2g} nats."
        return ""

    @functools.cached_property
    def warning(self) -> str:
        """What the reader of figures has to know of the posterior, as a sentence: a collapse, or means on a line."""
        count, width = self.means.shape
        if self.collapse or not self.factors or width < 3 or count < LEAST_IMAGES or not self.means.isfinite().all():
            return self.collapse
        share = float(principal_components(self.means.numpy(), 1)[2][0])
        if share <= ONE_LINE:
            return ""
        return f"{share:.1%} of the variance of the posterior means is in one direction: they lie near a line."

    @functools.cached_property
    def classes(self) -> list[int]:
        """The classes of the test images, in ascending order; none without labels."""
        return [] if self.labels is None else self.labels.unique().tolist()

    @functools.cached_property
    def factors(self) -> tuple[Factor, ...]:
        return factors_of(self.config)

    @property
    def names(self) -> list[str]:
        """The symbol of each factor, with its radius if that is not 1, and its number where there are several."""
        several = len(self.factors) > 1
        return [
            symbols(factor.symbol)
            + ("" if factor.radius in (None, 1) else f" of radius {factor.radius:g}")
            + f" (factor {number})" * several
            for number, factor in enumerate(self.factors, 1)
        ]

    @property
    def is_flat(self) -> bool:
        """Whether the latent space is Euclidean, where geodesics are straight lines and nobody calls them so."""
        return all(factor.radius is None for factor in self.factors)

    def spread(self, count: int) -> Tensor:
        """Numbers of `count` test images, or of all if fewer, evenly spread: some splits come class by class."""
        total = len(self.images)
        return torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()

    @functools.cached_property
    def embedded(self) -> Tensor:
        """Numbers of the test images that are placed in the latent space, (M,)."""
        return self.spread(EMBEDDED)

    @functools.cached_property
    def embedded_labels(self) -> Array | None:
        """Their classes, (M,)."""
        return None if self.labels is None else self.labels[self.embedded].numpy()

    @functools.cached_property
    def posteriors(self) -> list[Distribution]:
        """Their posteriors, in blocks."""
        return [self.model.posterior(x) for x in self.chosen(self.embedded).split(BLOCK)]

    @functools.cached_property
    def modes(self) -> Array:
        """The modes of those, (M, D).

        Raises:
            Undrawable: some are not finite.
        """
        if self.embeddings is None:
            return _finite([point_of(q) for q in self.posteriors])
        return _finite([self.embeddings[self.embedded.to(self.embeddings.device)]])

    @functools.cached_property
    def samples(self) -> Array:
        """A sample of each of those, (M, D).

        Raises:
            Undrawable: some are not finite.
        """
        torch.manual_seed(derive_seed(self.config.rs, "figures", "embedding"))
        return _finite([q.sample() for q in self.posteriors])

    @functools.cached_property
    def concentrations(self) -> Array:
        """The concentrations of those on each sphere, (M, spheres).

        Raises:
            Undrawable: some are not finite.
        """
        return _finite([self.model.latent.statistics(q)["kappa"] for q in self.posteriors])

    @functools.cached_property
    def prior(self) -> Array:
        """Samples of the prior, (`PRIOR_SAMPLES`, D) or fewer."""
        torch.manual_seed(derive_seed(self.config.rs, "figures", "prior"))
        count = min(PRIOR_SAMPLES, PRIOR_NUMBERS // self.model.latent.event_dim)
        return _finite([self.model.latent.prior().sample((count,))])

    def prior_line(self, factor: Factor, count: int) -> Array:
        """Places (count,) on a coordinate of a Euclidean factor, with equal shares of its prior between neighbours."""
        return np.quantile(factor.unit(self.prior), (np.arange(count) + 0.5) / count)

    @property
    def base(self) -> Array:
        """The latent (D,) of one image, at which the factors that a figure does not vary are held."""
        return self.modes[len(self.embedded) // 2]

    def chosen(self, numbers: Tensor) -> Tensor:
        """The test images of these numbers, on the model's device."""
        return self.images[numbers.to(self.images.device)]

    @property
    def has_pictures(self) -> bool:
        """Whether the images are more than vectors."""
        return tuple(self.images.shape[1:3]) != (1, 1)

    @functools.cached_property
    def window(self) -> tuple[float, float]:
        """The values to show as black and as white: of real numbers the extremes of the test images."""
        low, high = self.images.min().item(), self.images.max().item()
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)

    def pictures(self, numbers: Tensor) -> Array:
        """The test images of these numbers as an array, black being 0 and white 1; large ones are shrunk."""
        return self.shown(_shrunk(self.chosen(numbers)).cpu().numpy())

    def shown(self, images: Array) -> Array:
        """Images as the model sees or gives them, black being 0 and white 1."""
        low, high = self.window
        return (images - low) / (high - low)

    def original_pictures(self, numbers: Tensor) -> Array:
        """The test images of these numbers before any binarization, as an array; large ones are shrunk."""
        if self.originals is None:
            return self.pictures(numbers)
        return _shrunk(self.originals[numbers.to(self.originals.device)]).cpu().numpy() / self.levels

    def codes(self, images: Tensor) -> Tensor:
        """The codes of images under a discrete latent, (N, positions), on the CPU."""
        model = self.model
        return torch.cat([model.latent.codes(model.posterior(x)).cpu() for x in images.split(BLOCK)])

    def decode(self, z: Tensor | Array) -> Array:
        """E[x | z] of latents (..., D) as an array (..., C, H, W), black being 0 and white 1; large ones are shrunk."""
        latents = torch.as_tensor(z).to(self.images)
        numbers = self.model.likelihood.params_per_pixel * self.images[0].numel()
        small = in_parts(lambda part: _shrunk(self.model.decode(part)), latents.flatten(0, -2), numbers)
        return self.shown(small.unflatten(0, latents.shape[:-1]).cpu().numpy())

    def latents(
        self, count: int, label: int | None = None, kappa: float | None = None, temperature: float = 1.0
    ) -> Tensor:
        """New latents (count, D), overall or of one class: see `VAE.sample_latents`.

        Args:
            count: how many.
            label: their class. Where the model knows no classes they are of the posteriors of test images of the class.
            kappa: to draw from the posteriors of test images, with this concentration on every sphere.
            temperature: factor on the standard deviation of normal distributions.

        Raises:
            Undrawable: the model knows no classes and there is no image of this one, or its prior hardly ever is of it.
        """
        if label is None:
            return self.model.sample_latents(count, None, None if kappa is None else self.images, kappa, temperature)
        if self.model.knows_classes and kappa is None:
            try:
                return self.model.sample_latents(count, label, temperature=temperature)
            except ValueError:
                raise Undrawable(f"the model's prior hardly ever yields class {label}") from None
        if self.labels is None:
            raise Undrawable("the images have no labels, and so no classes to draw from")
        of_class = (self.labels == label).nonzero().squeeze(-1)
        if not len(of_class):
            raise Undrawable(f"there is no test image of class {label} to draw from the posterior of")
        return self.model.sample_latents(count, None, self.chosen(of_class), kappa, temperature)


def _shrunk(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with sides of at most `LONGEST`: sheets show no more, and would take gigabytes."""
    height, width = images.shape[-2:]
    factor = -(-max(height, width) // LONGEST)
    if factor == 1:
        return images
    return F.adaptive_avg_pool2d(images.float(), (max(height // factor, 1), max(width // factor, 1)))


def _finite(parts: list[Tensor]) -> Array:
    found = torch.cat(parts).cpu().numpy()
    if not np.isfinite(found).all():
        raise Undrawable("the latents of some images are not finite")
    return found
