"""OMNIGLOT as the importance weighted auto-encoder used it: 28x28 drawings with grey values from 0 to 1."""

from __future__ import annotations

from functools import partial

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataFile
from utils.data.mat import read_mat
from utils.data.splits import check_pairs, fixed_permutation


def _read(source: Source) -> Loaded:
    """Read both parts; the alphabet is the label where the file gives it."""
    matrices = source.read(source.files[0])
    images, test_images = (_levels(matrices[name], name) for name in ("data", "testdata"))
    labels, test_labels = (_from_one_hot(matrices.get(name), name) for name in ("target", "testtarget"))
    if (labels is None) != (test_labels is None):
        raise DataError("the file holds labels for one of its two parts only")
    check_pairs(images, labels)
    # The file is sorted by nothing known, so the validation images are drawn by lot, once and for all.
    order = fixed_permutation(len(images), seed=0)
    n_val = len(images) * 1345 // 24345
    train, val = ((images[part], None if labels is None else labels[part]) for part in (order[:-n_val], order[-n_val:]))
    return Loaded(train, val, (test_images, test_labels))


def _levels(matrix: Array, name: str) -> Array:
    """Turn a matrix of column-major 28x28 images in its columns, from 0 to 1, into images of 256 levels."""
    import numpy as np

    if matrix.min() < 0 or matrix.max() > 1:
        raise DataError(f"variable '{name}' runs from {matrix.min():g} to {matrix.max():g}; 0 to 1 is due")
    return np.rint(matrix.T * 255).astype(np.uint8).reshape(-1, 1, 28, 28).swapaxes(2, 3)


def _from_one_hot(matrix: Array | None, name: str) -> Array | None:
    """Turn columns with a single one into the index of that one."""
    if matrix is None:
        return None
    if not ((matrix == 0) | (matrix == 1)).all() or (matrix.sum(axis=0) != 1).any():
        raise DataError(f"variable '{name}' does not mark one class for each image")
    return matrix.argmax(axis=0)


SPEC = DataSet(
    name="omniglot",
    title="handwritten characters of 50 alphabets",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=255,
    source="https://github.com/yburda/iwae (Burda et al. 2016), from the drawings of Lake et al. 2015",
    licence="not stated; the drawings are MIT",
    split_rule="validation: 1,345 of the training part, by a fixed lot; test: the test part",
    read=_read,
    files=(
        DataFile(
            "OMNIGLOT/chardata.mat",
            None,
            "git-blob:016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
            partial(
                read_mat,
                shapes={
                    "data": (784, None),
                    "testdata": (784, None),
                    "target?": (50, None),
                    "testtarget?": (50, None),
                },
            ),
            ("https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",),
        ),
    ),
    splits=(23000, 1345, 8070),
    classes=50,
)
