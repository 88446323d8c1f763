"""Checkpoints that survive a crash, a full disk and a flipped bit, and never execute what they hold.

torch is imported where it is used: the caller of a finished run must not wait for it.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspherical_vae import __version__
from utils.config.flags import bare, printable, shown
from utils.files import write_atomically

if TYPE_CHECKING:
    import torch

LAYOUT = 1


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        step: batches of the next epoch that are done already (after an interruption).
        restarts: reloads after a non-finite loss or gradient.
        best_elbo, best_epoch: best unweighted validation ELBO and when; epoch 0 where there is none yet.
        seconds: time spent training and validating.
    """

    epoch: int = 0
    step: int = 0
    restarts: int = 0
    best_elbo: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0


class CheckpointError(Exception):
    """A checkpoint cannot be read; the text says which and why, in one line."""


def digest(state: Any, most: float = math.inf) -> str:
    """SHA-256 of nested dicts, lists, tensors, numbers and strings, independent of how they are stored.

    Raises:
        CheckpointError: a tensor has more than `most` bytes; one whose strides are 0 repeats what is stored once.
    """
    import torch

    hasher = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > most:
                raise CheckpointError("is no checkpoint of ours (a tensor is larger than the file)")
            array = value.detach().cpu().contiguous()
            hasher.update(f"tensor {array.dtype} {tuple(array.shape)};".encode())
            hasher.update(array.view(-1).view(torch.uint8).numpy().data if array.numel() else b"")
        elif isinstance(value, dict):
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


def previous(path: Path) -> Path:
    """Where the checkpoint that was replaced by the one at `path` is."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: dict[str, Any], keep_previous: bool = True) -> None:
    """Write a checkpoint; the one that it replaces becomes `<name>.previous.pt`.

    Args:
        path: such as `checkpoints/last.pt`.
        state: tensors, numbers, strings, None, and lists and dicts of them.
        keep_previous: whether to keep it.

    Raises:
        OSError: it could not be written; the one that stood there is untouched.
    """
    import torch

    # In memory, because torch hides from its caller why a file could not be written.
    content = io.BytesIO()
    torch.save({"layout": LAYOUT, "version": __version__, "sha256": digest(state), "state": state}, content)
    write_atomically(path, content.getbuffer(), keep=previous(path) if keep_previous else None)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint file and verify it.

    Raises:
        CheckpointError: it is absent, damaged, of a newer layout, or holds anything but plain data.
    """
    try:
        return _verified(path, device)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        reason = printable((str(error) or type(error).__name__).splitlines()[0][:120])
        raise CheckpointError(f"{path}: is damaged or no checkpoint of ours ({reason})") from None


def _verified(path: Path, device: torch.device | str) -> dict[str, Any]:
    import torch

    with zipfile.ZipFile(path) as archive:  # torch stores its parts as they are: compressed ones may be of any size
        size = sum(part.file_size for part in archive.infolist())
    if size > path.stat().st_size:
        raise CheckpointError("is no checkpoint of ours (its parts are compressed)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(content, dict) or "layout" not in content:
        raise CheckpointError("is no checkpoint of ours")
    if content["layout"] != LAYOUT:
        raise CheckpointError(
            f"has layout {shown(content['layout'])}, written by version {bare(str(content.get('version', 'unknown')))} "
            f"of this program; version {__version__} reads layout {LAYOUT}"
        )
    state = content.get("state")
    if not isinstance(state, dict) or content.get("sha256") != digest(state, size):
        raise CheckpointError("is damaged (its content does not match its checksum)")
    return state


def load_newest(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], str | None]:
    """The checkpoint at `path`, or else the one before it.

    Returns:
        The state, and a warning for the user where the previous checkpoint had to serve.

    Raises:
        CheckpointError: neither can be read.
    """
    try:
        return load_checkpoint(path, device), None
    except CheckpointError as error:
        if not previous(path).exists():
            raise
        return load_checkpoint(previous(path), device), f"{error}; using {previous(path).name} instead"


class PartialResult:
    """A small file with what a long computation has so far, for the process that continues it.

    Args:
        path: the file.
        key: what the result depends on; a file with another key is of no use and is ignored.
    """

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path = path
        self.key = key

    def load(self) -> dict[str, Any] | None:
        """What was saved last, or None where there is nothing, nothing sound or nothing for this key."""
        try:
            found = load_checkpoint(self.path)
        except CheckpointError:
            return None
        return found["part"] if found.get("key") == self.key else None

    def save(self, part: dict[str, Any]) -> None:
        """Keep the part that is done.

        Raises:
            OSError: it could not be written; what was saved before is untouched.
        """
        save_checkpoint(self.path, {"key": self.key, "part": part}, keep_previous=False)

    def remove(self) -> None:
        """The computation is done and its result stored elsewhere."""
        self.path.unlink(missing_ok=True)
