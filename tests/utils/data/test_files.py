"""What a file must be, which form of it is taken, and what the user is told."""

import dataclasses
import gzip
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.utils.small_data import one_line, write
from utils.config.config import Config
from utils.data.dataset import Source
from utils.data.files import (
    DataError,
    DataFile,
    checksum,
    missing_files,
    missing_text,
    read_bytes,
    stored_places,
    writable,
)

CONTENT = b"what the file holds"
PACKED = gzip.compress(CONTENT)
FILE = DataFile(
    "set/raw/file.gz",
    len(PACKED),
    checksum(PACKED, "sha256"),
    lambda data, name: data,
    ("http://a/file.gz",),
    content=checksum(CONTENT, "md5"),
    names=("known.as",),
)
PART = DataFile("set/part", 3, checksum(b"abc", "md5"), lambda data, name: data)


def test_checksums_are_those_that_the_usual_tools_print(tmp_path):
    assert checksum(CONTENT, "md5") == "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert checksum(b"", "git-blob") == "git-blob:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    path = write(tmp_path / "x", CONTENT)
    printed = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout
    assert checksum(CONTENT, "git-blob") == f"git-blob:{printed.strip()}"


def source(folder: Path, **settings: Any) -> Source:
    return Source(Config(data_dir=str(folder), **settings))


def test_a_difference_names_both_sums():
    text = FILE.difference(b"else")
    for part in (FILE.checksum, FILE.content, checksum(b"else", "sha256"), f"{len(PACKED)} bytes", "4 bytes"):
        assert part in text


@pytest.mark.parametrize("folder", ["set/raw", "set", ".", "raw"])
@pytest.mark.parametrize("name", ["file.gz", "file", "known.as", "known.as.gz"])
@pytest.mark.parametrize("stored", [PACKED, CONTENT, gzip.compress(CONTENT, 1)], ids=["known", "plain", "repacked"])
def test_a_file_is_found_where_people_have_it_and_known_by_its_content(tmp_path, folder, name, stored):
    place = write(tmp_path / folder / name, stored)
    reading = source(tmp_path)
    assert stored_places(FILE, tmp_path) == [place]
    assert reading.read(FILE) == CONTENT
    assert reading.notes == []


def test_the_sound_file_is_taken_wherever_it_lies(tmp_path):
    write(tmp_path / "set/raw/file.gz", PACKED[:-4])
    write(tmp_path / "set/raw/file", CONTENT[:-4])  # as an interrupted unpacking leaves it
    write(tmp_path / "file", CONTENT)
    for allow in (False, True):
        reading = source(tmp_path, allow_unverified=allow)
        assert reading.read(FILE) == CONTENT
        assert reading.notes == []


def test_values_are_known_by_their_bytes(tmp_path):
    values = np.arange(6, dtype=np.uint8)
    file = DataFile("x", None, "md5:0", lambda data, name: values, content=checksum(values.tobytes(), "sha256"))
    write(tmp_path / "x", b"packed in any way")
    np.testing.assert_array_equal(source(tmp_path).read(file), values)


BAD = [b"abd", CONTENT[:-1], PACKED[:-1], CONTENT + b"x", b"<html>"]


@pytest.mark.parametrize("data", BAD, ids=["other", "short", "cut", "long", "html"])
def test_a_file_that_differs_is_refused_with_both_sums(tmp_path, data):
    path = write(tmp_path / "set/raw/file.gz", data)
    with pytest.raises(DataError) as error:
        source(tmp_path).read(FILE)
    one_line(error, str(path), FILE.checksum, checksum(data, "sha256"), "--allow_unverified")
    assert path.read_bytes() == data, "what the user put there is never touched"


def test_a_file_that_differs_is_used_with_a_note_on_the_users_word(tmp_path):
    write(tmp_path / "set/raw/file.gz", b"abd")
    reading = source(tmp_path, allow_unverified=True)
    assert reading.read(FILE) == b"abd"
    (note,) = reading.notes
    assert note.startswith("unverified: ")
    assert FILE.checksum in note


