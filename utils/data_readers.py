"""Readers for the formats that image data sets come in: from bytes that may be hostile to plain arrays."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from utils.data_files import DataError

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
        raise DataError(f"{name} decompresses to more than the {limit:,} bytes expected")
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
        Array of uint8 with `dims` dimensions.

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
            f"the header of {name} promises {promised:,} values ({'x'.join(map(str, shape))}) "
            f"but the file holds {len(data) - header:,}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
