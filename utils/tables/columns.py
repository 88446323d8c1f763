"""The settings of runs as columns: which of them make a row, and how they are written and ordered."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from utils.config.config import PRODUCT, Config, identity_fields
from utils.config.flags import UsageError, nearest
from utils.run.identity import MARK
from utils.run.records import Record

FIRST = ("dataset", "name", "space")
# What a row never averages over.
APART = ("dataset", "format")
HEADINGS = {"dataset": "data", "name": "model", "k": "K", "format": "version"}
# What is averaged over, of no interest as a column, or implied by the latent space.
_NO_COLUMNS = {"rs", "device", "allow_unverified", "z", "z_dims", *FIRST}


def default_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """Data set, model, latent space, and every setting in which the runs differ, but for the seed."""
    names = [f.name for f in identity_fields() if f.name not in _NO_COLUMNS] + ["format", "epochs", "k"]
    values = {name: {setting(record, name) for record in records if has(record, name)} for name in names}
    return (*FIRST, *(name for name in names if len(values[name]) > 1))


def check_columns(columns: Sequence[str]) -> None:
    """Refuse what is no setting of a run.

    Raises:
        UsageError: which, and what there is.
    """
    known = {f.name for f in dataclasses.fields(Config)} | {"space", "k"}
    for name in columns:
        if name not in known:
            raise UsageError(f"--by: {name!r} is no setting of a run{nearest(name, known)}; {', '.join(sorted(known))}")


def setting(record: Record, name: str) -> Any:
    """The value of a column for a run; None where its kind of model has no such setting."""
    if not has(record, name):
        return None
    if name == "format":
        return MARK if record.identity.is_first else ""
    return {"k": record.k, "dataset": record.data}.get(name) or getattr(record.config, name)


def has(record: Record, name: str) -> bool:
    """Whether a run has a setting that its columns do not imply: outside of products, the distribution is the model."""
    return record.config.has(name) and (name != "distribution" or record.config.name == PRODUCT)


def say(value: Any) -> str:
    """A setting as it is written in a table."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def natural_order(value: Any) -> tuple[Any, ...]:
    """A key that sorts numbers by size, also within words: S^5 before S^10."""
    if isinstance(value, (int, float)):
        return (1, value)
    key: list[Any] = [2]
    for place, part in enumerate(re.split(r"([0-9]+)", say(value))):
        digits = part.lstrip("0")
        key.append((0, len(digits), digits) if place % 2 else (1, 0, part))
    return tuple(key)
