"""The settings of runs as columns: which of them make a row, and how they are written and ordered."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from utils.config.config import PRODUCT, Config, identity_fields
from utils.config.flags import UsageError, flag_of, nearest
from utils.run.identity import MARK
from utils.run.records import Record

FIRST = ("dataset", "name", "space")
# What a row never averages over.
APART = ("dataset", "format")
HEADINGS = {"dataset": "data", "name": "model", "dim": "d", "rs": "seed", "k": "K", "format": "version"}
# Columns that are no fields of `Config`: the latent space, its dimension, importance samples, the folder of a run.
_DERIVED = {"space", "dim", "k", "folder"}
# What is averaged over, of no interest as a column, or implied by the latent space.
_NO_COLUMNS = {"rs", "device", "allow_unverified", "z", "z_dims", *FIRST}


def default_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """Data set, model, latent space, and every setting in which the runs differ, but for the seed."""
    return (*FIRST, *(name for name, values in _values(records).items() if len(values) > 1))


def in_common(records: Sequence[Record], columns: Sequence[str]) -> str:
    """The settings that are no columns and the same in all runs which have them, as flags.

    Those of some models only are followed by the names of these.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, values in _values(records).items():
        if len(values) == 1 and name not in columns:
            having = dict.fromkeys(str(record.config.name) for record in records if has(record, name))
            whose = "" if all(has(record, name) for record in records) else f" ({', '.join(having)})"
            found.setdefault(whose, {})[name] = next(iter(values))
    return ", ".join(flags + whose for whose, values in found.items() if (flags := as_flags(values)))


def _values(records: Sequence[Record]) -> dict[str, set[Any]]:
    """The values of each setting that may be a column, besides those of `FIRST`."""
    names = [f.name for f in identity_fields() if f.name not in _NO_COLUMNS] + ["format", "epochs", "k"]
    return {name: {setting(record, name) for record in records if has(record, name)} for name in names}


def check_columns(columns: Sequence[str], flag: str = "--by") -> None:
    """Refuse what is no setting of a run, given with some flag.

    Raises:
        UsageError: which, and what there is.
    """
    known = sorted({f.name for f in dataclasses.fields(Config)} | _DERIVED)
    for name in columns:
        if name not in known:
            raise UsageError(f"{flag}: {name!r} is no setting of a run{nearest(name, known)}; {', '.join(known)}")


def setting(record: Record, name: str) -> Any:
    """The value of a column for a run; None where its kind of model has no such setting."""
    if not has(record, name):
        return None
    derived = {
        "k": record.k,
        "dataset": record.data,
        "dim": sum(dim for _, dim in record.config.factors),
        "folder": str(record.folder),
        "format": MARK if record.identity.is_first else "",
    }
    return derived[name] if name in derived else getattr(record.config, name)


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


def as_flags(values: Mapping[str, Any]) -> str:
    """Settings as one would type them, without those that have their default value or that a model lacks."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    words = []
    for name, value in values.items():
        field = fields["ll_sample" if name == "k" else name]
        if name == "format":
            words += [value] if value else []
        elif value not in (None, field.default):
            words.append(flag_of(field).names[0] + ("" if value is True else f" {say(value)}"))
    return " ".join(words)


def natural_order(value: Any) -> tuple[Any, ...]:
    """A key that sorts numbers by size, also within words: S^5 before S^10."""
    if isinstance(value, (int, float)):
        return (1, value)
    parts = enumerate(re.split(r"0*([0-9]+)", say(value)))
    return (2, *((0, len(part), part) if place % 2 else (1, 0, part) for place, part in parts))
