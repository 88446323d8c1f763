"""A table as text, Markdown, LaTeX or CSV. Adding a format is adding an entry to `FORMATS`.

Cells may hold whatever stands in a file or folder name: each format escapes what would mean something in it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from utils.config.flags import printable


class Bold(str):
    """A cell that is set off from the others."""


@dataclass(frozen=True)
class Table:
    """Cells in rows, the first row being the heading.

    Attributes:
        rows: of equal length.
        left: so many columns are aligned to the left, the others to the right.
        notes: what a reader has to know.
    """

    rows: Sequence[Sequence[str]]
    left: int = 1
    notes: Sequence[str] = ()

    def cells(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """The escaped cells, with `bold` (a template) around those that are set off."""
        return [
            [(bold if isinstance(cell, Bold) else "{}").format(escape(printable(cell))) for cell in row]
            for row in self.rows
        ]


def as_text(table: Table) -> str:
    """Aligned columns with the notes below; an asterisk marks what is set off."""
    rows = table.cells(str, "* {}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < table.left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * sum((*widths, 2 * (len(widths) - 1))))
    return "\n".join([*lines, *map(printable, table.notes)])


def as_markdown(table: Table) -> str:
    """A table for a README with the notes below."""
    head, *rows = table.cells(_markdown, "**{}**")
    rule = ["---"] * table.left + ["---:"] * (len(head) - table.left)
    lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
    return "\n".join([*lines, *(f"\n{_markdown(printable(note))}" for note in table.notes)])


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_latex(table: Table) -> str:
    """A `tabular` for the package booktabs, with the notes as comments."""
    head, *rows = table.cells(_latex, r"\textbf{{{}}}")
    lines = [
        *(f"% {printable(note)}" for note in table.notes),
        rf"\begin{{tabular}}{{{'l' * table.left}{'r' * (len(head) - table.left)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "-": "$-$",
    "±": r"$\pm$",
    " x ": r" $\times$ ",
    "log p(x)": r"$\log p(x)$",
}
_LATEX_TOKEN = re.compile(r"([A-Z])\^(\d+)|(?<![\w.])-(?=\d)|log p\(x\)| x |[\\~^<>±&%$#_{}]")


def _latex(text: str) -> str:
    def command(found: re.Match[str]) -> str:
        if found[1]:
            space = r"\mathbb{R}" if found[1] == "R" else found[1]
            return f"${space}^{{{found[2]}}}$"
        return _LATEX.get(found[0], "\\" + found[0])

    return _LATEX_TOKEN.sub(command, text)


def as_csv(table: Table) -> str:
    """One line per row, without the notes; no cell is a formula to a spreadsheet."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(table.cells(_csv, "{}"))
    return file.getvalue().rstrip("\n")


# What spreadsheets take for the beginning of a formula, also in full width.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _csv(text: str) -> str:
    if not text.lstrip().startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
}
