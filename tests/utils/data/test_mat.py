"""MAT files: what is read, and that damaged and hostile ones end in one line, whatever they do to scipy."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from tests.utils.small_data import REAL_DATA, mat, needs_real_data, one_line
from utils.data.files import DataError
from utils.data.mat import Shape, read_mat

SHAPES: dict[str, Shape] = {"data": (4, None), "labels?": (1, None)}
MATRIX = np.random.default_rng(0).normal(size=(4, 5))
LAYOUTS = {
    "5-compressed": lambda **variables: mat(**variables),
    "5-plain": lambda **variables: mat(compress=False, **variables),
    "4": lambda **variables: mat(version="4", **variables),
}


def big_endian(data: np.ndarray) -> bytes:
    """A version 5 file with one matrix of doubles `data`, as a machine of the other byte order wrote it."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = [(6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", *data.shape)), (1, b"data")]
    parts.append((9, data.astype(">f8").tobytes(order="F")))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, b"".join(element(*part) for part in parts))


TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrices_of_every_type_are_read_as_they_are_stored(layout):
    types = TYPES if layout == "4" else (*TYPES, "i1", "u4", "i8", "u8")
    matrices = {f"data_{dtype}": (MATRIX * 20).clip(0).astype(dtype) for dtype in types}
    data = LAYOUTS[layout](first=np.ones((2, 2)), **matrices, one=np.array([[7.0]]), last="text")
    shapes: dict[str, Shape] = {**dict.fromkeys(matrices, (4, None)), "one?": (1, None), "absent?": (1, None)}
    found = read_mat(data, "x.mat", shapes)
    assert found.pop("one").tolist() == [[7.0]]
    assert found.keys() == matrices.keys()
    for name, matrix in matrices.items():
        np.testing.assert_array_equal(found[name], matrix)


def test_the_other_byte_order_is_read():
    np.testing.assert_array_equal(read_mat(big_endian(MATRIX), "x.mat", SHAPES)["data"], MATRIX)


@needs_real_data
def test_real_files_equal_what_scipy_reads():
    path = f"{REAL_DATA}/Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat"
    with open(path, "rb") as stream:
        found = read_mat(stream.read(), path, {"train_data": (4100, 784), "test_labels": (None, 1)})
    expected = loadmat(path)
    for name, matrix in found.items():
        np.testing.assert_array_equal(matrix, expected[name])


GOOD = mat(data=MATRIX)
PLAIN = mat(data=MATRIX, compress=False)
def changed(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


UNSOUND = "is not a sound MAT file of version 4 to 7.2"

BAD_MAT = {
    "cut": (GOOD[:-20], UNSOUND),
    "v7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(500), "v7.3"),
    "hostile-shape": (changed(PLAIN, 160, struct.pack("<ii", 4, 1 << 30)), "promise 34,359,738,368 bytes"),
    "type": (changed(PLAIN, 176, struct.pack("<I", 99)), "reading it crashes the reader"),
    "transposed": (mat(data=MATRIX.T), "double of shape 5 x 4; real numbers of shape 4 x any are due"),
    "struct": (mat(data={"a": 1}), "variable 'data' is struct"),
    "complex": (mat(data=MATRIX * 1j), "not real or not finite"),
    "nan": (mat(data=np.full((4, 5), np.nan)), "not real or not finite"),
    "name": (mat(**dict[str, Any]({"a" * 63: MATRIX})), "holds no variable"),
    "cut-4": (mat(version="4", data=MATRIX)[:-3], UNSOUND),
}


@pytest.mark.parametrize(("data", "text"), BAD_MAT.values(), ids=BAD_MAT)
def test_it_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_mat(data, "x.mat", SHAPES)
    assert len(one_line(error, "x.mat", text)) < 400


@pytest.mark.slow
def test_a_variable_that_inflates_without_end_is_refused():
    header = mat(data=np.zeros((4, 5)), compress=False)[136:176]
    bomb = zlib.compressobj(1)
    packed = bomb.compress(struct.pack("<II", 14, (1 << 30) + 48) + header + struct.pack("<II", 9, 1 << 30))
    zeros = bytes(1 << 24)
    for _ in range(64):
        packed += bomb.compress(zeros)
    packed += bomb.flush()
    assert len(packed) < 8 << 20, "a small file"
    with pytest.raises(DataError) as error:
        read_mat(PLAIN[:128] + struct.pack("<II", 15, len(packed)) + packed, "x.mat", SHAPES)
    one_line(error, UNSOUND)


def test_a_reader_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr("utils.data.mat.MAX_SECONDS", 0.01)
    with pytest.raises(DataError) as error:
        read_mat(GOOD, "x.mat", SHAPES)
    one_line(error, "x.mat is not a sound MAT file: reading it takes more than 0.01 s")
