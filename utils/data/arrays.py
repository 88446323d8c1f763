"""The user's own arrays: images or vectors in one .npz or .npy file.

Shapes: N examples of a split, x (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W), labels y (N,). Vectors become images
of one row, (N, 1, 1, D). Arrays are gone through in blocks, so that no second copy of a large one is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataUsageError
from utils.data.formats import in_one_line
from utils.data.splits import SPLIT_WORDS, SPLITS, check_pairs, fixed_permutation, take_held_out

IMAGE_WORDS = ("x", "images", "data", "features", "arr_0")
LABEL_WORDS = ("y", "labels", "label", "targets", "target")
WANTED = "x and, if there are labels, y, or x_train, x_val, x_test with y_train, y_val, y_test"
MAX_INFLATED, MAX_RATIO = 256 << 20, 100  # an archive may unpack to more bytes, or to more times its size, not to both
NPY, ZIP = b"\x93NUMPY", b"PK"  # how the files begin
BLOCK = 1 << 22  # bytes of an array that are looked at together
MAX_CLASSES = 1000
MAX_DEVIATION = 1e6  # standard deviations, beyond which float32 cannot compute
MAX_COUNT = 1 << 24  # up to here float32 holds every whole number


@dataclass
class _Part:
    """A split of the examples.

    Attributes:
        images: (M, C, H, W), of which `rows` (N,) are in the split, all of them where it is None.
        labels: those of the split, or None.
    """

    images: Array
    labels: Array | None
    rows: Array | None = None

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def blocks(self) -> Iterator[Array]:
        step = max(1, BLOCK // max(1, self.images[:1].nbytes))
        for start in range(0, len(self), step):
            chosen = slice(start, start + step)
            yield self.images[chosen if self.rows is None else self.rows[chosen]]

    def index(self) -> Array:
        """The rows of the array that are in the split, (M,)."""
        import numpy as np

        return np.arange(len(self.images)) if self.rows is None else self.rows


class _Values(NamedTuple):
    """What the values of all splits are: the smallest, the largest, and whether all are whole numbers."""

    low: float
    high: float
    whole: bool


def read_arrays(source: Source) -> Loaded:
    """Read the arrays of one file and choose how their values are modelled.

    Raises:
        DataError: The file is no such file, or its arrays do not go together.
        DataUsageError: The likelihood that was asked for does not suit the values.
    """
    path = source.folder
    parts = _split(_pair(_open(path, source), path))
    class_names, labels = _classes({name: part.labels for name, part in parts.items()})
    values, stored = _values_of(parts), parts["train"].images.dtype
    likelihood = source.settings.loss_function or _suitable(values, stored.kind)
    levels, dtype = _steps(values, likelihood)
    moments = _moments(parts["train"], source) if likelihood == "normal" else None
    images = {name: _gather(part, dtype, moments) for name, part in parts.items()}
    _, channels, height, width = parts["train"].images.shape
    vectors = (channels, height) == (1, 1)
    source.notes.append(
        f"{path}: {f'vectors of {width} values' if vectors else f'images of {channels}x{height}x{width} values'} from "
        f"{values.low:g} to {values.high:g} ({stored}); likelihood: -lf {likelihood}"
        + (", standardized on the training split; densities are in the units of the data" if moments else "")
    )
    return Loaded(
        *((images[name], labels[name]) for name in SPLITS),
        class_names=class_names,
        likelihood=likelihood,
        levels=levels,
        moments=moments,
        index=[parts[name].index() for name in SPLITS],
    )


def _open(path: Path, source: Source) -> dict[tuple[str, str], Array]:
    """Return the arrays of a file by split ("" for all in one) and by "x" or "y"; a .npy file is mapped, not read."""
    import numpy as np

    if not path.is_file():
        raise DataError(f"--data_dir {path}: there is no such file; -d array takes a .npz or .npy file")
    with path.open("rb") as stream:
        start = stream.read(6)
    if start != NPY and not start.startswith(ZIP):
        raise DataError(
            f"{path}: is no .npz or .npy file, as np.savez and np.save write them; no other kind is read, least of all "
            "pickles, since reading them can run any program"
        )
    try:
        if start == NPY:
            with np.errstate(over="ignore"):  # of the sizes that a damaged header states
                return {("", "x"): np.load(path, mmap_mode="c", allow_pickle=False)}
        with np.load(path, allow_pickle=False) as archive:
            meanings = {key: meaning for key in archive.files if (meaning := _meaning(key))}
            if others := [key for key in archive.files if key not in meanings]:
                source.notes.append(f"{path}: not read: {', '.join(map(ascii, sorted(others)))[:160]}")
            if len(set(meanings.values())) < len(meanings):
                raise DataError(f"{path}: holds two arrays for one purpose ({', '.join(meanings)}); keep one of them")
            size = sum(info.file_size for info in archive.zip.infolist())
            if size > (memory := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
                raise DataError(
                    f"{path}: its arrays take {size:,} bytes, but this machine has {memory:,}; a .npy file is mapped"
                )
            if size > MAX_INFLATED and size > MAX_RATIO * (stored := path.stat().st_size):
                raise DataError(
                    f"{path}: {stored:,} bytes that unpack to {size:,} hold hardly any data; write them with np.savez, "
                    "which packs nothing, if that is meant"
                )
            return {meaning: np.asanyarray(archive[key]) for key, meaning in meanings.items()}
    except DataError:
        raise
    except Exception as error:  # damaged files lead numpy and zipfile to errors of a dozen kinds
        text = in_one_line(error)
        if "ickle" in text or "Python objects" in text:
            text = "it holds Python objects, which are never read, since reading them can run any program"
        raise DataError(f"{path}: is no sound .npz or .npy file of numbers ({text})") from error


def _meaning(key: str) -> tuple[str, str] | None:
    """The split and the kind ("x" or "y") that the name of an array says, such as `x_train` or `test_labels`."""
    words = [word for word in re.split(r"[^a-z0-9]+", key.lower().replace("arr_0", "x")) if word]
    splits = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    rest = [word for word in words if word not in SPLIT_WORDS]
    if len(splits) > 1 or len(rest) != 1 or rest[0] not in (*IMAGE_WORDS, *LABEL_WORDS):
        return None
    return splits[0] if splits else "", "x" if rest[0] in IMAGE_WORDS else "y"


def _pair(arrays: Mapping[tuple[str, str], Array], path: Path) -> dict[str, _Part]:
    """Put the images and labels of each split together, all in one shape."""
    splits = [split for split, kind in arrays if kind == "x"]
    if splits != [""] and ("train" not in splits or "" in splits):
        found = ", ".join(_name(*key) for key in arrays) or "no array with a name that says what it is"
        raise DataError(f"{path}: holds {found}; wanted: {WANTED}")
    if (with_labels := {split for split, kind in arrays if kind == "y"}) not in (set(), set(splits)):
        odd = sorted(_name(split, "y") for split in with_labels ^ set(splits))
        raise DataError(f"{path}: {', '.join(odd)} is missing, or has no images; wanted: {WANTED}")
    parts = {}
    for split in splits:
        images, labels = _as_images(arrays[split, "x"], _name(split, "x")), arrays.get((split, "y"))
        if labels is not None:
            labels = _as_labels(labels, _name(split, "y"))
        check_pairs(images, labels, f"{_name(split, 'x')} and {_name(split, 'y')}: ")
        parts[split] = _Part(images, labels)
    if len(shapes := {part.images.shape[1:] for part in parts.values()}) > 1:
        raise DataError(f"the splits are of different shapes: {' and '.join(map(str, sorted(shapes)))}")
    return parts


def _name(split: str, kind: str) -> str:
    return f"{kind}_{split}" if split else kind


def _as_images(x: Array, name: str) -> Array:
    """View an array as images (N, C, H, W)."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{name} is of type {x.dtype}; wanted: whole or real numbers")
    if not 2 <= x.ndim <= 4 or not prod(x.shape):
        raise DataError(
            f"{name} has shape {x.shape}; wanted: images (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors (N, D)"
        )
    if x.ndim < 4:
        return x[:, None] if x.ndim == 3 else x[:, None, None]
    first, last = (x.shape[axis] in (1, 3) for axis in (1, 3))
    if first == last:
        what = "1 or 3 channels first and last alike" if first else "neither first nor last 1 or 3 channels"
        raise DataError(f"{name} has shape {x.shape}: {what}; wanted: (N, C, H, W) or (N, H, W, C) with C of 1 or 3")
    return x if first else x.transpose(0, 3, 1, 2)


