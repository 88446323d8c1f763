"""A reader of numeric matrices in MAT files, for bytes that may be hostile.

scipy.io.loadmat trusts the types and sizes that a file states and can crash the interpreter on damaged ones. The data
sets need no more than real matrices, so everything is checked against the bytes at hand before an array is made.

Source of the formats: The MathWorks, "MAT-File Format" (versions 4 and 5; 6 and 7 are 5, with compression in 7).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from utils.data.files import DataError

if TYPE_CHECKING:
    import numpy as np

Shape = tuple[int | None, int | None]

MAX_CONTENT = 512 << 20  # bytes of all variables together; the largest data set holds 216 MB
MAX_LENGTH = 100_000  # of a dimension that may have any length
HEADER = 128  # bytes at the start of a version 5 file
MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
STORED_4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
CLASSES = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "sparse"}
FIRST_NUMERIC, LAST_NUMERIC = 6, 15
COMPLEX = 0x0800


@dataclass
class _Variable:
    """One variable as its header tells: `data` is a view of its bytes, None unless it is a real numeric matrix."""

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str = ""
    data: memoryview | None = None


def read_mat(data: bytes, shapes: Mapping[str, Shape], name: str) -> dict[str, np.ndarray]:
    """Read numeric matrices from a MAT file (version 4 to 7.2).

    Args:
        data: The file.
        shapes: The variables to read, with their shapes; None stands for any length up to 100,000. A name that ends in
            ``?`` may be absent.
        name: For messages.

    Returns:
        The matrices under their names (without ``?``), in the type in which they are stored.

    Raises:
        DataError: Not a MAT file, cut short or damaged, or a variable is missing, is not real and numeric, not finite,
            or has another shape.
    """
    import numpy as np

    try:
        variables = {variable.name: variable for variable in _variables(data)}
    except _Damaged as error:
        raise DataError(f"{name} is not a sound MAT file of version 4 to 7.2: {error}") from error
    result: dict[str, np.ndarray] = {}
    for key, shape in shapes.items():
        wanted = key.rstrip("?")
        if wanted not in variables:
            if key.endswith("?"):
                continue
            raise DataError(f"{name} holds no variable '{wanted}'; it holds {_listed(variables)}")
        found = variables[wanted]
        if found.data is None or not _fits(found.shape, shape):
            due = " x ".join("any" if length is None else str(length) for length in shape)
            size = f" of shape {' x '.join(map(str, found.shape[:8]))}" if found.shape else ""
            raise DataError(f"variable '{wanted}' of {name} is {found.kind}{size}; real numbers of shape {due} are due")
        matrix = np.frombuffer(found.data, found.dtype).reshape(found.shape, order="F")
        if not np.isfinite(matrix).all():
            raise DataError(f"variable '{wanted}' of {name} holds values that are not finite")
        result[wanted] = matrix
    return result


class _Damaged(Exception):
    """The bytes do not follow the format."""


def _fits(found: tuple[int, ...], wanted: Shape) -> bool:
    return len(found) == 2 and all(
        length == due or (due is None and 0 < length <= MAX_LENGTH) for length, due in zip(found, wanted, strict=True)
    )


def _listed(names: Mapping[str, object]) -> str:
    text = ", ".join(names) or "nothing"
    return text if len(text) <= 160 else f"{text[:160]} ..."


def _name(raw: bytes | memoryview) -> str:
    """A variable's name; whatever a file puts there, it prints on one line."""
    return ascii(bytes(raw).rstrip(b"\0").decode("latin1"))[1:-1]


