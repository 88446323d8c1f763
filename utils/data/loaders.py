"""One function for each data set (or family): from its files to arrays, right way up and split."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from utils.data.cache import load_bits, store_bits
from utils.data.files import (
    DataError,
    DataFile,
    DataRequest,
    checksum,
    mismatch,
    read_file,
    refuse_or_note,
    stored_forms,
    stored_parts,
    writable,
    write_whole,
)
from utils.data.image_folder import read_image_folder
from utils.data.mat_reader import Shape, read_mat
from utils.data.readers import gunzip, read_amat, read_array_pickle, read_idx, read_tar_members
from utils.data.splits import fixed_permutation, stratified_split

if TYPE_CHECKING:
    import numpy as np

    from utils.data.catalogue import DataSpec

Arrays: TypeAlias = "tuple[np.ndarray, np.ndarray | None]"


@dataclass
class Loaded:
    """What a loader hands back: images (N, C, H, W) and labels (N,), or None, of each split."""

    train: Arrays
    val: Arrays
    test: Arrays
    class_names: tuple[str, ...] = ()


def load_digits(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the digits that come with scikit-learn, 8x8 with levels 0 to 16."""
    import numpy as np
    from sklearn import datasets

    bundle = datasets.load_digits()
    images, labels = bundle.images.astype(np.uint8)[:, None], bundle.target
    assert spec.splits is not None
    parts = stratified_split(labels, fixed_permutation(len(labels), seed=0), spec.splits[1:])
    train, val, test = ((images[part], labels[part]) for part in parts)
    return Loaded(train, val, test)


