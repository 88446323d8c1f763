"""Pickles: what is read, and that nothing in them is executed."""

import contextlib
import pickle
import time
import tracemalloc

import numpy as np
import pytest

from tests.utils.small_data import Canary, colliding_keys, one_line, random_images
from utils.data.files import DataError
from utils.data.pickles import read_array_pickle

HTML = b"<!DOCTYPE html><html><body>404: not here</body></html>"
IMAGES = random_images(3, 4, 5)


def python_2_array() -> bytes:
    """An array as Python 2 and numpy 1 wrote it, in protocol 0: the layout of the pickle of Frey's face."""
    return (
        b"(lp0\ncnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
        b"(I1\n(I2\nI3\ntp7\ncnumpy\ndtype\np8\n(S'u1'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'|'\np12\nNNNI-1\nI-1\nI0\n"
        b"tp13\nbI00\nS'\\x01\\xff\\x03\\x04\\x05\\x06'\np14\ntp15\nba."
    )


def test_read_array_pickle_reads_what_python_2_wrote():
    (array,) = read_array_pickle(python_2_array(), "x.pkl")
    np.testing.assert_array_equal(array, np.array([[1, 255, 3], [4, 5, 6]], np.uint8))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_read_array_pickle_reads_arrays_and_plain_values(protocol):
    content = {"data": IMAGES, "labels": [1, 2, 3], b"raw": b"\xff", "x": (1.5, None, "é")}
    found = read_array_pickle(pickle.dumps(content, protocol=protocol), "x.pkl")
    np.testing.assert_array_equal(found.pop("data"), IMAGES)
    assert found == {"labels": [1, 2, 3], b"raw": b"\xff", "x": (1.5, None, "é")}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_not_executed(tmp_path, protocol):
    canary = tmp_path / "canary"
    attack = pickle.dumps([IMAGES, Canary(canary)], protocol=protocol)
    with pytest.raises(DataError) as error:
        read_array_pickle(attack, "x.pkl")
    one_line(error, "x.pkl", "which is not allowed")
    assert not canary.exists()
    pickle.loads(attack)
    assert canary.exists(), "the attack itself must work, or the test shows nothing"


@pytest.mark.parametrize(
    "attack",
    [
        b'cbuiltins\neval\n(S\'open("CANARY", "w")\'\ntR.',
        b"cos\nsystem\n(S'touch CANARY'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch CANARY\x85R.",
        b"cnumpy\nload\n(S'CANARY'\ntR.",
        b'cnumpy.testing._private.utils\nrunstring\n(S\'open("CANARY", "w")\'\n(dtR.',
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        b"(S'touch CANARY'\nios\nsystem\n.",
        b"P1\n.",
        b"cnumpy\nndarray\n(I1\ntR(dS'__class__'\ncos\nsystem\nsb.",
    ],
    ids=["eval", "system", "stack-global", "load", "runstring", "getattr", "inst", "persistent", "build"],
)
def test_known_ways_to_execute_are_refused(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        read_array_pickle(attack, "x.pkl")
    one_line(error, "x.pkl is not a pickle of plain arrays")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02Nr\xff\xff\xff\x0f.",  # one object, numbered 268,435,455
        b"\x80\x05\x96\0\0\0\x40\0\0\0\0x.",  # a bytearray said to hold a gigabyte
        b"\x80\x04\x8e\0\0\0\x40\0\0\0\0x.",  # bytes said to hold a gigabyte
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1073741824\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS''\ntb.",
    ],
    ids=["memo", "bytearray", "bytes", "array"],
)
def test_a_pickle_that_claims_a_gigabyte_takes_no_memory(data):
    tracemalloc.start()
    with contextlib.suppress(DataError):
        read_array_pickle(data, "x.pkl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_codec_that_takes_hours_is_refused():
    attack = pickle.PROTO + b"\2c_codecs\nencode\n" + pickle.dumps(("\xe9" * 50_000, "punycode"), 2)[2:-1] + b"R."
    with pytest.raises(DataError) as error:
        read_array_pickle(attack, "x.pkl")
    one_line(error, "x.pkl", "codec 'punycode'")


COLLIDING = {
    "dictionary": colliding_keys(100_000, b"d."),
    "items": b"\x80\x04}" + colliding_keys(100_000, b"u.")[2:],
    "item": b"\x80\x04}" + 50_000 * (b"\x8a\x09" + (10 * (2**61 - 1)).to_bytes(9, "little") + b"Ns") + b".",
    "tuples": b"\x80\x04}(" + 50_000 * b"K\1K\2\x86N" + b"u.",
    "frozenset": colliding_keys(100_000, b"\x91."),
    "set": b"\x80\x04\x8f" + colliding_keys(100_000, b"\x90.")[2:],
    "memo": b"(" + b"".join(b"Np%d\n" % (number * (2**61 - 1)) for number in range(100_000)) + b"t.",
}


@pytest.mark.parametrize("attack", COLLIDING.values(), ids=COLLIDING)
def test_keys_that_could_have_equal_hashes_are_refused(attack):
    started = time.process_time()
    with pytest.raises(DataError) as error:
        read_array_pickle(attack, "x.pkl")
    one_line(error, "x.pkl is not a pickle of plain arrays")
    assert time.process_time() - started < 3  # with equal hashes it takes minutes


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "i8", "f4", "f8", ">i4", ">f8"])
def test_arrays_of_numbers_keep_their_type_and_order(dtype):
    for array in (np.arange(12).reshape(3, 4).astype(dtype), np.asfortranarray(np.arange(12).reshape(3, 4), dtype)):
        for protocol in (2, 5):
            found = read_array_pickle(pickle.dumps(array, protocol), "x.pkl")
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype


@pytest.mark.parametrize(
    "array", [np.array([1, "a"], object), np.array(["text"]), np.zeros(2, "i4,f8"), np.zeros(2, "M8[s]")]
)
def test_arrays_of_anything_else_are_refused(array):
    with pytest.raises(DataError) as error:
        read_array_pickle(pickle.dumps(array, protocol=2), "x.pkl")
    one_line(error, "x.pkl", "something else than numbers")


@pytest.mark.parametrize(
    "data",
    [b"", HTML, python_2_array()[:-20], pickle.dumps(IMAGES, protocol=4)[:-30], b"\x80\x04.", b"\x8e" + b"\xff" * 8],
    ids=["empty", "html", "cut", "cut-4", "nothing", "giant"],
)
def test_read_array_pickle_refuses_damage(data):
    with pytest.raises(DataError) as error:
        read_array_pickle(data, "x.pkl")
    one_line(error, "x.pkl is not a pickle of plain arrays")
