"""Data sets: what they are, where they come from, and how they are split.

All of them load to the same thing: images as integer levels of shape (N, C, H, W), right way up, with their labels
where there are any, in a training, a validation and a test split that is the same for every seed. Nothing is binarized
here except what ships binary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from utils.data_files import DataError, DataFile, DataRequest, DataUsageError, missing_text, read_file, stored_forms
from utils.data_readers import read_idx

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["DATASETS", "Data", "DataError", "DataSpec", "DataUsageError", "Split", "load_data"]


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
        class_names: Their names, in the order of the labels.
        train, val, test: The splits.
        notes: What the user should know: unverified files, images skipped.
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


Arrays: TypeAlias = "tuple[np.ndarray, np.ndarray | None]"


@dataclass
class Loaded:
    """What a loader hands back: images (N, C, H, W) and labels (N,) of each split, as arrays."""

    train: Arrays
    val: Arrays
    test: Arrays
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """One data set.

    Attributes:
        name: The word given to `-d`.
        title: What it is, in a few words.
        shape: (C, H, W), or None where the files decide.
        likelihood: ``bernoulli``, ``gaussian`` or ``logistic``: the one used unless another is asked for.
        classes: Number of classes; 0 without labels.
        levels: The highest pixel value.
        files: The files that it consists of.
        source: Where it comes from.
        licence: Licence or terms, as far as they are stated.
        splits: Images in the training, validation and test split; None where the files decide.
        split_rule: How the splits come about.
        loader: Reads the files.
    """

    name: str
    title: str
    shape: tuple[int, int, int] | None
    likelihood: str
    classes: int
    levels: int
    files: tuple[DataFile, ...]
    source: str
    licence: str
    splits: tuple[int, int, int] | None
    split_rule: str
    loader: Callable[[DataSpec, DataRequest], Loaded]


def _stratified(labels: np.ndarray, order: np.ndarray, parts: int) -> np.ndarray:
    """Choose `parts` of the N examples so that every class gives its share, rounded to one example.

    The examples, sorted by class and within a class by `order`, are sampled systematically: at equal distances.

    Args:
        labels: Shape (N,).
        order: Shape (N,), a fixed random permutation.
        parts: How many to choose.

    Returns:
        Boolean mask of shape (N,) with exactly `parts` true entries.
    """
    import numpy as np

    by_class = order[np.argsort(labels[order], kind="stable")]
    chosen = np.zeros(len(labels), bool)
    chosen[by_class[np.diff(np.arange(len(labels) + 1) * parts // len(labels)) == 1]] = True
    return chosen


def load_digits(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the digits that come with scikit-learn."""
    import numpy as np
    from sklearn import datasets

    bundle = datasets.load_digits()
    images, labels = bundle.images.astype(np.uint8)[:, None], bundle.target.astype(np.int64)
    assert spec.splits is not None
    _, n_val, n_test = spec.splits
    # RandomState's stream is frozen for all versions of numpy (NEP 19), so the split is too.
    order = np.random.RandomState(0).permutation(len(labels))
    test = _stratified(labels, order, n_test)
    rest = np.flatnonzero(~test)
    val = np.zeros_like(test)
    val[rest[_stratified(labels[rest], np.argsort(np.argsort(order)[rest]), n_val)]] = True
    train = ~(val | test)
    return Loaded(*((images[chosen], labels[chosen]) for chosen in (train, val, test)), class_names=tuple("0123456789"))


def load_mnist(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the four IDX files of MNIST or of a data set in its place."""
    arrays = []
    for file, dims in zip(spec.files, (3, 1, 3, 1), strict=True):
        form, data = read_file(file, request)
        content_size = file.forms[0].max_size
        arrays.append(read_idx(data, dims, content_size, str(request.data_dir / form.path)))
    train_images, train_labels, test_images, test_labels = arrays
    n_val = len(train_images) // 6
    train, val = slice(0, len(train_images) - n_val), slice(len(train_images) - n_val, None)
    return Loaded(
        (train_images[train, None], train_labels[train]),
        (train_images[val, None], train_labels[val]),
        (test_images[:, None], test_labels),
        class_names=FASHION_CLASSES if spec.name == "f_mnist" else tuple("0123456789"),
    )


FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _idx_files(folder: str, mirrors: tuple[str, ...], sums: tuple[tuple[int, str, str], ...]) -> tuple[DataFile, ...]:
    """The four gzipped files in torchvision's layout, each with its unpacked form."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    content_sizes = (47040016, 60008, 7840016, 10008)
    return tuple(
        DataFile(
            f"{folder}/raw/{name}-ubyte.gz",
            size,
            f"md5:{packed}",
            tuple(f"{mirror}{name}-ubyte.gz" for mirror in mirrors),
            forms=(DataFile(f"{folder}/raw/{name}-ubyte", content_size, f"md5:{content}"),),
            torchvision=True,
        )
        for name, content_size, (size, packed, content) in zip(names, content_sizes, sums, strict=True)
    )


_SPECS = (
    DataSpec(
        name="digits",
        title="handwritten digits, bundled with scikit-learn",
        shape=(1, 8, 8),
        likelihood="bernoulli",
        classes=10,
        levels=16,
        files=(),
        source="https://archive.ics.uci.edu/dataset/80 (Alpaydin and Kaynak), the part that scikit-learn ships",
        licence="CC BY 4.0",
        splits=(1297, 200, 300),
        split_rule="fixed, stratified by class",
        loader=load_digits,
    ),
    DataSpec(
        name="mnist",
        title="MNIST, handwritten digits",
        shape=(1, 28, 28),
        likelihood="bernoulli",
        classes=10,
        levels=255,
        files=_idx_files(
            "MNIST",
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            (
                (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
                (28881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
                (1648877, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
                (4542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
            ),
        ),
        source="http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes and Burges)",
        licence="CC BY-SA 3.0",
        splits=(50000, 10000, 10000),
        split_rule="validation: the last 10,000 of the training file",
        loader=load_mnist,
    ),
    DataSpec(
        name="f_mnist",
        title="FashionMNIST, clothing",
        shape=(1, 28, 28),
        likelihood="bernoulli",
        classes=10,
        levels=255,
        files=_idx_files(
            "FashionMNIST",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                (29515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
                (4422102, "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
                (5148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
        ),
        source="https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf)",
        licence="MIT",
        splits=(50000, 10000, 10000),
        split_rule="validation: the last 10,000 of the training file",
        loader=load_mnist,
    ),
)

DATASETS: dict[str, DataSpec] = {spec.name: spec for spec in _SPECS}


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
        torch.from_numpy(np.array(images, np.uint8)),
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
    )


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
        image_size: (H, W) for ``folder``.
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
    if spec.name != "folder" and (image_size or grey):
        raise DataUsageError(f"--image_size and --grey go with -d folder only; '{name}' has images of one kind")
    request = DataRequest(Path(data_dir), allow_unverified, image_size, grey)
    missing = [file for file in spec.files if not stored_forms(file, request.data_dir)]
    if missing:
        raise DataError(f"data set '{name}': " + missing_text(missing, request.data_dir, "not found"))
    loaded = spec.loader(spec, request)
    shape = spec.shape or loaded.train[0].shape[1:]
    classes = spec.classes or len(loaded.class_names)
    train, val, test = (_to_split(spec, part, shape, classes) for part in (loaded.train, loaded.val, loaded.test))
    return Data(
        name,
        shape,
        spec.levels,
        spec.likelihood,
        classes if train.labels is not None else 0,
        loaded.class_names,
        train,
        val,
        test,
        tuple(request.notes),
    )
