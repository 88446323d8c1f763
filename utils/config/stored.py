"""The configuration that a run stores, read and checked."""

from __future__ import annotations

from typing import Any

from utils.config.config import Config
from utils.config.flags import UsageError, flags_of, nearest, shown
from utils.config.formats import FIRST, FORMATS, rules_of
from utils.config.rules import resolve


def from_values(values: dict[str, Any]) -> Config:
    """Check what the fields of a `Config` became in JSON, in this version or an older one.

    Fields that are absent take their defaults.

    Raises:
        UsageError: an unknown field or format is named, or a value is not allowed.
    """
    values = dict(values)
    format = values.pop("format", FIRST)
    if type(format) is not int or format not in FORMATS:
        raise UsageError(f"format: {shown(format)} is unknown; this version reads runs of the formats {FORMATS}")
    if not rules_of(format).whole_selection and values.get("burn_in") == 0:
        values["burn_in"] = None  # no burn-in was asked for; the files of such runs hold the default of their time
    flags, defaults = flags_of(Config), vars(Config())
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in flags:
            raise UsageError(f"{shown(key)}: unknown field in the configuration{nearest(key, flags)}")
        if isinstance(value, list):
            value = tuple(value)
        # Not "where it differs from the default": 200.0 is equal to 200, and no number of epochs.
        if value is not None or defaults[key] is not None:
            try:
                flags[key].check(value)
            except UsageError as error:
                raise UsageError(f"{key}: {error}") from None
        checked[key] = float(value) if flags[key].value_type is float and isinstance(value, int) else value
    return resolve(Config(**checked, format=format))
