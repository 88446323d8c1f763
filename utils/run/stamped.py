"""The files of a run. Each says which run it belongs to, and carries a digest of itself; both are checked on reading.

JSON (.json), arrays (.npz) and states of training (.pt) have the stamp of the run under `run` and the SHA-256 of all
else as `sha256`. The files of version 1.0 have neither, but for the digest of states.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspherical_vae import __version__
from utils.config import sealed
from utils.config.flags import bare, printable, shown
from utils.data.pickles import PlainUnpickler
from utils.files import write_atomically

if TYPE_CHECKING:
    import torch

Stamp = Mapping[str, Any]

LAYOUT = 1  # of the files of states
# All that the pickle of a state names; whatever else one could name, such as codecs and byte arrays, can take minutes
# or gigabytes.
_NAMED = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch [A-Z][A-Za-z0-9]{2,12}Storage")


class RunFileError(Exception):
    """A file of a run cannot be used; the text says which and why, in one line."""


class Damaged(RunFileError):
    """It is absent, torn or edited."""


class Foreign(RunFileError):
    """It is whole, and belongs to another run."""


def write(path: Path, content: Mapping[str, Any], stamp: Stamp | None, keep: Path | None = None) -> None:
    """Write a file of a run whole or not at all.

    Args:
        path: its suffix says of which kind it is.
        content: for .json what JSON can hold, numbers that are not finite becoming null; for .npz arrays; for .pt
            tensors, numbers, strings, None, and lists and dicts of them.
        stamp: of the run.
        keep: where the file that is replaced is kept, if at all.

    Raises:
        OSError: it could not be written; the one that stood there is untouched.
    """
    pack, _ = KINDS[path.suffix]
    write_atomically(path, pack(content if stamp is None else {**content, "run": dict(stamp)}), keep)


def read(path: Path, stamp: Stamp | None, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The content of a file of a run.

    Args:
        path: its suffix says of which kind it is.
        stamp: of the run.
        device: where the tensors of a state go.

    Raises:
        Damaged: it is absent, torn or edited, or holds anything but plain data.
        Foreign: it is of another run.
        OSError: it is no regular file, or may not be read.
    """
    content, found = read_with_stamp(path, device)
    if stamp is not None and found is None:
        raise Damaged(f"{printable(path)}: is damaged (it does not say which run it belongs to)")
    if found is not None and (stamp is None or any(found.get(key) != value for key, value in stamp.items())):
        raise Foreign(f"{printable(path)}: is of another run ({told(found)}); put the file of this run in its place")
    return content


