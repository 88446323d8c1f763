"""Small files in the formats of the real data sets, for the tests of what reads them."""

import dataclasses
import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io as scipy_io

from utils.config.config import Config
from utils.data.files import checksum
from utils.data.sets import DATASETS
from utils.load_data import Data, load_data

REAL_DATA = os.environ.get("HSVAE_DATA")
needs_real_data = pytest.mark.skipif(not REAL_DATA, reason="HSVAE_DATA names no folder of real data sets")


class Canary:
    """An object whose unpickling makes a file: if the file is there, the pickle was executed."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def load(name: str, data_dir: Path | str, **settings: Any) -> Data:
    """Load a data set from files that are there."""
    return load_data(Config(dataset=name, data_dir=str(data_dir), **settings), download=False)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def amat(matrix: np.ndarray) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in matrix.tolist()).encode()


def mat(version: str = "5", compress: bool = True, **variables: object) -> bytes:
    stream = io.BytesIO()
    scipy_io.savemat(stream, variables, format=version, do_compression=compress and version == "5")
    return stream.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def random_images(n: int, *shape: int, high: int = 255, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high + 1, (n, *shape), dtype=np.uint8)


def write_mnist(folder: Path, n_train: int = 60, n_test: int = 10, gz: bool = True) -> dict[str, np.ndarray]:
    """Write the four IDX files of `MNIST`; return their arrays."""
    arrays = {
        "train-images-idx3": random_images(n_train, 28, 28),
        "train-labels-idx1": np.arange(n_train) % 10,
        "t10k-images-idx3": random_images(n_test, 28, 28, seed=1),
        "t10k-labels-idx1": np.arange(n_test) % 10,
    }
    for name, array in arrays.items():
        data = idx(array)
        write(folder / "MNIST" / "raw" / f"{name}-ubyte{'.gz' * gz}", gzip.compress(data) if gz else data)
    return arrays


def static_mnist(monkeypatch: pytest.MonkeyPatch, rows: tuple[int, int, int] = (12, 5, 6)) -> dict[str, np.ndarray]:
    """Let a small static MNIST be the known one; return its matrices by the place of their text in the data folder."""
    spec = DATASETS["static_mnist"]
    matrices = [random_images(n, 784, high=1, seed=n) for n in rows]
    files = []
    for file, matrix in zip(spec.files, matrices, strict=True):
        text = amat(matrix)
        sums: dict[str, Any] = {"size": len(text), "checksum": checksum(text, "sha256")}
        files.append(dataclasses.replace(file, **sums))
    monkeypatch.setitem(DATASETS, spec.name, dataclasses.replace(spec, files=tuple(files), splits=rows))
    return {file.path: matrix for file, matrix in zip(files, matrices, strict=True)}


def cifar_batches(per_batch: int = 20) -> dict[str, bytes]:
    """Return the six batches of a small CIFAR-10, by their place in the data folder."""
    return {
        f"cifar-10-batches-py/{name}": pickle.dumps(
            {"data": random_images(per_batch, 3072, seed=seed), "labels": [i % 10 for i in range(per_batch)]},
            protocol=2,
        )
        for seed, name in enumerate((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))
    }


def one_line(error: pytest.ExceptionInfo[Exception], *expected: str) -> str:
    """Assert that an error says what is expected on one line, and return the text."""
    text = str(error.value)
    assert "\n" not in text
    for part in expected:
        assert part in text
    return text


def colliding_keys(count: int, end: bytes) -> bytes:
    """A pickle of numbers whose hashes are equal, which `end` puts into something: it takes time as count^2."""
    numbers = (pickle.encode_long(number * (2**61 - 1)) for number in range(10, 10 + count))
    return b"\x80\x04(" + b"".join(b"\x8a" + bytes([len(number)]) + number for number in numbers) + end