def load_mnist(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the four IDX files of MNIST, or of a set in its place; the last sixth of the training file validates."""
    arrays = []
    for file, dims in zip(spec.files, (3, 1, 3, 1), strict=True):
        form, data = read_file(file, request)
        (unpacked,) = file.forms
        arrays.append(read_idx(data, dims, unpacked.max_size, str(request.data_dir / form.path)))
    images, labels, test_images, test_labels = arrays
    _same_length(spec, images, labels)
    n_val = len(images) // 6
    return Loaded(
        (images[:-n_val, None], labels[:-n_val]),
        (images[-n_val:, None], labels[-n_val:]),
        (test_images[:, None], test_labels),
    )


def load_static_mnist(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the three text matrices of Larochelle's binarization; parsed ones come from a cache."""
    train, val, test = (_read_cached_amat(file, request).reshape(-1, 1, 28, 28) for file in spec.files)
    return Loaded((train, None), (val, None), (test, None))


def _read_cached_amat(file: DataFile, request: DataRequest) -> np.ndarray:
    """Read one text matrix, plain or gzipped, verified whether it was parsed now or before."""
    form, stored = read_file(file, request)
    path = request.data_dir / form.path
    key = checksum(stored, "sha256").removeprefix("sha256:")
    matrix = load_bits(path, key, 784, file.parsed)
    if matrix is None:
        # Twice the size leaves room for other line ends.
        text = gunzip(stored, 2 * file.max_size, str(path)) if form.of_content else stored
        if form.of_content and (difference := mismatch(form, text)):
            refuse_or_note(path, difference, request)
        matrix = read_amat(text, 784, str(path))
        store_bits(path, key, matrix, file.parsed)
    return matrix


def load_omniglot(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the 28x28 drawings, grey values from 0 to 1; the alphabet is the label where the file gives it."""
    (file,) = spec.files
    form, data = read_file(file, request)
    path = str(request.data_dir / form.path)
    wanted: dict[str, Shape] = {
        "data": (784, None),
        "testdata": (784, None),
        "target?": (50, None),
        "testtarget?": (50, None),
    }
    matrices = read_mat(data, wanted, path)
    images, test_images = (_levels(matrices[name], path, name) for name in ("data", "testdata"))
    labels, test_labels = (_from_one_hot(matrices.get(name), path, name) for name in ("target", "testtarget"))
    if (labels is None) != (test_labels is None):
        raise DataError(f"{path} holds labels for one of its two parts only")
    _same_length(spec, images, labels)
    # The file is sorted by nothing known, so the validation images are drawn by lot, once and for all.
    order = fixed_permutation(len(images), seed=0)
    n_val = len(images) * 1345 // 24345
    train, val = order[:-n_val], order[-n_val:]
    return Loaded(
        (images[train], None if labels is None else labels[train]),
        (images[val], None if labels is None else labels[val]),
        (test_images, test_labels),
    )


def _levels(matrix: np.ndarray, path: str, name: str) -> np.ndarray:
    """Turn a matrix of column-major 28x28 images in its columns, from 0 to 1, into images of 256 levels."""
    import numpy as np

    if matrix.min() < 0 or matrix.max() > 1:
        raise DataError(f"variable '{name}' of {path} runs from {matrix.min():g} to {matrix.max():g}; 0 to 1 is due")
    levels = np.rint(matrix.T * 255).astype(np.uint8)
    return levels.reshape(-1, 1, 28, 28).swapaxes(2, 3)


def _from_one_hot(matrix: np.ndarray | None, path: str, name: str) -> np.ndarray | None:
    """Turn columns with a single one into the index of that one."""
    if matrix is None:
        return None
    if not ((matrix == 0) | (matrix == 1)).all() or (matrix.sum(axis=0) != 1).any():
        raise DataError(f"variable '{name}' of {path} does not mark one class for each image")
    return matrix.argmax(axis=0)


def load_caltech(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read Marlin's silhouettes, column-major, and make the silhouette the foreground: 1 - data."""
    import numpy as np

    (file,) = spec.files
    form, data = read_file(file, request)
    path = str(request.data_dir / form.path)
    wanted: dict[str, Shape] = {}
    for part in ("train", "val", "test"):
        wanted |= {f"{part}_data": (None, 784), f"{part}_labels": (None, 1)}
    matrices = read_mat(data, wanted, path)
    splits: dict[str, Arrays] = {}
    for part in ("train", "val", "test"):
        images, labels = matrices[f"{part}_data"], matrices[f"{part}_labels"][:, 0]
        if not ((images == 0) | (images == 1)).all():
            raise DataError(f"variable '{part}_data' of {path} holds other values than 0 and 1")
        if (labels != np.rint(labels)).any():
            raise DataError(f"variable '{part}_labels' of {path} holds other values than whole numbers")
        foreground = (1 - images).astype(np.uint8).reshape(-1, 1, 28, 28).swapaxes(2, 3)
        splits[part] = foreground, labels.astype(np.int64) - 1
    return Loaded(splits["train"], splits["val"], splits["test"])


def load_freyfaces(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read Frey's face, 28x20 with 256 levels, from the pickle or from the MAT file.

    The frames follow each other in time, so they are split by lot; the seed is the default of
    Sylvester normalizing flows (van den Berg et al., 2018), whose split others have reported on.
    """
    import numpy as np

    (file,) = spec.files
    form, data = read_file(file, request)
    path = request.data_dir / form.path
    if form.of_content:
        stored = read_mat(data, {"ff": (560, None)}, str(path))["ff"].T
        faces = stored.clip(0, 255).astype(np.uint8)
        if (faces != stored).any():
            raise DataError(f"variable 'ff' of {path} holds other values than whole numbers from 0 to 255")
    else:
        content = read_array_pickle(data, str(path))
        faces = content[0] if isinstance(content, list) and len(content) == 1 else content
        if not isinstance(faces, np.ndarray) or faces.ndim != 2 or faces.shape[1] != 560:
            raise DataError(f"{path} holds no array of shape N x 560")
        if faces.dtype != np.uint8:
            raise DataError(f"{path} holds values of type {faces.dtype}; uint8 is due")
    if form.of_content and (difference := mismatch(form, faces.tobytes())):
        refuse_or_note(path, difference, request)
    shuffled = faces[fixed_permutation(len(faces), seed=123)].reshape(-1, 1, 28, 20)
    n_held_out = len(faces) * 200 // 1965
    n_train = len(faces) - 2 * n_held_out
    val_end = n_train + n_held_out
    return Loaded((shuffled[:n_train], None), (shuffled[n_train:val_end], None), (shuffled[val_end:], None))


def load_cifar10(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the six batches, unpacked or in their archive; the last tenth of the training images validates."""
    import numpy as np

    (archive,) = spec.files
    parts = []
    for part, data in zip(archive.parts, _read_parts(archive, request), strict=True):
        parts.append(_read_batch(data, str(request.data_dir / part.path)))
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    n_val = len(images) // 10
    return Loaded((images[:-n_val], labels[:-n_val]), (images[-n_val:], labels[-n_val:]), parts[-1])


def _read_parts(archive: DataFile, request: DataRequest) -> list[bytes]:
    """Read the parts of an archive where they lie unpacked and intact, else out of the archive.

    Raises:
        DataError: Neither is intact, and unverified files are not allowed.
    """
    folder = request.data_dir
    packed = bool(stored_forms(archive, folder))
    if stored_parts(archive, folder):
        # With the archive at hand, an unpacked file that differs is no more than an unpacking that was cut short.
        strict = DataRequest(folder) if packed else request
        try:
            return [read_file(part, strict)[1] for part in archive.parts]
        except DataError:
            if not packed:
                raise
    _, data = read_file(archive, request)
    names = [part.path for part in archive.parts]
    members = read_tar_members(data, names, 512 << 20, str(folder / archive.path))
    for part in archive.parts:
        # Unpacked under the names known here, so that the next run need not decompress.
        target = folder / part.path
        if mismatch(part, members[part.path]) is None and writable(target.parent):
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, members[part.path])
    return [members[name] for name in names]


def _read_batch(data: bytes, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one CIFAR-10 batch: images (N, 3, 32, 32), stored as planes of red, green and blue, and labels (N,)."""
    import numpy as np

    content = read_array_pickle(data, path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no dictionary with data and labels")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise DataError(f"{path} holds no array 'data' of N x 3072 bytes")
    if not isinstance(labels, list) or len(labels) != len(images) or any(label not in range(10) for label in labels):
        raise DataError(
            f"{path} holds no list 'labels' with a number from 0 to 9 for each of its {len(images):,} images"
        )
    return images.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def load_folder(spec: DataSpec, request: DataRequest) -> Loaded:
    """Read the user's own images."""
    found = read_image_folder(request.data_dir, request.image_size, request.grey)
    request.notes += found.notes
    return Loaded(found.splits["train"], found.splits["val"], found.splits["test"], found.class_names)


def _same_length(spec: DataSpec, images: np.ndarray, labels: np.ndarray | None) -> None:
    """Refuse images and labels that are not in pairs, before they are split."""
    if labels is not None and len(labels) != len(images):
        raise DataError(f"data set '{spec.name}': {len(images):,} images but {len(labels):,} labels")
