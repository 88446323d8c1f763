"""Results in words: the table of one run, and `python -m utils.results FOLDER...`, which compares finished runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config.flags import UsageError, flag

if TYPE_CHECKING:
    from utils.tables.comparison import Record


@dataclass(frozen=True)
class TableOptions:
    """The flags of `python -m utils.results`."""

    by: tuple[str, ...] | None = flag(
        "--by",
        "words",
        "table",
        None,
        "settings that make a row, such as dataset,name,z; default: data set, model, latent space and what differs",
    )
    metric: tuple[str, ...] | None = flag(
        "--metric",
        "words",
        "table",
        None,
        "metrics of summary.json to compare, such as log_px elbo kappa.mean seconds; default: log_px elbo log_px_z kl",
    )
    against: tuple[str, ...] | None = flag(
        "--against", "words", "table", None, "rows to hold the others against with Welch's t-test, such as name=normal"
    )
    format: str = flag(
        "--format", "str", "table", "text", "how to write it", choices=("text", "markdown", "latex", "csv")
    )


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of the runs in the folders that are given; returns the exit code."""
    from utils.config.command_line import parse_options
    from utils.run.failures import flush_output
    from utils.tables.comparison import find_records

    try:
        options, places = parse_options(
            arguments,
            TableOptions,
            "python -m utils.results FOLDER...",
            "Compare finished runs: mean and standard deviation over seeds, and the published figures beside them. "
            "A folder is that of a run, or one that holds such folders at any depth.",
            "Exit codes: 0 done, 1 there is no finished run, 2 usage.",
        )
        if not places:
            raise UsageError("no run folder was given; name one or more, such as results/digits/*")
        try:
            records, notes = find_records([Path(place) for place in places])
        except UsageError as error:
            print(f"utils.results: {error}", file=sys.stderr)
            return 1
        print_comparison(records, options, notes)
    except UsageError as error:
        print(f"utils.results: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        flush_output()
    return 0


def split(words: Sequence[str] | None) -> list[str]:
    """A list that may be written with blanks, commas or both."""
    return [part for word in words or () for part in word.split(",")]


def print_comparison(records: Sequence[Record], options: TableOptions, notes: Sequence[str] = ()) -> None:
    """Print the table of some runs.

    Raises:
        UsageError: there is no such metric, column or baseline.
    """
    from utils.tables.comparison import compare
    from utils.tables.formats import FORMATS

    found = compare(records, split(options.metric), split(options.by), options.against or (), notes)
    print(FORMATS[options.format](found), flush=True)
    if options.format == "csv":
        for note in found.notes:
            print(note, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
