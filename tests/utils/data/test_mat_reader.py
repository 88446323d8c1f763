"""The MAT reader against scipy on sound files, and against damaged and hostile ones."""

import gzip
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import io as scipy_io

from tests.utils.small_data import REAL_DATA, damaged, mat, needs_real_data, one_line, random_images, reads_or_refuses
from utils.data.files import DataError
from utils.data.mat_reader import Shape, read_mat

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


TYPES = [(layout, dtype) for layout in LAYOUTS for dtype in ("f8", "f4", "i4", "i2", "u2", "u1")]
TYPES += [(layout, dtype) for layout in LAYOUTS if layout != "4" for dtype in ("i1", "u4", "i8", "u8")]


@pytest.mark.parametrize(("layout", "dtype"), TYPES)
def test_matrices_of_every_type_equal_those_that_scipy_reads(layout, dtype):
    matrix = (MATRIX * 20).clip(0).astype(dtype)
    data = LAYOUTS[layout](first=np.ones((2, 2)), data=matrix, last="text")
    found = read_mat(data, SHAPES, "x.mat")
    assert list(found) == ["data"]
    np.testing.assert_array_equal(found["data"], scipy_io.loadmat(io.BytesIO(data))["data"])
    np.testing.assert_array_equal(found["data"], matrix)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_optional_and_small_variables_are_read(layout):
    found = read_mat(LAYOUTS[layout](data=np.ones((4, 1)), labels=np.array([[7.0]])), SHAPES, "x.mat")
    assert found["labels"].tolist() == [[7.0]]


def test_the_other_byte_order_is_read():
    np.testing.assert_array_equal(read_mat(big_endian(MATRIX), SHAPES, "x.mat")["data"], MATRIX)


@needs_real_data
def test_real_files_equal_what_scipy_reads():
    path = f"{REAL_DATA}/Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat"
    with open(path, "rb") as stream:
        found = read_mat(stream.read(), {"train_data": (4100, 784), "test_labels": (None, 1)}, path)
    expected = scipy_io.loadmat(path)
    for name, matrix in found.items():
        np.testing.assert_array_equal(matrix, expected[name])


GOOD = mat(data=MATRIX)
PLAIN = mat(data=MATRIX, compress=False)
HTML = b"<!DOCTYPE html><html><body>404: not here</body></html>"


def changed(data: bytes, position: int, value: bytes) -> bytes:
    return data[:position] + value + data[position + len(value) :]


BAD_MAT = {
    "empty": (b"", "its header is not one of MATLAB's"),
    "html": (HTML * 10, "its header is not one of MATLAB's"),
    "gzip": (gzip.compress(GOOD), "its header is not one of MATLAB's"),
    "header": (GOOD[:140], "claims"),
    "cut": (GOOD[:-20], "claims"),
    "cut-plain": (PLAIN[:-20], "claims"),
    "tag": (PLAIN[:131], "cut short inside a tag"),
    "v7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(500), "save the file again with -v7"),
    "damaged": (changed(GOOD, len(GOOD) // 2, b"\0\xff\0\xff"), "x.mat"),
    "hostile-shape": (changed(PLAIN, 160, struct.pack("<i", 1 << 30)), "promises"),
    "negative-shape": (changed(PLAIN, 160, struct.pack("<i", -4)), "promises"),
    "type": (changed(PLAIN, 176, struct.pack("<I", 99)), "unknown type 99"),
    "size": (changed(PLAIN, 132, struct.pack("<I", 0xFFFFFFFF)), "claims 4,294,967,295 bytes"),
    "missing": (mat(other=MATRIX), "holds no variable 'data'; it holds other"),
    "transposed": (mat(data=MATRIX.T), "real of shape 5 x 4; real numbers of shape 4 x any are due"),
    "cube": (mat(data=np.ones((4, 5, 6))), "real of shape 4 x 5 x 6"),
    "no-columns": (mat(data=np.ones((4, 0))), "real of shape 4 x 0"),
    "text": (mat(data="text of any kind"), "'data' of x.mat is text"),
    "struct": (mat(data={"a": 1}), "'data' of x.mat is a struct"),
    "cell": (mat(data=np.array([[1, "a"]], dtype=object)), "'data' of x.mat is a cell array"),
    "complex": (mat(data=MATRIX * 1j), "'data' of x.mat is complex"),
    "complex-4": (mat(version="4", data=MATRIX * 1j), "'data' of x.mat is complex"),
    "nan": (mat(data=np.full((4, 5), np.nan)), "not finite"),
    "cut-4": (mat(version="4", data=MATRIX)[:-3], "claims 160 bytes"),
}


@pytest.mark.parametrize(("data", "text"), BAD_MAT.values(), ids=BAD_MAT)
def test_it_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_mat(data, SHAPES, "x.mat")
    assert len(one_line(error, "x.mat", text)) < 300


def test_a_hostile_header_takes_no_memory():
    data = changed(PLAIN, 160, struct.pack("<ii", 46000, 46000))
    tracemalloc.start()
    with pytest.raises(DataError):
        read_mat(data, SHAPES, "x.mat")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


def test_a_variable_that_inflates_without_end_takes_no_memory(monkeypatch):
    monkeypatch.setattr("utils.data.mat_reader.MAX_CONTENT", 1 << 16)
    packed = zlib.compress(struct.pack("<II", 14, 1 << 25) + bytes(1 << 25))
    data = PLAIN[:128] + struct.pack("<II", 15, len(packed)) + packed
    tracemalloc.start()
    with pytest.raises(DataError) as error:
        read_mat(data, SHAPES, "x.mat")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one_line(error, "larger than any data set")
    assert peak < 1 << 20


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_leads_to_another_error(layout, data):
    valid = LAYOUTS[layout](data=random_images(4, 5))
    reads_or_refuses(lambda raw: read_mat(raw, SHAPES, "x"), data.draw(damaged(valid)))
