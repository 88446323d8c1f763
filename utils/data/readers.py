"""Readers for the formats that image data sets come in: from bytes that may be hostile to plain arrays."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

from utils.data.files import DataError

if TYPE_CHECKING:
    import numpy as np


def gunzip(data: bytes, limit: int, name: str) -> bytes:
    """Decompress gzip data that may hold at most `limit` bytes, so that a small file cannot fill the memory.

    Raises:
        DataError: The data is no gzip stream, is cut short or damaged, or holds more than `limit` bytes.
    """
    parts: list[bytes] = []
    room = limit + 1
    while data and room > 0:
        stream = zlib.decompressobj(wbits=31)
        try:
            parts.append(stream.decompress(data, room))
        except zlib.error as error:
            raise DataError(f"{name} is not a sound gzip file ({error})") from error
        room -= len(parts[-1])
        if room > 0 and not stream.eof:
            raise DataError(f"{name} is cut short: its gzip stream has no end")
        data = stream.unused_data
    if room <= 0:
        raise DataError(f"{name} decompresses to more than the {limit:,} bytes it may hold")
    return b"".join(parts)


def read_idx(data: bytes, dims: int, limit: int, name: str) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or plain.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
    32-bit integer, the values (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").

    Args:
        data: The file.
        dims: Number of dimensions it must have (3: images, 1: labels).
        limit: Most bytes it may hold when decompressed.
        name: For messages.

    Returns:
        Array of uint8 with `dims` dimensions, a read-only view of the bytes.

    Raises:
        DataError: Anything else than a whole IDX file of that kind.
    """
    import numpy as np

    if data[:2] == b"\x1f\x8b":
        data = gunzip(data, limit, name)
    if data[:4] != bytes((0, 0, 8, dims)):
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes in {dims} dimension{'s' * (dims > 1)}: "
            f"it starts with {data[:4].hex(' ') or 'nothing'} where 00 00 08 {dims:02x} is due"
        )
    header = 4 + 4 * dims
    if len(data) < header:
        raise DataError(f"{name} is cut short inside its header")
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims))
    promised = 1
    for length in shape:
        promised *= length
    if promised != len(data) - header:
        raise DataError(
            f"the header of {name} promises {promised:,} values ({' x '.join(map(str, shape))}) "
            f"but the file holds {len(data) - header:,}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_amat(text: bytes, columns: int, name: str) -> np.ndarray:
    """Read a text matrix of zeros and ones: a line for each example, values set apart by blanks.

    Args:
        text: The file, decompressed.
        columns: Values on a line.
        name: For messages.

    Returns:
        Array of uint8, shape (lines, columns).

    Raises:
        DataError: Other characters than 0 and 1, or lines of another length.
    """
    import numpy as np

    # Whole-buffer operations in place of a loop over 39 million numbers: drop the blanks, and every value is one byte.
    values = np.frombuffer(text.translate(None, b" \t\r\n"), np.uint8) - ord("0")
    if not values.size or values.max() > 1:
        raise DataError(f"{name} is not a matrix of zeros and ones")
    lines = text.strip().count(b"\n") + 1
    if values.size != lines * columns:
        raise DataError(
            f"{name} holds {values.size:,} values on {lines:,} lines where {columns} a line are due; is it cut short?"
        )
    return values.reshape(lines, columns)


BYTEARRAY = pickle.BYTEARRAY8[0]


class _Dtype:
    """What a pickle says of an array's type. numpy's own dtype believes flags that crash it later."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"):
            raise pickle.UnpicklingError("an array holds something else than numbers")
        self.code = code

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.code = f"{'>' if state[1] == '>' else '<'}{self.code}"


class _Array:
    """What a pickle says of an array: checked, then made from the bytes, without numpy's own unpickling."""

    def __init__(self, *_: object) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes | str]) -> None:
        import numpy as np

        _, shape, dtype, column_major, raw = state
        if isinstance(raw, str):  # as Python 2 wrote it
            raw = raw.encode("latin1")
        self.array = np.frombuffer(raw, dtype.code).reshape(shape, order="F" if column_major else "C")


class _ArrayUnpickler(pickle._Unpickler):
    """Admits plain Python values and arrays; any other name in the stream is an error before it is looked up.

    The base is the unpickler in Python: the one in C makes a table as long as the largest number that a stream gives to
    an object, so that ten bytes can take gigabytes.
    """

    # A bytearray, too, would be made as long as the stream says before its bytes are looked for.
    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }
    _allowed: ClassVar[dict[tuple[str, str], object]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): None,  # no more than the first argument of _reconstruct
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): str.encode,  # how Python 3 writes bytes in the protocols of Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed") from None


def read_array_pickle(data: bytes, name: str) -> Any:
    """Unpickle what can only be numbers, strings, containers of them and numpy arrays.

    Args:
        data: The file; written by Python 2 or 3, up to protocol 4.
        name: For messages.

    Returns:
        The object: an array, or a list or dictionary that may hold arrays. They are the caller's to check for type and
        shape.

    Raises:
        DataError: The stream is damaged, or asks for anything else; nothing in it is executed.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # Damaged bytes lead the unpickler to errors of a dozen kinds.
        raise DataError(f"{name} is not a pickle of plain arrays: {_in_one_line(error)}") from error
    if isinstance(content, list):
        return [_unwrap(value) for value in content]
    if isinstance(content, dict):
        return {key: _unwrap(value) for key, value in content.items()}
    return _unwrap(content)


def _unwrap(value: Any) -> Any:
    return value.array if isinstance(value, _Array) else value


def read_tar_members(data: bytes, wanted: Collection[str], limit: int, name: str) -> dict[str, bytes]:
    """Take named files out of a gzipped tar archive, in memory: nothing in it decides what is written where.

    Args:
        data: The archive.
        wanted: Names of the members.
        limit: Most bytes that the archive may hold when decompressed.
        name: For messages.

    Returns:
        The content of each member.

    Raises:
        DataError: Not such an archive, cut short, too large, or a member is missing or no regular file.
    """
    plain = gunzip(data, limit, name)
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                # A sparse member may claim any size without holding it.
                if member.name in wanted and member.name not in members and member.isreg() and not member.issparse():
                    stream = archive.extractfile(member)
                    members[member.name] = stream.read() if stream else b""
                    if len(members[member.name]) != member.size:
                        raise DataError(f"{name} is cut short inside {member.name}")
    except DataError:
        raise
    except Exception as error:  # Damaged headers lead tarfile to errors beyond its own.
        raise DataError(f"{name} is not a sound tar archive ({_in_one_line(error)})") from error
    if absent := [member for member in wanted if member not in members]:
        raise DataError(f"{name} holds no file {', '.join(absent)}")
    return members


def _in_one_line(error: Exception) -> str:
    """Name an error whose text may quote the file: on one line, printable and short."""
    text = ascii(f"{type(error).__name__}: {error}")[1:-1]
    return text if len(text) <= 160 else f"{text[:160]} ..."
