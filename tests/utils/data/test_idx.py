"""IDX files: what is read, and what is refused, each time in one clear line."""

import tracemalloc

import numpy as np
import pytest

from tests.utils.small_data import idx, one_line, random_images
from utils.data.files import DataError
from utils.data.idx import read_idx

HTML = b"<!DOCTYPE html><html><body>404: not here</body></html>"
IMAGES = random_images(3, 4, 5)


def test_read_idx_gives_the_array():
    np.testing.assert_array_equal(read_idx(idx(IMAGES), "x", 3), IMAGES)
    np.testing.assert_array_equal(read_idx(idx(np.arange(7)), "x", 1), np.arange(7))


BAD_IDX = {
    "empty": (b"", "starts with nothing"),
    "html": (HTML, "starts with 3c 21 44 4f"),
    "header": (idx(IMAGES)[:9], "cut short inside its header"),
    "short": (idx(IMAGES)[:-1], "promises 60 values (3 x 4 x 5) but the file holds 59"),
    "long": (idx(IMAGES) + b"\0", "promises 60 values (3 x 4 x 5) but the file holds 61"),
    "hostile": (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(60), "but the file holds 60"),
    "floats": (idx(IMAGES).replace(b"\0\0\x08", b"\0\0\x0d", 1), "00 00 08 03 is due"),
    "labels": (idx(np.arange(9)), "00 00 08 03 is due"),
}


@pytest.mark.parametrize(("data", "text"), BAD_IDX.values(), ids=BAD_IDX)
def test_read_idx_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_idx(data, "x-idx3-ubyte", 3)
    one_line(error, "x-idx3-ubyte", text)


def test_a_hostile_idx_header_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(ValueError, match="promises"):
        read_idx(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3 + bytes(10), "x", 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16
