"""`python -m utils.results FOLDER...`, which compares finished runs."""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config.command_line import parse_options
from utils.config.flags import UsageError, flag, printable
from utils.run.failures import guarded
from utils.run.records import Record, find_runs
from utils.tables.columns import default_columns
from utils.tables.comparison import compare, finished
from utils.tables.comparison_table import write
from utils.tables.layout import FORMATS


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
    each: bool = flag("--each", bool, "table", False, "a row for each run, with its seed and folder, and no means")
    across: str = flag(
        "--across", str, "table", "",
        "a column of the table whose values become columns, such as name: a column for each model and a row for each "
        "dimension, as papers have it",
    )
    format: str = flag(
        "--format", str, "table", "text", "how to write it", options=lambda: tuple(FORMATS)
    )


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of the runs in the folders that are given; returns the exit code."""
    return guarded("utils.results", lambda stop: _compare(arguments))


def _compare(arguments: Sequence[str]) -> int:
    options, places = parse_options(
        arguments, TableOptions,
        usage="python -m utils.results FOLDER... [FLAGS]",
        description="Compare finished runs: mean and standard deviation over seeds, beside the published values.\n"
        "A folder is that of a run, or one that holds such folders at any depth.",
        epilog="Exit codes: 0 done, 1 there is no finished run, 2 usage.",
    )
    if not places:
        raise UsageError("no run folder was given; name one or more, such as results/digits/*")
    found, left_out = find_runs(map(Path, places))
    records, notes = finished(found)
    for line in left_out:
        print(f"utils.results: left out: {line}", file=sys.stderr)
    if not records:
        print(f"utils.results: {' '.join(map(printable, places))}: no finished run", file=sys.stderr)
        return 1
    print_comparison(records, options, notes)
    return 0


def print_comparison(records: Sequence[Record], options: TableOptions, notes: Sequence[str] = ()) -> None:
    """Print the table of some runs.

    Raises:
        UsageError: there is no such metric, column or baseline.
    """
    by = options.by or default_columns(records)
    if options.across == "name" and not options.by:
        by = (*by, "dim")
    if options.each:
        by = (*by, "rs", "folder")
    found = compare(records, options.metric, by, options.against, notes)
    print(write(found, options.format, options.across), flush=True)
    if options.format == "csv":
        for note in found.notes:
            print(printable(note), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
