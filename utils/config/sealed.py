"""JSON files that carry the digest of their content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BYTES = 2**22  # no file of a run has as many


class Unsound(Exception):
    """The file holds JSON, but not what was written; the text says why, without the name of the file."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its digest."""
    return {**content, "sha256": _digest(content)}


def read(path: Path) -> dict[str, Any]:
    """The object in a JSON file, without its digest. A file that names no run, of version 1.0, may have none.

    Raises:
        Unsound: it holds no object, or was edited.
        ValueError, RecursionError: it is no JSON.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = json.loads(file.read(_BYTES))
    if not isinstance(content, dict):
        raise Unsound("is damaged (it holds no object)")
    has_digest = "sha256" in content or "run" in content
    if content.pop("sha256", None) != _digest(content) and has_digest:
        raise Unsound("is damaged (its content does not match its checksum)")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
