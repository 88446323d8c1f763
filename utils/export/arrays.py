"""Arrays in an .npz file that are written block by block, since together they may be larger than the memory."""

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from utils.files import naming, replacing

Block = Mapping[str, NDArray[Any]]


@contextlib.contextmanager
def writing_arrays(path: Path, rows: int, facts: Mapping[str, Any]) -> Iterator[Callable[[Block], None]]:
    """Give a function that takes blocks of rows; the file replaces `path` if no error is raised meanwhile.

    Args:
        path: the .npz file.
        rows: how many rows every array will have once all blocks are given.
        facts: further arrays, which have no rows.

    Yields:
        What takes a block: arrays (n, ...) by name, of the names, types and row shapes of the first block.

    Raises:
        OSError: it could not be written, naming `path`; the file that stood there is untouched.
    """
    with replacing(path) as temporary, contextlib.ExitStack() as opened:
        parts: dict[str, IO[bytes]] = {}

        def add(block: Block) -> None:
            with naming(path):
                for name, values in block.items():
                    if name not in parts:
                        parts[name] = opened.enter_context(tempfile.TemporaryFile(dir=path.parent))
                        whole = {"descr": values.dtype.str, "fortran_order": False, "shape": (rows, *values.shape[1:])}
                        np.lib.format.write_array_header_1_0(parts[name], whole)
                    parts[name].write(values.tobytes())

        yield add
        with naming(path), zipfile.ZipFile(temporary, "w") as archive:
            for name, part in parts.items():
                part.seek(0)
                with _member(archive, name) as file:
                    shutil.copyfileobj(part, file)
            for name, value in facts.items():
                with _member(archive, name) as file:
                    np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A `ZipInfo` of its own has no time, so that equal arrays make equal files.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
