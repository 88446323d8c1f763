"""Data sets: what they are, where they come from, and how they are split.

All of them load to the same thing: images of shape (N, C, H, W), right way up, with their labels where there are any,
in a training, a validation and a test split that is the same for every seed. Nothing is binarized here; what ships
binary has the levels 0 and 1. Vectors are images of one row.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.data.dataset import Arrays, DataSet, Source
from utils.data.files import DataError, DataUsageError, is_stored, missing_files, missing_text, stored_places
from utils.data.sets import DATASETS
from utils.data.splits import check_pairs

if TYPE_CHECKING:
    import numpy as np
    import torch

    from utils.config.config import Config

MOST_LISTED = 20  # classes whose numbers of examples are printed one by one


@dataclass
class Split:
    """The examples of a split.

    Attributes:
        images: Shape (N, C, H, W): whole levels, or real numbers as they were standardized.
        labels: Shape (N,), int64, or None where there are none.
        index: Shape (N,), which example of the user's data each is: its row in the array that it was read from, or its
            path in the folder. None for known data sets.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    index: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the images and labels, with their types and shapes; some 500 MB are gone through in a second."""
        hasher = hashlib.sha256()
        for tensor in (self.images, self.labels):
            if tensor is not None:
                hasher.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
                hasher.update(tensor.contiguous().numpy().data)
        return hasher.hexdigest()


@dataclass
class Data:
    """A loaded data set.

    Attributes:
        name: Its key in `DATASETS`.
        shape: (C, H, W) of one image; (1, 1, D) of vectors.
        levels: The highest value that a pixel can take: 1 for binary images and for real numbers, 255 for ordinary grey
            or colour, the highest count for counts.
        likelihood: The likelihood that suits the data unless the user chooses another.
        classes: Number of classes; 0 without labels.
        class_names: Their names, in the order of the labels, where they are known.
        train, val, test: The splits.
        moments: Mean and standard deviation, (C, H, W) each, by which real numbers were standardized; else None.
        notes: What the user should know: files used unverified, images read and skipped.
    """

    name: str
    shape: tuple[int, int, int]
    levels: int
    likelihood: str
    classes: int
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    moments: tuple[torch.Tensor, torch.Tensor] | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_vectors(self) -> bool:
        """Whether the examples are vectors, which make no pictures."""
        return self.shape[:2] == (1, 1)

    def split(self, name: str) -> Split:
        """The split of that name: `train`, `val` or `test`."""
        return getattr(self, name)

    def in_units(self, images: torch.Tensor) -> torch.Tensor:
        """What a model sees or gives, (..., C, H, W), in the units of the data: grey levels, counts or real numbers."""
        images = images * self.levels
        if self.moments is None:
            return images
        mean, std = (moment.to(images) for moment in self.moments)
        return images * std + mean

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content of all splits, in the units of the data."""
        hasher = hashlib.sha256("".join(split.digest for split in (self.train, self.val, self.test)).encode())
        for moment in self.moments or ():
            hasher.update(moment.numpy().data)
        return hasher.hexdigest()

    @property
    def contents(self) -> dict[str, Any]:
        """What is stored with a run: the digest, and for each split its digest and the number of examples per class."""
        return {
            "digest": self.digest,
            "splits": {
                name: {"digest": split.digest, "examples": len(split), "classes": self._examples_of_classes(split)}
                for name, split in (("train", self.train), ("val", self.val), ("test", self.test))
            },
        }

    def _examples_of_classes(self, split: Split) -> dict[str, int]:
        if split.labels is None:
            return {}
        names = self.class_names or tuple(map(str, range(self.classes)))
        return dict(zip(names, split.labels.bincount(minlength=len(names)).tolist(), strict=True))

    @property
    def log_volume(self) -> float:
        """The log of the volume, in the units of the data, of a unit cube of the values that the model sees.

        A log density in the units of the data is that of the values which the model sees less this.
        """
        standardized = 0.0 if self.moments is None else float(self.moments[1].log().sum())
        return math.prod(self.shape) * math.log(self.levels) + standardized


def load_data(config: Config, *, download: bool = True) -> Data:
    """Find, fetch, verify and read a data set.

    Args:
        config: The settings of the run; any object will do that has what `Source.settings` lists.
        download: Fetch what is missing.

    Returns:
        The data set, on the CPU.

    Raises:
        DataUsageError: Unknown name, or a setting that does not fit the data set.
        DataError: Files are missing and cannot be fetched, or are not what they should be.
    """
    name = config.dataset
    if name not in DATASETS:
        raise DataUsageError(f"unknown data set '{name}'; known are {', '.join(DATASETS)}")
    spec = DATASETS[name]
    source = Source(config, spec.files)
    try:
        if missing_files(spec.files, source.folder):
            if not download:
                raise DataError(missing_text(spec.files, source.folder, "downloading is off"))
            from utils.data.downloads import fetch_missing  # imports half the network library, and is rarely needed

            fetch_missing(spec.files, source.folder)
        try:
            return _checked(spec, source)
        except OSError as error:
            place = error.filename or source.folder
            raise DataError(f"{place}: {error.strerror or error}; --data_dir is {source.folder}") from error
    except DataError as error:
        raise type(error)(f"data set '{name}': {error}") from error


