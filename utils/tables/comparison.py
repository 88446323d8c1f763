"""Finished runs side by side: grouped by their settings, averaged over seeds, compared with other groups and papers."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.config.flags import UsageError, nearest, printable
from utils.run.identity import MARK
from utils.run.metrics import METRICS, Metric
from utils.run.records import Record, mean_of
from utils.tables.columns import APART, check_columns, default_columns, in_common, natural_order, say, setting
from utils.tables.published import GATE, Published, protocol_notes, published_for, verdict

Groups = Mapping[tuple[Any, ...], Sequence[Record]]


@dataclass(frozen=True)
class Cell:
    """One metric of one group of runs.

    Attributes:
        count: runs with a number.
        mean, std: over those; None where there is none (std: where there are fewer than two).
        not_finite: runs whose number was not finite; while there are any there is no mean, for leaving them out would
            flatter the model.
        difference: from the mean of the baseline.
        p: of Welch's t-test against the baseline.
        better: whether the mean beats the baseline's with p below 0.05.
        published, published_std: what the literature reports, and its standard deviation over runs where that is known.
        verdict: whether that is reproduced; empty where it cannot be said.
    """

    count: int
    mean: float | None
    std: float | None
    not_finite: int
    difference: float | None = None
    p: float | None = None
    better: bool = False
    published: float | None = None
    published_std: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Row:
    """A group of runs that differ in their seeds.

    Attributes:
        key: value of each column that it is grouped by.
        runs: how many.
        diverged: how many of them diverged before there was a model to test.
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
        shared: further settings that all runs have in common, as flags.
        baseline: the settings that rows are compared with, such as `{"name": "normal"}`; empty for none.
        notes: what a reader has to know.
    """

    by: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    shared: str
    baseline: Mapping[str, str]
    notes: tuple[str, ...]


def finished(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The results of finished runs, each once, and notes on what is left out."""
    found: dict[tuple[str, int, int], Record] = {}
    done = [record for record in records if record.summary]
    for record in done:
        found.setdefault((record.identity.hash, record.config.epochs, record.k), record)
    notes = []
    if len(done) < len(records):
        notes.append(f"{_runs(len(records) - len(done))} not finished and left out")
    if len(found) < len(done):
        notes.append(f"{_runs(len(done) - len(found))} there twice (same settings and seed) and counted once")
    return list(found.values()), notes


