"""Data files on disk: which ones belong to a data set, where they lie, and whether they are what they claim to be."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_FILE = 1 << 30  # bytes; no file of a data set is nearly as large


class DataError(ValueError):
    """A data set cannot be used; the text says in full what is wrong and what to do."""


class DataUsageError(DataError):
    """The request itself is wrong (an unknown data set, an option that does not fit it)."""


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes:
        path: Place relative to the data folder, with forward slashes.
        size: Exact size in bytes; None where only the checksum is known.
        checksum: ``kind:hex digest``; kinds: ``md5``, ``sha256``, ``git-blob`` (the id under which git stores it).
        urls: Addresses, tried in this order.
        of_content: Whoever stored the file packed it in their own way, so that size and checksum can only be those of
            what a reader takes out of it (the text in a gzip file, the pixels in a MAT file).
        forms: Other files that hold the same data; any of them is accepted in place of this one.
        parts: The files that this archive holds; all of them together are accepted in its place.
        parsed: SHA-256 of the bits, packed by row, of the matrix that a text file holds; for the cache of parsed files.
        torchvision: Fetched with torchvision's downloader.
    """

    path: str
    size: int | None
    checksum: str
    urls: tuple[str, ...] = ()
    of_content: bool = False
    forms: tuple[DataFile, ...] = ()
    parts: tuple[DataFile, ...] = ()
    parsed: str = ""
    torchvision: bool = False

    @property
    def max_size(self) -> int:
        """Most bytes that a download may have."""
        return 128 << 20 if self.size is None else self.size

    def describe(self) -> str:
        content = "content: " if self.of_content else ""
        size = "" if self.size is None else f"{self.size:,} bytes, "
        origin = " (as git hash-object prints it)" if self.checksum.startswith("git-blob:") else ""
        return f"{content}{size}{self.checksum}{origin}"


@dataclass
class DataRequest:
    """What the user asked of a data set, and the notes to show after loading it."""

    data_dir: Path
    allow_unverified: bool = False
    image_size: tuple[int, int] | None = None
    grey: bool = False
    notes: list[str] = field(default_factory=list)


def checksum(data: bytes, kind: str) -> str:
    """Return ``kind:hex digest`` of `data`.

    A git blob id is the SHA-1 of a short header with the length, followed by the content
    (Pro Git, 2nd edition, section 10.2 "Git Objects").
    """
    if kind == "git-blob":
        digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
        digest.update(data)
    else:
        digest = hashlib.new(kind, data, usedforsecurity=False)
    return f"{kind}:{digest.hexdigest()}"


def mismatch(file: DataFile, data: bytes) -> str | None:
    """Return how `data` differs from what `file` should hold, or None where it is the very same."""
    found = checksum(data, file.checksum.split(":")[0])
    if found == file.checksum and file.size in (None, len(data)):
        return None
    return f"expected {file.describe()}; found {len(data):,} bytes, {found}"


def stored_forms(file: DataFile, data_dir: Path) -> list[DataFile]:
    """Return the accepted forms of `file` that lie in the data folder, the preferred one first."""
    return [form for form in (file, *file.forms) if os.path.exists(data_dir / form.path)]


def stored_parts(file: DataFile, data_dir: Path) -> bool:
    """Whether everything that the archive `file` holds lies unpacked in the data folder."""
    return bool(file.parts) and all(os.path.exists(data_dir / part.path) for part in file.parts)


def missing_files(files: Sequence[DataFile], data_dir: Path) -> list[DataFile]:
    """Return the files that are in the data folder neither as they are, nor in another form, nor in parts."""
    return [file for file in files if not stored_forms(file, data_dir) and not stored_parts(file, data_dir)]


def read_bytes(path: Path, limit: int = MAX_FILE) -> bytes:
    """Read a whole file.

    Raises:
        DataError: The file cannot be read, is empty, or holds more than `limit` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise DataError(f"{path} is empty; remove it to have it fetched again")
    if len(data) > limit:
        raise DataError(f"{path} holds more than the {limit:,} bytes it may; remove it to have it fetched again")
    return data


def refuse_or_note(path: Path, difference: str, request: DataRequest) -> None:
    """Stop at a file that differs from the known one, or note that it is used on the user's word.

    Raises:
        DataError: Unverified files are not allowed.
    """
    if not request.allow_unverified:
        raise DataError(
            f"{path} is not the known file: {difference}. "
            "Remove it to have it fetched again, or pass --allow_unverified to use it as it is"
        )
    request.notes.append(f"unverified: {path} is used although it is not the known file ({difference})")


def read_file(file: DataFile, request: DataRequest) -> tuple[DataFile, bytes]:
    """Read one file of a data set and verify the very bytes that are returned.

    Where several forms lie in the folder the first intact one is taken, so that a broken unpacked copy beside a whole
    archive does no harm. A form whose checksum is that of its content is left for the caller to verify.

    Args:
        file: The file to read; one of its forms must exist.
        request: Where to look, and whether a file that differs is acceptable.

    Returns:
        The form that was read and its bytes, as they are stored.

    Raises:
        DataError: No form can be read, or none is the known file and unverified files are not allowed.
    """
    problem: DataError | None = None
    differing: tuple[DataFile, bytes, str] | None = None
    for form in stored_forms(file, request.data_dir):
        try:
            data = read_bytes(request.data_dir / form.path)
        except DataError as error:
            problem = problem or error
            continue
        difference = None if form.of_content else mismatch(form, data)
        if difference is None:
            return form, data
        differing = differing or (form, data, difference)
    if differing:
        form, data, difference = differing
        refuse_or_note(request.data_dir / form.path, difference, request)
        return form, data
    raise problem or DataError(missing_text([file], request.data_dir, "not found"))


def missing_text(files: Sequence[DataFile], data_dir: Path, reason: str) -> str:
    """Say which files are missing, where they can be had, where to put them and what they must be.

    Where there is no data folder the list would hide that: it was probably misspelled.
    """
    if not os.path.isdir(data_dir):
        absolute = "" if data_dir.is_absolute() else f" ({data_dir.absolute()})"
        if os.path.exists(data_dir):
            return f"--data_dir {data_dir}{absolute}: is not a folder; give the one that holds the data sets"
        return (
            f"--data_dir {data_dir}{absolute}: there is no such folder, and {reason}; give the one that holds the data "
            "sets, or make it and repeat the command to see which files belong there"
        )
    lines = [f"{len(files)} file{'s' * (len(files) > 1)} missing ({reason}). To put in place by hand:"]
    for file in files:
        for word, form in zip(["", *["or "] * len(file.forms)], (file, *file.forms), strict=True):
            lines.append(f"  {word}{(data_dir / form.path).absolute()}")
            lines += [f"      from {url}" for url in form.urls]
            lines.append(f"      {form.describe()}")
        if file.parts:
            lines.append(f"  or, unpacked, {', '.join(str(data_dir / part.path) for part in file.parts)}")
    return "\n".join(lines)


def writable(folder: Path) -> bool:
    """Whether files may be made in `folder`, or in the nearest existing folder above it.

    The owner's write bit is asked too: the superuser could write into a folder that was marked read-only, but must not.
    """
    folder = folder.absolute()
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return os.path.isdir(folder) and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o200)


def temporary_beside(target: Path) -> Path:
    """Return a free name in the folder of `target`, to be filled and then renamed to it."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def write_whole(target: Path, data: bytes) -> None:
    """Write a file so that it is there either whole or not at all.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    temporary = temporary_beside(target)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
