"""How samples compare with real images.

Shapes: N images (N, C, H, W) with values from 0 to 1 (those of real numbers as they were standardized), Y classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utils.figures.subject import Subject, Undrawable
from utils.load_data import Data
from utils.measure.elbo import standard_error
from utils.measure.frechet import Moments, frechet_distance, spread, with_error
from utils.measure.judge import Judge
from utils.measure.kernel_distance import kernel_distance
from utils.measure.nearest import nearest_distance

NEAREST = 2000  # images whose nearest training image is looked for: that is most of the work
BYTES = 2**26  # of the images that are held at once
OF_CLASSES = ("entropy", "diversity", "fid", "kid")  # what needs the features or classes of a judge


def blocks(count: int, pixels: int) -> list[slice]:
    """Parts of `count` images of so many values that are held at once."""
    size = max(BYTES // (4 * pixels), 1)
    return [slice(start, start + size) for start in range(0, count, size)]


@dataclass(frozen=True)
class Standard:
    """The real images that samples are compared with.

    Attributes:
        data: the data set.
        judge: of its classes and features; None without labels.
        device: where to compute.
        check_stop: called now and then; may raise.
    """

    data: Data
    judge: Judge | None
    device: torch.device
    check_stop: Callable[[], None] = lambda: None

    @cached_property
    def pixels(self) -> int:
        return math.prod(self.data.shape)

    @cached_property
    def train_features(self) -> NDArray[Any]:
        """Features of the training images in random order, (M, d): files may come class by class."""
        return self._judged(self.real(self.data.train.images, len(self.data.train)))[0]

    @cached_property
    def train_moments(self) -> Moments:
        return Moments.of(self.train_features)

    def real(self, images: Tensor, count: int) -> Iterator[Tensor]:
        """Randomly chosen images of a split, the same ones each time, in blocks of floats; `count` or all of them."""
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
        for part in blocks(len(chosen), self.pixels):
            yield images[chosen[part]].to(self.device).float() / self.data.levels

    def predicted(self, images: Iterable[Tensor]) -> Tensor:
        """The classes that the judge sees in images, (N,), on the CPU."""
        return torch.from_numpy(self._judged(images)[1])

    @torch.no_grad()
    def _judged(self, images: Iterable[Tensor]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Features (N, d) and classes (N,) of images."""
        assert self.judge is not None
        features, classes = [], []
        for block in images:
            self.check_stop()
            features.append(self.judge.features(block).cpu().numpy())
            classes.append(self.judge(block).argmax(-1).cpu().numpy())
        return np.concatenate(features), np.concatenate(classes)

    def values(self, images: Iterable[Tensor]) -> dict[str, float | None]:
        """What does not depend on the class asked for: metrics with their standard errors (`_se`).

        Args:
            images: in random order, in blocks, 40 or more in all.

        Returns:
            `entropy` of the classes that the judge sees, in nats; `diversity`, `fid` and `kid` in its features; all
            None without a judge. `sharpness`, the root mean square difference of neighbouring pixels, None for vectors;
            `nearest`, the distance to the nearest training image, of the first 2000 images.
        """
        sharp: list[Tensor] = []
        near: list[Tensor] = []

        def pass_on() -> Iterator[Tensor]:
            """The blocks, of which each is looked at once, whoever asks for what."""
            left = NEAREST
            for block in images:
                sharp.append(_sharpness(block))
                if left > 0:
                    near.append(nearest_distance(block[:left], self.data.train.images, self.data.levels).cpu())
                    left -= len(block)
                yield block

        found: dict[str, float | None] = dict.fromkeys(key + end for key in OF_CLASSES for end in ("", "_se"))
        if self.judge is None:
            for _ in pass_on():
                self.check_stop()
        else:
            features, classes = self._judged(pass_on())
            found["entropy"], found["entropy_se"] = entropy(np.bincount(classes))
            found["diversity"], found["diversity_se"] = with_error(features, spread)
            found["fid"], found["fid_se"] = with_error(
                features, lambda moments: frechet_distance(moments, self.train_moments)
            )
            found["kid"], found["kid_se"] = kernel_distance(features, self.train_features)
        pictures = self.data.shape[1] > 1
        for key, parts in (("sharpness", sharp if pictures else []), ("nearest", near)):
            whole = torch.cat(parts) if parts else None
            found[key] = None if whole is None else whole.double().mean().item()
            found[f"{key}_se"] = None if whole is None else standard_error(whole)
        return found

    def of_test_images(self, count: int) -> dict[str, Any]:
        """The same of real test images, `count` of them or all; `agreement` is the judge's accuracy on them."""
        test = self.data.test
        found: dict[str, Any] = {"n": min(count, len(test)), **self.values(self.real(test.images, count))}
        right = None
        if self.judge is not None:
            assert test.labels is not None
            chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:count]
            right = (self.predicted(self.real(test.images, count)) == test.labels[chosen]).double()
        return {**found, **_share(right)}


