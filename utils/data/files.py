"""The files that data sets consist of: where they may lie, and whether they are the known ones."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray"  # a name for types alone: --help must not wait for numpy

MAX_FILE = 1 << 30  # bytes; no file of a data set is nearly as large
GZIP = b"\x1f\x8b"  # how a gzip file begins (RFC 1952)
MAX_CONTENT = 256 << 20  # bytes that a file of a data set may hold when decompressed; the largest holds 216 MB


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
        checksum: ``kind:hex digest`` of the file as its source gives it out; kinds: ``md5``, ``sha256``, ``git-blob``
            (the id under which git stores it).
        parse: Turns the decompressed file and its name, for messages, into values: an array, or several.
        content: ``kind:hex digest`` of what the file holds, be it the decompressed bytes or those of the arrays that
            `parse` returns, in the order of their names. A file that was packed in another way is accepted by it. Empty
            where it is not known.
        urls: Addresses, tried in this order.
        names: Other names under which the same content is passed around.
        parts: The files that this archive holds, whose bytes `parse` returns by their paths. All of them together are
            accepted in its place, and so is another archive of them.
        torchvision: Fetched with torchvision's downloader.
    """

    path: str
    size: int | None
    checksum: str
    parse: Callable[[bytes, str], Any]
    urls: tuple[str, ...] = ()
    content: str = ""
    names: tuple[str, ...] = ()
    parts: tuple[DataFile, ...] = ()
    torchvision: bool = False

    @property
    def max_size(self) -> int:
        """Most bytes that a download may have."""
        return 128 << 20 if self.size is None else self.size

    def describe(self) -> str:
        """What the file must be."""
        size = "" if self.size is None else f"{self.size:,} bytes, "
        origin = " (as git hash-object prints it)" if self.checksum.startswith("git-blob:") else ""
        content = f", or packed in another way with content {self.content}" if self.content else ""
        return f"{size}{self.checksum}{origin}{content}"

    def is_known(self, data: bytes) -> bool:
        """Whether these bytes, as they are stored, decompressed or as values, are those of the file."""
        return any(checksum(data, known.split(":")[0]) == known for known in (self.checksum, self.content) if known)

    def _holds_known(self, values: Any) -> bool:
        """Whether what `parse` returned is what the known file holds."""
        if self.parts:
            return all(part.is_known(values[part.path]) for part in self.parts)
        arrays = [values[name] for name in sorted(values)] if isinstance(values, dict) else [values]
        return self.is_known(b"".join(getattr(array, "tobytes", bytes)() for array in arrays))

    def difference(self, data: bytes) -> str:
        """How a file of other bytes differs from the known one."""
        found = checksum(data, self.checksum.split(":")[0])
        return f"expected {self.describe()}; found {len(data):,} bytes, {found}"

    def read(self, place: Path, trust: bool) -> tuple[Any, str]:
        """Read the file from one place, and verify the very bytes that are read.

        Args:
            place: Where it lies.
            trust: Whether other values than the known ones are wanted.

        Returns:
            What `parse` makes of it, and how it differs from the known file, which is empty where it does not.

        Raises:
            DataError: It cannot be read, or it differs and is not trusted.
        """
        stored, name, known = read_bytes(place), str(place), False
        try:
            content = gunzip(stored, MAX_CONTENT, name) if stored[:2] == GZIP else stored
            known = self.is_known(stored) or self.is_known(content)
            if known or trust or self.content or self.parts:
                values = self.parse(content, name)
                known = known or self._holds_known(values)
            if known or trust:
                values = [part.parse(values[part.path], f"{name}: {part.path}") for part in self.parts] or values
        except DataError:
            if known or trust:
                raise
        difference = "" if known else self.difference(stored)
        if difference and not trust:
            raise DataError(
                f"{place} is not the known file: {difference}. "
                "Remove it to have it fetched again, or pass --allow_unverified to use it as it is"
            )
        return values, difference


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


def stored_places(file: DataFile, data_dir: Path) -> list[Path]:
    """Return where `file` lies in the data folder, the place where a download would put it first.

    In its own folder its name says what it is. In other folders, where people put files that they unpacked or fetched
    by hand, files of several data sets have the same names: there it is what its content says.
    """
    own = (data_dir / file.path).parent
    return [place for place in _places(file, data_dir) if place.parent == own or _is_sound(file, place)]


