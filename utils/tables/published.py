"""Numbers that the literature reports, and how they were obtained. Adding some is adding entries to `PUBLISHED`."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from utils.run.records import Record
from utils.tables.columns import natural_order, say, setting

# What `verdict` goes by, as a note.
GATE = (
    "reproduced: |difference| <= 2 (published s.d. + our s.d. / sqrt(runs)), with the published s.d. in place of ours "
    "for one run; all our seeds are tested on the same binarized images, those of published runs may differ"
)


@dataclass(frozen=True)
class Protocol:
    """How published numbers were obtained, as far as the source says.

    Attributes:
        source: where they are printed.
        runs: over how many runs they are averaged.
        settings: fields of `Config` (and `k`, the importance samples) with their published values; `epochs` and
            `look_ahead` are those of the early stopping.
        remark: what else a reader has to know.
    """

    source: str
    runs: int | None
    settings: Mapping[str, Any]
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """Numbers of one model that were obtained in the same way.

    Attributes:
        protocol: how they were obtained.
        dataset, factors: the runs that they can be compared with, as in `Config`.
        values: metric to mean, in the units of a summary.
        stds: metric to standard deviation over the published runs, where it is known.
    """

    protocol: Protocol
    dataset: str
    factors: tuple[tuple[str, int], ...]
    values: Mapping[str, float]
    stds: Mapping[str, float] = field(default_factory=dict)


# What a setting is called in a warning.
WORDS = {
    "k": "K",
    "batch_size": "batch size",
    "kl_warmup": "KL warm-up",
    "epochs": "epochs at most",
    "look_ahead": "look-ahead",
    "binarize": "binarization",
    "lr": "learning rate",
    "lr_plateau": "epochs to a lower learning rate",
    "beta": "beta",
    "h_dims": "hidden units",
    "encode_type": "encoder",
    "decode_type": "decoder",
    "covariance_matrix": "covariance",
    "kl_target": "KL target",
    "kl_freeze": "epochs without KL",
    "kappa_start": "start of the concentration",
    "allow_unverified": "unverified data",
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
        "lr_plateau": 0,
        "beta": 1.0,
        "h_dims": (256, 128),
        "encode_type": "mlp",
        "decode_type": "mlp",
        "covariance_matrix": "diagonal",
        "kl_target": 0.0,
        "kl_freeze": 0,
        "kappa_start": 1.69,  # softplus(0) + 1, in the published code
        "allow_unverified": False,
    },
    remark="the published log p(x) seem to be no estimates of log p(x), see docs/reproduction.md",
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

TABLE_1_METRICS = ("log_px", "elbo", "log_px_z", "kl")
# (dimension, normal, vMF)
_TABLE_1 = (
    (2, (-135.73, -137.08, -129.84, 7.24), (-132.50, -133.72, -126.43, 7.28)),
    (5, (-110.21, -112.98, -100.16, 12.82), (-108.43, -111.19, -97.84, 13.35)),
    (10, (-93.84, -98.36, -78.93, 19.44), (-93.16, -97.70, -77.03, 20.67)),
    (20, (-88.90, -94.79, -71.29, 23.50), (-89.02, -96.15, -67.65, 28.50)),
    (40, (-88.93, -94.91, -71.14, 23.77), (-90.87, -101.26, -67.75, 33.50)),
)
# Their standard deviations over the runs; that of the ELBO is not known to us.
_TABLE_1_SPREADS = ("log_px", "log_px_z", "kl")
_TABLE_1_STDS = (
    (2, (0.83, 0.91, 0.11), (0.73, 0.91, 0.14)),
    (5, (0.21, 0.22, 0.11), (0.09, 0.13, 0.06)),
    (10, (0.30, 0.30, 0.14), (0.31, 0.39, 0.08)),
    (20, (0.26, 0.45, 0.31), (0.31, 0.43, 0.22)),
    (40, (0.30, 0.56, 0.49), (0.34, 0.70, 0.45)),
)
# Correct in % with 100, 600 and 1000 labels: (dimension, normal, vMF).
KNN_METRICS = tuple(f"probe.knn.{labels}.mean" for labels in (100, 600, 1000))
_KNN = (
    (2, (72.6, 80.8, 81.7), (77.9, 84.9, 85.6)),
    (5, (81.8, 90.9, 92.0), (87.5, 92.8, 93.4)),
    (10, (75.7, 88.4, 90.2), (80.6, 91.2, 92.8)),
    (20, (71.3, 88.3, 90.1), (72.8, 89.1, 91.1)),
    (40, (72.3, 88.0, 90.3), (67.7, 87.4, 90.4)),
)


def _of_models(metrics: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[tuple[str, int], dict[str, float]]:
    """The numbers of each model, by its kind and dimension, of a table with rows of (dimension, normal, vMF)."""
    return {
        (kind, dim): dict(zip(metrics, values, strict=True))
        for dim, *models in rows
        for kind, values in zip(("normal", "vmf"), models, strict=True)
    }


PUBLISHED: tuple[Published, ...] = (
    *(
        Published(S_VAE, "mnist", (model,), values, _of_models(_TABLE_1_SPREADS, _TABLE_1_STDS)[model])
        for model, values in _of_models(TABLE_1_METRICS, _TABLE_1).items()
    ),
    *(Published(S_VAE_KNN, "mnist", (model,), values) for model, values in _of_models(KNN_METRICS, _KNN).items()),
    Published(PRODUCT_SPACES, "static_mnist", (("vmf", 40),), {"log_px": -96.32}),
    Published(PRODUCT_SPACES, "static_mnist", (("vmf", 10),) * 4, {"log_px": -92.65}),
)


def published_for(records: Sequence[Record], metric: str) -> Published | None:
    """The published numbers of this metric that runs of one data set, model and latent space can be compared with."""
    for entry in PUBLISHED:
        if metric in entry.values and all(_is_of(entry, record) for record in records):
            return entry
    return None


def verdict(metric: str, ours: Sequence[float], published: float, published_std: float | None) -> str:
    """Whether a published mean is reproduced, in words; empty where that cannot be said.

    It is if |our mean - published| <= 2 (published s.d. + our s.d. / sqrt(runs)). One run has no s.d.; the published
    one takes its place. A log p(x) or ELBO that lies above is better: both are lower bounds of one quantity.

    Args:
        metric: a key of `METRICS`.
        ours: its value in each run.
        published: the published mean.
        published_std: its standard deviation over the published runs.
    """
    if not ours or not published_std:
        return ""
    std = statistics.stdev(ours) if len(ours) > 1 else published_std
    bar, difference = 2 * (published_std + std / math.sqrt(len(ours))), statistics.fmean(ours) - published
    words = "reproduced" if abs(difference) <= bar else "not reproduced"
    if difference > bar and metric in ("log_px", "elbo"):
        words = "better"
    return words if len(ours) > 1 else f"one run: {words}"


def _is_of(entry: Published, record: Record) -> bool:
    config = record.config
    as_published = all(getattr(config, f.name) == f.default for f in fields(config) if f.name in AS_PUBLISHED)
    return as_published and (entry.dataset, entry.factors) == (config.dataset, config.factors)


def protocol_notes(compared: Sequence[tuple[Protocol, Record]]) -> list[str]:
    """For each protocol what it is, and where the runs beside its numbers were made differently.

    Args:
        compared: (protocol of published numbers, a run beside them).
    """
    notes = []
    for protocol in {id(protocol): protocol for protocol, _ in compared}.values():
        runs = f", mean of {protocol.runs} runs" if protocol.runs else ""
        notes.append(f"published: {protocol.source}{runs}; difference = ours - published")
        if protocol.remark:
            notes.append(f"warning: {protocol.remark}")
        found: dict[str, set[str]] = {}
        for record in (record for other, record in compared if other is protocol):
            for name in differences(protocol, record):
                found.setdefault(name, set()).add(_say(name, setting(record, name)))
        if found:
            listed = (
                f"{WORDS[name]} {', '.join(sorted(here, key=natural_order))} "
                f"(published {_say(name, protocol.settings[name])})"
                for name, here in found.items()
            )
            notes.append(f"warning: the protocol differs from the published one: {'; '.join(listed)}")
    return notes


def differences(protocol: Protocol, record: Record) -> list[str]:
    """The settings in which a run was made differently."""
    known = protocol.settings.items()
    return [name for name, published in known if not _is_published(setting(record, name), published)]


def _is_published(here: Any, published: Any) -> bool:
    """Whether a setting is the published one; numbers are printed rounded, and may differ by a hundredth.

    None stands for a model without this setting, or for the default network, whose hidden units are the published ones.
    """
    if isinstance(here, float) and isinstance(published, float):
        return math.isclose(here, published, rel_tol=0.01)
    return here is None or here == published


def _say(name: str, value: Any) -> str:
    if name == "binarize":
        return "once" if value else "in every batch"
    return say(value)