def test_a_known_file_that_cannot_be_read_now_is_refused_with_the_reason(tmp_path):
    def give_up(data: bytes, name: str) -> None:
        raise DataError(f"{name}: reading it takes more than 60 s")

    write(tmp_path / "set/raw/file.gz", PACKED)
    with pytest.raises(DataError, match="takes more than 60 s"):
        source(tmp_path).read(dataclasses.replace(FILE, parse=give_up))


@pytest.mark.parametrize("allow", [False, True])
def test_an_empty_file_is_refused_in_any_case(tmp_path, allow):
    path = write(tmp_path / "set/raw/file.gz", b"")
    with pytest.raises(DataError) as error:
        source(tmp_path, allow_unverified=allow).read(FILE)
    one_line(error, str(path), "is empty")


def test_a_file_of_absurd_size_is_not_read(tmp_path):
    path = write(tmp_path / "x", b"abcd")
    assert read_bytes(path, limit=4) == b"abcd"
    with pytest.raises(DataError) as error:
        read_bytes(path, limit=3)
    one_line(error, str(path), "holds more than the 3 bytes it may")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "set/raw/file.gz").mkdir(parents=True)
    with pytest.raises(DataError) as error:
        source(tmp_path).read(FILE)
    one_line(error, "set/raw/file.gz cannot be read", "directory")


def test_a_file_that_is_gone_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="1 file missing"):
        source(tmp_path).read(FILE)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_bytes(tmp_path / "nothing", 5)


def test_the_missing_are_listed_with_place_address_and_checksum(tmp_path):
    archive = dataclasses.replace(FILE, path="all.tar", urls=("http://b/all.tar",), parts=(PART,))
    assert missing_files([FILE, archive], tmp_path) == [FILE, archive]
    text = missing_text([FILE, archive], tmp_path, "no network")
    for part in (
        "2 files missing (no network)",
        str(tmp_path / "set/raw/file.gz"),
        "http://a/file.gz",
        FILE.checksum,
        str(tmp_path / "all.tar"),
        "http://b/all.tar",
        str(tmp_path / "set/part"),
    ):
        assert part in text
    write(tmp_path / "set/raw/file", CONTENT)
    write(tmp_path / "set/part", b"abc")
    assert missing_files([FILE, archive], tmp_path) == []
    assert source(tmp_path).read(archive) == [b"abc"]


def test_a_relative_data_folder_is_shown_as_an_absolute_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    assert str(tmp_path / "data" / "set" / "raw" / "file.gz") in missing_text([FILE], Path("data"), "x")


def test_a_missing_data_folder_is_answered_once_with_all_addresses(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    first, *rest = missing_text([FILE], Path("nowhere"), "no network").splitlines()
    assert first == f"--data_dir nowhere ({tmp_path / 'nowhere'}): there is no such folder; is it spelled rightly?"
    for part in ("1 file missing (no network)", FILE.urls[0], FILE.checksum):
        assert part in "\n".join(rest)
    write(tmp_path / "file", CONTENT)
    assert f"--data_dir {tmp_path / 'file'}: is not a folder" in missing_text([FILE], tmp_path / "file", "x")


def test_files_of_other_names_and_of_other_content_nearby_are_named(tmp_path):
    for name in ("set/raw/files.gz", "set/raw/file2.gz", "set/file.gz", "set.npz", "unlike.txt"):
        write(tmp_path / name, b"x")
    other = dataclasses.replace(FILE, path="set/raw/file2.gz")  # which is there, and not meant for the first
    lines = missing_text([FILE, other], tmp_path, "x").splitlines()
    assert [line.removeprefix(f"      nearby: {tmp_path}/") for line in lines if "nearby" in line] == [
        "set/file.gz, whose content is not that of the known file",
        "set/raw/files.gz, a file of another name: if it is the same one, rename it; a variant of it is not read",
        f"set.npz, which is read by -d array --data_dir {tmp_path}/set.npz",
    ]


def test_files_of_another_set_in_the_data_folder_do_not_stand_for_this_one(tmp_path):
    write(tmp_path / "file.gz", gzip.compress(b"of the same name"))
    assert missing_files([FILE], tmp_path) == [FILE]
    write(tmp_path / "SET".lower() / "raw" / "file", CONTENT)
    assert missing_files([FILE], tmp_path) == []


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
