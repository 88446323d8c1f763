"""Finished runs side by side: found on disk, grouped by their settings, averaged over seeds, held against others."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config.config import Config, identity_fields
from utils.config.flags import UsageError, nearest
from utils.config.system_settings import OF_KIND
from utils.run.metrics import METRICS, Metric
from utils.run.records import flatten, read_config, read_summary
from utils.tables.published import Published, natural_order, protocol_notes, published_for
from utils.tables.welch import Welch, welch

# Averaged over, as a column of their own of no interest, or told by the latent space already.
NOT_COMPARED = {"rs", "device", "allow_unverified", "distribution", "z", "z_dims"}
FIRST = ("dataset", "name", "space")


@dataclass(frozen=True)
class Record:
    """The result of one finished run.

    Attributes:
        folder: of the run.
        config: its settings.
        k: importance samples of its log p(x).
        diverged: whether training came to nothing.
        figures: metric to value; nested ones by their path, such as `kappa.mean`; lists by their mean. None stands for
            a number that was not finite.
    """

    folder: Path
    config: Config
    k: int
    diverged: bool
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class Cell:
    """One metric of one group of runs.

    Attributes:
        count: runs with a number.
        mean, std: over those; None where there is none (std: where there are fewer than two).
        not_finite: runs whose number was not finite; while there are any there is no mean, for leaving them out would
            flatter the model.
        difference, welch: against the baseline.
        better: whether the mean beats the baseline's with p below 0.05.
        published: the figure that the literature reports.
    """

    count: int
    mean: float | None
    std: float | None
    not_finite: int
    difference: float | None = None
    welch: Welch | None = None
    better: bool = False
    published: float | None = None


@dataclass(frozen=True)
class Row:
    """A group of runs that differ in their seeds.

    Attributes:
        key: value of each column that it is grouped by.
        runs: how many.
        diverged: how many of them came to nothing.
        cells: by metric.
    """

    key: tuple[Any, ...]
    runs: int
    diverged: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Comparison:
    """A table in numbers.

    Attributes:
        by: what the rows are grouped by.
        metrics: what is compared.
        rows: the groups, in order.
        baseline: the settings that rows are held against, such as `{"name": "normal"}`; empty for none.
        notes: what a reader has to know.
    """

    by: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: Mapping[str, str]
    notes: tuple[str, ...]


def find_records(places: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """The finished runs in folders of runs, or in folders that hold such folders at any depth.

    Returns:
        The runs, and notes on what was left out.

    Raises:
        UsageError: a place holds no finished run, or a configuration cannot be read.
    """
    found: dict[tuple[str, int, int, int], Record] = {}
    repeated = unfinished = 0
    for place in places:
        empty = True
        for path in sorted(place.rglob("config.json")):
            if path.parent != place and re.search(r"\.old\d+$", path.parent.name):
                continue  # moved aside by --overwrite
            records = read_run(path.parent)
            unfinished += not records
            empty = empty and not records
            for record in records:
                key = (record.config.hash, record.config.rs, record.config.epochs, record.k)
                repeated += key in found and found[key].folder.resolve() != path.parent.resolve()
                found.setdefault(key, record)
        if empty:
            missing = "summary.json" if (place / "config.json").exists() else "config.json"
            raise UsageError(f"{place}: holds no finished run ({missing} is missing)")
    notes = []
    if unfinished:
        notes.append(f"{_runs(unfinished)} not finished and left out")
    if repeated:
        notes.append(f"{_runs(repeated)} there twice (same settings and seed) and counted once")
    return list(found.values()), notes


def read_run(folder: Path) -> list[Record]:
    """The results in the folder of a run, one for each number of importance samples; none while it is unfinished.

    Raises:
        UsageError: its configuration cannot be read.
    """
    config = read_config(folder)
    if config is None:
        return []
    records = []
    for path in (folder / "summary.json", *sorted(folder.glob("summary_k*.json"))):
        summary = read_summary(path)
        if summary is None:
            continue
        test = summary.get("test") or {}
        own = {key: value for key, value in summary.items() if key != "test"}
        figures = dict(flatten({**own, **test}))
        if test and test.get("log_px") is None and not test.get("log_px_nonfinite"):
            figures.pop("log_px", None)  # a model without a density has none; that is no failure
        records.append(Record(folder, config, test.get("k", config.ll_sample), not test, figures))
    return records


def compare(
    records: Sequence[Record],
    metrics: Sequence[str] = (),
    by: Sequence[str] = (),
    against: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Group runs, average over what is left, and hold each group against a baseline and the literature.

    Args:
        records: the runs, at least one.
        metrics: keys of `Record.figures`; by default those of `METRICS` that the runs have.
        by: fields of `Config`, or `space` or `k`; by default `default_columns`.
        against: settings that make a row a baseline, such as `name=normal`.
        notes: put before those that the comparison adds.

    Raises:
        UsageError: there is no such metric, column or baseline.
    """
    known = sorted({name for record in records for name in record.figures})
    for metric in metrics:
        if metric not in known and any(not record.diverged for record in records):
            raise UsageError(
                f"--metric: {metric!r} is in none of these runs{nearest(metric, known)}; {', '.join(known)}"
            )
    metrics = metrics or [metric for metric in METRICS if metric in known]
    columns = tuple(by) or default_columns(records)
    check_columns(columns)
    if "k" not in columns:
        records, told = _one_of_each(records)
        notes = [*notes, *told]
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(setting(record, name) for name in columns), []).append(record)
    keys = sorted(groups, key=lambda key: tuple(natural_order(value) for value in key))
    baseline = _baseline(against, columns, keys)
    kept = [*notes, *_mixed(groups, columns)]
    if early := sum(record.figures.get("warm_up") not in (None, 1) for record in records):
        kept.append(f"warning: the best epoch of {early} of {len(records)} runs lies within the KL warm-up")
    ks = {record.k for record in records}
    if "log_px" in metrics and len(ks) == 1:
        kept.append(f"log p(x) is estimated with K = {min(ks)} importance samples; nats per image")
    rows, held = [], []
    for key in keys:
        published = {metric: _published(groups[key], metric) for metric in metrics}
        other = _base_of(key, columns, baseline, groups)
        rows.append(
            Row(
                key,
                len(groups[key]),
                sum(record.diverged for record in groups[key]),
                {metric: _cell(metric, groups[key], other, published[metric]) for metric in metrics},
            )
        )
        protocols = {id(entry.protocol): entry.protocol for entry in published.values() if entry}
        held += [(protocol, r.config, r.k) for protocol in protocols.values() for r in groups[key]]
    return Comparison(columns, tuple(metrics), tuple(rows), baseline, (*kept, *protocol_notes(held)))


