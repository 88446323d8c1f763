"""Pickles that hold numbers and arrays, read without executing anything that they ask for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from utils.data.files import Array, DataError
from utils.data.formats import in_one_line


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
        self.array: Array | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes | str]) -> None:
        _, shape, dtype, column_major, raw = state
        if isinstance(raw, str):  # as Python 2 wrote it
            raw = raw.encode("latin1")
        self.fill(raw, dtype, shape, "F" if column_major else "C")

    def fill(self, raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
        import numpy as np

        self.array = np.frombuffer(raw, dtype.code).reshape(shape, order=order)
        return self


def _encode(text: str, codec: str) -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2. Other codecs can take hours on a short text."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {codec!r:.40}, which is not allowed")
    return text.encode("latin1")


def _load_bytearray(unpickler: Any) -> None:
    """Read bytes. The base would make a bytearray as long as the stream says before it looks for its bytes."""
    length = int.from_bytes(unpickler.read(8), "little")
    content = unpickler.read(length)
    if len(content) != length:
        raise pickle.UnpicklingError("it is cut short")
    unpickler.append(content)


def _with_text_as_keys(operation: bytes, keys: slice) -> Callable[[Any], None]:
    """An operation that fills a dictionary, where other keys than text are an error.

    Args:
        operation: its code.
        keys: where they are on the stack.
    """
    load = pickle._Unpickler.dispatch[operation[0]]

    def checked(unpickler: Any) -> None:
        if any(type(key) not in (str, bytes) for key in unpickler.stack[keys]):
            raise pickle.UnpicklingError("a key of a dictionary is no text")
        load(unpickler)

    return checked


def _load_put(unpickler: Any) -> None:
    """Give an object a number, which is a key, too."""
    number = int(unpickler.readline())
    if not 0 <= number < 1 << 32:
        raise pickle.UnpicklingError("it numbers its objects as no pickle does")
    unpickler.memo[number] = unpickler.stack[-1]


def _refuse_set(unpickler: Any) -> None:
    raise pickle.UnpicklingError("it holds a set")


class PlainUnpickler(pickle._Unpickler):
    """Reads what a pickle holds besides the objects that it names, in a time that grows as its length.

    The keys of dictionaries are text: numbers and tuples can be chosen such that their hashes are equal, and some
    hundred thousand of them take hours. The base is the unpickler in Python: the one in C makes a table as long as the
    largest number that a stream gives to an object, so that ten bytes can take gigabytes.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.SETITEM[0]: _with_text_as_keys(pickle.SETITEM, slice(-2, -1)),
        pickle.SETITEMS[0]: _with_text_as_keys(pickle.SETITEMS, slice(None, None, 2)),
        pickle.DICT[0]: _with_text_as_keys(pickle.DICT, slice(None, None, 2)),
        pickle.PUT[0]: _load_put,
        pickle.EMPTY_SET[0]: _refuse_set,
        pickle.FROZENSET[0]: _refuse_set,
    }


class _ArrayUnpickler(PlainUnpickler):
    """Admits plain Python values and arrays; any other name in the stream is an error before it is looked up."""

    _allowed: ClassVar[dict[tuple[str, str], object]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): lambda *arguments: _Array().fill(*arguments),  # in protocol 5
        ("numpy", "ndarray"): None,  # no more than the first argument of _reconstruct
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module.replace("numpy._core", "numpy.core"), name]  # as numpy 2 calls it
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed") from None


def read_array_pickle(data: bytes, name: str) -> Any:
    """Unpickle what can only be numbers, strings, containers of them and numpy arrays.

    Args:
        data: The file; written by Python 2 or 3, in any protocol.
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
        raise DataError(f"{name} is not a pickle of plain arrays: {in_one_line(error)}") from error
    if isinstance(content, list):
        return [_unwrap(value) for value in content]
    if isinstance(content, dict):
        return {key: _unwrap(value) for key, value in content.items()}
    return _unwrap(content)


def _unwrap(value: Any) -> Any:
    return value.array if isinstance(value, _Array) else value
