"""What a file must be, which form of it is taken, and what the user is told."""

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.utils.small_data import one_line, write
from utils.data.files import (
    DataError,
    DataFile,
    DataRequest,
    checksum,
    mismatch,
    missing_files,
    missing_text,
    read_bytes,
    read_file,
    stored_parts,
    writable,
    write_whole,
)

CONTENT = b"what the file holds"
UNPACKED = DataFile("set/file", len(CONTENT), checksum(CONTENT, "md5"))
PACKED = DataFile("set/file.gz", 3, checksum(b"abc", "sha256"), ("http://a/file.gz",), forms=(UNPACKED,))


def test_checksums_are_those_that_the_usual_tools_print(tmp_path):
    assert checksum(CONTENT, "md5") == "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert checksum(b"", "git-blob") == "git-blob:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    path = write(tmp_path / "x", CONTENT)
    printed = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout
    assert checksum(CONTENT, "git-blob") == f"git-blob:{printed.strip()}"


def test_mismatch_names_both_sums():
    assert mismatch(UNPACKED, CONTENT) is None
    text = mismatch(UNPACKED, b"else")
    assert text is not None
    for part in (UNPACKED.checksum, checksum(b"else", "md5"), f"{len(CONTENT)} bytes", "4 bytes"):
        assert part in text


def test_a_size_that_differs_is_a_mismatch_even_where_the_sum_agrees():
    assert mismatch(dataclasses.replace(UNPACKED, size=5), CONTENT)
    assert mismatch(dataclasses.replace(UNPACKED, size=None), CONTENT) is None


def test_the_intact_form_is_taken_wherever_it_lies(tmp_path):
    request = DataRequest(tmp_path)
    write(tmp_path / "set/file", CONTENT)
    assert read_file(PACKED, request) == (UNPACKED, CONTENT)
    write(tmp_path / "set/file.gz", b"abc")
    assert read_file(PACKED, request) == (PACKED, b"abc")
    write(tmp_path / "set/file", CONTENT[:-4])  # as an interrupted unzip leaves it
    assert read_file(PACKED, request) == (PACKED, b"abc")
    write(tmp_path / "set/file", CONTENT)
    write(tmp_path / "set/file.gz", b"a")
    assert read_file(PACKED, request) == (UNPACKED, CONTENT)
    assert request.notes == []


@pytest.mark.parametrize("data", [b"abd", b"ab", b"abcd", b"<html>"], ids=["other", "short", "long", "html"])
def test_a_file_that_differs_is_refused_with_both_sums(tmp_path, data):
    path = write(tmp_path / "set/file.gz", data)
    with pytest.raises(DataError) as error:
        read_file(PACKED, DataRequest(tmp_path))
    one_line(error, str(path), PACKED.checksum, checksum(data, "sha256"), "--allow_unverified")
    assert path.read_bytes() == data, "what the user put there is never touched"


def test_a_file_that_differs_is_used_with_a_note_on_the_users_word(tmp_path):
    write(tmp_path / "set/file.gz", b"abd")
    request = DataRequest(tmp_path, allow_unverified=True)
    assert read_file(PACKED, request) == (PACKED, b"abd")
    (note,) = request.notes
    assert note.startswith("unverified: ")
    assert PACKED.checksum in note


@pytest.mark.parametrize("allow", [False, True])
def test_an_empty_file_is_refused_in_any_case(tmp_path, allow):
    path = write(tmp_path / "set/file.gz", b"")
    with pytest.raises(DataError) as error:
        read_file(PACKED, DataRequest(tmp_path, allow_unverified=allow))
    one_line(error, str(path), "is empty")


def test_a_file_of_absurd_size_is_not_read(tmp_path):
    path = write(tmp_path / "x", b"abcd")
    assert read_bytes(path, limit=4) == b"abcd"
    with pytest.raises(DataError) as error:
        read_bytes(path, limit=3)
    one_line(error, str(path), "holds more than the 3 bytes it may")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "set/file.gz").mkdir(parents=True)
    with pytest.raises(DataError) as error:
        read_file(PACKED, DataRequest(tmp_path))
    one_line(error, "set/file.gz cannot be read", "directory")


def test_a_file_that_is_gone_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="1 file missing"):
        read_file(PACKED, DataRequest(tmp_path))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_bytes(tmp_path / "nothing", 5)


def test_the_missing_are_listed_with_place_address_and_checksum(tmp_path):
    archive = DataFile("all.tar", None, "md5:0", ("http://b/all.tar",), parts=(UNPACKED,))
    assert missing_files([PACKED, archive], tmp_path) == [PACKED, archive]
    text = missing_text([PACKED, archive], tmp_path, "no network")
    for part in (
        "2 files missing (no network)",
        str(tmp_path / "set/file.gz"),
        "http://a/file.gz",
        PACKED.checksum,
        str(tmp_path / "set/file"),
        UNPACKED.checksum,
        str(tmp_path / "all.tar"),
        "http://b/all.tar",
    ):
        assert part in text
    write(tmp_path / "set/file", CONTENT)
    assert stored_parts(archive, tmp_path)
    assert missing_files([PACKED, archive], tmp_path) == []


def test_a_relative_data_folder_is_shown_as_an_absolute_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    assert str(tmp_path / "data" / "set" / "file.gz") in missing_text([PACKED], Path("data"), "x")


def test_that_there_is_no_data_folder_is_all_that_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = missing_text([PACKED], Path("nowhere"), "no network")
    assert text.startswith(f"--data_dir nowhere ({tmp_path / 'nowhere'}): there is no such folder, and no network; ")
    assert "\n" not in text
    assert PACKED.checksum not in text
    write(tmp_path / "file", CONTENT)
    assert f"--data_dir {tmp_path / 'file'}: is not a folder" in missing_text([PACKED], tmp_path / "file", "x")


def test_write_protection_counts_for_the_superuser_too(tmp_path):
    assert writable(tmp_path)
    assert writable(tmp_path / "not" / "yet" / "there")
    tmp_path.chmod(0o555)
    try:
        assert not writable(tmp_path)
        assert not writable(tmp_path / "not" / "yet" / "there")
    finally:
        tmp_path.chmod(0o755)
    assert not writable(write(tmp_path / "file", b"x"))


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    target = write(tmp_path / "x", b"before")

    def full(source: object, to: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(target, b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert target.read_bytes() == b"before"
    monkeypatch.undo()
    write_whole(target, b"after")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"after")]
