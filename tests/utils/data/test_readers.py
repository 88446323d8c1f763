"""Every reader, on what it should read and on what it should refuse, each time in one clear line."""

import contextlib
import gzip
import io
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.utils.small_data import Canary, amat, damaged, idx, one_line, random_images, reads_or_refuses, tar
from utils.data.files import DataError
from utils.data.readers import gunzip, read_amat, read_array_pickle, read_idx, read_tar_members

HTML = b"<!DOCTYPE html><html><body>404: not here</body></html>"
IMAGES = random_images(3, 4, 5)


def test_gunzip_gives_the_content_of_one_and_of_several_members():
    assert gunzip(gzip.compress(b"abc") + gzip.compress(b"def"), 6, "x.gz") == b"abcdef"


BAD_GZIP = {
    "html": (HTML, "not a sound gzip file"),
    "truncated": (gzip.compress(b"abcdef" * 100)[:-9], "cut short"),
    "damaged": (gzip.compress(b"abcdef" * 100)[:-5] + b"12345", "not a sound gzip file"),
    "trailing": (gzip.compress(b"ok") + b"trailing", "not a sound gzip file"),
    "bomb": (gzip.compress(bytes(10**7)), "more than the 1,000 bytes"),
    "bomb-of-members": (gzip.compress(b"x" * 600) * 2, "more than the 1,000 bytes"),
}


@pytest.mark.parametrize(("data", "text"), BAD_GZIP.values(), ids=BAD_GZIP)
def test_gunzip_refuses(data, text):
    with pytest.raises(DataError) as error:
        gunzip(data, 1000, "x.gz")
    one_line(error, "x.gz", text)


def test_a_gzip_bomb_takes_no_memory():
    bomb = gzip.compress(bytes(1 << 27))
    tracemalloc.start()
    with pytest.raises(DataError):
        gunzip(bomb, 1000, "x.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_read_idx_gives_the_array(pack):
    np.testing.assert_array_equal(read_idx(pack(idx(IMAGES)), 3, 1000, "x"), IMAGES)
    np.testing.assert_array_equal(read_idx(pack(idx(np.arange(7))), 1, 1000, "x"), np.arange(7))


BAD_IDX = {
    "empty": (b"", "starts with nothing"),
    "html": (HTML, "starts with 3c 21 44 4f"),
    "header": (idx(IMAGES)[:9], "cut short inside its header"),
    "short": (idx(IMAGES)[:-1], "promises 60 values (3 x 4 x 5) but the file holds 59"),
    "long": (idx(IMAGES) + b"\0", "promises 60 values (3 x 4 x 5) but the file holds 61"),
    "hostile": (b"\0\0\x08\x03" + b"\xff" * 12 + bytes(60), "but the file holds 60"),
    "floats": (idx(IMAGES).replace(b"\0\0\x08", b"\0\0\x0d", 1), "00 00 08 03 is due"),
    "labels": (idx(np.arange(9)), "00 00 08 03 is due"),
    "gzip-cut": (gzip.compress(idx(IMAGES))[:-12], "cut short"),
    "gzip-bomb": (gzip.compress(idx(random_images(10, 20, 20))), "more than the 1,000 bytes"),
}


@pytest.mark.parametrize(("data", "text"), BAD_IDX.values(), ids=BAD_IDX)
def test_read_idx_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_idx(data, 3, 1000, "x-idx3-ubyte")
    one_line(error, "x-idx3-ubyte", text)


def test_a_hostile_idx_header_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(ValueError, match="promises"):
        read_idx(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3 + bytes(10), 3, 1000, "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 16


@pytest.mark.parametrize(
    "change",
    [lambda t: t, lambda t: t.replace(b"\n", b" \r\n"), bytes.rstrip],
    ids=["plain", "crlf", "no-last-newline"],
)
def test_read_amat_gives_the_matrix(change):
    matrix = random_images(5, 7, high=1)
    np.testing.assert_array_equal(read_amat(change(amat(matrix)), 7, "x"), matrix)


BAD_AMAT = {
    "empty": (b"", "not a matrix of zeros and ones"),
    "blank": (b" \n \n", "not a matrix of zeros and ones"),
    "html": (HTML, "not a matrix of zeros and ones"),
    "grey": (b"0 1 0.5\n", "not a matrix of zeros and ones"),
    "other": (b"0 1 2\n", "not a matrix of zeros and ones"),
    "cut": (b"0 1 0\n0 1\n", "5 values on 2 lines where 3 a line are due"),
    "one-line": (b"0 1 0 1 1 1\n", "6 values on 1 lines where 3 a line are due"),
}


@pytest.mark.parametrize(("text", "message"), BAD_AMAT.values(), ids=BAD_AMAT)
def test_read_amat_refuses(text, message):
    with pytest.raises(DataError) as error:
        read_amat(text, 3, "x.amat")
    one_line(error, "x.amat", message)


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


@pytest.mark.parametrize("protocol", range(5))
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


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "i8", "f4", "f8", ">i4", ">f8"])
def test_arrays_of_numbers_keep_their_type_and_order(dtype):
    for array in (np.arange(12).reshape(3, 4).astype(dtype), np.asfortranarray(np.arange(12).reshape(3, 4), dtype)):
        found = read_array_pickle(pickle.dumps(array, protocol=2), "x.pkl")
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


