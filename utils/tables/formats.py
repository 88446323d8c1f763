"""A comparison as text, Markdown, LaTeX or CSV. Adding a format is adding an entry to `FORMATS`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping

from utils.run.metrics import METRICS, Metric, number
from utils.tables.comparison import Cell, Comparison, Row, say
from utils.tables.layout import table

HEADINGS: Mapping[str, str] = {"dataset": "data", "name": "model", "k": "K"}


def spread_text(cell: Cell, scale: float = 1.0) -> str:
    """`-93.16 ± 0.31`, or why there is no such number."""
    if cell.not_finite:
        return f"not finite ({cell.not_finite} of {cell.count + cell.not_finite})"
    if cell.mean is None:
        return "n/a"
    return number(scale * cell.mean) + ("" if cell.std is None else f" ± {number(scale * cell.std)}")


def against_text(cell: Cell, scale: float = 1.0) -> str:
    """`+0.68, p = 0.003`, without p where there are too few runs; empty for the baseline itself."""
    if cell.difference is None or cell.welch is None:
        return ""
    p = cell.welch.p
    verdict = "no test" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{scale * cell.difference:+.2f}, {verdict}"


def published_text(cell: Cell, scale: float = 1.0) -> str:
    """`-93.16 (+0.12)`: the published figure, and how much higher ours is."""
    if cell.published is None:
        return ""
    ours = "" if cell.mean is None else f" ({scale * (cell.mean - cell.published):+.2f})"
    return number(scale * cell.published) + ours


def runs_text(row: Row) -> str:
    """How many runs there are, and how many of them diverged."""
    return f"{row.runs}" + (f", {row.diverged} diverged" if row.diverged else "")


def cells(comparison: Comparison, mark: Callable[[str], str]) -> list[list[str]]:
    """The words of the table, the heading first.

    Args:
        comparison: what it says.
        mark: how the mean that beats its baseline is set off.
    """
    rows = [[HEADINGS.get(name, name) for name in comparison.by] + ["runs"]]
    rows += [[say(value) for value in row.key] + [runs_text(row)] for row in comparison.rows]
    baseline = " ".join(f"{name}={value}" for name, value in comparison.baseline.items())
    for metric in comparison.metrics:
        found = [row.cells[metric] for row in comparison.rows]
        shown = METRICS.get(metric, Metric(metric))
        texts = [spread_text(cell, shown.scale) for cell in found]
        marked = [mark(text) if cell.better else text for text, cell in zip(texts, found, strict=True)]
        columns = [[shown.heading, *marked]]
        if any(cell.difference is not None for cell in found):
            columns.append([f"against {baseline}", *(against_text(cell, shown.scale) for cell in found)])
        if any(cell.published is not None for cell in found):
            columns.append(["published (difference)", *(published_text(cell, shown.scale) for cell in found)])
        for column in columns:
            for row, text in zip(rows, column, strict=True):
                row.append(text)
    return rows


def as_text(comparison: Comparison) -> str:
    """Aligned columns with the notes below; an asterisk marks what beats its baseline."""
    return "\n".join([table(cells(comparison, "* {}".format)), *comparison.notes])


def as_markdown(comparison: Comparison) -> str:
    """A table for a README; bold marks what beats its baseline."""
    head, *rows = ([text.replace("|", "\\|") for text in row] for row in cells(comparison, "**{}**".format))
    rule = ["---"] * (len(comparison.by)) + ["---:"] * (len(head) - len(comparison.by))
    lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
    return "\n".join([*lines, *(f"\n{note}" for note in comparison.notes)])


def as_latex(comparison: Comparison) -> str:
    """A `tabular` for the package booktabs, with the notes as comments; bold marks what beats its baseline."""
    # Marks that survive the escaping and become commands after it.
    head, *rows = ([_latex(text) for text in row] for row in cells(comparison, "\0{}\1".format))
    lines = [
        *(f"% {note}" for note in comparison.notes),
        rf"\begin{{tabular}}{{{'l' * len(comparison.by)}{'r' * (len(head) - len(comparison.by))}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _latex(text: str) -> str:
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    text = re.sub(r"R\^(\d+)", r"$\\mathbb{R}^{\1}$", text)
    text = re.sub(r"([A-Z])\^(\d+)", r"$\1^{\2}$", text).replace(" x ", r" $\times$ ")
    text = re.sub(r"(?<![\w.])-(\d)", r"$-$\1", text).replace("±", r"$\pm$")
    text = re.sub(r"<", r"$<$", text).replace("log p(x)", r"$\log p(x)$")
    return text.replace("\0", r"\textbf{").replace("\1", "}")


def as_csv(comparison: Comparison) -> str:
    """One line per row with numbers in full precision: for each metric mean, standard deviation, count and the rest."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    parts = ("", "_std", "_count", "_not_finite", "_difference", "_p", "_published")
    heads = [metric + part for metric in comparison.metrics for part in parts]
    writer.writerow([*comparison.by, "runs", "diverged", *heads])
    for row in comparison.rows:
        values: list[object] = [*map(say, row.key), row.runs, row.diverged]
        for metric in comparison.metrics:
            cell = row.cells[metric]
            p = cell.welch.p if cell.welch else None
            values += [cell.mean, cell.std, cell.count, cell.not_finite, cell.difference, p, cell.published]
        writer.writerow(["" if value is None else value for value in values])
    return file.getvalue().rstrip("\n")


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
}
