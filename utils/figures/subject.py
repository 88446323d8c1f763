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
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from hyperspherical_vae.distributions import PowerSpherical, ProductDistribution, VonMisesFisher
from hyperspherical_vae.latents import Latent, NormalLatent, ProductLatent, SphericalLatent
from utils.seeds import derive_seed

if TYPE_CHECKING:
    from models import VAE
    from utils.config.config import Config

Array = NDArray[Any]

EMBEDDED = 2000
BLOCK = 500


class Undrawable(Exception):
    """A figure cannot be drawn of this run; the text says why."""


@dataclass(frozen=True)
class Factor:
    """One factor of a latent space.

    Attributes:
        dim: intrinsic dimension.
        radius: of a sphere, None for a Euclidean space.
        columns: its coordinates in z.
    """

    dim: int
    radius: float | None
    columns: slice

    @property
    def symbol(self) -> str:
        return f"{'R' if self.radius is None else 'S'}^{self.dim}"


def factors_of(latent: Latent) -> tuple[Factor, ...]:
    """The spheres and Euclidean spaces that a latent space is the product of, in order; none for any other kind."""
    if isinstance(latent, ProductLatent):
        placed = [
            (place, member) for member, where in zip(latent.members, latent.positions, strict=True) for place in where
        ]
        members = [member for _, member in sorted(placed, key=lambda pair: pair[0])]
    else:
        members = [latent]
    found, start = [], 0
    for member in members:
        columns = slice(start, start := start + member.event_dim)
        if isinstance(member, SphericalLatent):
            found.append(Factor(member.event_dim - 1, member.radius, columns))
        elif isinstance(member, NormalLatent):
            found.append(Factor(member.event_dim, None, columns))
        else:
            return ()
    return tuple(found)


def with_concentration(q: Distribution, kappa: float) -> Distribution:
    """The same posterior with another concentration on every sphere."""
    if isinstance(q, (VonMisesFisher, PowerSpherical)):
        return type(q)(q.loc, torch.full_like(q.concentration, kappa), radius=q.radius, validate_args=False)
    if isinstance(q, ProductDistribution):
        return ProductDistribution.from_groups([(with_concentration(group, kappa), where) for group, where in q.groups])
    return q


def symbols(text: str) -> str:
    """`S^2 x R^3` set as mathematics."""
    return re.sub(r"([SR])\^(\d+)", r"$\1^{\2}$", text).replace(" x ", " × ")


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
        kappas: concentrations to look at, or None for some around the learned one.
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

    @property
    def trained(self) -> str:
        """What was trained on what."""
        return f"{self.config.name} on {symbols(self.config.space)}, {self.config.dataset}"

    @property
    def title(self) -> str:
        """The model that is drawn: what was trained on what, for how long."""
        return f"{self.trained}, epoch {self.best_epoch}"

    @functools.cached_property
    def factors(self) -> tuple[Factor, ...]:
        return factors_of(self.model.latent)

    @property
    def headings(self) -> list[str]:
        """A name for each factor, numbered where there are several."""
        if len(self.factors) == 1:
            return [symbols(self.factors[0].symbol)]
        return [f"factor {number}: {symbols(factor.symbol)}" for number, factor in enumerate(self.factors, 1)]

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
    def embedding(self) -> tuple[Array, Array, Array | None]:
        """Of those images the modes of their posteriors (M, D), a sample of each (M, D), and kappa (M, spheres).

        Raises:
            Undrawable: some are not finite.
        """
        torch.manual_seed(derive_seed(self.config.rs, "figures", "embedding"))
        modes, samples, kappas = [], [], []
        for x in self.images[self.embedded.to(self.images.device)].split(BLOCK):
            q = self.model.posterior(x)
            modes.append(q.mode if self.factors else q.sample())
            samples.append(q.sample())
            if "kappa" in (statistics := self.model.latent.statistics(q)):
                kappas.append(statistics["kappa"])
        placed, drawn = torch.cat(modes).cpu().numpy(), torch.cat(samples).cpu().numpy()
        if not (np.isfinite(placed).all() and np.isfinite(drawn).all()):
            raise Undrawable("the latents of some images are not finite")
        return placed, drawn, torch.cat(kappas).cpu().numpy() if kappas else None

    def decode(self, z: Tensor | Array) -> Array:
        """E[x | z] for latents (..., D), as an array (..., C, H, W)."""
        latents = torch.as_tensor(z, dtype=self.images.dtype, device=self.images.device)
        flat = torch.cat([self.model.decode(part).cpu() for part in latents.flatten(0, -2).split(BLOCK)])
        return flat.unflatten(0, latents.shape[:-1]).numpy()

    def pictures(self, chosen: Tensor) -> Array:
        """The test images of these numbers, as an array."""
        return self.images[chosen.to(self.images.device)].cpu().numpy()

    @property
    def knows_classes(self) -> bool:
        """Whether the model itself can draw latents of a class: by a classifier, or a prior for each class."""
        return self.model.classifier is not None or self.model.latent.class_prior(0) is not None

    def class_latents(self, label: int, count: int) -> Tensor:
        """`count` latents (count, D) of one class, see `VAE.sample`; from test images where the model knows no classes.

        Raises:
            Undrawable: the model knows no classes and there is no image of this one, or its prior hardly ever is of it.
        """
        if self.knows_classes:
            try:
                return self.model.sample_latents(count, label)
            except ValueError:
                raise Undrawable(f"the model's prior hardly ever yields class {label}") from None
        if self.labels is None:
            raise Undrawable("the images have no labels, and the model knows no classes")
        of_class = (self.labels == label).nonzero().squeeze(-1)
        if not len(of_class):
            raise Undrawable(f"there is no test image of class {label}, and the model knows no classes")
        return self.model.sample_latents(count, like=self.images[of_class.to(self.images.device)])
