"""Training runs, and reading finished ones.

Example:
    >>> import tempfile
    >>> results = tempfile.TemporaryDirectory()
    >>> config = Config(
    ...     dataset="digits", name="vmf", z=2, h_dims=(16,), epochs=2, kl_warmup=0, ll_sample=5,
    ...     figures=("none",), log_dir=results.name, verbosity=0,
    ... )
    >>> run = train(config)
    >>> run.config.space, run.summary["status"], len(run.data.test)
    ('S^2 in R^3', 'complete', 300)
    >>> found = run.embeddings("test")
    >>> found["mode"].shape, found["concentration"].shape, found["label"][:3].tolist()
    ((300, 3), (300, 1), [0, 5, 8])
    >>> again = load_run(run.folder)
    >>> bool((again.model.encode(again.images("test")).numpy() == found["mode"]).all())
    True
    >>> load_run("results/nothing")
    Traceback (most recent call last):
    utils.config.flags.UsageError: results/nothing (...): there is no such folder
    >>> results.cleanup()
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import load_best
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.config.stored import from_values
from utils.data.files import DataUsageError
from utils.data.splits import SPLITS
from utils.experiment import Experiment
from utils.export.run import arrays_of
from utils.load_data import Data, load_data
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.identity import Identity, changes
from utils.run.interrupts import StopRequest
from utils.run.records import Record, read_run
from utils.run.stamped import Damaged


class Run:
    """A finished run; `load_run` and `train` give it.

    Attributes:
        folder: its folder.
        config: its settings, with the place of the data as it was given to `load_run`.
        summary: its result, as in summary.json.
        best_epoch: the epoch that the model is from.
        model: the best model, on the CPU and in evaluation mode; see `VAE` for `encode`, `decode` and `sample`.
    """

    def __init__(self, folder: Path, data_dir: str | None = None) -> None:
        record = _finished(folder)
        self.folder = folder
        self.summary: Mapping[str, Any] = record.summary
        self.model, self.best_epoch = load_best(RunDir(record.identity, folder))
        if self.best_epoch != self.summary["best_epoch"]:
            raise Damaged(
                f"{folder}: the model of epoch {self.summary['best_epoch']}, which summary.json is of, is lost; the "
                f"one of epoch {self.best_epoch} is left"
            )
        self.config = dataclasses.replace(record.config, data_dir=data_dir or record.config.data_dir)
        self.identity = dataclasses.replace(record.identity, config=self.config)

    @functools.cached_property
    def data(self) -> Data:
        """The data set of the run, the very content that it was trained on.

        Raises:
            UsageError: its content is another by now.
            DataError, OSError: it cannot be had.
        """
        data, known = load_data(self.config), self.identity.data
        if known and known != data.contents:
            raise UsageError(
                f"{self.folder}: the data changed since the run was made: {changes(known, data.contents)}; give "
                "--data_dir with those that it was trained on, or train a new run"
            )
        return data

    @property
    def experiment(self) -> Experiment:
        """The run with its data, for what a run can do besides training."""
        run, console = RunDir(self.identity, self.folder), Console(self.config)
        return Experiment(self.config, self.data, self.model, run, console, StopRequest())

    def images(self, split: str = "test") -> Tensor:
        """The images of `train`, `val` or `test` as the model sees them, (N, C, H, W), on its device.

        Raises:
            UsageError, DataError, OSError: as `data`, or there is no such split.
        """
        return torch.cat(list(self.experiment.blocks(_known(split))))

    def embeddings(self, split: str = "test") -> dict[str, NDArray[Any]]:
        """Where the examples of a split lie in the latent space: the arrays of `utils.export.run.arrays_of`, whole.

        Raises:
            UsageError, DataError, OSError: as `images`.
        """
        blocks = self.experiment.blocks(_known(split))
        parts = list(arrays_of(self.model, self.data.split(split), blocks, self.config))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load_run(folder: str | Path, data_dir: str | None = None) -> Run:
    """A finished run.

    Args:
        folder: of the run, such as `results/mnist/vmf-z10__s1__9d3c01ab`.
        data_dir: where its data lie, if that is another place than in training.

    Raises:
        UsageError: the folder holds no finished run that saved a model, or a file of it cannot be read.
        Damaged, Foreign: its model is absent, torn, edited, or that of another run.
        OSError: a file may not be read.
    """
    return Run(Path(folder), data_dir)


def train(config: Config) -> Run:
    """Train a run, evaluate it and draw its figures, as the command line does; a finished run is only read.

    What is printed is up to `config.verbosity`. After Ctrl-C, the same call resumes the run.

    Args:
        config: its settings; those that are left out are implied as on the command line.

    Raises:
        UsageError: a setting is not allowed, contradicts another or does not suit the data, several seeds are asked
            for, or the run diverged before a model was saved.
        DataError: the data cannot be had, or are not what they should be.
        Damaged, Foreign, FolderLost: the folder of the run holds what cannot be resumed, or was deleted meanwhile.
        OSError: a file could not be written.
        MemoryError, torch.OutOfMemoryError: there is too little memory.
    """
    config = from_values(dataclasses.asdict(config))
    if config.seeds > 1:
        raise UsageError(f"seeds is {config.seeds}, but one run is trained at a time; train each of `config.runs`")
    data = None if config.has_known_data else load_data(config)
    run = RunDir(Identity(config, None if data is None else data.contents))
    if run.result() is None:
        Experiment.prepare(config, StopRequest(), data=data).execute()
    return load_run(run.path)


def _known(split: str) -> str:
    if split not in SPLITS:
        raise DataUsageError(f"split is {split!r}; allowed: {', '.join(SPLITS)}")
    return split


def _finished(folder: Path) -> Record:
    """The first result of a finished run that saved a model.

    Raises:
        UsageError: the folder holds no such run.
    """
    if not folder.is_dir():
        absolute = "" if folder.is_absolute() else f" ({folder.absolute()})"
        what = "is a file, not the folder of a run" if folder.exists() else "there is no such folder"
        raise UsageError(f"{folder}{absolute}: {what}")
    record = read_run(folder)[0]
    if not record.summary:
        raise UsageError(f"{folder}: is not finished; repeat its command to resume it")
    if not record.summary["best_epoch"]:
        raise UsageError(f"{folder}: diverged before a model was saved; there is nothing to look at")
    return record
