"""Matrices in MAT files, read by scipy in a process of its own.

scipy's reader believes what a file says of itself, and a damaged file can make it crash the interpreter or ask for any
amount of memory. The process has limits of memory and of time; whatever happens to it becomes one error.
"""

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.data.files import Array, DataError
from utils.data.formats import in_one_line

Shape = tuple[int | None, int | None]

MAX_CONTENT = 256 << 20  # bytes of all wanted variables as doubles; the largest data set holds 203 MB
MAX_MEMORY = 1 << 30  # bytes of addresses, enough for two copies of it
MAX_SECONDS = 60
REAL = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


def read_mat(data: bytes, name: str, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Read numeric matrices from a MAT file (version 4 to 7.2).

    Args:
        data: The file.
        name: For messages.
        shapes: The variables to read, with their shapes; None stands for any length but 0. A name that ends in ``?``
            may be absent.

    Returns:
        The matrices under their names (without ``?``), in the type in which they are stored.

    Raises:
        DataError: Not a MAT file, cut short or damaged, too large, or a variable is missing, is not real and numeric,
            not finite, or has another shape.
    """
    import numpy as np

    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__, json.dumps(shapes)],
            input=data,
            capture_output=True,
            timeout=MAX_SECONDS,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread takes addresses
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{name} is not a sound MAT file: reading it takes more than {MAX_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip() or "reading it crashes the reader"
        raise DataError(f"{name}: {reason}") from None
    with np.load(io.BytesIO(child.stdout), allow_pickle=False) as matrices:
        return dict(matrices)


def _wanted(data: bytes, shapes: Mapping[str, Shape]) -> list[str]:
    """Return which variables are to be read, by the headers alone."""
    from scipy.io import whosmat

    found = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(data))}
    names = [key.rstrip("?") for key in shapes if not key.endswith("?") or key[:-1] in found]
    total = 0
    for name in names:
        if name not in found:
            raise DataError(f"holds no variable '{name}'; it holds {', '.join(found)[:160] or 'nothing'}")
        shape, kind = found[name]
        due = shapes.get(name) or shapes[f"{name}?"]
        fits = len(shape) == 2 and all(n == m or (m is None and n > 0) for n, m in zip(shape, due, strict=True))
        if kind not in REAL or not fits:
            wanted = " x ".join("any" if length is None else str(length) for length in due)
            size = " x ".join(map(str, shape[:8]))
            raise DataError(f"variable '{name}' is {kind} of shape {size}; real numbers of shape {wanted} are due")
        total += 8 * shape[0] * shape[1]
    if total > MAX_CONTENT:
        raise DataError(f"its variables promise {total:,} bytes, more than any data set holds")
    return names


def _read(data: bytes, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    import numpy as np
    from scipy.io import loadmat

    names = _wanted(data, shapes)
    content = loadmat(io.BytesIO(data), variable_names=names)
    matrices = {name: content[name] for name in names}
    for name, matrix in matrices.items():
        if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix).all():
            raise DataError(f"variable '{name}' holds values that are not real or not finite")
    return matrices


def _main() -> None:
    """Read from standard input and write an npz archive to standard output, or one line to standard error."""
    import numpy as np

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        matrices = _read(sys.stdin.buffer.read(), json.loads(sys.argv[1]))
    except DataError as error:
        sys.exit(str(error).encode("ascii", "backslashreplace").decode())
    except Exception as error:  # damaged files lead scipy to errors of a dozen kinds
        sys.exit(f"is not a sound MAT file of version 4 to 7.2 ({in_one_line(error)})")
    content = io.BytesIO()
    np.savez(content, **matrices)
    sys.stdout.buffer.write(content.getbuffer())


if __name__ == "__main__":
    _main()
