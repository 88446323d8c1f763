"""A comparison as a table: in words for people, in full precision for programs."""

from __future__ import annotations

from collections.abc import Callable

from utils.run.metrics import METRICS, Metric
from utils.tables.columns import HEADINGS, say
from utils.tables.comparison import Cell, Comparison, Row
from utils.tables.layout import FORMATS, Bold, Table


def write(comparison: Comparison, form: str) -> str:
    """The table in one of `FORMATS`."""
    return FORMATS[form](in_numbers(comparison) if form == "csv" else in_words(comparison))


def in_words(comparison: Comparison) -> Table:
    """Mean ± standard deviation of each metric, with what it is compared with beside it."""
    rows = [[HEADINGS.get(name, name) for name in comparison.by] + ["runs"]]
    rows += [[*map(say, row.key), _runs(row)] for row in comparison.rows]
    baseline = " ".join(f"{name}={value}" for name, value in comparison.baseline.items())
    for key in comparison.metrics:
        cells, metric = [row.cells[key] for row in comparison.rows], METRICS.get(key, Metric(key))
        columns: list[tuple[str, Callable[[Cell, Metric], str]]] = [(metric.heading, _spread)]
        if any(cell.difference is not None for cell in cells):
            columns.append((f"against {baseline}", _against))
        if any(cell.published is not None for cell in cells):
            columns.append(("published (difference)", _published))
        for heading, write_cell in columns:
            for row, text in zip(rows, [heading, *(write_cell(cell, metric) for cell in cells)], strict=True):
                row.append(text)
    return Table(rows, len(comparison.by), comparison.notes)


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
    p = cell.p
    verdict = "no test" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
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
    parts = {"": "mean", "_std": "std", "_count": "count", "_not_finite": "not_finite"}
    parts |= {f"_{name}": name for name in ("difference", "p", "published", "published_std")}
    heads = [metric + part for metric in comparison.metrics for part in parts]
    rows = [[*comparison.by, "runs", "diverged", *heads]]
    for row in comparison.rows:
        values = [getattr(row.cells[metric], name) for metric in comparison.metrics for name in parts.values()]
        numbers = (row.runs, row.diverged, *values)
        rows.append([*map(say, row.key), *("" if value is None else repr(value) for value in numbers)])
    return Table(rows, notes=comparison.notes)
