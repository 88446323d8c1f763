"""The configuration that a run stores as JSON, read and checked."""

from __future__ import annotations

import json

from utils.config.config import Config
from utils.config.flags import UsageError, flags_of, nearest, shown
from utils.config.rules import resolve


def from_json(text: str) -> Config:
    """Read what `Config.to_json` wrote, in this version or an older one (absent fields take their defaults).

    Raises:
        UsageError: the text is no JSON object, names an unknown field, or a value is not allowed.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the configuration is not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise UsageError(f"the configuration must be a JSON object, not {type(values).__name__}")
    flags, defaults = flags_of(Config), vars(Config())
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
        values[key] = float(value) if flags[key].value_type is float and isinstance(value, int) else value
    return resolve(Config(**values))
