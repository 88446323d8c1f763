"""The test figures of one run, or of one run per seed, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from utils.run.metrics import number
from utils.tables.layout import table


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
    factors = summary.get("space", "").split(" x ")  # older summaries do not tell
    if "kl_factors" in test and verbosity:
        rows.append(["KL per factor", _of_each(factors, [number(kl) for kl in test["kl_factors"]])])
    if "kappa" in test:
        spread = [
            f"{mean:.1f} ± {std:.1f}" for mean, std in zip(test["kappa"]["mean"], test["kappa"]["std"], strict=True)
        ]
        rows.append(["kappa, mean ± std", _of_each([name for name in factors if name[:1] == "S"], spread)])
    if test.get("ess") is not None:
        rows.append(["effective sample size", f"{number(test['ess'], 1)} of {test['k']}"])
    rows.append(["active units", f"{test['active_units']} of {test['units']}"])
    rows += [[name, text] for name, text in _system_metrics(test)]
    rows.append(["epochs, best", f"{summary['epochs']}, {summary['best_epoch']}"])
    if summary.get("warm_up", 1) < 1:
        rows.append(["KL weight at the best epoch", f"{100 * summary['warm_up']:.0f} % of full, see -klw"])
    text = table([["nats per image", "value"], *rows])
    return text + "\n\n" + probe_table(summary["probe"]) if "probe" in summary else text



def _of_each(factors: Sequence[str], values: Sequence[str]) -> str:
    """Values of the factors of a product, with their names."""
    if len(factors) != len(values) or len(values) == 1:
        return ", ".join(values)
    return ", ".join(f"{name}: {value}" for name, value in zip(factors, values, strict=True))



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



def _system_metrics(test: dict[str, Any]) -> list[tuple[str, str]]:
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
