"""What runs left on the disk, found and read back: settings, results, metrics of the epochs.

Nothing that lies in a folder of results ends in a traceback here: what cannot be read is named in one line.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from utils.config.config import Config
from utils.config.flags import UsageError, printable
from utils.config.formats import FIRST
from utils.config.stored import from_values
from utils.run import stamped
from utils.run.identity import Identity
from utils.run.metrics import METRICS, Value
from utils.run.stamped import Damaged, Foreign, is_there, told

# No metric is as large, and none lies as deep.
_LARGEST, _DEPTH = 1e100, 20
# Folders outside of runs that are searched for them; more is a whole disk.
_MOST_FOLDERS = 20_000
# Runs at most that a message names.
_NAMED = 2
# How --overwrite renames the run that it moves aside.
_ASIDE = re.compile(r".*\.old[0-9]+", re.DOTALL)


@dataclass(frozen=True)
class Record:
    """A run with one of its results: runs that were evaluated with several K have several.

    Attributes:
        folder: of the run.
        identity: what the run is.
        summary: the result as it was written; empty while the run is not finished.
        data: what its data set is called; own data of one name and different content have a part of its digest there.
    """

    folder: Path
    identity: Identity
    summary: Mapping[str, Any]
    data: str = ""

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.identity.config

    @cached_property
    def values(self) -> Mapping[str, Value]:
        """Its metrics by their keys, such as `kl` or `kappa.mean`."""
        return values_of(self.summary)

    @property
    def k(self) -> int:
        """Importance samples of its log p(x)."""
        return int((self.summary.get("test") or {}).get("k", self.config.ll_sample))

    @property
    def status(self) -> str:
        return str(self.summary.get("status", "not finished"))

    @property
    def diverged(self) -> bool:
        """Whether training diverged before there was a model to test."""
        return bool(self.summary) and not self.summary["test"]


def find_runs(places: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """The runs in folders of runs, or in folders that hold such folders at any depth, each once.

    A run that --overwrite moved aside is left out unless it is one of the places itself.

    Returns:
        The runs in the order of their paths, and a line for each that is left out, with the reason.

    Raises:
        UsageError: a place is no folder, or holds far more than runs.
    """
    folders: dict[str, Path] = {}
    left_out: list[str] = []
    for place in places:
        if not os.path.isdir(place):
            raise UsageError(f"{printable(place)}: is no folder; give one that holds runs, such as results/")
        found = list(_folders_with_runs(place, left_out))
        if not found:
            left_out.append(f"{printable(place)}: holds no run (config.json is missing)")
        for folder in found:
            if folder != place and _ASIDE.fullmatch(folder.name):
                left_out.append(f"{printable(folder)}: was moved aside by --overwrite")
            else:
                folders.setdefault(os.path.realpath(folder), folder)
    records, bad = read_runs(folders.values())
    return records, left_out + bad


def _folders_with_runs(place: Path, left_out: list[str]) -> Iterator[Path]:
    pending, others = [(place, False)], 0
    while pending:
        folder, is_within_run = pending.pop()
        try:
            inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
            below = [Path(entry) for entry in inside if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            left_out.append(f"{printable(folder)}: {error.strerror}")
            continue
        is_run = any(entry.name == "config.json" for entry in inside)
        if is_run:
            yield folder
        others += not (is_run or is_within_run)
        if others > _MOST_FOLDERS:
            raise UsageError(
                f"{printable(place)}: holds more than {_MOST_FOLDERS:,} folders besides runs; give the folder of the "
                "runs alone, such as results/"
            )
        pending += [(inner, is_run or is_within_run) for inner in reversed(below)]


def read_runs(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """The runs in these folders, and a line for each that cannot be read."""
    records: list[Record] = []
    bad: list[str] = []
    for folder in folders:
        try:
            records += read_run(folder)
        except UsageError as error:
            bad.append(str(error))
    contents = Counter(name for name, _ in {record.identity.data_set for record in records})
    return [_with_data(record, contents[record.identity.data_set[0]] > 1) for record in records], bad


def _with_data(record: Record, ambiguous: bool) -> Record:
    name, digest = record.identity.data_set
    return replace(record, data=f"{name} ({digest[:6] or 'unknown'})" if ambiguous else name)


def read_run(folder: Path) -> list[Record]:
    """The results of a run, one for each number of importance samples; one without a summary while it is unfinished.

    Raises:
        UsageError: the folder holds no run, or a file of it cannot be read, is damaged or belongs to another run.
    """
    try:
        identity = read_identity(folder)
        if identity is None:
            raise no_run(folder)
        paths = [path for path in (folder / "summary.json",) if os.path.lexists(path)]
        # Without the first summary it is being trained further, or evaluated for the first time.
        paths += sorted(folder.glob("summary_k*.json")) if paths else []
        records = [Record(folder, identity, read_summary(path, identity)) for path in paths]
    except Damaged as error:
        raise UsageError(f"{error}; repeat the command of the run, which writes it again") from None
    except Foreign as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{printable(error.filename or folder)}: {error.strerror}") from None
    return records or [Record(folder, identity, {})]


def no_run(folder: Path) -> UsageError:
    """What to say of a folder that is not that of a run: it names runs in it or in its folders, if there are any."""
    found = [*folder.glob("*/config.json"), *folder.glob("*/*/config.json")]
    inside = sorted(path.parent.relative_to(folder) for path in found)
    if not inside:
        return UsageError(f"{printable(folder)}: holds no run (config.json is missing)")
    named = ", ".join(printable(run) for run in inside[:_NAMED]) + ", ..." * (len(inside) > _NAMED)
    return UsageError(f"{printable(folder)}: is not the folder of a run; runs in it: {named} ({len(inside)})")


def read_identity(folder: Path) -> Identity | None:
    """What the run in a folder is, or None where there is none.

    Raises:
        Damaged: its `config.json` is torn or edited.
        Foreign: it is that of another run, or the folder is a copy under another name.
        OSError: it is no regular file, or cannot be read.
    """
    path = folder / "config.json"
    if not os.path.lexists(path):
        return None
    values, stamp = stamped.read_with_stamp(path)
    data = values.pop("data", None)
    try:
        config = from_values(values)
    except UsageError as error:
        raise Damaged(f"{printable(path)}: {error}") from None
    is_said = _is_contents(data) if data is not None else config.format == FIRST or config.has_known_data
    if not is_said:
        raise Damaged(f"{printable(path)}: it does not say which data it is on")
    identity = Identity(config, data)
    expected = identity.stamp
    if stamp is None and expected is not None:
        raise Damaged(f"{printable(path)}: is damaged (it does not say which run it belongs to)")
    if stamp != expected or not identity.is_named_by(folder):
        raise Foreign(
            f"{printable(path)}: is of another run than the folder's name says "
            f"({told({'seed': identity.config.rs, 'hash': identity.hash})}): the folder is a copy or was renamed, or "
            "the file is not its own; undo that"
        )
    return identity


def _is_contents(data: Any) -> bool:
    """Whether a value is what `Data.contents` says."""
    splits = data.get("splits") if isinstance(data, dict) and isinstance(data.get("digest"), str) else None
    return (
        isinstance(splits, dict)
        and splits.keys() == {"train", "val", "test"}
        and all(
            isinstance(split, dict)
            and isinstance(split.get("digest"), str)
            and _is_count(split.get("examples"))
            and isinstance(split.get("classes"), dict)
            and all(map(_is_count, split["classes"].values()))
            for split in splits.values()
        )
    )


def read_summary(path: Path, identity: Identity) -> dict[str, Any]:
    """The result in a `summary.json`.

    Raises:
        Damaged: there is none, or it is torn or edited.
        Foreign: it is of another run.
        OSError: it is no regular file, or cannot be read.
    """
    found = stamped.read(path, identity.stamp)
    test = found.get("test", ())
    whole = (
        isinstance(found.get("status"), str)
        and _is_count(found.get("epochs"))
        and _is_count(found.get("best_epoch"))
        # There is none where the run diverged before it had a model.
        and (isinstance(test, dict) and _is_count(test.get("k")) if found["best_epoch"] else test is None)
    )
    if not whole:
        raise Damaged(f"{printable(path)}: is damaged (it lacks what every result has)")
    return found


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; one that is damaged is skipped.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    lines = []
    for text in path.read_bytes().splitlines() if is_there(path) else ():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and _is_epoch(line):
            lines.append(line)
    return lines


def _is_epoch(line: Mapping[str, Any]) -> bool:
    """Whether a line of `metrics.jsonl` has what curves are drawn of."""
    parts: list[Any] = [line.get("train")] + ([] if line.get("val") is None else [line["val"]])
    return (
        "val" in line
        and _is_count(line.get("epoch"))
        and _is_number(line.get("kl_weight"))
        and all(isinstance(part, dict) for part in parts)
        and all(part.get(key) is None or _is_number(part[key]) for part in parts for key in ("elbo", "log_px_z", "kl"))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**63


def values_of(summary: Mapping[str, Any]) -> dict[str, Value]:
    """The metrics in a summary by their keys, such as `kl` or `kappa.mean`; those that the run lacks are left out."""
    found = dict(flatten({**summary, **(summary.get("test") or {}), "test": None}))
    del found["test"]
    if (summary.get("test") or {}).get("kl_is_constant") is True:
        found.pop("warm_up", None)  # a weight that changes nothing
    for key, metric in METRICS.items():
        if metric.optional and found.get(key, 0) is None and not found.get(f"{key}_nonfinite"):
            del found[key]
    return found


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """(path, value) of every number and list of numbers in nested mappings; a number that is not finite is None.

    Of a list of mappings with `labels`, that number is part of the path.
    """
    if prefix.count(".") > _DEPTH:
        return
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif items and all(item is None or _is_number(item) for item in items):
            numbers = tuple(None if item is None or not abs(item) < _LARGEST else float(item) for item in items)
            yield prefix + name, numbers if isinstance(value, list) else numbers[0]
        else:
            for item in items:
                if isinstance(item, Mapping) and "labels" in item:
                    yield from flatten(item, f"{prefix}{name}.{item['labels']}.")


def mean_of(value: Value) -> float | None:
    """A value, or the mean of several; None where one is not finite."""
    if not isinstance(value, tuple):
        return value
    return None if None in value else math.fsum(value) / len(value)  # type: ignore[arg-type]
