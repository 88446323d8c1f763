"""Binary images parsed from slow text are kept packed beside their source, or in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from utils.data.files import writable, write_whole

if TYPE_CHECKING:
    import numpy as np


def user_cache() -> Path:
    """Return this program's folder under the user's cache folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "hyperspherical-vae"


def _places(source: Path, key: str) -> list[Path]:
    name = f"{source.name}.{key[:16]}.bits"
    return [source.parent / name, user_cache() / name]


def load_bits(source: Path, key: str, columns: int, digest: str) -> np.ndarray | None:
    """Return what `store_bits` kept for this source.

    Args:
        source: The file that was parsed.
        key: Hex digest of the bytes in it; another content has another key.
        columns: Values in a row.
        digest: SHA-256 that the packed bits are known to have, so that a cache is verified like any other file.

    Returns:
        The matrix, uint8 of shape (N, columns), or None where there is none that is sound.
    """
    import numpy as np

    for place in _places(source, key):
        with contextlib.suppress(OSError):
            packed = place.read_bytes()
            if hashlib.sha256(packed).hexdigest() == digest:
                rows = np.frombuffer(packed, np.uint8).reshape(-1, -(-columns // 8))
                return np.unpackbits(rows, axis=1, count=columns)
    return None


def store_bits(source: Path, key: str, matrix: np.ndarray, digest: str) -> None:
    """Keep a matrix of zeros and ones for `load_bits`.

    Nothing is kept where no folder can be written to, nor of a matrix that is not the known one, which could not be
    verified when it is read again.

    Args:
        source: The file that was parsed.
        key: Hex digest of the bytes in it.
        matrix: Shape (N, columns).
        digest: SHA-256 that the packed bits are known to have.
    """
    import numpy as np

    packed = np.packbits(matrix, axis=1).tobytes()
    if hashlib.sha256(packed).hexdigest() != digest:
        return
    for place in _places(source, key):
        if writable(place.parent):
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, packed)
                return
