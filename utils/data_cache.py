"""Binary images parsed from slow text are kept packed beside their source, or in the user's cache folder."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from utils.data_files import writable, write_whole

if TYPE_CHECKING:
    import numpy as np


def user_cache() -> Path:
    """Return this program's folder under the user's cache folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "hyperspherical-vae"


def _places(source: Path, key: str) -> list[Path]:
    name = f"{source.name}.{key[:16]}.npz"
    return [source.parent / name, user_cache() / name]


def load_bits(source: Path, key: str, columns: int) -> tuple[np.ndarray, str] | None:
    """Return what `store_bits` kept for this source, or None where there is nothing sound.

    Args:
        source: The file that was parsed.
        key: Hex digest of the bytes in it; another content has another key.
        columns: Values in a row.

    Returns:
        The matrix, uint8 of shape (N, columns), and the checksum of the text it was parsed from.
    """
    import numpy as np

    for place in _places(source, key):
        # Whatever is wrong with a cache (the checksums of the zip format tell), the source is still there to parse.
        with contextlib.suppress(Exception), np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as archive:
            bits, text_checksum, full_key = archive["bits"], str(archive["text_checksum"]), str(archive["key"])
            if bits.dtype == np.uint8 and bits.ndim == 2 and bits.shape[1] == -(-columns // 8) and full_key == key:
                return np.unpackbits(bits, axis=1, count=columns), text_checksum
    return None


def store_bits(source: Path, key: str, matrix: np.ndarray, text_checksum: str) -> None:
    """Keep a matrix of zeros and ones for `load_bits`; do nothing where no folder can be written to.

    Args:
        source: The file that was parsed.
        key: Hex digest of the bytes in it.
        matrix: Shape (N, columns).
        text_checksum: Checksum of the text that the matrix was parsed from.
    """
    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, bits=np.packbits(matrix, axis=1), text_checksum=np.array(text_checksum), key=np.array(key))
    for place in _places(source, key):
        if writable(place.parent):
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, stream.getvalue())
                return
