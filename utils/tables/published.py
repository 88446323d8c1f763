"""Figures that the literature reports, with the protocol behind them. Adding some is adding entries to `PUBLISHED`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.config.config import Config


@dataclass(frozen=True)
class Protocol:
    """How published figures came about, as far as they say.

    Attributes:
        source: where they stand.
        runs: over how many runs they are averaged.
        settings: fields of `Config` (and `k`, the importance samples) with their published values; `epochs` and
            `look_ahead` are those of the early stopping.
        remark: what a reader has to know besides.
    """

    source: str
    runs: int | None
    settings: Mapping[str, Any]
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """Figures of one model that came about in the same way.

    Attributes:
        protocol: how they came about.
        dataset, name, space: the runs that they can be compared with, in the words of `Config`.
        figures: metric to mean, in the units that a summary has.
    """

    protocol: Protocol
    dataset: str
    name: str
    space: str
    figures: Mapping[str, float]


# What a setting is called in a warning.
WORDS = {
    "k": "K",
    "batch_size": "batch size",
    "kl_warmup": "KL warm-up",
    "epochs": "epochs at most",
    "look_ahead": "look-ahead",
    "binarize": "binarization",
    "lr": "learning rate",
    "beta": "beta",
    "h_dims": "hidden units",
    "encode_type": "encoder",
    "decode_type": "decoder",
    "covariance_matrix": "covariance",
    "kl_target": "KL target",
}
# Settings that the published models left as they are by default: with another value it is another model.
AS_PUBLISHED = ("kappa", "radius", "loss_function", "classifier", "no_bias")

S_VAE = Protocol(
    "Davidson et al. 2018 (S-VAE), Table 1",
    runs=10,
    settings={
        "k": 500,
        "batch_size": 64,
        "kl_warmup": 100,
        "epochs": 500,
        "look_ahead": 50,
        "binarize": False,
        "lr": 1e-3,
        "beta": 1.0,
        "h_dims": (256, 128),
        "encode_type": "mlp",
        "decode_type": "mlp",
        "covariance_matrix": "diagonal",
        "kl_target": 0.0,
    },
)
S_VAE_KNN = Protocol(
    "Davidson et al. 2018 (S-VAE), nearest neighbours on embeddings",
    runs=20,
    settings={name: value for name, value in S_VAE.settings.items() if name != "k"},
    remark="the published accuracies are means over 20 runs, those here over choices of labels, then over runs",
)
PRODUCT_SPACES = Protocol(
    "Davidson et al. 2019 (product spaces), static MNIST",
    runs=None,
    settings={},
    remark="the protocol is not known to us, nor which four factors were meant: equal ones are shown",
)

_TABLE_1_METRICS = ("log_px", "elbo", "log_px_z", "kl")
# (dimension, normal, vMF)
_TABLE_1 = (
    (2, (-135.73, -137.08, -129.84, 7.24), (-132.50, -133.72, -126.43, 7.28)),
    (5, (-110.21, -112.98, -100.16, 12.82), (-108.43, -111.19, -97.84, 13.35)),
    (10, (-93.84, -98.36, -78.93, 19.44), (-93.16, -97.70, -77.03, 20.67)),
    (20, (-88.90, -94.79, -71.29, 23.50), (-89.02, -96.15, -67.65, 28.50)),
    (40, (-88.93, -94.91, -71.14, 23.77), (-90.87, -101.26, -67.75, 33.50)),
)
# Correct in % with 100, 600 and 1000 labels: (dimension, normal, vMF).
_KNN_METRICS = tuple(f"probe.knn.{labels}.mean" for labels in (100, 600, 1000))
_KNN = (
    (2, (72.6, 80.8, 81.7), (77.9, 84.9, 85.6)),
    (5, (81.8, 90.9, 92.0), (87.5, 92.8, 93.4)),
    (10, (75.7, 88.4, 90.2), (80.6, 91.2, 92.8)),
    (20, (71.3, 88.3, 90.1), (72.8, 89.1, 91.1)),
    (40, (72.3, 88.0, 90.3), (67.7, 87.4, 90.4)),
)


_Rows = tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]


def _s_vae(protocol: Protocol, metrics: tuple[str, ...], rows: _Rows) -> tuple[Published, ...]:
    entries = []
    for dim, normal, vmf in rows:
        for name, space, row in (("normal", f"R^{dim}", normal), ("vmf", f"S^{dim} in R^{dim + 1}", vmf)):
            entries.append(Published(protocol, "mnist", name, space, dict(zip(metrics, row, strict=True))))
    return tuple(entries)


PUBLISHED: tuple[Published, ...] = (
    *_s_vae(S_VAE, _TABLE_1_METRICS, _TABLE_1),
    *_s_vae(S_VAE_KNN, _KNN_METRICS, _KNN),
    *(
        Published(PRODUCT_SPACES, "static_mnist", name, space, {"log_px": log_px})
        for name, space, log_px in (
            ("vmf", "S^40 in R^41", -96.32),
            ("productspace", "S^40 in R^41", -96.32),
            ("productspace", "S^10 x S^10 x S^10 x S^10", -92.65),
        )
    ),
)


def published_for(config: Config, metric: str) -> Published | None:
    """The published figures of this metric that runs of this data set, model and latent space can be held against."""
    defaults = {f.name: f.default for f in fields(config)}
    if any(getattr(config, name) != defaults[name] for name in AS_PUBLISHED):
        return None
    for entry in PUBLISHED:
        of_these_runs = (entry.dataset, entry.name, entry.space) == (config.dataset, config.name, config.space)
        if of_these_runs and metric in entry.figures:
            return entry
    return None


def differences(protocol: Protocol, config: Config, k: int) -> dict[str, tuple[str, str]]:
    """Where a run was made otherwise: what differs, to (how it is here, how it was published).

    Args:
        protocol: of the published figures.
        config: of the run.
        k: importance samples of its log p(x).
    """
    found = {}
    for name, published in protocol.settings.items():
        here = k if name == "k" else getattr(config, name)
        if name == "h_dims" and here is None:
            continue  # the default mlp is the published one; another network is told as such
        if here != published:
            found[WORDS[name]] = (_say(name, here), _say(name, published))
    return found


def protocol_notes(held: Sequence[tuple[Protocol, Config, int]]) -> list[str]:
    """For each protocol what it is, and in what the runs beside it were made otherwise.

    Args:
        held: (protocol of the published figures, configuration of a run beside them, its K).
    """
    notes = []
    for protocol in {id(protocol): protocol for protocol, _, _ in held}.values():
        runs = f", mean of {protocol.runs} runs" if protocol.runs else ""
        notes.append(f"published: {protocol.source}{runs}; difference = ours - published")
        if protocol.remark:
            notes.append(f"warning: {protocol.remark}")
        found: dict[str, tuple[set[str], str]] = {}
        for _, config, k in (item for item in held if item[0] is protocol):
            for what, (here, there) in differences(protocol, config, k).items():
                found.setdefault(what, (set(), there))[0].add(here)
        told = (
            f"{what} {', '.join(sorted(here, key=natural_order))} (published {there})"
            for what, (here, there) in found.items()
        )
        if found:
            notes.append(f"warning: the protocol differs from the published one: {'; '.join(told)}")
    return notes


def natural_order(value: Any) -> tuple[Any, ...]:
    """A key that sorts numbers by size, also within words: S^5 before S^10."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if isinstance(value, (int, float)):
        return (1, value)
    parts = re.split(r"(\d+)", value or "")
    return (2, *((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts))


def _say(name: str, value: Any) -> str:
    if name == "binarize":
        return "once" if value else "anew in every batch"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