def _places(file: DataFile, data_dir: Path) -> list[Path]:
    """Return the files of any content that `file` may be: of each of its names, gzipped or not, in each folder."""
    folders = [variant for folder in _folders(file) for variant in (folder, Path(str(folder).lower()))]
    places = [data_dir / folder / name for folder in dict.fromkeys(folders) for name in _names(file)]
    return [place for place in places if os.path.exists(place)]


def _names(file: DataFile) -> list[str]:
    """What `file` may be called, gzipped or not."""
    return [
        variant
        for name in (Path(file.path).name, *file.names)
        for variant in (name, name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz")
    ]


def _folders(file: DataFile) -> list[Path]:
    """The folders where `file` may lie, from the data folder: its own first, those above, and those below these.

    With the file `MNIST/raw/x`, `raw` is the place of it for who gives the folder `MNIST` as the data folder.
    """
    own = Path(file.path).parent
    return [own, *own.parents, *(Path(*own.parts[start:]) for start in range(1, len(own.parts)))]


def _is_sound(file: DataFile, place: Path) -> bool:
    try:
        file.read(place, trust=False)
    except DataError:
        return False
    return True


def is_stored(file: DataFile, data_dir: Path) -> bool:
    """Whether a file, or everything that it holds as an archive, lies in the data folder."""
    unpacked = file.parts and all(stored_places(part, data_dir) for part in file.parts)
    return bool(unpacked or stored_places(file, data_dir))


def missing_files(files: Sequence[DataFile], data_dir: Path) -> list[DataFile]:
    """Return the files that the data folder lacks."""
    return [file for file in files if not is_stored(file, data_dir)]


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


def gunzip(data: bytes, limit: int, name: str) -> bytes:
    """Decompress gzip data that may hold at most `limit` bytes, so that a small file cannot fill the memory.

    Raises:
        DataError: The data is no gzip stream, is cut short or damaged, or holds more than `limit` bytes.
    """
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            content = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} is not a sound gzip file ({error})") from error
    if len(content) > limit:
        raise DataError(f"{name} decompresses to more than the {limit:,} bytes it may hold")
    return content


def missing_text(files: Sequence[DataFile], data_dir: Path, reason: str) -> str:
    """Say which files are missing, where to get and to put them, what they must be, and what lies nearby.

    Args:
        files: All files of a data set.
        data_dir: The data folder.
        reason: Why they are not fetched.
    """
    absolute = "" if data_dir.is_absolute() else f" ({data_dir.absolute()})"
    if os.path.exists(data_dir) and not os.path.isdir(data_dir):
        return (
            f"--data_dir {data_dir}{absolute}: is not a folder; give the one that holds the data sets, or read a file "
            "of arrays with -d array"
        )
    missing = missing_files(files, data_dir)
    lines = [f"{len(missing)} file{'s' * (len(missing) > 1)} missing ({reason}). To put in place by hand:"]
    if not os.path.isdir(data_dir):
        lines.insert(0, f"--data_dir {data_dir}{absolute}: there is no such folder; is it spelled rightly?")
    known = {name for file in files for one in (file, *file.parts) for name in _names(one)}
    for file in missing:
        lines.append(f"  {(data_dir / file.path).absolute()}")
        lines += [f"      from {url}" for url in file.urls]
        lines.append(f"      {file.describe()}")
        if file.parts:
            lines.append(f"  or, unpacked, {', '.join(str(data_dir / part.path) for part in file.parts)}")
        lines += [f"      nearby: {text}" for text in _nearby(file, data_dir, known)]
    return "\n".join(lines)


def _nearby(file: DataFile, data_dir: Path, known: Collection[str]) -> Iterator[str]:
    """What lies where the file is looked for and may be meant for it; `known` names files of the same data set."""
    for place in _places(file, data_dir):
        yield f"{place}, whose content is not that of the known file"
    folders = [data_dir / folder for folder in _folders(file)]
    others = {path.name: path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()}
    similar = difflib.get_close_matches(Path(file.path).name, others.keys() - known, cutoff=0.75)
    for name, path in sorted(others.items()):
        if path.suffix in (".npz", ".npy"):
            yield f"{path}, which is read by -d array --data_dir {path}"
        elif name in similar:
            yield f"{path}, a file of another name: if it is the same one, rename it; a variant of it is not read"


def writable(folder: Path) -> bool:
    """Whether files may be made in `folder`, or in the nearest existing folder above it.

    The owner's write bit is asked too: the superuser could write into a folder that was marked read-only, but must not.
    """
    folder = folder.absolute()
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return os.path.isdir(folder) and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o200)
