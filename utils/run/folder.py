"""The folder of a run: what is in it, and how its files are written.

results/<dataset>/<name>__s<seed>__<hash>/
    config.json     what defines the run
    env.json        versions, device, library of matrix products, command, kind of images
    metrics.jsonl   one line per epoch
    checkpoints/    last.pt and best.pt, each with the one before it; while a run is interrupted also stopped.pt (where
                    in its epoch it was) and log_px.pt (how far its log p(x) had come)
    figures/        figures as PNG and PDF files
    tensorboard/    the same for TensorBoard, where that is asked for
    diverged.pt     what failed, where a run diverged
    log_px_k*.npz   log p(x) of each test image, a file for each number of importance samples K
    summary.json    the result; written last, its presence says that the run is complete
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from hyperspherical_vae import __version__
from utils.config.config import Config, identity_fields
from utils.config.flags import UsageError
from utils.files import naming, write_atomically
from utils.run.checkpoints import (
    CheckpointError,
    PartialResult,
    digest,
    load_checkpoint,
    load_newest,
    previous,
    save_checkpoint,
)
from utils.run.lock import FolderLock
from utils.run.records import finite, read_config, read_json, read_metrics, read_summary


class RunDir:
    """One run's folder.

    Use it as a context manager: the folder is made and locked for this process until the block ends.

    Args:
        config: the resolved configuration, which names the folder.
        path: the folder, where it is known already; runs may be moved.
    """

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self.config = config
        name = f"{config.exp_name or config.name}__s{config.rs}__{config.hash}"
        self.path = path or Path(config.log_dir) / config.dataset / name
        self._summary = self.path / "summary.json"
        self._summary_of_k = self.path / f"summary_k{config.ll_sample}.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.last = self.path / "checkpoints" / "last.pt"
        self.best = self.path / "checkpoints" / "best.pt"
        self.code_prior = self.path / "checkpoints" / "code_prior.pt"
        self.stopped = self.path / "checkpoints" / "stopped.pt"
        self.figures = self.path / "figures"
        self.board = self.path / "tensorboard"
        self.diverged = self.path / "diverged.pt"
        self._lock = FolderLock(self.path)
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.moved_to: Path | None = None  # where --overwrite put the run that was here

    def __enter__(self) -> RunDir:
        """Make the folder, lock it, and remove what a killed process left half-written.

        Raises:
            UsageError: another process holds it.
            OSError: the folder cannot be written to.
        """
        if self.config.overwrite and self.path.exists():
            aside = (self.path.with_name(f"{self.path.name}.old{number}") for number in itertools.count(1))
            self.moved_to = next(place for place in aside if not place.exists())
            self._lock.move(self.moved_to)
        for folder in (self.path, self.last.parent, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        for leftover in self.path.rglob(".*.tmp"):
            leftover.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def result(self) -> dict[str, Any] | None:
        """The result of this run with this many epochs and importance samples, or None where something is left to do.

        Raises:
            UsageError: the folder holds a run with other settings, or of more epochs.
        """
        old = None if self.config.overwrite else read_config(self.path)
        if old is None:
            return None
        changed = [
            f"{f.name} was {getattr(old, f.name)!r} and is {getattr(self.config, f.name)!r}"
            for f in identity_fields()
            if getattr(old, f.name) != getattr(self.config, f.name)
        ]
        if self.config.epochs < old.epochs:
            changed.append(f"epochs was {old.epochs} and is {self.config.epochs}, which may only grow")
        if changed:
            raise UsageError(
                f"{self.path}: holds a run with other settings ({'; '.join(changed)}); choose another -ld or -en, or "
                "--overwrite to move that run aside"
            )
        if self.config.epochs > old.epochs:
            return None
        found = self.evaluated()
        return None if found and found["test"] and self.config.probe and "probe" not in found else found

    def earlier_result(self) -> dict[str, Any] | None:
        """The result that this run had with these settings before it was given more epochs, or None."""
        old = None if self.config.overwrite else read_config(self.path)
        if old is None or old.epochs <= self.config.epochs or old.hash != self.config.hash:
            return None
        until = f"summary_e{self.config.epochs}"
        return self._with_this_k(self.path / f"{until}.json", self.path / f"{until}_k{self.config.ll_sample}.json")

    def evaluated(self) -> dict[str, Any] | None:
        """The summary with this many importance samples, or None; the probe may be left to do."""
        return self._with_this_k(self._summary, self._summary_of_k)

    def _with_this_k(self, *paths: Path) -> dict[str, Any] | None:
        for path in paths:
            found = read_summary(path)
            if found and (found["test"] is None or found["test"]["k"] == self.config.ll_sample):
                return found
        return None

    def write_result(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Write the summary: last of all files, for its presence says that the run is complete.

        A run that was evaluated with another K keeps that summary; the new one is written beside it.

        Returns:
            What a reader of the file will see.
        """
        first = read_summary(self._summary)
        beside = first and first["test"] and first["test"]["k"] != self.config.ll_sample
        self.write_json((self._summary_of_k if beside else self._summary).name, summary)
        written: dict[str, Any] = finite(summary)
        return written

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all; numbers that are not finite become null."""
        write_atomically(self.path / name, (json.dumps(finite(content), indent=2) + "\n").encode())

    def note_on_products(self) -> str | None:
        """A note where the run so far took its products on a CPU from another library than this machine does."""
        from hyperspherical_vae.dense import product_library

        before = (read_json(self.path / "env.json") or {}).get("products", product_library())
        if before == product_library():
            return None
        return (
            f"the run so far took matrix products from {before}, and takes them from {product_library()} on this "
            "machine: its numbers are rounded differently from here on"
        )

    def write_start(self, device: str, images: dict[str, Any]) -> None:
        """Write `config.json` and `env.json`; a run that is to be trained further is no longer complete.

        Its results until then become `summary_e<epochs>...json`.

        Args:
            device: where the run computes.
            images: what the model has to know of its images, so that it can be rebuilt without them.
        """
        old = read_config(self.path)
        if old is None or old.epochs != self.config.epochs:
            until = f"summary_e{old.epochs}" if old else "summary_earlier"
            for summary in (*self.path.glob("summary.json"), *self.path.glob("summary_k*.json")):
                summary.rename(summary.with_name(summary.name.replace("summary", until, 1)))
            config = dataclasses.replace(self.config, overwrite=False)  # meant for this once
            self.write_json("config.json", json.loads(config.to_json()))
        self.write_json("env.json", _environment(device, images))

    def save_last(self, state: dict[str, Any]) -> None:
        """Save the state of training after an epoch; see `checkpoints.save_checkpoint`."""
        save_checkpoint(self.last, state)
        self.stopped.unlink(missing_ok=True)

    def save_stopped(self, state: dict[str, Any]) -> None:
        """Save the state of training within an epoch.

        In a file of its own: a run whose numbers stop being finite returns to the state after the last epoch, whether
        it was interrupted since or not.
        """
        save_checkpoint(self.stopped, state, keep_previous=False)

    def save_best(self, state: dict[str, Any]) -> None:
        """Save the best model so far."""
        save_checkpoint(self.best, state)

    def load_last(self) -> dict[str, Any]:
        """The state of training that was saved last.

        Raises:
            CheckpointError: there is none that can be read.
        """
        return self._load(self.last)

    def load_furthest(self) -> dict[str, Any]:
        """The state of training to resume from: of the last epoch, or of an interruption since.

        Raises:
            CheckpointError: there is none that can be read.
        """
        last = self.load_last()
        if not self.stopped.exists():
            return last
        try:
            stopped = load_checkpoint(self.stopped)
        except CheckpointError as error:
            print(f"{error}; using {self.last.name} instead", file=sys.stderr)
            return last
        # A process killed right after writing the one may not have removed the other.
        return max(last, stopped, key=lambda state: [state["progress"][key] for key in ("restarts", "epoch", "step")])

    def load_best(self) -> dict[str, Any]:
        """The best model so far.

        Raises:
            CheckpointError: there is none that can be read.
        """
        return self._load(self.best)

    def _load(self, path: Path) -> dict[str, Any]:
        state, warning = load_newest(path)
        if warning:
            print(warning, file=sys.stderr)
            # At once, lest the next write take the damaged one for the one to keep.
            os.replace(previous(path), path)
        return state

    def save_diverged(self, evidence: dict[str, Any]) -> None:
        """Save what a bug report needs: the batch, the step, the statistics of the latent, the model."""
        save_checkpoint(self.diverged, {**evidence, "config": dataclasses.asdict(self.config)}, keep_previous=False)

    def partial_log_px(self, best: dict[str, Any]) -> PartialResult:
        """Where an estimate of log p(x) of this model with this K is stored while it is computed."""
        key = {"k": self.config.ll_sample, "model": digest(best["model"])}
        return PartialResult(self.last.parent / "log_px.pt", key)

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.last.exists() or previous(self.last).exists()

    def log(self, line: dict[str, Any]) -> None:
        """Add one epoch to `metrics.jsonl`, and pass it to the listeners."""
        with naming(self.metrics_path), open(self.metrics_path, "a") as file:
            file.write(json.dumps(finite(line)) + "\n")
        for listen in self.listeners:
            listen(line)

    def rewind(self, epoch: int) -> None:
        """Drop what `metrics.jsonl` says of epochs after `epoch`, which are trained again."""
        lines = [json.dumps(line) + "\n" for line in read_metrics(self.metrics_path) if line["epoch"] <= epoch]
        write_atomically(self.metrics_path, "".join(lines).encode())


def _environment(device: str, images: dict[str, Any]) -> dict[str, Any]:
    """The content of `env.json`.

    Args:
        device: where the run computes.
        images: what the model has to know of its images, so that it can be rebuilt without them.
    """
    import numpy
    import scipy
    import torch

    from hyperspherical_vae.dense import product_library

    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "device": device,
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "threads": torch.get_num_threads(),
        "products": product_library(),
        "images": images,
    }
