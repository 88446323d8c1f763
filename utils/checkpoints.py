"""Checkpoints that survive a crash, a full disk and a flipped bit, and never execute what they hold.

torch is imported where it is used: the caller of a finished run must not wait for it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LAYOUT = 1


class CheckpointError(Exception):
    """A checkpoint cannot be read; the text says which and why, in one line."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it was.

    The content goes to a temporary file in the same folder, is flushed to the disk and then renamed, so that a reader
    sees the old file or the new one and never a part.

    Raises:
        OSError: the content could not be written; the temporary file is gone again.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def digest(state: Any) -> str:
    """SHA-256 of nested dicts, lists, tensors, numbers and strings, independent of how they are stored."""
    import torch

    hasher = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, torch.Tensor):
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
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one that stood there is kept as `<name>.previous.pt`.

    Args:
        path: such as `checkpoints/last.pt`.
        state: tensors, numbers, strings, None, and lists and dicts of them.

    Raises:
        OSError: it could not be written; the one that stood there is untouched.
    """
    import torch

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save({"layout": LAYOUT, "sha256": digest(state), "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            # A hard link first, so that at no moment is there no checkpoint under the name itself.
            link = previous(path).with_name(f".{previous(path).name}.{os.getpid()}.tmp")
            link.unlink(missing_ok=True)
            os.link(path, link)
            os.replace(link, previous(path))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint file and verify it.

    Raises:
        CheckpointError: it is absent, damaged, of a newer layout, or holds anything but plain data.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: is damaged or no checkpoint of ours ({reason})") from None
    if not isinstance(content, dict) or "layout" not in content:
        raise CheckpointError(f"{path}: is no checkpoint of ours")
    if content["layout"] != LAYOUT:
        raise CheckpointError(f"{path}: has layout {content['layout']!r}, this version reads layout {LAYOUT}")
    state = content.get("state")
    if not isinstance(state, dict) or content.get("sha256") != digest(state):
        raise CheckpointError(f"{path}: is damaged (its content does not match its checksum)")
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
