"""A table as text, Markdown, LaTeX or CSV. Adding a format is adding an entry to `FORMATS`.

Cells may hold whatever stands in a file or folder name: each format escapes what would mean something in it.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from utils.config.flags import printable

# Characters in a line of text that does not go to a terminal.
_PIPED = 160


class Bold(str):
    """A cell that is set off from the others."""


@dataclass(frozen=True)
class Table:
    """Cells in rows, the first row being the heading.

    Attributes:
        rows: of equal length.
        left: so many columns, which say what a row is, are aligned to the left, the others to the right.
        notes: what a reader has to know.
        facts: what all rows have in common.
        over: a heading above that of each column, the same for neighbours that belong together; empty for none.
    """

    rows: Sequence[Sequence[str]]
    left: int = 1
    notes: Sequence[str] = ()
    facts: str = ""
    over: Sequence[str] = ()

    def cells(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """The escaped cells, with `bold` (a template) around those that are set off."""
        return [
            [(bold if isinstance(cell, Bold) else "{}").format(escape(printable(cell))) for cell in row]
            for row in self.rows
        ]

    def flat(self) -> Table:
        """The same table with a single heading for each column."""
        if not self.over:
            return self
        head, *rows = self.rows
        heads = [f"{over} {name}".lstrip() for over, name in zip(self.over, head, strict=True)]
        return Table([heads, *rows], self.left, self.notes, self.facts)


def as_text(table: Table) -> str:
    """Aligned columns with the notes below, however wide; an asterisk marks what is set off."""
    return _with_notes(table, _aligned(_texts(table), table.left))


def fitted(tables: Iterable[Table], width: int | None = None) -> str:
    """The first of some tables that is no wider than a terminal.

    One that is too wide gets headings of several lines, or else rows and columns are exchanged; if no table fits, the
    last is cut into parts below each other, and its rows are numbered.

    Args:
        tables: the same in different words.
        width: characters in a line; by default those of the terminal.
    """
    width = width or (shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPED)
    for table in tables:
        rows = _texts(table)
        for lines in (
            _aligned(rows, table.left),
            _aligned(rows, table.left, widths=_narrow(rows)),
            _aligned(list(zip(*rows, strict=True)), 1, heads=table.left),
        ):
            if max(map(len, lines)) <= width:
                return _with_notes(table, lines, width)
    return _with_notes(table, _parts(rows, table.left, width), width)


def _texts(table: Table) -> list[list[str]]:
    return table.flat().cells(str, "* {}")


def _with_notes(table: Table, lines: Sequence[str], width: int = sys.maxsize) -> str:
    above = [f"all: {table.facts}"] if table.facts else []
    wrapper = textwrap.TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    texts = [[wrapper.fill(printable(note)) for note in notes] for notes in (above, table.notes)]
    return "\n".join([*texts[0], *lines, *texts[1]])


def _narrow(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column whose heading may be broken between its words."""
    widths = []
    for head, *cells in zip(*rows, strict=True):
        least = max(map(len, head.split()), default=0)
        widths.append(max(least, min(len(head), 8), *map(len, cells)) if cells else least)
    return widths


def _aligned(
    rows: Sequence[Sequence[str]], left: int, heads: int = 1, widths: Sequence[int] | None = None
) -> list[str]:
    """The lines of a table; cells that are wider than their column are broken into several.

    Args:
        rows: of equal length.
        left: columns that are aligned to the left.
        heads: rows above the rule.
        widths: of the columns; by default as wide as their cells.
    """
    widths = widths or [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        if number == heads:
            lines.append("-" * sum((*widths, 2 * (len(widths) - 1))))
        cells = [
            [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False)
            for cell, width in zip(row, widths, strict=True)
        ]
        if number < heads:  # the last words of a heading stand next to its column
            height = max(map(len, cells))
            cells = [[""] * (height - len(cell)) + cell for cell in cells]
        for texts in itertools.zip_longest(*cells, fillvalue=""):
            placed = [
                text.ljust(width) if column < left else text.rjust(width)
                for column, (text, width) in enumerate(zip(texts, widths, strict=True))
            ]
            lines.append("  ".join(placed).rstrip())
    return lines


def _parts(rows: Sequence[Sequence[str]], left: int, width: int) -> list[str]:
    """The lines of a table in parts that fit, whose rows have the same numbers in each.

    Words are broken into lines where they take more than a fifth of the width, names without blanks are not.
    """
    numbers = ["#", *map(str, range(1, len(rows)))]
    rows = [[number, *row] for number, row in zip(numbers, rows, strict=True)]
    widths = _narrow(rows)
    for i in range(1, left + 1):
        longest = max(len(word) for row in rows for word in row[i].split() or [""])
        widths[i] = min(widths[i], max(width // 5, 12, longest))
    parts: list[list[int]] = [[0]]
    for column in range(1, len(widths)):
        if sum(widths[i] + 2 for i in (*parts[-1], column)) - 2 > width:
            parts.append([0])
        parts[-1].append(column)
    lines: list[str] = []
    for part in parts:
        shown = [[row[i] for i in part] for row in rows if any(row[i] for i in part[1:])]
        aligned = sum(i <= left for i in part)
        lines += [*([""] if lines else []), *_aligned(shown, aligned, widths=[widths[i] for i in part])]
    return lines


def as_markdown(table: Table) -> str:
    """A table for a README, with what all rows have in common above and the notes below."""
    head, *rows = table.flat().cells(_markdown, "**{}**")
    rule = ["---"] * table.left + ["---:"] * (len(head) - table.left)
    above = [f"all: {_markdown(printable(table.facts))}\n"] if table.facts else []
    lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
    return "\n".join([*above, *lines, *(f"\n{_markdown(printable(note))}" for note in table.notes)])


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_latex(table: Table) -> str:
    r"""A `tabular` for the packages booktabs and amssymb; what all rows share and the notes are comments."""
    head, *rows = table.cells(_latex, r"\textbf{{{}}}")
    notes = [r"needs \usepackage{booktabs,amssymb}", *([f"all: {table.facts}"] if table.facts else []), *table.notes]
    lines = [
        *(f"% {printable(note)}" for note in notes),
        rf"\begin{{tabular}}{{{'l' * table.left}{'r' * (len(head) - table.left)}}}",
        r"\toprule",
        *_spanning(table.over),
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _spanning(over: Sequence[str]) -> list[str]:
    """The line of headings that stand over several columns each, and the rules below them."""
    cells, rules, column = [], [], 1
    for text, group in itertools.groupby(over):
        size = len(list(group))
        cells.append(rf"\multicolumn{{{size}}}{{c}}{{{_latex(printable(text))}}}" if text else " & ".join([""] * size))
        rules += [rf"\cmidrule(lr){{{column}-{column + size - 1}}}"] if text else []
        column += size
    return [" & ".join(cells) + r" \\", " ".join(rules)] if over else []


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