def score(
    subject: Subject, standard: Standard, count: int, kappa: float | None = None
) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """All metrics of samples: those of `Standard.values`, and the agreement of class-conditional samples.

    Samples are pixel means; of binary data, binary pixels.

    Args:
        subject: the model and its test images.
        standard: what samples are compared with.
        count: N, of samples without a class, and of those with one.
        kappa: see `Subject.latents`.

    Returns:
        The metrics: `agreement`, the share of class-conditional samples, equally many of each class, in which the judge
        sees the class that was asked for (no sample of a class that the model cannot draw counts as one); and how often
        it saw which class (column) where which was asked for (row), (Y, Y); None without a judge.
    """
    model = subject.model
    draws_pixels = standard.data.levels == 1 and model.likelihood.binary

    def images(z: Tensor) -> Iterator[Tensor]:
        for part in blocks(len(z), standard.pixels):
            means = model.decode(z[part])
            yield torch.bernoulli(means) if draws_pixels else means

    found = standard.values(images(subject.latents(count, None, kappa)))
    if standard.judge is None:
        return {**found, **_share(None)}, None
    seen = np.zeros((standard.data.classes, standard.data.classes), np.int64)
    right = []
    for asked, wanted in zip(subject.classes, np.array_split(np.empty(count), len(subject.classes)), strict=True):
        try:
            classes = standard.predicted(images(subject.latents(len(wanted), asked, kappa)))
        except Undrawable:
            right.append(torch.zeros(len(wanted), dtype=torch.float64))
            continue
        seen[asked] += np.bincount(classes.numpy(), minlength=len(seen))
        right.append((classes == asked).double())
    return {**found, **_share(torch.cat(right))}, seen


def entropy(counts: NDArray[Any]) -> tuple[float, float]:
    """The entropy in nats of the distribution that counts are of, and its standard error (by the delta method)."""
    total, positive = counts.sum(), counts[counts > 0]
    share = positive / total
    surprise = -np.log(share)
    mean = float((share * surprise).sum())
    return mean, math.sqrt(float((share * np.square(surprise - mean)).sum()) / total)


def _share(right: Tensor | None) -> dict[str, float | None]:
    """Label agreement and its standard error: of zeros and ones, (N,)."""
    if right is None:
        return {"agreement": None, "agreement_se": None}
    share = right.mean().item()
    return {"agreement": share, "agreement_se": math.sqrt(share * (1 - share) / len(right))}


def _sharpness(images: Tensor) -> Tensor:
    """The root mean square difference of neighbouring pixels of each image (N, C, H, W), (N,), on the CPU."""
    across, down = images.diff(dim=-1).square(), images.diff(dim=-2).square()
    number = across[0].numel() + down[0].numel()
    return ((across.flatten(1).sum(1) + down.flatten(1).sum(1)) / number).sqrt().cpu()