def _as_labels(y: Array, name: str) -> Array:
    """View an array as labels (N,): whole numbers from 0 on, or words."""
    import numpy as np

    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"{name} has shape {y.shape}; wanted: one label for each example, (N,)")
    if y.dtype.kind == "U":
        return y
    if y.dtype.kind not in "buif":
        raise DataError(f"{name} is of type {y.dtype}; wanted: whole numbers from 0 on, or words")
    if y.dtype.kind == "f" and not (np.isfinite(y) & (y == np.rint(y))).all():
        raise DataError(f"{name} holds numbers that are not whole; labels name classes: leave {name} out")
    if len(y) and (y.min() < 0 or float(y.max()) >= 1 << 63):
        raise DataError(f"{name} holds {y.min() if y.min() < 0 else y.max()}; wanted: whole numbers from 0 to 2^63 - 1")
    return y.astype(np.int64)


def _classes(labels: Mapping[str, Array | None]) -> tuple[tuple[str, ...], dict[str, Array | None]]:
    """Number the classes in the order of their labels; returns their names too."""
    import numpy as np

    given = [y for y in labels.values() if y is not None]
    if not given:
        return (), dict(labels)
    if len({y.dtype.kind for y in given}) > 1:
        raise DataError("the labels are words in one split and numbers in another")
    classes, numbers = np.unique(np.concatenate(given), return_inverse=True)
    if len(classes) > MAX_CLASSES:
        raise DataError(f"the labels have {len(classes):,} different values; {MAX_CLASSES:,} classes are allowed")
    ends = np.cumsum([len(y) for y in given])[:-1]
    return tuple(map(str, classes)), dict(zip(labels, np.split(numbers, ends), strict=True))