def test_read_tar_members_gives_the_content():
    data = tar({"a/1": b"one", "a/2": b"two", "other": b"x"})
    assert read_tar_members(data, ["a/1", "a/2"], 1 << 20, "x.tar.gz") == {"a/1": b"one", "a/2": b"two"}


def tar_of(**fields: object) -> bytes:
    """An archive with one member `a` whose header is changed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("a")
        for name, value in fields.items():
            setattr(info, name, value)
        archive.addfile(info)
    return stream.getvalue()


BAD_TAR = {
    "html": (HTML, "not a sound gzip file"),
    "gzip-cut": (tar({"a": b"x" * 5000})[:-20], "cut short"),
    "no-tar": (gzip.compress(b"no archive at all" * 100), "not a sound tar archive"),
    "tar-cut": (gzip.compress(gzip.decompress(tar({"a": b"x" * 5000}))[:2000]), "x.tar.gz"),
    "missing": (tar({"b": b"x"}), "holds no file a"),
    "outside": (tar({"../a": b"x", "/a": b"x"}), "holds no file a"),
    "symlink": (tar_of(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "holds no file a"),
    "hardlink": (tar_of(type=tarfile.LNKTYPE, linkname="../../etc/passwd"), "holds no file a"),
    "folder": (tar_of(type=tarfile.DIRTYPE), "holds no file a"),
    "bomb": (tar({"a": bytes(1 << 21)}), "more than the 1,048,576 bytes"),
}


@pytest.mark.parametrize(("data", "text"), BAD_TAR.values(), ids=BAD_TAR)
def test_read_tar_members_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_tar_members(data, ["a"], 1 << 20, "x.tar.gz")
    one_line(error, "x.tar.gz", text)


def test_a_sparse_member_cannot_fill_the_memory():
    pax = {"major": "1", "minor": "0", "realsize": str(1 << 40), "name": "a"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("GNUSparseFile.0/a")
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in pax.items()}
        content = b"1\n0\n0\n".ljust(512, b"\0")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        assert [(member.name, member.size) for member in archive] == [("a", 1 << 40)], "the attack itself must work"
    with pytest.raises(DataError) as error:
        read_tar_members(stream.getvalue(), ["a"], 1 << 20, "x.tar.gz")
    one_line(error, "x.tar.gz")


VALID = {
    "idx": (lambda data: read_idx(data, 3, 1000, "x"), idx(IMAGES)),
    "idx.gz": (lambda data: read_idx(data, 3, 1000, "x"), gzip.compress(idx(IMAGES))),
    "amat": (lambda data: read_amat(data, 7, "x"), amat(random_images(5, 7, high=1))),
    "pickle": (lambda data: read_array_pickle(data, "x"), python_2_array()),
    "tar.gz": (lambda data: read_tar_members(data, ["a"], 1 << 20, "x"), tar({"a": b"x" * 700})),
    "tar": (
        lambda data: read_tar_members(gzip.compress(data), ["a"], 1 << 20, "x"),
        gzip.decompress(tar({"a": b"x" * 700})),
    ),
}


@pytest.mark.parametrize("kind", VALID)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_leads_to_another_error(kind, data):
    read, valid = VALID[kind]
    reads_or_refuses(read, data.draw(damaged(valid)))


def test_nothing_is_written_by_reading_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    read_tar_members(tar({"a": b"x", "../escaped": b"x", str(tmp_path / "absolute"): b"x"}), ["a"], 1 << 20, "x.tar.gz")
    assert list(tmp_path.iterdir()) == []
    assert not (tmp_path.parent / "escaped").exists()
