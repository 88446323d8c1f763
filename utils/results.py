"""Results in words: the table of one run, and `python -m utils.results FOLDER...`, which compares finished runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config.command_line import parse_options
from utils.config.flags import UsageError, flag

if TYPE_CHECKING:
    from utils.tables.comparison import Record


@dataclass(frozen=True)
class TableOptions:
    """The flags of `python -m utils.results`."""

    by: tuple[str, ...] = flag(
        "--by", str, "table", (),
        "settings that make a row, such as dataset,name,z; default: data set, model, latent space and what differs",
        many="either",
    )
    metric: tuple[str, ...] = flag(
        "--metric", str, "table", (),
        "metrics of summary.json to compare, such as log_px elbo kappa.mean seconds; default: log_px elbo log_px_z kl",
        many="either",
    )
    against: tuple[str, ...] = flag(
        "--against", str, "table", (),
        "rows to compare the others with by Welch's t-test, such as name=normal",
        many="words",
    )
    format: str = flag(
        "--format", str, "table", "text", "how to write it", options=lambda: ("text", "markdown", "latex", "csv")
    )


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of the runs in the folders that are given; returns the exit code."""
    from utils.run.failures import flush_output
    from utils.tables.comparison import find_records

    try:
        options, places = parse_options(
            arguments, TableOptions,
            usage="python -m utils.results FOLDER... [FLAGS]",
            description="Compare finished runs: mean and standard deviation over seeds, beside the published values.\n"
            "A folder is that of a run, or one that holds such folders at any depth.",
            epilog="Exit codes: 0 done, 1 there is no finished run, 2 usage.",
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


def print_comparison(records: Sequence[Record], options: TableOptions, notes: Sequence[str] = ()) -> None:
    """Print the table of some runs.

    Raises:
        UsageError: there is no such metric, column or baseline.
    """
    from utils.tables.comparison import compare
    from utils.tables.formats import FORMATS

    found = compare(records, options.metric, options.by, options.against, notes)
    print(FORMATS[options.format](found), flush=True)
    if options.format == "csv":
        for note in found.notes:
            print(note, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