def _one_of_each(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Each run once, where some were evaluated with several K: with the largest that all have, else its own largest."""
    runs: dict[tuple[str, int, int], dict[int, Record]] = {}
    for record in records:
        runs.setdefault((record.config.hash, record.config.rs, record.config.epochs), {})[record.k] = record
    several = sum(len(found) > 1 for found in runs.values())
    if not several:
        return list(records), []
    common = set.intersection(*(set(found) for found in runs.values()))
    kept = [found[max(common or found)] for found in runs.values()]
    which = f"K = {max(common)}" if common else "the largest K of each"
    return kept, [f"{_runs(several)} evaluated with several K and counted once, with {which}; --by k shows all"]


def default_columns(records: Sequence[Record]) -> tuple[str, ...]:
    """Data set, model, latent space, and every setting in which the runs differ, but for the seed."""
    names = [f.name for f in identity_fields() if f.name not in {*NOT_COMPARED, *FIRST}] + ["epochs", "k"]
    having = {name: [record for record in records if _has(record, name)] for name in names}
    return (*FIRST, *(name for name in names if len({setting(record, name) for record in having[name]}) > 1))


def setting(record: Record, name: str) -> Any:
    """The value of a column for a run; None where its kind of model has no such setting."""
    if not _has(record, name):
        return None
    return record.k if name == "k" else getattr(record.config, name)


def _has(record: Record, name: str) -> bool:
    return all(name not in names for kind, names in OF_KIND.items() if record.config.name != kind)


def say(value: Any) -> str:
    """A setting as it is written in a table."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(metric: str, records: Sequence[Record], base: Sequence[Record] | None, published: Published | None) -> Cell:
    values, not_finite = _values(metric, records)
    mean = statistics.fmean(values) if values and not not_finite else None
    cell = Cell(
        len(values),
        mean,
        statistics.stdev(values) if mean is not None and len(values) > 1 else None,
        not_finite,
        published=published.figures[metric] if published else None,
    )
    if base is None or mean is None:
        return cell
    others, others_not_finite = _values(metric, base)
    if not others or others_not_finite or (metric == "log_px" and len({r.k for r in (*records, *base)}) > 1):
        return cell
    difference = mean - statistics.fmean(others)
    test = welch(values, others)
    better = test.p is not None and test.p < 0.05 and METRICS.get(metric, Metric("")).better * difference > 0
    return dataclasses.replace(cell, difference=difference, welch=test, better=better)


def _values(metric: str, records: Sequence[Record]) -> tuple[list[float], int]:
    found = [record.figures[metric] for record in records if metric in record.figures]
    values = [value for value in found if value is not None and math.isfinite(value)]
    return values, len(found) - len(values)


def check_columns(columns: Sequence[str]) -> None:
    """Refuse what is no setting of a run.

    Raises:
        UsageError: which, and what there is.
    """
    known = {f.name for f in dataclasses.fields(Config)} | {"space", "k"}
    for name in columns:
        if name not in known:
            raise UsageError(f"--by: {name!r} is no setting of a run{nearest(name, known)}; {', '.join(sorted(known))}")


def _baseline(against: Sequence[str], columns: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> dict[str, str]:
    baseline = {}
    for text in against:
        name, equals, value = text.partition("=")
        if not equals or name not in columns:
            raise UsageError(
                f"--against: {text!r} must be COLUMN=VALUE with a column of this table: {', '.join(columns)}"
            )
        values = [say(key[columns.index(name)]) for key in keys]
        if value not in values:
            raise UsageError(f"--against: no run here has {name}={value}; there are {', '.join(dict.fromkeys(values))}")
        baseline[name] = value
    return baseline


def _base_of(
    key: tuple[Any, ...],
    columns: Sequence[str],
    baseline: Mapping[str, str],
    groups: Mapping[tuple[Any, ...], Sequence[Record]],
) -> Sequence[Record] | None:
    """The runs that a group is held against: those with the baseline's settings that are otherwise like it.

    Models of equal dimension are alike in that, whatever space they span.
    """
    if not baseline:
        return None

    def likeness(other: tuple[Any, ...]) -> tuple[Any, ...]:
        told = {name: value for name, value in zip(columns, other, strict=True) if name not in baseline}
        config = groups[other][0].config
        if "name" in baseline and "space" in told:
            told["space"] = sum(dim for _, dim in config.factors)
        if "space" in baseline:
            told.pop("name", None)
        return tuple(told.items())

    for other, records in groups.items():
        is_base = all(say(other[columns.index(name)]) == value for name, value in baseline.items())
        if is_base and other != key and likeness(other) == likeness(key):
            return records
    return None


def _mixed(groups: Mapping[tuple[Any, ...], Sequence[Record]], columns: Sequence[str]) -> list[str]:
    """What `--by` hides: settings in which the runs of one row differ."""
    found: dict[str, set[str]] = {}
    for records in groups.values():
        for name in default_columns(records):
            values = {say(setting(record, name)) for record in records}
            if len(values) > 1 and name not in columns:
                found.setdefault(name, set()).update(values)
    return [
        f"warning: a row averages over different {name}: {', '.join(sorted(values, key=natural_order))}"
        for name, values in found.items()
    ]


def _published(records: Sequence[Record], metric: str) -> Published | None:
    entries = [published_for(record.config, metric) for record in records]
    return entries[0] if all(entry is entries[0] for entry in entries) else None


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"
