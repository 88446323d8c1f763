"""Data sets: what they are, where they come from, and how they are split.

All of them load to the same thing: images as integer levels of shape (N, C, H, W), right way up, with their labels
where there are any, in a training, a validation and a test split that is the same for every seed. Nothing is binarized
here; what ships binary has the levels 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.data.catalogue import DATASETS, DataSpec
from utils.data.files import DataError, DataRequest, DataUsageError, missing_files, missing_text, stored_forms

if TYPE_CHECKING:
    import torch

    from utils.data.loaders import Arrays

__all__ = ["DATASETS", "Data", "DataError", "DataSpec", "DataUsageError", "Split", "dataset_table", "load_data"]


@dataclass
class Split:
    """Images of shape (N, C, H, W), uint8 levels, and labels of shape (N,), int64, or None where there are none."""

    images: torch.Tensor
    labels: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Data:
    """A loaded data set.

    Attributes:
        name: Its key in `DATASETS`.
        shape: (C, H, W) of one image.
        levels: The highest value that a pixel can take: 1 for binary images, 255 for ordinary grey or colour.
        likelihood: The likelihood that suits the data unless the user chooses another.
        classes: Number of classes; 0 without labels.
        class_names: Their names, in the order of the labels, where they are known.
        train, val, test: The splits.
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
    notes: tuple[str, ...] = ()


def load_data(
    name: str,
    data_dir: str | Path,
    *,
    allow_unverified: bool = False,
    image_size: tuple[int, int] | None = None,
    grey: bool = False,
    download: bool = True,
) -> Data:
    """Find, fetch, verify and read a data set.

    Args:
        name: A key of `DATASETS`.
        data_dir: Folder that holds the data sets (for ``folder``: the images).
        allow_unverified: Use files that differ from the known ones, with a note.
        image_size: (H, W) for ``folder``, 64x64 unless given.
        grey: Read ``folder`` in grey.
        download: Fetch what is missing.

    Returns:
        The data set, on the CPU.

    Raises:
        DataUsageError: Unknown name, or an option that does not fit the data set.
        DataError: Files are missing and cannot be fetched, or are not what they should be.
    """
    if name not in DATASETS:
        raise DataUsageError(f"unknown data set '{name}'; known are {', '.join(DATASETS)}")
    spec = DATASETS[name]
    if spec.shape and (image_size or grey):
        raise DataUsageError(f"--image_size and --grey go with -d folder; the images of '{name}' are of one kind")
    request = DataRequest(Path(data_dir), allow_unverified, image_size, grey)
    if missing := missing_files(spec.files, request.data_dir):
        try:
            if not download:
                raise DataError(missing_text(missing, request.data_dir, "downloading is off"))
            from utils.data.downloads import fetch_missing  # brings half the network library, for what is rarely needed

            fetch_missing(missing, request.data_dir)
        except DataError as error:
            raise DataError(f"data set '{name}': {error}") from error
    loaded = spec.loader(spec, request)
    shape = spec.shape or loaded.train[0].shape[1:]
    names = spec.class_names or loaded.class_names
    classes = spec.classes or len(names)
    train, val, test = (_to_split(spec, part, shape, classes) for part in (loaded.train, loaded.val, loaded.test))
    sizes = (len(train), len(val), len(test))
    if spec.splits not in (None, sizes):
        request.notes.append(f"the splits hold {sizes} images, not the {spec.splits} that published figures are on")
    if train.labels is None:
        names, classes = (), 0
    return Data(name, shape, spec.levels, spec.likelihood, classes, names, train, val, test, tuple(request.notes))


def _to_split(spec: DataSpec, arrays: Arrays, shape: tuple[int, int, int], classes: int) -> Split:
    """Check what a loader read against what the data set says of itself, and make tensors of it."""
    import numpy as np
    import torch

    images, labels = arrays
    if not len(images):
        raise DataError(f"data set '{spec.name}': a split holds no images")
    if images.shape[1:] != shape:
        raise DataError(f"data set '{spec.name}': images have shape {images.shape[1:]} where {shape} is due")
    if images.max() > spec.levels:
        raise DataError(f"data set '{spec.name}': a pixel holds {images.max()}; the highest level is {spec.levels}")
    if labels is not None:
        if len(labels) != len(images):
            raise DataError(f"data set '{spec.name}': {len(images):,} images but {len(labels):,} labels")
        if labels.min() < 0 or labels.max() >= classes:
            raise DataError(
                f"data set '{spec.name}': labels run from {labels.min()} to {labels.max()}; "
                f"0 to {classes - 1} are allowed"
            )
    # Copies: the arrays may be read-only views of a file's bytes.
    return Split(
        torch.from_numpy(np.array(images, np.uint8, order="C")),
        None if labels is None else torch.from_numpy(np.array(labels, np.int64)),
    )


def dataset_table(data_dir: str | Path) -> str:
    """Return a table of all data sets: what they are, how they are split, what is on disk, source and terms."""
    head = ("name", "images", "train", "val", "test", "classes", "likelihood", "on disk")
    rows: list[tuple[str, ...]] = [head]
    for spec in DATASETS.values():
        shape = "x".join(map(str, spec.shape)) if spec.shape else "any"
        sizes = [f"{size:,}" for size in spec.splits] if spec.splits else ["by files"] * 3
        classes = str(spec.classes) if spec.classes else "-"
        rows.append((spec.name, shape, *sizes, classes, spec.likelihood, _on_disk(spec, Path(data_dir))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row, entry in zip(rows, (None, *DATASETS.values()), strict=True):
        aligned = [f"{cell:{'>' if 2 <= i < 6 else '<'}{widths[i]}}" for i, cell in enumerate(row)]
        lines.append("  ".join(aligned).rstrip())
        if entry:
            lines.append(f"    {entry.title}; split: {entry.split_rule}")
            lines.append(f"    from {entry.source}; terms: {entry.licence}")
    return "\n".join(lines)


def _on_disk(spec: DataSpec, data_dir: Path) -> str:
    """Say which files of a data set are there, by name and size; their checksums are verified on loading."""
    if not spec.files:
        return "bundled" if spec.shape else "yours"
    missing = missing_files(spec.files, data_dir)
    if len(missing) == len(spec.files):
        return "absent"
    if missing:
        return f"{len(spec.files) - len(missing)} of {len(spec.files)} files"
    for file in spec.files:
        forms = stored_forms(file, data_dir)
        sizes = [None if form.of_content else form.size for form in forms]
        if forms and not any(
            size in (None, (data_dir / form.path).stat().st_size) for form, size in zip(forms, sizes, strict=True)
        ):
            return f"{file.path} has a wrong size"
    return "complete"
