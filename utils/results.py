"""Results in words and tables: `python -m utils.results RUN_FOLDER...` compares finished runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
        ["KL (constant)" if test.get("kl_is_constant") else "KL", number(test["kl"])],
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
    rows += [[name, text] for name, text in _system_figures(test)]
    rows.append(["epochs, best", f"{summary['epochs']}, {summary['best_epoch']}"])
    text = table([["nats per image", "value"], *rows])
    return text + "\n\n" + probe_table(summary["probe"]) if "probe" in summary else text


def _system_figures(test: dict[str, Any]) -> list[tuple[str, str]]:
    """What the discrete latents and the classifier add to the test figures: names and values."""
    found: list[tuple[str, str]] = []
    if codes := test.get("codes"):
        found.append(("codes in use", f"{100 * codes['usage']:.0f} %"))
        found.append(("perplexity of codes", number(codes["perplexity"], 1)))
        found.append(("bits of uniform codes", number(codes["bits"], 1)))
    if prior := test.get("code_prior"):
        name = f"under the {prior['kind']} prior"
        found.append(("log p(x, codes) <= log p(x)", f"{number(prior['log_joint'])} ± {number(prior['log_joint_se'])}"))
        given = prior["bits_given_class"]
        by_class = "" if given is None else f", {number(given, 1)} given the class"
        found.append(("bits of codes", f"{number(prior['bits'], 1)}{by_class}, {name}"))
    if "accuracy" in test:
        found.append(("accuracy at the mode", f"{100 * test['accuracy']:.2f} %"))
        found.append(("accuracy over samples", f"{100 * test['accuracy_sampled']:.2f} %"))
        found.append(("cross-entropy", number(test["cross_entropy"], 3)))
    return found


def probe_table(probe: dict[str, Any]) -> str:
    """Accuracy of simple classifiers on the embeddings, by number of labels."""
    rows = [["labels", *(str(entry["labels"]) for entry in probe["knn"])]]
    names = (f"{probe['neighbours']} nearest neighbours, {probe['metric']}", "logistic regression")
    for name, entries in zip(names, (probe["knn"], probe["linear"]), strict=True):
        rows.append([name, *(f"{entry['mean']:.1f} ± {entry['std']:.1f} %" for entry in entries)])
    return f"test images classified from embeddings, mean ± std over {probe['draws']} choices of labels\n" + table(rows)


def comparison(folders: Sequence[Path]) -> str:
    """One line per finished run.

    Raises:
        ValueError: a folder holds no finished run.
    """
    rows = [["run", "space", "data", "log p(x)", "ELBO", "reconstruction", "KL", "epochs"]]
    more: list[dict[str, str]] = []
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
        name = f"{config.name}, kappa {config.kappa:g}" if config.kappa is not None else str(config.name)
        rows.append([config.exp_name or name, config.space, config.dataset, *figures, str(summary["epochs"])])
        more.append({**(_columns(test) if test else {}), **_probe_columns(summary.get("probe"))})
    names = dict.fromkeys(name for columns in more for name in columns)
    filled = [list(names), *([columns.get(name, "") for name in names] for columns in more)]
    return table([row + extra for row, extra in zip(rows, filled, strict=True)])


def _columns(test: dict[str, Any]) -> dict[str, str]:
    """Columns that only some runs have: those of codes and of the classifier."""
    found: dict[str, str] = {}
    if codes := test.get("codes"):
        found |= {"in use": f"{100 * codes['usage']:.0f} %", "perplexity": number(codes["perplexity"], 1)}
    if prior := test.get("code_prior"):
        found |= {"prior": prior["kind"], "log p(x, codes)": number(prior["log_joint"])}
    if "accuracy" in test:
        found |= {"accuracy": f"{100 * test['accuracy']:.2f} %"}
    return found


def _probe_columns(probe: dict[str, Any] | None) -> dict[str, str]:
    return {f"kNN {e['labels']}": f"{e['mean']:.1f} ± {e['std']:.1f} %" for e in probe["knn"]} if probe else {}


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