def _checked(spec: DataSet, source: Source) -> Data:
    """Read a data set whose files are there, and hold it against what it says of itself."""
    import torch

    loaded = spec.read(source)
    shape = spec.shape or loaded.train[0].shape[1:]
    levels = spec.levels or loaded.levels
    if spec.levels and (dtype := loaded.train[0].dtype).kind not in "ui":
        raise DataError(f"pixels are of type {dtype}; whole numbers from 0 to {spec.levels} are due")
    names = spec.class_names or loaded.class_names
    classes = spec.classes or len(names)
    parts, index = (loaded.train, loaded.val, loaded.test), loaded.index or (None,) * 3
    train, val, test = (_to_split(*part, shape, levels, classes) for part in zip(parts, index, strict=True))
    sizes = (len(train), len(val), len(test))
    if spec.splits not in (None, sizes):
        source.notes.append(f"the splits hold {sizes} images, not the {spec.splits} that published figures are on")
    if train.labels is None:
        names, classes = (), 0
    if spec.is_own:
        source.notes += _notes({"training": train, "validation": val, "test": test}, names)
    moments = loaded.moments and (torch.tensor(loaded.moments[0]), torch.tensor(loaded.moments[1]))
    if source.settings.loss_function == "normal" and moments is None:
        source.notes.append(f"-lf normal: densities are in the units of the data, levels from 0 to {levels}")
    return Data(
        spec.name, shape, levels, spec.likelihood or loaded.likelihood, classes, names, train, val, test, moments,
        tuple(source.notes),
    )


def _notes(splits: dict[str, Split], names: tuple[str, ...]) -> Iterator[str]:
    """Say how many of the user's own examples are in each split and class, and which are in two splits."""
    counts = []
    for name, split in splits.items():
        of_class = "" if split.labels is None else split.labels.bincount(minlength=len(names)).tolist()
        listed = ", ".join(f"{title} {count:,}" for title, count in zip(names, of_class, strict=False))
        if len(names) > MOST_LISTED:
            listed = f"{len(names)} classes of {min(of_class):,} to {max(of_class):,}"
        counts.append(f"{len(split):,} {name}{f' ({listed})' * bool(of_class)}")
    yield f"examples: {'; '.join(counts)}"
    seen = {name: [hash(image.tobytes()) for image in split.images.numpy()] for name, split in splits.items()}
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test")):
        known = set(seen[first])
        if repeated := sum(value in known for value in seen[second]):
            yield f"{repeated:,} of {len(seen[second]):,} {second} examples are equal to {first} examples"


def _to_split(
    arrays: Arrays, index: np.ndarray | None, shape: tuple[int, int, int], levels: int, classes: int
) -> Split:
    """Make tensors of what was read, if it is as it should be."""
    import numpy as np
    import torch

    images, labels = arrays
    if not len(images):
        raise DataError("a split holds no images")
    if images.shape[1:] != shape:
        raise DataError(f"images have shape {images.shape[1:]} where {shape} is due")
    if images.dtype.kind in "ui" and images.max() > levels:
        raise DataError(f"a pixel holds {images.max()}; the highest level is {levels}")
    check_pairs(images, labels)
    if labels is not None and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(f"labels run from {labels.min()} to {labels.max()}; 0 to {classes - 1} are allowed")
    # Copied where the arrays are read-only views of a file's bytes.
    return Split(
        torch.from_numpy(np.require(images, requirements=("C", "W"))),
        None if labels is None else torch.from_numpy(np.array(labels, np.int64)),
        index,
    )


def dataset_table(data_dir: str | Path) -> str:
    """Return a table of all data sets: what they are, how they are split, what is on disk, source and terms."""
    rows = [("name", "images", "train", "val", "test", "classes", "likelihood", "on disk")]
    below = [""]
    for spec in DATASETS.values():
        shape = "x".join(map(str, spec.shape or ("any",)))
        train, val, test = (f"{size:,}" for size in spec.splits) if spec.splits else ["by files"] * 3
        on_disk = _on_disk(spec, Path(data_dir))
        rows.append((spec.name, shape, train, val, test, str(spec.classes or "-"), spec.likelihood or "any", on_disk))
        below.append(
            f"\n    {spec.title}; split: {spec.split_rule}\n    from {spec.source}; terms: {spec.licence}"
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = zip("<<>>>><<", widths, strict=True)  # numbers to the right, words to the left
    line = "  ".join(f"{{:{side}{width}}}" for side, width in sides)
    return "\n".join(line.format(*row).rstrip() + text for row, text in zip(rows, below, strict=True))


def _on_disk(spec: DataSet, data_dir: Path) -> str:
    """Say which files of a data set are there, by name and size; their checksums are verified on loading."""
    if not spec.files:
        return "no download" if spec.shape else "yours"
    stored = [file for file in spec.files if is_stored(file, data_dir)]
    if not stored:
        return "absent"
    if len(stored) < len(spec.files):
        return f"{len(stored)} of {len(spec.files)} files"
    for file in spec.files:
        places = stored_places(file, data_dir)
        if places == [data_dir / file.path] and file.size not in (None, size := places[0].stat().st_size):
            return f"{file.path} has {size:,} bytes, not {file.size:,}"
    return "complete"