def read_with_stamp(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The content of a file, whole, and what it says of its run; None for a file of version 1.0.

    Raises:
        Damaged, OSError: as `read`.
    """
    if not is_there(path):
        raise Damaged(f"{printable(path)}: there is no such file")
    try:
        _, unpack = KINDS[path.suffix]
        content = unpack(path, device)
        stamp = content.pop("run", None)
        plain = isinstance(stamp, dict) and all(type(value) in (str, int) for value in stamp.values())
        if stamp is not None and not plain:
            raise Damaged("is damaged (it names no run)")
        return content, stamp
    except (Damaged, sealed.Unsound) as error:
        raise Damaged(f"{printable(path)}: {error}") from None
    except FileNotFoundError:  # it vanished meanwhile
        raise Damaged(f"{printable(path)}: there is no such file") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except Exception as error:  # torch, numpy and zipfile raise whatever the damaged bytes lead to
        reason = printable((str(error) or type(error).__name__).splitlines()[0][:120])
        raise Damaged(f"{printable(path)}: is damaged or no file of a run ({reason})") from None


def is_there(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        OSError: it is no regular file.
    """
    if not path.is_file() and os.path.lexists(path):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return path.is_file()


def told(stamp: Stamp) -> str:
    """A run in words."""
    return printable(f"seed {shown(stamp.get('seed'))}, {bare(str(stamp.get('hash')))}")


def previous(path: Path) -> Path:
    """Where the file that was replaced by the one at `path` is."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _pack_json(content: Mapping[str, Any]) -> bytes:
    plain = finite(content)
    return (json.dumps(sealed.sealed(plain) if "run" in plain else plain, indent=2) + "\n").encode()


def finite(value: Any) -> Any:
    """The same nested value with None in place of every number that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pack_arrays(content: Mapping[str, Any]) -> memoryview:
    import numpy

    arrays = {name: numpy.asarray(value) for name, value in content.items() if name != "run"}
    if "run" in content:
        arrays["run"] = numpy.array(json.dumps(content["run"]))
        arrays["sha256"] = numpy.array(_digest_of_arrays(arrays))
    packed = io.BytesIO()
    numpy.savez(packed, allow_pickle=False, **arrays)
    return packed.getbuffer()


def _unpack_arrays(path: Path, device: Any) -> dict[str, Any]:
    import numpy

    _check_size(path)
    with numpy.load(path, allow_pickle=False) as archive:
        arrays: dict[str, Any] = dict(archive)
    found = arrays.pop("sha256", None)
    _check(found is not None or "run" in arrays, found is not None and str(found), lambda: _digest_of_arrays(arrays))
    return {**arrays, "run": json.loads(str(arrays["run"]))} if "run" in arrays else arrays


def _digest_of_arrays(arrays: Mapping[str, Any]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        hasher.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape};".encode())
        hasher.update(arrays[name].tobytes())
    return hasher.hexdigest()


def _pack_state(state: Mapping[str, Any]) -> memoryview:
    import torch

    # In memory, because torch hides from its caller why a file could not be written.
    packed = io.BytesIO()
    torch.save({"layout": LAYOUT, "version": __version__, "sha256": digest(state), "state": dict(state)}, packed)
    return packed.getbuffer()


def _unpack_state(path: Path, device: torch.device | str) -> dict[str, Any]:
    import torch

    size = _check_size(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.load(_checked_archive(path), map_location=device, weights_only=True)
    if not isinstance(content, dict) or "layout" not in content:
        raise Damaged("is no file of a run")
    if content["layout"] != LAYOUT:
        raise Damaged(
            f"has layout {shown(content['layout'])}, written by version {bare(str(content.get('version', 'unknown')))} "
            f"of this program; version {__version__} reads layout {LAYOUT}"
        )
    state = content.get("state")
    if not isinstance(state, dict):
        raise Damaged("is no file of a run")
    _check(True, content.get("sha256"), lambda: digest(state, size))
    return state


def _check(has_digest: bool, found: Any, compute: Any) -> None:
    if has_digest and found != compute():
        raise Damaged("is damaged (its content does not match its checksum)")


def _check_size(path: Path) -> int:
    """The bytes that an archive holds; refused where there are more than in the file.

    numpy and torch store the parts as they are: compressed ones may be of any size.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > path.stat().st_size:
        raise Damaged("is no file of a run (its parts are compressed)")
    return size


def _checked_archive(path: Path) -> io.BytesIO:
    """The archive of a state, made again of its parts once their pickles are checked.

    From the file itself torch could read something else: what stands before the archive, or another list of its parts.

    Raises:
        Damaged: a pickle names anything but tensors; see `_NAMED`.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w") as checked:
        if len(set(archive.namelist())) < len(archive.namelist()):
            raise Damaged("is no file of a run (two of its parts have one name)")
        for part in archive.infolist():
            content = archive.read(part)
            if part.filename.endswith(".pkl"):
                _Outline(io.BytesIO(content)).load()
            checked.writestr(part.filename, content)
    packed.seek(0)
    return packed


class _Outline(PlainUnpickler):
    """Reads the pickle of a state with nothing in the place of tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if not _NAMED.fullmatch(f"{module} {name}"):
            raise Damaged(f"is no file of a run (it names {bare(f'{module} {name}')})")
        # Called as `torch.save` has it: an OrderedDict is filled later, and a storage never called.
        return {"OrderedDict": lambda: OrderedDict(), "_rebuild_tensor_v2": lambda *_: None}.get(name)

    def persistent_load(self, pid: Any) -> None:
        if not (isinstance(pid, tuple) and len(pid) == 5 and isinstance(pid[2], str)):
            raise Damaged("is no file of a run (it does not say which part holds a tensor)")


# How each kind of file is made of its content, and read.
KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], bytes | memoryview], Callable[[Path, Any], dict[str, Any]]]] = {
    ".json": (_pack_json, lambda path, device: sealed.read(path)),
    ".npz": (_pack_arrays, _unpack_arrays),
    ".pt": (_pack_state, _unpack_state),
}


def digest(state: Any, most: float = math.inf) -> str:
    """SHA-256 of nested dicts, lists, tensors, numbers and strings, independent of how they are stored.

    Raises:
        Damaged: all of them together have more than `most` bytes: lists and tensors whose strides are 0 can repeat what
            is stored once.
    """
    import torch

    hasher, left = hashlib.sha256(), most

    def feed(value: Any) -> None:
        nonlocal left
        is_tensor = isinstance(value, torch.Tensor)
        left -= 1 + (value.numel() * value.element_size() if is_tensor else 0)
        if left < 0:
            raise Damaged("is no file of a run (it holds more than its size)")
        if is_tensor:
            array = value.detach().cpu().contiguous()
            hasher.update(f"tensor {array.dtype} {tuple(array.shape)};".encode())
            hasher.update(array.view(-1).view(torch.uint8).numpy().data if array.numel() else b"")
        elif isinstance(value, Mapping):
            hasher.update(f"dict {len(value)};".encode())
            for key in value:
                feed(key)
                feed(value[key])
        elif isinstance(value, (list, tuple)):
            hasher.update(f"list {len(value)};".encode())
            for item in value:
                feed(item)
        else:
            hasher.update(f"{type(value).__name__} {value!r};".encode())

    feed(state)
    return hasher.hexdigest()


@contextlib.contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Put what a file of a run holds to use within it.

    Raises:
        Damaged: that raised an error, so the content is not what such a file holds.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it raises
            yield
    except (RunFileError, OSError, MemoryError):
        raise
    except Exception as error:  # Python and torch raise whatever the content leads to
        reason = printable(" ".join(str(error).split())[:120]) or type(error).__name__
        raise Damaged(f"{printable(path)}: does not fit the run ({reason})") from error
