"""The test metrics of one run, or of one run per seed, as a table."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from utils.run.metrics import METRICS, Metric, Value
from utils.run.records import mean_of, values_of
from utils.tables.layout import Table, as_text, fitted

# An effective sample size below this is that of a single sample.
_FEW = 2.0
# Of more factors than these, equal ones are summarized.
_MANY = 4


def result_table(summary: Mapping[str, Any]) -> str:
    """The test metrics of one run, with a warning where its log p(x) rests on hardly any sample."""
    if not summary["test"]:
        return "no test metrics: the run diverged before a model was saved"
    values = values_of(summary)
    factors = _factors(str(summary.get("space", "")))  # older summaries do not hold the space
    rows = [["nats per image", "value"]]
    for key, metric in METRICS.items():
        if key in values:
            constant = key == "kl" and summary["test"].get("kl_is_constant") is True
            rows.append([metric.heading + " (constant)" * constant, described(key, values, factors)])
    ess, notes = values.get("ess"), []
    if isinstance(ess, float) and ess < _FEW:
        notes.append(f"warning: log p(x) rests on {ess:.1f} of {values['k']:.0f} samples; raise -lls")
    return as_text(Table(rows, notes=notes))


def described(
    key: str, values: Mapping[str, Value], factors: Sequence[str] = (), with_detail: bool = True
) -> str:  # fmt: skip
    """A metric of one run in words, with its error and detail; empty where the run lacks it.

    Args:
        key: of the metric.
        values: of the run.
        factors: of its latent space; a metric that has a value for each, or for each sphere, is written with them.
        with_detail: whether to add what `Metric.detail` says.
    """
    metric, value, error = METRICS[key], values.get(key, ()), values.get(METRICS[key].error)
    if isinstance(value, tuple):
        errors = error if isinstance(error, tuple) and len(error) == len(value) else (None,) * len(value)
        texts = [metric.text(one, its_error) for one, its_error in zip(value, errors, strict=True)]
        spheres = [name for name in factors if name.startswith("S")]
        names = next((names for names in (factors, spheres) if 1 < len(names) == len(texts)), None)
        if len(value) > _MANY:
            return _summarized(metric, value, names or ["values"] * len(value))
        return ", ".join(texts if names is None else map("{}: {}".format, names, texts))
    if value is None and isinstance(count := values.get(f"{key}_nonfinite"), float):
        return f"not finite for {count:.0f} images"
    text = metric.text(value, None if isinstance(error, tuple) else error)
    if not with_detail:
        return text
    beside = values.get(metric.reference)
    if isinstance(beside, float):
        beside_error = values.get(f"{metric.reference}_se")
        text += f" (real: {metric.text(beside, beside_error if isinstance(beside_error, float) else None)})"
    try:
        return f"{text} {metric.detail.format_map(values)}".rstrip()
    except (KeyError, TypeError, ValueError):  # the run lacks what would stand there
        return text


def kappas_table(score: Mapping[str, Any]) -> str:
    """The scores of samples of posteriors of test images at several concentrations, and of test images themselves.

    Args:
        score: what `Experiment.score` returned.
    """
    columns = {f"kappa {kappa}": values for kappa, values in score["kappas"].items()} | {"real": score["real"]}
    rows = [["around test images", *columns]]
    for key, metric in METRICS.items():
        name = key.removeprefix("score.")
        if metric.reference and score["real"][name] is not None:
            cells = [metric.text(values[name], values[f"{name}_se"]) for values in columns.values()]
            rows.append([metric.heading, *cells])
    return fitted([Table(rows)])


def _factors(space: str) -> list[str]:
    """The name of each factor of a latent space, such as `S^3` three times of `S^3 x3`."""
    parts = (part.partition(" x") for part in space.split(" x "))
    return [name for name, _, count in parts for _ in range(int(count or 1))]


def _summarized(metric: Metric, value: Sequence[float | None], names: Sequence[str]) -> str:
    """Mean and range of the values of a name: `S^3 x64: 0.70 (0.01 to 1.20)`."""
    texts = []
    for name in dict.fromkeys(names):
        own = [one for one, its_name in zip(value, names, strict=True) if its_name == name]
        numbers = [one for one in own if one is not None]
        if len(numbers) < len(own):
            texts.append(f"{name} x{len(own)}: not finite")
        else:
            spread = f" ({metric.text(min(numbers))} to {metric.text(max(numbers))})" if len(own) > 1 else ""
            count = f" x{len(own)}" if len(own) > 1 else ""
            texts.append(f"{name}{count}: {metric.text(statistics.fmean(numbers))}{spread}")
    return ", ".join(texts)


def seeds_table(summaries: Mapping[int, Mapping[str, Any]]) -> str:
    """The test metrics of runs that differ in their seed only, their mean and standard deviation (divisor n - 1).

    Args:
        summaries: of each seed. Those that diverged before a model was saved have nothing to average.
    """
    runs = {seed: values_of(summary) for seed, summary in summaries.items()}
    known = {key for values in runs.values() for key in values}
    shown = {key: metric for key, metric in METRICS.items() if metric.compared and key in known}
    rows = [["seed", *(metric.heading for metric in shown.values()), "epochs"]]
    for seed, summary in summaries.items():
        cells = [metric.text(mean_of(runs[seed][key])) if key in runs[seed] else "" for key, metric in shown.items()]
        rows.append([str(seed), *cells, f"{summary['epochs']}" + ("" if summary["test"] else ", diverged")])
    for name, statistic, least in (("mean", statistics.fmean, 1), ("std", statistics.stdev, 2)):
        row = [name]
        for key, metric in shown.items():
            values = [mean_of(run[key]) for run in runs.values() if key in run]
            whole = [value for value in values if value is not None]
            row.append(
                metric.text(statistic(whole) if len(whole) == len(values) else None) if len(values) >= least else "n/a"
            )
        rows.append([*row, ""])
    return fitted([Table(rows)])
