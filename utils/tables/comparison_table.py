"""A comparison as a table: in words for people, in full precision for programs."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from utils.config.flags import UsageError, nearest, printable
from utils.run.metrics import METRICS, Metric
from utils.tables.columns import FIRST, HEADINGS, as_flags, say
from utils.tables.comparison import Cell, Comparison, Row
from utils.tables.layout import FORMATS, Bold, Table, fitted

# Columns that say what a row is even where the other settings are one column.
_APART = (*FIRST, "dim", "rs", "folder")
# Rows that differ in these are not held against each other.
_SCOPE = ("dataset", "format", "loss_function")
# A row of the table: what it is, and the groups of runs in it, by their value of `across` ("" without).
_Line = tuple[tuple[Any, ...], Mapping[str, Row]]


def write(comparison: Comparison, form: str, across: str = "") -> str:
    """The table in one of `FORMATS`; as text it is made to fit the terminal.

    Args:
        comparison: the table in numbers.
        form: a key of `FORMATS`.
        across: a column whose values become columns, such as `name` for one column per model, as papers have it.

    Raises:
        UsageError: there is no such column, or several rows would be one.
    """
    if form == "csv":
        return FORMATS[form](in_numbers(comparison))
    if form == "text":
        return fitted(in_words(comparison, across, folded) for folded in (False, True))
    return FORMATS[form](in_words(comparison, across))


def in_words(comparison: Comparison, across: str = "", folded: bool = False) -> Table:
    """Mean ± standard deviation of each metric, with what it is compared with beside it.

    What all rows have in common is no column, nor is what none has.

    Args:
        comparison: the table in numbers.
        across: as for `write`.
        folded: whether the settings are one column, written as flags.

    Raises:
        UsageError: as `write`.
    """
    names, lines = _lines(comparison, across)
    keys = {name: [key[place] for key, _ in lines] for place, name in enumerate(names)}
    facts, keys = _in_common(keys)
    columns = [("", heading, texts) for heading, texts in _key_columns(keys, folded)]
    left = len(columns)
    runs = [", ".join(dict.fromkeys(map(_runs, groups.values()))) for _, groups in lines]
    if len(lines) > 1 and len(set(runs)) == 1:
        facts.append(f"runs {runs[0]}")
    else:
        columns.append(("", "runs", runs))
    for key in comparison.metrics:
        best = [] if comparison.baseline else _best(comparison, lines, key, bool(across))
        columns += _metric_columns(comparison, lines, key, best)
    facts += [comparison.shared] if comparison.shared else []
    best_of = "the best in each row" if across else "the best with the same data and likelihood"
    meaning = f"better than {_baseline(comparison)}, p < 0.05" if comparison.baseline else best_of
    notes = list(comparison.notes)
    if any(isinstance(text, Bold) for *_, texts in columns for text in texts):
        notes.append(f"marked: {meaning}")
    elif comparison.baseline:
        notes.append(f"nothing is marked: nothing is {meaning}")
    if any(cell.difference is not None and cell.p is None for row in comparison.rows for cell in row.cells.values()):
        notes.append("no test: Welch's t-test needs two seeds of each, and values that vary")
    rows = [[heading for _, heading, _ in columns], *map(list, zip(*(texts for *_, texts in columns), strict=True))]
    return Table(rows, left, notes, ", ".join(facts), [over for over, *_ in columns] if across else ())


def _lines(comparison: Comparison, across: str) -> tuple[Sequence[str], Sequence[_Line]]:
    """What the rows of a table are named by, and the rows."""
    if not across:
        return comparison.by, [(row.key, {"": row}) for row in comparison.rows]
    if across not in comparison.by:
        known = ", ".join(comparison.by)
        raise UsageError(f"--across: {across!r} is no column of this table{nearest(across, known)}; {known}")
    rows = [dict(zip(comparison.by, row.key, strict=True)) for row in comparison.rows]
    names = [name for name in comparison.by if name != across]
    if across == "name":  # models of equal dimension stand side by side, whatever they are made of
        of_all = [name for name in names if None not in (values[name] for values in rows)]
        names = [name for name in of_all if name != "space" or "dim" not in of_all]
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row, values in zip(comparison.rows, rows, strict=True):
        line, value = lines.setdefault(tuple(values[name] for name in names), {}), say(values[across])
        if value in line:
            pairs = zip(comparison.by, row.key, line[value].key, strict=True)
            differing = ", ".join(name for name, one, other in pairs if one != other)
            raise UsageError(
                f"--across {across}: two rows of {printable(value)} would share a cell; they differ in {differing}; "
                "leave some runs out, or --across"
            )
        line[value] = row
    return names, list(lines.items())


def _in_common(keys: Mapping[str, list[Any]]) -> tuple[list[str], dict[str, list[Any]]]:
    """What all rows have in common, as words, and the columns in which they differ."""
    if len(next(iter(keys.values()), ())) < 2:
        return [], dict(keys)
    facts = [
        f"{HEADINGS.get(name, name)} {say(values[0])}"
        for name, values in keys.items()
        if len(set(values)) == 1 and say(values[0])
    ]
    found = {name: values for name, values in keys.items() if len(set(values)) > 1}
    if "folder" in found:
        parent = os.path.commonpath(map(os.path.dirname, found["folder"]))
        facts.append(f"in {parent}")
        found["folder"] = [os.path.relpath(folder, parent) for folder in found["folder"]]
    return facts, found


def _key_columns(keys: Mapping[str, list[Any]], folded: bool) -> list[tuple[str, list[str]]]:
    """The columns that say what a row is: heading and texts."""
    loose = {name: values for name, values in keys.items() if folded and name not in _APART}
    found = [(HEADINGS.get(name, name), list(map(say, keys[name]))) for name in keys if name not in loose]
    if loose:
        rows = zip(*loose.values(), strict=True)
        found.append(("settings", [as_flags(dict(zip(loose, row, strict=True))) for row in rows]))
    return found


def _metric_columns(
    comparison: Comparison, lines: Sequence[_Line], key: str, best: Sequence[Row]
) -> list[tuple[str, str, list[str]]]:
    """The columns of a metric: heading above, heading and texts."""
    metric, found = METRICS.get(key, Metric(key)), []
    writers: tuple[tuple[str, Callable[[Cell, Metric], str]], ...] = (
        ("", _spread), (f"against {_baseline(comparison)}", _against), ("published (difference)", _published)
    )  # fmt: skip
    for variant in dict.fromkeys(variant for _, groups in lines for variant in groups):
        for heading, write_cell in writers:
            texts = []
            for _, groups in lines:
                text = write_cell(groups[variant].cells[key], metric) if variant in groups else ""
                texts.append(Bold(text) if write_cell is _spread and groups.get(variant) in best else text)
            found.append((metric.heading, f"{variant} {heading}".strip() or metric.heading, texts))
    return [column for column in found if any(column[2])]


def _best(comparison: Comparison, lines: Sequence[_Line], key: str, across: bool) -> list[Row]:
    """The rows with the best mean of a metric among those that can be held against each other."""
    metric = METRICS.get(key, Metric(key))
    scope = (*_SCOPE, "k") if metric.depends_on_k else _SCOPE
    scopes: dict[tuple[Any, ...], list[Row]] = {}
    for place, (_, groups) in enumerate(lines):
        for row in groups.values():
            kind = [value for name, value in zip(comparison.by, row.key, strict=True) if name in scope]
            scopes.setdefault((place if across else None, *kind), []).append(row)
    best = []
    for rows in scopes.values():
        values = [metric.better * mean for row in rows if (mean := row.cells[key].mean) is not None]
        if metric.better and len(values) > 1:
            text = metric.text(metric.better * max(values))
            best += [row for row in rows if (mean := row.cells[key].mean) is not None and metric.text(mean) == text]
    return best


def _baseline(comparison: Comparison) -> str:
    return " ".join(f"{name}={value}" for name, value in comparison.baseline.items())


def _runs(row: Row) -> str:
    return f"{row.runs}" + (f", {row.diverged} diverged" if row.diverged else "")


def _spread(cell: Cell, metric: Metric) -> str:
    """`-93.16 ± 0.31`, or why there is no such number."""
    if cell.not_finite:
        return f"not finite ({cell.not_finite} of {cell.count + cell.not_finite})"
    if cell.mean is None:
        return ""
    text = metric.text(cell.mean, cell.std)
    return Bold(text) if cell.better else text


def _against(cell: Cell, metric: Metric) -> str:
    """`+0.68, p = 0.003`, without p where there are too few runs; empty for the baseline itself."""
    if cell.difference is None:
        return ""
    verdict = "no test" if cell.p is None else "p < 0.001" if cell.p < 0.001 else f"p = {cell.p:.3f}"
    return f"{metric.text(cell.difference, sign='+')}, {verdict}"


def _published(cell: Cell, metric: Metric) -> str:
    """`-93.16 ± 0.31 (+0.12, reproduced)`: the published number, how much higher ours is, and the verdict."""
    if cell.published is None:
        return ""
    text = metric.text(cell.published, cell.published_std)
    if cell.mean is None:
        return text
    told = f", {cell.verdict}" if cell.verdict else ""
    return f"{text} ({metric.text(cell.mean - cell.published, sign='+')}{told})"


def in_numbers(comparison: Comparison) -> Table:
    """For each metric mean, standard deviation, count and the rest in full precision; empty where there is none."""
    beside = ("std", "count", "not_finite", "difference", "p", "published", "published_std")
    parts = {"": "mean"} | {f"_{name}": name for name in beside}
    heads = [metric + part for metric in comparison.metrics for part in parts]
    rows = [[*comparison.by, "runs", "diverged", *heads]]
    for row in comparison.rows:
        values = [getattr(row.cells[metric], name) for metric in comparison.metrics for name in parts.values()]
        numbers = (row.runs, row.diverged, *values)
        rows.append([*map(say, row.key), *("" if value is None else repr(value) for value in numbers)])
    return Table(rows, notes=comparison.notes)
