"""Results in words and tables: `python -m utils.results RUN_FOLDER...` compares finished runs."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.config import Config


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; what is not finite is called so."""
    return "not finite" if value is None else f"{value:.{digits}f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first row being the heading; first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * sum((*widths, 2 * (len(widths) - 1))))
    return "\n".join(lines)


def log_px_text(test: dict[str, Any]) -> str:
    """`-93.12 +- 0.31 (K=500)`, or why there is no such number."""
    if test["log_px"] is None:
        return (
            f"not finite for {test['log_px_nonfinite']} of {test['n']} images"
            if test.get("log_px_nonfinite")
            else "n/a"
        )
    return f"{number(test['log_px'])} ± {number(test['log_px_se'])} (K={test['k']})"


def result_table(summary: dict[str, Any], verbosity: int = 1) -> str:
    """The test figures of one run, in nats per image."""
    test = summary.get("test")
    if not test:
        return "no test figures: the run diverged before a model was saved"
    rows = [
        ["test split", f"{test['n']} images"],
        ["log p(x)", log_px_text(test)],
        ["ELBO", number(test["elbo"])],
        ["reconstruction log p(x|z)", number(test["log_px_z"])],
        ["KL", number(test["kl"])],
    ]
    if "kl_factors" in test and verbosity:
        rows.append(["KL per factor", " ".join(number(kl) for kl in test["kl_factors"])])
    if "kappa" in test:
        spread = (
            f"{mean:.1f} ± {std:.1f}" for mean, std in zip(test["kappa"]["mean"], test["kappa"]["std"], strict=True)
        )
        rows.append(["kappa, mean ± std", ", ".join(spread)])
    if test.get("ess") is not None:
        rows.append(["effective sample size", f"{number(test['ess'], 1)} of {test['k']}"])
    rows.append(["active units", f"{test['active_units']} of {test['units']}"])
    rows.append(["epochs, best", f"{summary['epochs']}, {summary['best_epoch']}"])
    return table([["nats per image", "value"], *rows])


def seeds_table(summaries: Mapping[int, dict[str, Any]]) -> str:
    """The test figures of runs that differ in their seed only, their mean and standard deviation (divisor n - 1).

    Args:
        summaries: of each seed. Those that diverged before a model was saved have no figures to average.
    """
    figures = {"log p(x)": "log_px", "ELBO": "elbo", "reconstruction": "log_px_z", "KL": "kl"}
    tests = [summary["test"] for summary in summaries.values() if summary["test"]]
    no_density = all(test["log_px"] is None and not test.get("log_px_nonfinite") for test in tests)
    rows = [["seed", *figures, "epochs"]]
    for seed, summary in summaries.items():
        test = summary["test"]
        cells = (
            [number(test[key]) if key != "log_px" or not no_density else "n/a" for key in figures.values()]
            if test
            else ["diverged", "", "", ""]
        )
        rows.append([str(seed), *cells, str(summary["epochs"])])
    for name, statistic, least in (("mean", statistics.fmean, 1), ("std", statistics.stdev, 2)):
        row = [name]
        for key in figures.values():
            values = [test[key] for test in tests]
            if len(values) < least or (key == "log_px" and no_density):
                row.append("n/a")
            else:
                row.append(number(None if None in values else statistic(values)))
        rows.append([*row, ""])
    return table(rows)


def comparison(folders: Sequence[Path]) -> str:
    """One line per finished run.

    Raises:
        ValueError: a folder holds no finished run.
    """
    rows = [["model", "space", "data", "log p(x)", "ELBO", "reconstruction", "KL", "epochs"]]
    for folder in folders:
        try:
            config = Config.from_json((folder / "config.json").read_text())
            summary = json.loads((folder / "summary.json").read_text())
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: holds no finished run ({Path(error.filename).name} is missing)") from None
        test = summary["test"]
        figures = (
            [log_px_text(test), *(number(test[key]) for key in ("elbo", "log_px_z", "kl"))]
            if test
            else ["diverged", "", "", ""]
        )
        rows.append([str(config.name), config.space, config.dataset, *figures, str(summary["epochs"])])
    return table(rows)


def main(arguments: Sequence[str]) -> int:
    """Print the comparison of the runs whose folders are given."""
    if not arguments:
        print("utils.results: no run folder was given; name one or more, such as results/digits/*", file=sys.stderr)
        return 2
    try:
        print(comparison([Path(argument) for argument in arguments]))
    except ValueError as error:
        print(f"utils.results: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
