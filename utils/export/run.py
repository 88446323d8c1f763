"""The files that `--export` writes into the folder of a run.

export/embeddings_{train,val,test}.npz   where the examples of a split lie in the latent space; see `arrays_of`
export/latent.csv                        the coordinates that the figure `latent` shows
export/learning_curves.csv               the metrics of every epoch
figures/generated*.npz                   with --generate: the images, beside their PNG files
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import VAE, point_of
from utils.config.config import Config
from utils.export.arrays import writing_arrays
from utils.figures.geometry import CHARTS, IN_MANY_DIMENSIONS
from utils.figures.registry import FIGURES
from utils.figures.subject import Subject, Undrawable
from utils.files import write_atomically
from utils.load_data import Data, Split
from utils.model_utils import evaluating
from utils.run.folder import RunDir
from utils.run.records import flatten
from utils.tables.layout import Table, as_csv

# What statistics of posteriors are called outside of tables.
NAMES = {"kappa": "concentration"}


@torch.no_grad()
def arrays_of(
    model: VAE, split: Split, blocks: Iterable[Tensor], config: Config
) -> Iterator[dict[str, NDArray[Any]]]:
    """Where the examples of a split lie in the latent space, block by block.

    `mode` (n, D) is what `VAE.encode` gives, `mean` and `scale` (n, D) are mean and standard deviation of each
    coordinate of q(z|x), `covariance` (n, D, D) their covariance under `-cvm full`, `concentration` (n, spheres) is
    kappa on each sphere, `codes` (n, positions) are those of a discrete latent. `label` (n,) is there where the
    examples have labels. `index` (n,) says which example each is: its row in the user's array, its path in the user's
    folder, or its number in the split of a known data set.

    Args:
        model: in evaluation mode.
        split: the examples.
        blocks: its images as the model sees them, in order, (n, C, H, W).
        config: the run.
    """
    start = 0
    for images in blocks:
        here = slice(start, start := start + len(images))
        with evaluating(model):
            q = model.posterior(images)
        found = {"mode": point_of(q), "mean": point_of(q, "mean", "mode")}
        with contextlib.suppress(NotImplementedError):  # of a family without a variance
            found["scale"] = q.variance.sqrt()
        if config.covariance_matrix == "full":
            found["covariance"] = cast(Any, q).covariance_matrix  # which every such posterior has
        found |= {NAMES.get(name, name): values for name, values in model.latent.statistics(q).items()}
        if model.latent.code_count:
            found["codes"] = model.latent.codes(q)
        if split.labels is not None:
            found["label"] = split.labels[here]
        yield {**{name: values.cpu().numpy() for name, values in found.items()}, "index": _index(split)[here]}


def _index(split: Split) -> NDArray[Any]:
    return np.arange(len(split)) if split.index is None else split.index


def export(subject: Subject, data: Data, blocks: Mapping[str, Iterable[Tensor]], run: RunDir) -> Iterator[str]:
    """Write the files; those of the test split come last, and say that all are there.

    Args:
        subject: the run.
        data: its data set.
        blocks: the images of each split as the model sees them.
        run: its folder.

    Yields:
        A line for each file, and for what the run lacks.

    Raises:
        FolderLost: the folder was deleted or replaced.
        OSError: a file could not be written.
    """
    with run.writing():
        (run.path / "export").mkdir(exist_ok=True)
    yield _write_table(run, "learning_curves", curves(subject.metrics))
    try:
        yield _write_table(run, "latent", latent_coordinates(subject, _index(data.test)))
    except Undrawable as reason:
        yield f"latent.csv is not written: {reason}"
    for name, images in blocks.items():
        split, path, facts = data.split(name), run.exported[name], facts_of(run, subject)
        if name == "test" and subject.log_px is not None:
            facts["log_px_k"], facts["log_px"] = subject.log_px
        with run.writing(), writing_arrays(path, len(split), facts) as add:
            for block in arrays_of(subject.model, split, images, subject.config):
                add(block)
        yield str(path)


def facts_of(run: RunDir, subject: Subject) -> dict[str, Any]:
    """What every exported .npz says of its run."""
    facts = {"run": json.dumps(run.identity.stamp), "best_epoch": subject.best_epoch}
    return facts | ({"class_names": np.array(subject.class_names)} if subject.class_names else {})


def _write_table(run: RunDir, name: str, rows: list[list[str]]) -> str:
    path = run.path / "export" / f"{name}.csv"
    with run.writing():
        write_atomically(path, (as_csv(Table(rows)) + "\n").encode())
    return str(path)


def curves(metrics: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The metrics of every epoch, a column each; of several numbers, such as one for each factor, a column for each."""
    lines = []
    for line in metrics:
        cells: dict[str, float | None] = {}
        for name, value in flatten(line):
            items = value if isinstance(value, tuple) else (value,)
            cells |= {f"{name}.{place}" if len(items) > 1 else name: item for place, item in enumerate(items, 1)}
        lines.append(cells)
    columns = list(dict.fromkeys(name for cells in lines for name in cells))
    return [columns, *([_number(cells.get(name)) for name in columns] for cells in lines)]


@torch.no_grad()
def latent_coordinates(subject: Subject, index: NDArray[Any]) -> list[list[str]]:
    """The coordinates behind the figure `latent`: a row for each image with its index, class and places on the maps.

    Args:
        subject: the run.
        index: which example each test image is, (N,).

    Raises:
        Undrawable: there is no such figure.
    """
    if misfit := FIGURES["latent"].misfit(subject.config):
        raise Undrawable(misfit)
    columns = {"index": [str(which) for which in index[subject.embedded.numpy()]]}
    if subject.embedded_labels is not None:
        names = subject.class_names
        columns["class"] = [names[label] if names else str(label) for label in subject.embedded_labels.tolist()]
    for number, factor in enumerate(subject.factors, 1):
        axes, chart = CHARTS.get(factor.symbol, IN_MANY_DIMENSIONS)
        before = f"factor {number} " if len(subject.factors) > 1 else ""
        # One point spans no second component.
        for axis, values in zip(axes, chart(factor.unit(subject.modes)).T, strict=False):
            columns[f"{before}{axis}"] = [_number(value) for value in values]
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _number(value: float | None) -> str:
    return "" if value is None else str(value).removesuffix(".0")
