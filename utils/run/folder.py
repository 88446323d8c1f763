"""The folder of a run: what is in it, and how its files are written.

results/<data set>/<model>-<size>__s<seed>__<hash>/
    config.json     what defines the run: its settings, and the digest and counts of its data
    env.json        versions, device, library of matrix products, command, kind of images
    metrics.jsonl   one line per epoch
    checkpoints/    last.pt and best.pt, each with the one before it; code_prior.pt, where one was fitted; while a run
                    is interrupted also stopped.pt (where in its epoch it was) and log_px.pt (how far its log p(x) had
                    come)
    figures/        figures as PNG and PDF files
    tensorboard/    the same for TensorBoard, where that is asked for
    diverged.pt     what failed, where a run diverged
    log_px_k*.npz   log p(x) of each test image, a file for each number of importance samples K
    confusions.npz  which class the judge of --score saw (column) where which was asked for (row)
    export/         embeddings and tables for other programs, where they are asked for; see `utils.export.run`
    summary.json    the result; written last, its presence says that the run is complete

All but the metrics, which only curves are drawn of, and what is drawn or exported name their run; see `stamped`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperspherical_vae import __version__
from utils.config.flags import UsageError
from utils.data.splits import SPLITS
from utils.files import naming, write_atomically
from utils.run import stamped
from utils.run.checkpoints import Progress
from utils.run.identity import Identity, changes
from utils.run.lock import FolderLock
from utils.run.records import no_run, read_identity, read_metrics, read_summary
from utils.run.stamped import Damaged, RunFileError, finite, fitting, previous

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The states of which the one before is kept, too.
_KEPT = ("last", "best")
_WITH_PROGRESS = (*_KEPT, "stopped")
_LOG_PX = re.compile(r"log_px_k([0-9]{1,9})\.npz")


class RunDir:
    """One run's folder.

    Use it as a context manager: the folder is made and locked for this process until the block ends.

    Args:
        identity: what the run is, which names the folder.
        path: the folder, where it is known already; runs may be moved.
    """

    def __init__(self, identity: Identity, path: Path | None = None) -> None:
        self.identity = identity
        self.config = identity.config
        self.path = path or Path(self.config.log_dir) / identity.folder
        self.metrics_path = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self.lock = FolderLock(self.path)
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.moved_to: Path | None = None  # where --overwrite put the run that was here

    @classmethod
    def at(cls, folder: Path) -> RunDir:
        """The run in a folder.

        Raises:
            UsageError: there is none.
            Damaged, Foreign, OSError: as `read_identity`.
        """
        identity = read_identity(folder)
        if identity is None:
            raise no_run(folder)
        return cls(identity, folder)

    def __enter__(self) -> RunDir:
        """Make the folder, lock it, and remove what a killed process left half-written.

        Raises:
            UsageError: another process holds it.
            OSError: the folder cannot be written to.
        """
        if self.config.overwrite and self.path.exists():
            aside = (self.path.with_name(f"{self.path.name}.old{number}") for number in itertools.count(1))
            self.moved_to = next(place for place in aside if not place.exists())
            self.lock.move(self.moved_to)
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock.acquire()
        try:
            for folder in (self.checkpoints, self.figures):
                folder.mkdir(exist_ok=True)
            for folder in (self.path, self.checkpoints, self.figures):
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink()
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write in the folder within it.

        Raises:
            FolderLost: the folder was deleted or replaced, before or meanwhile.
        """
        self.lock.check()
        try:
            yield
        except OSError:
            self.lock.check()  # tells a folder that is gone from a full disk
            raise

    def refuse_foreign_files(self) -> None:
        """Refuse to train or evaluate where a file of another run lies in the folder: it would be replaced.

        Raises:
            Foreign: which.
        """
        for path in sorted((*self.path.glob("*"), *self.checkpoints.glob("*"))):
            if path.suffix in stamped.KINDS and path.is_file():
                with contextlib.suppress(Damaged):
                    self.read(str(path.relative_to(self.path)))

    def write(self, name: str, content: dict[str, Any], keep: Path | None = None) -> None:
        """Write one of the run's files; see `stamped.write`.

        Raises:
            FolderLost: the folder was deleted or replaced.
            OSError: it could not be written.
        """
        with self.writing():
            stamped.write(self.path / name, content, self.identity.stamp, keep)

    def read(self, name: str) -> dict[str, Any]:
        """The content of one of the run's files.

        Raises:
            Damaged, Foreign, OSError: as `stamped.read`.
        """
        return stamped.read(self.path / name, self.identity.stamp)

    def checkpoint(self, name: str) -> Path:
        """The file of a state: `last`, `best`, `stopped`, `code_prior`, `log_px` or `diverged`."""
        return (self.path if name == "diverged" else self.checkpoints) / f"{name}.pt"

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Save a state of training or of another computation.

        One within an epoch, `stopped`, has a file of its own and is of use until the next `last`: a run whose numbers
        stop being finite returns to the state after the last epoch, whether it was interrupted since or not.

        Raises:
            FolderLost, OSError: as `write`.
        """
        path = self.checkpoint(name)
        self.write(str(path.relative_to(self.path)), state, previous(path) if name in _KEPT else None)
        if name == "last":
            self.checkpoint("stopped").unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Any]:
        """The state that was saved last, or else the one before it, with a line for the user.

        Raises:
            Damaged: there is none that can be read.
            Foreign: it is of another run.
        """
        path = self.checkpoint(name)
        try:
            return self._state(path)
        except Damaged as error:
            if name not in _KEPT or not os.path.lexists(previous(path)):
                raise
            state = self._state(previous(path))
            print(f"{error}; using {previous(path).name} instead", file=sys.stderr)
            if self.lock.is_ours:  # at once, lest the next write take the damaged one for the one to keep
                os.replace(previous(path), path)
            return state

    def _state(self, path: Path) -> dict[str, Any]:
        """The content of the file of a state; that of a model or of training says how far it had come."""
        state = stamped.read(path, self.identity.stamp)
        if path.stem.split(".")[0] in _WITH_PROGRESS:
            with fitting(path):
                state["progress"] = dataclasses.asdict(Progress(**state["progress"]))
        return state

    def load_furthest(self) -> dict[str, Any]:
        """The state of training to resume from: of the last epoch, or of an interruption since.

        Raises:
            Damaged, Foreign: as `load`.
        """
        states = [self.load("last")]
        if os.path.lexists(self.checkpoint("stopped")):
            try:
                states.append(self.load("stopped"))
            except Damaged as error:
                print(f"{error}; using last.pt instead", file=sys.stderr)
        # A process killed right after writing the one may not have removed the other.
        return max(states, key=lambda state: [state["progress"][key] for key in ("restarts", "epoch", "step")])

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        last = self.checkpoint("last")
        return os.path.lexists(last) or os.path.lexists(previous(last))

    def code_prior(self, best_epoch: int) -> dict[str, Any]:
        """The state of the fitted prior over the codes of the model of that epoch.

        Raises:
            Damaged: there is none of that model.
            Foreign: it is of another run.
        """
        fitted = self.load("code_prior")
        of_epoch = fitted.get("best_epoch")
        if type(of_epoch) is not int or of_epoch != best_epoch:
            raise Damaged(f"{self.checkpoint('code_prior')}: is not of the model of epoch {best_epoch}")
        return fitted.get("prior", {})

    def log_px(self, best_epoch: int) -> tuple[int, NDArray[Any]] | None:
        """K and log p(x) of each test image (N,), in nats, by the model of that epoch; the estimate with the largest K.

        None where there is none; damaged files are ignored. A run that was trained further may have files of an earlier
        model.

        Raises:
            Foreign: a file is of another run.
        """
        found: dict[int, NDArray[Any]] = {}
        for path in self.path.glob("log_px_k*.npz"):
            match = _LOG_PX.fullmatch(path.name)
            with contextlib.suppress(Damaged), fitting(path):
                arrays = self.read(path.name)
                values = arrays["log_px"]
                if match and int(arrays["best_epoch"]) == best_epoch and (values.dtype, values.ndim) == ("float64", 1):
                    found[int(match[1])] = values
        return (max(found), found[max(found)]) if found else None

    def result(self) -> dict[str, Any] | None:
        """The result of this run with this many epochs and importance samples, or None where something is left to do.

        Raises:
            UsageError: the folder holds a run of more epochs.
            Foreign: a file is of another run.
        """
        old = None if self.config.overwrite else self._stored()
        if old is None:
            return None
        if old.data and self.identity.data and old.data != self.identity.data:
            raise UsageError(
                f"{self.path}: the data changed since: {changes(old.data, self.identity.data)}; choose another -ld, or "
                "--overwrite"
            )
        if self.config.epochs < old.config.epochs:
            raise UsageError(
                f"{self.path}: holds a run of more epochs (epochs was {old.config.epochs} and is {self.config.epochs}, "
                "which may only grow); choose another -ld or -en, or --overwrite to move that run aside"
            )
        if self.config.epochs > old.config.epochs:
            return None
        try:
            self.read("env.json")
        except Damaged:
            return None
        found = self.evaluated()
        if not found or not found["test"]:
            return found
        lacks_probe = self.config.probe and "probe" not in found
        lacks_score = self.config.score not in (None, found.get("score", {}).get("n"))
        lacks_export = self.config.export and not self.is_exported(found["best_epoch"])
        return None if lacks_probe or lacks_score or lacks_export else found

    @property
    def exported(self) -> dict[str, Path]:
        """Where the embeddings of each split are exported to; those of the test split are written last."""
        return {split: self.path / "export" / f"embeddings_{split}.npz" for split in SPLITS}

    def is_exported(self, best_epoch: int) -> bool:
        """Whether the model of that epoch was exported."""
        import numpy

        try:
            with numpy.load(self.exported["test"], allow_pickle=False) as stored:
                return int(stored["best_epoch"]) == best_epoch
        except Exception:  # absent, or damaged: numpy and zipfile raise whatever the bytes lead to
            return False

    def _stored(self) -> Identity | None:
        """The run that `config.json` describes; None where that is absent or damaged, and is to be written again."""
        try:
            return read_identity(self.path)
        except Damaged:
            return None

    def earlier_result(self) -> dict[str, Any] | None:
        """The result that this run had with these settings before it was given more epochs, or None."""
        old = None if self.config.overwrite else self._stored()
        if old is None or old.config.epochs <= self.config.epochs:
            return None
        until = f"summary_e{self.config.epochs}"
        return self._with_this_k(f"{until}.json", f"{until}_k{self.config.ll_sample}.json")

    def of_version_1(self) -> RunDir | None:
        """The run that version 1.0 made of the same settings, if there is no later one."""
        old = RunDir(self.identity.of_version_1)
        return None if self.config.overwrite or self.path.exists() or not old.path.exists() else old

    def note_on_data(self) -> str | None:
        """What changed where there is a run like this one on other content of the same data set, or None."""
        if self.path.exists():
            return None
        folders = filter(Path.is_dir, self.path.parent.glob("*__*"))  # no links to folders that are gone
        for folder in sorted(folders, key=os.path.getmtime, reverse=True):
            with contextlib.suppress(RunFileError, OSError):
                other = read_identity(folder)
                if other is not None and other.data and self.identity.data and self.identity.differs_in_data(other):
                    what = changes(other.data, self.identity.data)
                    return f"the data changed since {folder}: {what}; this is another run"
        return None

    def evaluated(self) -> dict[str, Any] | None:
        """The summary with this many importance samples, or None; the probe may be left to do."""
        return self._with_this_k("summary.json", self._summary_of_k)

    @property
    def _summary_of_k(self) -> str:
        return f"summary_k{self.config.ll_sample}.json"

    @property
    def result_path(self) -> Path:
        """The file of the result; a run that was evaluated with another K first keeps that one beside it."""
        first = self._summary("summary.json")
        beside = first and first["test"] and first["test"]["k"] != self.config.ll_sample
        return self.path / (self._summary_of_k if beside else "summary.json")

    def _with_this_k(self, *names: str) -> dict[str, Any] | None:
        stored, k = filter(None, map(self._summary, names)), self.config.ll_sample
        return next((found for found in stored if found["test"] is None or found["test"]["k"] == k), None)

    def _summary(self, name: str) -> dict[str, Any] | None:
        try:
            return read_summary(self.path / name, self.identity)
        except Damaged:
            return None

    def write_result(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Write the summary: last of all files, for its presence says that the run is complete.

        Returns:
            What a reader of the file will see.
        """
        self.write(self.result_path.name, summary)
        return finite(summary)

    def notes_on_machine(self) -> list[str]:
        """Notes where the run so far was computed in another way than this process will."""
        import torch

        from hyperspherical_vae.dense import product_library

        library, threads = product_library(), torch.get_num_threads()
        try:
            before = {"products": library, "threads": threads, **self.read("env.json")}
        except Damaged:
            return []
        notes = []
        if before["products"] != library:
            notes.append(f"the run so far took its products from {before['products']}, and takes them from {library}")
        if before["threads"] != threads:
            notes.append(f"the run so far used {before['threads']} threads, and uses {threads} (OMP_NUM_THREADS)")
        return [f"{note} on this machine: its numbers may be rounded differently from here on" for note in notes]

    def write_start(self, device: str, images: dict[str, Any]) -> None:
        """Write `config.json` and `env.json`; a run that is to be trained further is no longer complete.

        Its results until then become `summary_e<epochs>...json`.

        Args:
            device: where the run computes.
            images: what the model has to know of its images, so that it can be rebuilt without them.
        """
        old = self._stored()
        if old is None or old.config.epochs != self.config.epochs:
            until = f"summary_e{old.config.epochs}" if old else "summary_earlier"
            for summary in (*self.path.glob("summary.json"), *self.path.glob("summary_k*.json")):
                summary.rename(summary.with_name(summary.name.replace("summary", until, 1)))
            self.write("config.json", {**dataclasses.asdict(self.config.to_repeat), "data": self.identity.data})
        self.write("env.json", _environment(device, images))

    def log(self, line: dict[str, Any]) -> None:
        """Add one epoch to `metrics.jsonl`, and pass it to the listeners."""
        with self.writing(), naming(self.metrics_path), open(self.metrics_path, "a") as file:
            file.write(json.dumps(finite(line)) + "\n")
        for listen in self.listeners:
            listen(line)

    def rewind(self, epoch: int) -> None:
        """Drop what `metrics.jsonl` says of epochs after `epoch`, which are trained again."""
        with self.writing():
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
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "threads": torch.get_num_threads(),
        "products": product_library(),
        "images": images,
    }


def _commit() -> str | None:
    """The git commit of this program with `+` where it was changed since; None where there is none."""
    words = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