def _variables(data: bytes) -> Iterator[_Variable]:
    """Walk through the variables of a file."""
    if data[:19].startswith(b"MATLAB 7.3"):
        raise _Damaged("version 7.3 is another format; save the file again with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if len(data) >= HEADER and order and bytes(data[124:126]) in (b"\0\1", b"\1\0"):
        return _variables_5(memoryview(data), order)
    return _variables_4(memoryview(data))


def _variables_5(data: memoryview, order: str) -> Iterator[_Variable]:
    position, content = HEADER, len(data)
    while position < len(data):
        kind, payload, position = _element(data, position, order)
        if kind == COMPRESSED:
            payload = _inflate(payload, MAX_CONTENT - content)
            content += len(payload)
            kind, payload, _ = _element(payload, 0, order)
        if kind == MATRIX and len(payload):
            yield _matrix(payload, order)


def _element(data: memoryview, position: int, order: str) -> tuple[int, memoryview, int]:
    """Return the type and the bytes of one data element, and where the next one starts."""
    if position + 8 > len(data):
        raise _Damaged("it is cut short inside a tag")
    kind, size = struct.unpack_from(f"{order}II", data, position)
    if kind >> 16:  # the short form: size and type in one word, up to four bytes in the other
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise _Damaged(f"a short element claims {size} bytes")
        return kind, data[position + 4 : position + 4 + size], position + 8
    start = position + 8
    if start + size > len(data):
        raise _Damaged(f"an element claims {size:,} bytes where {len(data) - start:,} are left")
    padding = 0 if kind == COMPRESSED else -size % 8
    return kind, data[start : start + size], start + size + padding


def _inflate(payload: memoryview, limit: int) -> memoryview:
    """Decompress one variable that may hold at most `limit` bytes."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(payload, max(1, limit))
    except zlib.error as error:
        raise _Damaged(str(error)) from error
    if not stream.eof:
        raise _Damaged("a compressed variable has no end, or is larger than any data set")
    return memoryview(content)


def _matrix(payload: memoryview, order: str) -> _Variable:
    """Read the parts of a matrix element: flags, dimensions, name, values."""
    _, flags, position = _element(payload, 0, order)
    if len(flags) != 8:
        raise _Damaged("a variable has no flags")
    (word,) = struct.unpack_from(f"{order}I", flags)
    array_class = word & 0xFF
    if array_class not in CLASSES and not FIRST_NUMERIC <= array_class <= LAST_NUMERIC:
        return _Variable("", "of an unknown class", ())
    _, raw_shape, position = _element(payload, position, order)
    if len(raw_shape) % 4:
        raise _Damaged("a variable has no dimensions")
    shape = struct.unpack(f"{order}{len(raw_shape) // 4}i", raw_shape)
    _, raw_name, position = _element(payload, position, order)
    name = _name(raw_name)
    if array_class in CLASSES or word & COMPLEX:
        return _Variable(name, CLASSES.get(array_class, "complex"), shape)
    kind, values, _ = _element(payload, position, order)
    if kind not in STORED:
        raise _Damaged(f"variable '{name}' is stored as unknown type {kind}")
    return _numeric(name, shape, order + STORED[kind], values)


def _numeric(name: str, shape: tuple[int, ...], dtype: str, values: memoryview) -> _Variable:
    promised = prod(shape) * int(dtype[-1])
    if min(shape, default=-1) < 0 or promised != len(values):
        raise _Damaged(f"variable '{name}' promises {promised:,} bytes but holds {len(values):,}")
    return _Variable(name, "real", shape, dtype, values)


def _variables_4(data: memoryview) -> Iterator[_Variable]:
    """Version 4: for each variable five 32-bit numbers, its name, its values."""
    position = 0
    while position < len(data) or not position:
        if position + 20 > len(data):
            raise _Damaged("it is cut short inside a header" if position else "its header is not one of MATLAB's")
        # The type is 1000 * byte order + 10 * format of the numbers + class, so below 2000 read the right way round.
        order = "<" if struct.unpack_from("<I", data, position)[0] < 1000 else ">"
        kind, rows, columns, imaginary, name_size = struct.unpack_from(f"{order}Iiiii", data, position)
        stored, array_class = STORED_4.get(kind % 1000 // 10), kind % 10
        size_is_sane = rows >= 0 and columns >= 0 and 0 < name_size <= 256 and imaginary in (0, 1)
        if kind >= 2000 or kind % 1000 >= 100 or not stored or array_class > 2 or not size_is_sane:
            raise _Damaged("its header is not one of MATLAB's")
        start = position + 20 + name_size
        position = start + rows * columns * int(stored[-1]) * (1 + imaginary)
        if position > len(data):
            raise _Damaged(f"a variable claims {position - start:,} bytes where {max(0, len(data) - start):,} are left")
        name = _name(data[start - name_size : start])
        if array_class or imaginary:
            yield _Variable(name, "complex" if imaginary else ("text", "sparse")[array_class - 1], (rows, columns))
        else:
            yield _numeric(name, (rows, columns), order + stored, data[start:position])
