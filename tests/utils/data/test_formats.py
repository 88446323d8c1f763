"""gzip, amat and tar: what is read, and what is refused, each time in one clear line."""

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.utils.small_data import amat, damaged, one_line, random_images, reads_or_refuses, tar
from utils.data.files import DataError, gunzip
from utils.data.formats import read_amat, read_tar_members

HTML = b"<!DOCTYPE html><html><body>404: not here</body></html>"


def test_gunzip_gives_the_content_of_one_and_of_several_members():
    assert gunzip(gzip.compress(b"abc") + gzip.compress(b"def"), 6, "x.gz") == b"abcdef"


BAD_GZIP = {
    "html": (HTML, "not a sound gzip file"),
    "truncated": (gzip.compress(b"abcdef" * 100)[:-9], "ended before"),
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


@pytest.mark.parametrize(
    "change",
    [lambda t: t, lambda t: t.replace(b"\n", b" \r\n"), bytes.rstrip],
    ids=["plain", "crlf", "no-last-newline"],
)
def test_read_amat_gives_the_matrix(change):
    matrix = random_images(5, 7, high=1)
    np.testing.assert_array_equal(read_amat(change(amat(matrix)), "x", 7), matrix)


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
        read_amat(text, "x.amat", 3)
    one_line(error, "x.amat", message)


def test_read_tar_members_gives_the_content():
    data = tar({"a/1": b"one", "a/2": b"two", "other": b"x"})
    assert list(read_tar_members(data, "x.tar", ["a/2", "a/1"]).items()) == [("a/2", b"two"), ("a/1", b"one")]


def tar_of(**fields: object) -> bytes:
    """An archive with one member `a` whose header is changed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("a")
        for name, value in fields.items():
            setattr(info, name, value)
        archive.addfile(info)
    return stream.getvalue()


BAD_TAR = {
    "html": (HTML, "x.tar"),
    "no-tar": (b"no archive at all" * 100, "not a sound tar archive"),
    "cut": (tar({"a": b"x" * 5000})[:2000], "x.tar"),
    "missing": (tar({"b": b"x"}), "holds no file a"),
    "outside": (tar({"../a": b"x", "/a": b"x"}), "holds no file a"),
    "symlink": (tar_of(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "holds no file a"),
    "hardlink": (tar_of(type=tarfile.LNKTYPE, linkname="../../etc/passwd"), "holds no file a"),
    "folder": (tar_of(type=tarfile.DIRTYPE), "holds no file a"),
}


@pytest.mark.parametrize(("data", "text"), BAD_TAR.values(), ids=BAD_TAR)
def test_read_tar_members_refuses(data, text):
    with pytest.raises(DataError) as error:
        read_tar_members(data, "x.tar", ["a"])
    one_line(error, "x.tar", text)


def test_a_sparse_member_cannot_fill_the_memory():
    pax = {"major": "1", "minor": "0", "realsize": str(1 << 40), "name": "a"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("GNUSparseFile.0/a")
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in pax.items()}
        content = b"1\n0\n0\n".ljust(512, b"\0")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        assert [(member.name, member.size) for member in archive] == [("a", 1 << 40)], "the attack itself must work"
    with pytest.raises(DataError) as error:
        read_tar_members(stream.getvalue(), "x.tar", ["a"])
    one_line(error, "x.tar")


VALID = {
    "gzip": (lambda data: gunzip(data, 1000, "x"), gzip.compress(bytes(range(200)))),
    "amat": (lambda data: read_amat(data, "x", 7), amat(random_images(5, 7, high=1))),
    "tar": (lambda data: read_tar_members(data, "x", ["a"]), tar({"a": b"x" * 700})),
}


@pytest.mark.parametrize("kind", VALID)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_leads_to_another_error(kind, data):
    read, valid = VALID[kind]
    reads_or_refuses(read, data.draw(damaged(valid)))


def test_nothing_is_written_by_reading_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    read_tar_members(tar({"a": b"x", "../escaped": b"x", str(tmp_path / "absolute"): b"x"}), "x.tar", ["a"])
    assert list(tmp_path.iterdir()) == []
    assert not (tmp_path.parent / "escaped").exists()
