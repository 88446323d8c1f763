"""The IDX format, and data sets that come in four such files as MNIST does."""

from functools import partial
from math import prod

from utils.data.dataset import Loaded, Source
from utils.data.files import Array, DataError, DataFile
from utils.data.splits import check_pairs

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_files(
    folder: str, mirrors: tuple[str, ...], sums: tuple[tuple[int | None, str, str], ...]
) -> tuple[DataFile, ...]:
    """The four gzipped files of images and labels to train on and to test on, in torchvision's layout.

    Args:
        folder: Their folder in the data folder.
        mirrors: Addresses of folders that hold them.
        sums: Of each file its size or None, its md5, and that of what it decompresses to, empty where it is not known.
    """
    return tuple(
        DataFile(
            f"{folder}/raw/{name}.gz",
            size,
            f"md5:{packed}",
            partial(read_idx, dims=int(name.split("idx")[1][0])),
            tuple(f"{mirror}{name}.gz" for mirror in mirrors),
            content=content and f"md5:{content}",
            names=(name.replace("-idx", ".idx"),),
            torchvision=True,
        )
        for name, (size, packed, content) in zip(NAMES, sums, strict=True)
    )


def read_four(source: Source) -> Loaded:
    """Read the four files; the last sixth of the training images validates."""
    images, labels, test_images, test_labels = (source.read(file) for file in source.files)
    check_pairs(images, labels)
    n_val = len(images) // 6
    return Loaded(
        (images[:-n_val, None], labels[:-n_val]),
        (images[-n_val:, None], labels[-n_val:]),
        (test_images[:, None], test_labels),
    )


def read_idx(data: bytes, name: str, dims: int) -> Array:
    """Read an IDX file of unsigned bytes.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
    32-bit integer, the values (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").

    Args:
        data: The file, decompressed.
        name: For messages.
        dims: Number of dimensions it must have (3: images, 1: labels).

    Returns:
        Array of uint8 with `dims` dimensions, a read-only view of the bytes.

    Raises:
        DataError: Anything else than a whole IDX file of that kind.
    """
    import numpy as np

    if data[:4] != bytes((0, 0, 8, dims)):
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes in {dims} dimension{'s' * (dims > 1)}: "
            f"it starts with {data[:4].hex(' ') or 'nothing'} where 00 00 08 {dims:02x} is due"
        )
    header = 4 + 4 * dims
    if len(data) < header:
        raise DataError(f"{name} is cut short inside its header")
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims))
    promised = prod(shape)
    if promised != len(data) - header:
        raise DataError(
            f"the header of {name} promises {promised:,} values ({' x '.join(map(str, shape))}) "
            f"but the file holds {len(data) - header:,}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
