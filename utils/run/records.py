"""What is written in the folder of a run, read back: settings, results, metrics. Torn files count as absent."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.config.config import Config
from utils.config.flags import UsageError


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is no such file or it is torn."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_config(folder: Path) -> Config | None:
    """The configuration of the run in a folder, or None where there is none.

    Raises:
        UsageError: it cannot be understood.
    """
    path = folder / "config.json"
    try:
        return Config.from_json(path.read_text())
    except FileNotFoundError:
        return None
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: {error}; put the file right, or give --overwrite to move this run aside and start anew"
        ) from None


def read_summary(path: Path) -> dict[str, Any] | None:
    """The result in a `summary.json`, or None where there is none or it is torn."""
    found = read_json(path)
    return found if found is not None and {"status", "epochs", "best_epoch", "test"} <= found.keys() else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; one that a crash tore is skipped."""
    lines = []
    for text in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if (
            isinstance(line, dict)
            and isinstance(line.get("epoch"), int)
            and {"train", "val", "kl_weight"} <= line.keys()
        ):
            lines.append(line)
    return lines


def finite(value: Any) -> Any:
    """The same nested value with None in place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float | None]]:
    """(path, number) of every number in nested mappings.

    A list of numbers counts as their mean; of a list of mappings with `labels`, that number is part of the path.
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(item, (int, float)) for item in value):
            yield prefix + name, statistics.fmean(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping) and "labels" in item:
                    yield from flatten(item, f"{prefix}{name}.{item['labels']}.")
        elif value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            yield prefix + name, value
