"""Splits that are the same for every seed, machine and version of the libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from utils.data.files import Array, DataError

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
HELD_OUT = 0.1  # share of the examples that a validation or test split takes where the data have none


def fixed_permutation(n: int, seed: int) -> Array:
    """Return a permutation of 0 .. n - 1 that depends on `seed` alone: RandomState's stream is frozen (NEP 19)."""
    import numpy as np

    return np.random.RandomState(seed).permutation(n)


def order_by_hash(keys: Sequence[str]) -> Array:
    """Return the order of `keys` by their SHA-256: random to the eye, and independent of how a folder is listed."""
    import numpy as np

    return np.array(sorted(range(len(keys)), key=lambda i: hashlib.sha256(keys[i].encode()).digest()), np.int64)


def stratified_choice(labels: Array, order: Array, n: int) -> Array:
    """Choose `n` of N examples so that each class gives its share of them, up to one example.

    The examples, sorted by class and inside a class by `order`, are sampled systematically: at equal distances.

    Args:
        labels: Shape (N,).
        order: Shape (N,), a permutation.
        n: How many to choose.

    Returns:
        Boolean mask of shape (N,) with exactly `n` true entries.
    """
    import numpy as np

    by_class = order[np.argsort(labels[order], kind="stable")]
    steps = np.arange(len(labels) + 1) * n // len(labels)
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[np.diff(steps) == 1]] = True
    return chosen


def stratified_split(labels: Array, order: Array, sizes: Sequence[int]) -> list[Array]:
    """Split N examples into parts that hold the classes in equal shares.

    Args:
        labels: Shape (N,).
        order: Shape (N,), a permutation that decides which examples of a class go where.
        sizes: How many examples each part but the first gets; the first gets the rest.

    Returns:
        The indices of each part, ascending: the rest first, then a part for each entry of `sizes`.
    """
    import numpy as np

    rest = np.arange(len(labels))
    rank = np.empty(len(labels), np.int64)
    rank[order] = rest
    parts = []
    for size in reversed(sizes):
        chosen = stratified_choice(labels[rest], np.argsort(rank[rest]), size)
        parts.append(rest[chosen])
        rest = rest[~chosen]
    return [rest, *reversed(parts)]


def check_pairs(images: Array, labels: Array | None, start: str = "") -> None:
    """Refuse images and labels that are not in pairs.

    Args:
        images: Shape (N, ...).
        labels: Shape (N,), or None.
        start: Of the message, which names them.

    Raises:
        DataError: Their numbers differ.
    """
    if labels is not None and len(labels) != len(images):
        raise DataError(f"{start}{len(images):,} images but {len(labels):,} labels")


def take_held_out(labels: Array, order: Array, lacking: Sequence[str]) -> dict[str, Array]:
    """Take the splits that data lack out of their N training examples, in equal shares of each class.

    Args:
        labels: Shape (N,).
        order: Shape (N,), a permutation that decides which examples of a class go where.
        lacking: Names of the splits.

    Returns:
        The indices of "train" and of each of those splits, ascending.

    Raises:
        DataError: There are too few examples.
    """
    if len(labels) <= len(lacking):
        raise DataError(
            f"too few training images ({len(labels)}) to take {' and '.join(lacking)} images out of them; "
            f"at least {len(lacking) + 1} are needed"
        )
    share = max(1, round(HELD_OUT * len(labels)))
    return dict(zip(["train", *lacking], stratified_split(labels, order, [share] * len(lacking)), strict=True))
