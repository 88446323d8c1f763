"""Readers of text matrices and archives: from bytes that may be hostile to plain values."""

import io
import tarfile
from collections.abc import Collection

from utils.data.files import Array, DataError


def read_amat(text: bytes, name: str, columns: int) -> Array:
    """Read a text matrix of zeros and ones: a line for each example, values set apart by blanks.

    Args:
        text: The file, decompressed.
        name: For messages.
        columns: Values on a line.

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


def read_tar_members(data: bytes, name: str, wanted: Collection[str]) -> dict[str, bytes]:
    """Take named files out of a tar archive, in memory: nothing in it decides what is written where.

    Args:
        data: The archive, decompressed.
        name: For messages.
        wanted: Names of the members.

    Returns:
        The content of each member, in the order of `wanted`.

    Raises:
        DataError: Not such an archive, cut short, or a member is missing or no regular file.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
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
        raise DataError(f"{name} is not a sound tar archive ({in_one_line(error)})") from error
    if absent := [member for member in wanted if member not in members]:
        raise DataError(f"{name} holds no file {', '.join(absent)}")
    return {member: members[member] for member in wanted}


def in_one_line(error: Exception) -> str:
    """Name an error whose text may quote the file: on one line, printable and short."""
    text = ascii(f"{type(error).__name__}: {error}")[1:-1]
    return text if len(text) <= 160 else f"{text[:160]} ..."
