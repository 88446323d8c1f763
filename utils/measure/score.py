"""How samples compare with real images.

Shapes: N images (N, C, H, W) with values from 0 to 1 (those of real numbers as they were standardized), Y classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.figures.subject import Subject, Undrawable
from utils.load_data import Data
from utils.measure.elbo import standard_error
from utils.measure.frechet import Array, Moments, frechet_distance, spread, with_error
from utils.measure.judge import Judge
from utils.measure.kernel_distance import kernel_distance
from utils.measure.nearest import nearest_distance

NEAREST = 2000  # images whose nearest training image is looked for: that is most of the work
BYTES = 2**26  # of the images that are held at once
# What needs the features or classes of a judge, and of these what needs classes that are asked for.
_JUDGED, _NO_CLASSES = (
    dict.fromkeys(key + end for key in keys for end in ("", "_se"))
    for keys in (("entropy", "diversity", "fid", "kid"), ("agreement", "class_diversity"))
)


def blocks(count: int, shape: Sequence[int]) -> list[slice]:
    """Parts of `count` images of this shape that are held at once."""
    size = max(BYTES // (4 * math.prod(shape)), 1)
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
    def train_features(self) -> Array:
        """Features of the training images in random order, (M, d): files may come class by class."""
        return self.judged(self.real(self.data.train.images, len(self.data.train)))[0]

    def real(self, images: Tensor, count: int) -> Iterator[Tensor]:
        """Randomly chosen images of a split, the same ones each time, in blocks of floats; `count` or all of them."""
        chosen = _chosen(images, count)
        for part in blocks(len(chosen), self.data.shape):
            yield images[chosen[part]].to(self.device).float() / self.data.levels

    def judged(self, images: Iterable[Tensor]) -> tuple[Array, Array]:
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

        found: dict[str, float | None] = dict(_JUDGED)
        if self.judge is None:
            for _ in pass_on():
                self.check_stop()
        else:
            features, classes = self.judged(pass_on())
            found["entropy"], found["entropy_se"] = entropy(np.bincount(classes))
            found["diversity"], found["diversity_se"] = with_error(features, spread)
            real = Moments.of(self.train_features)
            found["fid"], found["fid_se"] = with_error(features, lambda moments: frechet_distance(moments, real))
            found["kid"], found["kid_se"] = kernel_distance(features, self.train_features)
        pictures = self.data.shape[1] > 1
        for key, parts in (("sharpness", sharp if pictures else []), ("nearest", near)):
            whole = torch.cat(parts) if parts else None
            found[key] = None if whole is None else whole.double().mean().item()
            found[f"{key}_se"] = None if whole is None else standard_error(whole)
        return found

    @torch.no_grad()
    def of_test_images(self, count: int) -> dict[str, Any]:
        """The same of real test images, `count` of them or all. Their `agreement` is the accuracy of the judge."""
        test = self.data.test
        found: dict[str, Any] = {"n": min(count, len(test)), **self.values(self.real(test.images, count))}
        if self.judge is None:
            return {**found, **_NO_CLASSES}
        assert test.labels is not None
        features, seen = self.judged(self.real(test.images, count))
        return {**found, **of_classes(features, test.labels[_chosen(test.images, count)].numpy(), seen)}


@torch.no_grad()
def score(
    subject: Subject, standard: Standard, count: int, kappa: float | None = None
) -> tuple[dict[str, Any], Array | None]:
    """All metrics of samples: those of `Standard.values` and of `of_classes`.

    Samples are pixel means; of binary data, binary pixels.

    Args:
        subject: the model and its test images.
        standard: what samples are compared with.
        count: N, of samples without a class, and of those with one.
        kappa: see `Subject.latents`.

    Returns:
        The metrics, those of `of_classes` being of class-conditional samples, equally many of each class; and how often
        the judge saw which class (column) where which was asked for (row), (Y, Y), None without a judge.
    """
    model = subject.model
    draws_pixels = standard.data.levels == 1 and model.likelihood.binary

    def images(z: Tensor) -> Iterator[Tensor]:
        for part in blocks(len(z), standard.data.shape):
            means = model.decode(z[part])
            yield torch.bernoulli(means) if draws_pixels else means

    found = standard.values(images(subject.latents(count, None, kappa)))
    if standard.judge is None:
        return {**found, **_NO_CLASSES}, None
    confusion = np.zeros((standard.data.classes, standard.data.classes), np.int64)
    features, asked, seen, absent = [], [], [], 0
    for label, numbers in zip(subject.classes, np.array_split(np.arange(count), len(subject.classes)), strict=True):
        if not len(numbers):  # there are fewer samples than classes
            break
        try:
            z = subject.latents(len(numbers), label, kappa)
        except Undrawable:
            absent += len(numbers)
            continue
        of_class, classes = standard.judged(images(z))
        features.append(of_class)
        seen.append(classes)
        asked.append(np.full(len(numbers), label))
        confusion[label] += np.bincount(classes, minlength=len(confusion))
    if not features:
        return {**found, **_NO_CLASSES, "agreement": 0.0, "agreement_se": 0.0}, confusion
    whole = of_classes(np.concatenate(features), np.concatenate(asked), np.concatenate(seen), absent)
    return {**found, **whole}, confusion


def of_classes(features: Array, asked: Array, seen: Array, absent: int = 0) -> dict[str, float | None]:
    """The metrics of images whose classes are given.

    Args:
        features: of the judge, (N, d).
        asked: the classes, (N,).
        seen: those that the judge sees, (N,).
        absent: images that could not be drawn, each of which counts as one of another class.

    Returns:
        `agreement` and `class_diversity` with their standard errors: the share of `asked` that equals `seen`, and the
        root mean square distance between two images of one class in their features.
    """
    total = len(asked) + absent
    share = float((asked == seen).sum()) / total
    inner = features.astype(np.float64)
    for label in np.unique(asked):
        inner[asked == label] -= inner[asked == label].mean(0)
    diversity, error = with_error(inner[np.random.default_rng(0).permutation(len(inner))], spread)
    found = {"agreement": share, "agreement_se": math.sqrt(share * (1 - share) / total)}
    return {**found, "class_diversity": diversity, "class_diversity_se": error}


def _chosen(images: Tensor, count: int) -> Tensor:
    """Numbers of randomly chosen images, the same ones each time; all of them, in that order, if there are no more."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]


def entropy(counts: Array) -> tuple[float, float]:
    """The entropy in nats of the distribution that counts are of, and its standard error (by the delta method)."""
    total, positive = counts.sum(), counts[counts > 0]
    share = positive / total
    surprise = -np.log(share)
    mean = float((share * surprise).sum())
    return mean, math.sqrt(float((share * np.square(surprise - mean)).sum()) / total)


def _sharpness(images: Tensor) -> Tensor:
    """The root mean square difference of neighbouring pixels of each image (N, C, H, W), (N,), on the CPU."""
    across, down = images.diff(dim=-1).square(), images.diff(dim=-2).square()
    number = across[0].numel() + down[0].numel()
    return ((across.flatten(1).sum(1) + down.flatten(1).sum(1)) / number).sqrt().cpu()
