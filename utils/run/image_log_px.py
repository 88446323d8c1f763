"""log p(x) of each test image, stored with a run: two runs are compared best image by image.

One file for each number of importance samples, `log_px_k<K>.npz`, with `log_px` (N,) in nats and `best_epoch`.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_NAME = re.compile(r"log_px_k([0-9]{1,9})\.npz")


def write_log_px(folder: Path, k: int, best_epoch: int, values: Tensor) -> None:
    """Write the estimate of log p(x) of each test image (N,), by K samples, with the model of that epoch."""
    import numpy

    content = io.BytesIO()
    numpy.savez(content, log_px=values.double().cpu().numpy(), best_epoch=numpy.array(best_epoch))
    write_atomically(folder / f"log_px_k{k}.npz", content.getvalue())


def read_log_px(folder: Path, best_epoch: int) -> tuple[int, NDArray[Any]] | None:
    """K and values of the estimate with most samples of the model of that epoch, or None; damaged files are ignored.

    A run that was trained further may have files of an earlier model.
    """
    import numpy

    found: dict[int, NDArray[Any]] = {}
    for path in folder.glob("log_px_k*.npz"):
        match = _NAME.fullmatch(path.name)
        try:
            with numpy.load(path, allow_pickle=False) as arrays:
                if match and int(arrays["best_epoch"]) == best_epoch:
                    found[int(match[1])] = arrays["log_px"]
        except Exception:  # numpy and zipfile raise whatever the damaged bytes lead to
            continue
    return (max(found), found[max(found)]) if found else None
