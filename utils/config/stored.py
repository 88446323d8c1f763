"""The configuration that a run stores, read and checked."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config import sealed
from utils.config.config import RUN, Config
from utils.config.flags import UsageError, flag, flags_of, nearest, printable, shown
from utils.config.formats import FIRST, FORMAT, RULES
from utils.config.rules import resolve


@dataclass(frozen=True)
class Source:
    """Where settings come from that are not on the command line."""

    config: str | None = flag(
        "--config", str, RUN, None,
        "config.json that a run left, to do that run again; flags beside it override what it says",
    )


def settings_in(file: str) -> tuple[dict[str, Any], str]:
    """What the config.json of a run says, as flags would say it for a run of today.

    Returns:
        The settings that neither are defaults nor follow from the others, so that other flags may stand beside them;
        and a line on the rules of today where the run was made by others, else nothing.

    Raises:
        UsageError: there is no such file, or it is damaged or not of a run, or says what is not allowed.
    """
    path, given = Path(file), f"--config {printable(file)}"
    if not os.path.isfile(path):
        what = "is no file; give the config.json of a run" if os.path.exists(path) else "there is no such file"
        raise UsageError(f"{given}: {what}")
    try:
        config = from_values({name: value for name, value in sealed.read(path).items() if name not in ("run", "data")})
        today = resolve(dataclasses.replace(config.to_repeat, format=FORMAT))
    except OSError as error:
        raise UsageError(f"{given}: {error.strerror}") from None
    except sealed.Unsound as error:
        raise UsageError(f"{given}: {error}; leave it as the run wrote it, and override by flags") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{given}: is no JSON ({printable(str(error)[:80])})") from None
    except UsageError as error:
        raise UsageError(f"{given}: {error}") from None
    if RULES[config.format] == RULES[FORMAT]:
        return _chosen(today), ""
    return _chosen(today), (
        f"{given}: is of format {config.format}; a new run follows the rules of format {FORMAT}, which choose the "
        "best model and binarize test images otherwise, so that its numbers differ"
    )


def _chosen(config: Config) -> dict[str, Any]:
    """The settings of a configuration that neither are defaults nor follow from the others."""
    values = {name: value for name in flags_of(Config) if (value := getattr(config, name)) != getattr(Config, name)}
    for name in list(values):
        rest = {other: value for other, value in values.items() if other != name}
        try:
            values = rest if resolve(Config(**rest)) == config else values
        except UsageError:  # the others need it
            continue
    return values


def from_values(values: dict[str, Any]) -> Config:
    """Check what the fields of a `Config` became in JSON, in this version or an older one.

    Fields that are absent take their defaults.

    Raises:
        UsageError: an unknown field or format is named, or a value is not allowed.
    """
    values = dict(values)
    format = values.pop("format", FIRST)
    if type(format) is not int or format not in RULES:
        raise UsageError(f"format: {shown(format)} is unknown; this version reads runs of the formats {tuple(RULES)}")
    if not RULES[format].whole_selection and values.get("burn_in") == 0:
        values["burn_in"] = None  # no burn-in was asked for; the files of such runs hold the default of their time
    flags = flags_of(Config)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in flags:
            raise UsageError(f"{shown(key)}: unknown field in the configuration{nearest(key, flags)}")
        if isinstance(value, list):
            value = tuple(value)
        # Not "where it differs from the default": 200.0 is equal to 200, and no number of epochs.
        if value is not None or getattr(Config, key) is not None:
            try:
                flags[key].check(value)
            except UsageError as error:
                raise UsageError(f"{key}: {error}") from None
        checked[key] = float(value) if flags[key].value_type is float and isinstance(value, int) else value
    return resolve(Config(**checked, format=format))