def compare(
    records: Sequence[Record],
    metrics: Sequence[str] = (),
    by: Sequence[str] = (),
    against: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Group runs, average over what is left, and compare each group with a baseline and the literature.

    Args:
        records: finished runs, at least one.
        metrics: keys of `Record.values`; by default those of `METRICS` that are compared and that the runs have.
        by: fields of `Config`, or `space` or `k`; by default `default_columns`.
        against: settings that make a row a baseline, such as `name=normal`.
        notes: put before those that the comparison adds.

    Raises:
        UsageError: there is no such metric, column or baseline.
    """
    metrics = _metrics(records, metrics)
    columns = by or default_columns(records)
    check_columns(columns)
    differing = [name for name in APART if len({setting(record, name) for record in records}) > 1]
    columns = tuple(dict.fromkeys((*columns, *differing)))
    if "k" not in columns:
        records, counted = _one_of_each(records)
        notes = [*notes, *counted]
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(setting(record, name) for name in columns), []).append(record)
    groups = {key: groups[key] for key in sorted(groups, key=lambda key: tuple(map(natural_order, key)))}
    baseline = _baseline(against, columns, list(groups))
    rows, beside = [], []
    for key, group in groups.items():
        base = _base_of(key, columns, baseline, groups)
        cells = {}
        for metric in metrics:
            cells[metric] = _cell(metric, group, base)
            if published := published_for(group, metric):
                cells[metric] = _beside(cells[metric], metric, group, published)
                beside += [(published.protocol, record) for record in group]
        rows.append(Row(key, len(group), sum(record.diverged for record in group), cells))
    all_notes = [*notes, *_notes(records, metrics), *_mixed(groups, columns), *protocol_notes(beside)]
    if any(cell.verdict for row in rows for cell in row.cells.values()):
        all_notes.append(GATE)
    return Comparison(
        columns, tuple(metrics), tuple(rows), in_common(records, columns), baseline, tuple(all_notes)
    )  # fmt: skip


def _metrics(records: Sequence[Record], asked: Sequence[str]) -> Sequence[str]:
    known = sorted({name for record in records for name in record.values})
    for metric in asked:
        if metric not in known and any(not record.diverged for record in records):
            raise UsageError(
                f"--metric: {metric!r} is in none of these runs{nearest(metric, known)}; {printable(', '.join(known))}"
            )
    return asked or [name for name, metric in METRICS.items() if metric.compared and name in known]


def _one_of_each(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Each run once, where some were evaluated with several K: with the largest that all have, else its own largest."""
    runs: dict[tuple[str, int], dict[int, Record]] = {}
    for record in records:
        runs.setdefault((record.identity.hash, record.config.epochs), {})[record.k] = record
    several = sum(len(found) > 1 for found in runs.values())
    if not several:
        return list(records), []
    common = set.intersection(*(set(found) for found in runs.values()))
    which = f"K = {max(common)}" if common else "the largest K of each"
    note = f"{_runs(several)} evaluated with several K and counted once, with {which}; --by k shows all"
    return [found[max(common or found)] for found in runs.values()], [note]


def _cell(metric: str, records: Sequence[Record], base: Sequence[Record]) -> Cell:
    values, not_finite = _values(metric, records)
    mean = statistics.fmean(values) if values and not not_finite else None
    std = statistics.stdev(values) if mean is not None and len(values) > 1 else None
    cell = Cell(len(values), mean, std, not_finite)
    others, others_not_finite = _values(metric, base)
    known = METRICS.get(metric, Metric(metric))
    is_comparable = not known.depends_on_k or len({record.k for record in (*records, *base)}) == 1
    if mean is None or not others or others_not_finite or not is_comparable:
        return cell
    difference, p = mean - statistics.fmean(others), welch(values, others)
    better = known.better * difference > 0 and p is not None and p < 0.05
    return dataclasses.replace(cell, difference=difference, p=p, better=better)


def welch(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Welch's t-test of two means of unequal variance, two-sided.

    Returns:
        The probability of a difference at least as large if the means are equal; None where a group has fewer than two
        values, or none of them varies.
    """
    if min(len(values), len(others)) < 2 or not (statistics.pvariance(values) or statistics.pvariance(others)):
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(values, others, equal_var=False).pvalue)


def _beside(cell: Cell, metric: str, records: Sequence[Record], entry: Published) -> Cell:
    """A cell with the published number and whether that is reproduced."""
    published, std = entry.values[metric], entry.stds.get(metric)
    told = verdict(metric, _values(metric, records)[0], published, std) if cell.mean is not None else ""
    return dataclasses.replace(cell, published=published, published_std=std, verdict=told)


def _values(metric: str, records: Sequence[Record]) -> tuple[list[float], int]:
    found = [mean_of(record.values[metric]) for record in records if metric in record.values]
    values = [value for value in found if value is not None]
    return values, len(found) - len(values)


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
            known = ", ".join(dict.fromkeys(values))
            raise UsageError(f"--against: no run here has {name}={value}; there are {printable(known)}")
        baseline[name] = value
    return baseline


def _base_of(
    key: tuple[Any, ...], columns: Sequence[str], baseline: Mapping[str, str], groups: Groups
) -> Sequence[Record]:
    """The runs that a group is compared with, if any: those with the baseline's settings that are otherwise like it.

    Models of equal dimension are alike in that, whatever space they span.
    """
    if not baseline:
        return ()

    def likeness(other: tuple[Any, ...]) -> dict[str, Any]:
        alike = {name: value for name, value in zip(columns, other, strict=True) if name not in baseline}
        if "name" in baseline and "space" in alike:
            alike["space"] = setting(groups[other][0], "dim")
        if "space" in baseline:
            alike.pop("name", None)
        return alike

    for other, records in groups.items():
        is_base = all(say(other[columns.index(name)]) == value for name, value in baseline.items())
        if is_base and other != key and likeness(other) == likeness(key):
            return records
    return ()


def _notes(records: Sequence[Record], metrics: Sequence[str]) -> list[str]:
    notes = []
    if early := sum(record.values.get("warm_up", 1) != 1 for record in records):
        notes.append(f"warning: the best epoch of {early} of {len(records)} runs lies within the KL warm-up")
    if first := sum(record.identity.is_first for record in records):
        notes.append(
            f"{first} of {len(records)} runs {MARK}, averaged apart: their binarized test images differ from seed to "
            "seed, their ELBO has one sample per image, and their models were compared from the first epoch on"
        )
    ks = {record.k for record in records}
    if "log_px" in metrics and len(ks) == 1:
        notes.append(f"log p(x) is estimated with K = {min(ks)} importance samples; nats per image")
    return notes


def _mixed(groups: Groups, columns: Sequence[str]) -> list[str]:
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


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"