def _split(parts: dict[str, _Part]) -> dict[str, _Part]:
    """Take the splits that are lacking out of the training examples, in equal shares of each class."""
    import numpy as np

    whole = parts["" if "" in parts else "train"]
    lacking = [split for split in ("val", "test") if split not in parts]
    labels = np.zeros(len(whole), np.int64) if whole.labels is None else whole.labels
    numbers = np.unique(labels, return_inverse=True)[1]
    taken = take_held_out(numbers, fixed_permutation(len(whole), seed=0), lacking) if lacking else {}
    new = {
        split: _Part(whole.images, whole.labels if whole.labels is None else labels[rows], rows)
        for split, rows in taken.items()
    }
    return {split: (parts | new)[split] for split in SPLITS}


def _values_of(parts: Mapping[str, _Part]) -> _Values:
    import numpy as np

    low, high, whole = np.inf, -np.inf, True
    for split, part in parts.items():
        for block in part.blocks():
            real = block.dtype.kind == "f"
            if real and not np.isfinite(block).all():
                raise DataError(f"x ({split} split) holds values that are not finite: nan or infinite")
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            whole = whole and not (real and (block != np.rint(block)).any())
    return _Values(low, high, whole)


def _moments(part: _Part, source: Source) -> tuple[Array, Array]:
    """Mean and standard deviation over a split, (C, H, W): of each value of vectors, of each channel of images.

    A deviation of 0 becomes 1. The moments of blocks are put together as Chan, Golub and LeVeque (1983) do, without the
    cancellation of a sum of squares.
    """
    import numpy as np

    shape = part.images.shape[1:]
    axes = (0,) if shape[:2] == (1, 1) else (0, 2, 3)
    mean, squares, count = np.zeros(()), np.zeros(()), 0
    with np.errstate(over="ignore", invalid="ignore"):
        for values in (block.astype(np.float64) for block in part.blocks()):
            block_mean = values.mean(axes, keepdims=True)[0]
            shift, total = block_mean - mean, count + len(values)
            squares = squares + ((values - block_mean) ** 2).mean(axes, keepdims=True)[0] * len(values)
            squares = squares + shift**2 * (count * len(values) / total)
            mean, count = mean + shift * (len(values) / total), total
    if not np.isfinite(squares).all():
        raise DataError("x holds values that are too large to compute with")
    std = np.sqrt(squares / count)
    constant = std <= 1e-12 * np.abs(mean)
    if constant.any():
        what = "values" if len(axes) == 1 else "channels"
        source.notes.append(f"{constant.sum():,} of {constant.size:,} {what} are the same in all training examples")
    return np.broadcast_to(mean, shape), np.broadcast_to(np.where(constant, 1.0, std), shape)


def _suitable(values: _Values, kind: str) -> str:
    """The likelihood that suits values of a kind of numpy's, unless the user chooses another."""
    if values.whole and values.low >= 0 and values.high <= 1:
        return "bce"
    return "logistic" if kind in "ui" and values.low >= 0 and values.high <= 255 else "normal"


def _steps(values: _Values, likelihood: str) -> tuple[int, str]:
    """The highest level and the type in which the values are held for a likelihood.

    Raises:
        DataUsageError: The likelihood is not one of such values.
    """
    if likelihood == "normal":
        return 1, "float32"
    most = MAX_COUNT if likelihood == "poisson" else 255
    if not values.whole or values.low < 0 or values.high > most:
        kind = "whole" if values.whole else "real"
        raise DataUsageError(
            f"-lf {likelihood}: is for whole numbers from 0 to {most:,}, but x holds {kind} numbers from "
            f"{values.low:g} to {values.high:g}; leave -lf out, or give -lf normal"
        )
    levels = max(1, int(values.high)) if likelihood == "poisson" or values.high <= 1 else 255
    return levels, "uint8" if values.high <= 255 else "int32"


def _gather(part: _Part, dtype: str, moments: tuple[Array, Array] | None) -> Array:
    """The values of a split, standardized where moments are given, in a type that may be smaller than the file's."""
    import numpy as np

    if part.rows is None and part.images.dtype == dtype and moments is None:
        return part.images
    held = np.empty((len(part), *part.images.shape[1:]), dtype)
    start = 0
    for block in part.blocks():
        values = block if moments is None else (block - moments[0]) / moments[1]
        if moments is not None and abs(values).max() > MAX_DEVIATION:
            raise DataError(f"x holds a value {abs(values).max():.3g} standard deviations away from the training mean")
        held[start : start + len(block)] = values
        start += len(block)
    return held


SPEC = DataSet(
    name="array",
    title="your own arrays, the .npz or .npy file that --data_dir names",
    shape=None,
    likelihood="",
    levels=0,
    source=f"images or vectors: {WANTED}",
    licence="yours",
    split_rule="by the names of the arrays, else 80 : 10 : 10, fixed, in equal shares of each class",
    read=read_arrays,
)
