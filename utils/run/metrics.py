"""The metrics that tables show. Adding one is adding an entry to `METRICS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric that tables show unless others are asked for, where the runs have it.

    Attributes:
        heading: what it is called.
        better: 1 if more is better, -1 if less is, 0 if neither.
        scale: what it is multiplied by for a table.
    """

    heading: str
    better: int = 0
    scale: float = 1.0


METRICS: Mapping[str, Metric] = {
    "log_px": Metric("log p(x)", 1),
    "elbo": Metric("ELBO", 1),
    "log_px_z": Metric("reconstruction", 1),
    "kl": Metric("KL"),
    "code_prior.log_joint": Metric("log p(x, codes)", 1),
    "codes.usage": Metric("codes in use %", scale=100.0),
    "codes.perplexity": Metric("perplexity"),
    "accuracy": Metric("accuracy %", 1, 100.0),
    **{f"probe.knn.{labels}.mean": Metric(f"kNN {labels} %", 1) for labels in (100, 600, 1000)},
}


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; what is not finite is called so."""
    return "not finite" if value is None else f"{value:.{digits}f}"
