"""The folder of a run: what is in it, who holds it, and how its files are written.

results/<dataset>/<name>__s<seed>__<hash>/
    config.json     what defines the run
    env.json        versions, device, command, kind of images
    metrics.jsonl   one line per epoch
    checkpoints/    last.pt and best.pt, each with the one before it
    figures/        pictures
    log_px_k*.npy   log p(x) of each test image, for each number of importance samples K
    summary.json    the result; written last, its presence says that the run is complete
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import re
import shlex
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from utils.checkpoints import load_newest, previous, save_checkpoint, write_atomically
from utils.config import Config, identity_fields
from utils.flags import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_LOG_PX = re.compile(r"log_px_k([0-9]{1,9})\.npy")


class RunDir:
    """One run's folder.

    Use it as a context manager: the folder is made and held for this process until the block ends.

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
        self.figures = self.path / "figures"
        self._holder = self.path / "held_by.txt"

    def __enter__(self) -> RunDir:
        from filelock import FileLock, Timeout

        for folder in (self.path, self.last.parent, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            try:
                holder = self._holder.read_text().strip()
            except OSError:
                holder = "another process"
            raise UsageError(f"{self.path}: is in use by {holder}; wait for it, or change a flag or the seed") from None
        self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def result(self) -> dict[str, Any] | None:
        """The result of this run with this many epochs and importance samples, or None where something is left to do.

        Raises:
            UsageError: the folder holds a run with other settings, or of more epochs.
        """
        try:
            old = Config.from_json((self.path / "config.json").read_text())
        except FileNotFoundError:
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
                f"{self.path}: holds a run with other settings ({'; '.join(changed)}); choose another -ld or -en"
            )
        if self.config.epochs > old.epochs:
            return None
        for path in (self._summary, self._summary_of_k):
            found = read_json(path)
            if found and (found["test"] is None or found["test"]["k"] == self.config.ll_sample):
                return found
        return None

    def write_result(self, summary: dict[str, Any]) -> None:
        """Write the summary: last of all files, for its presence says that the run is complete.

        A run that was evaluated before keeps that summary; the one with another K goes beside it.
        """
        self.write_json((self._summary_of_k if self._summary.exists() else self._summary).name, summary)

    def write_log_px(self, k: int, values: Tensor) -> None:
        """Keep log p(x) of each test image (N,), in nats, by K samples: two runs compare best image by image."""
        import numpy

        content = io.BytesIO()
        numpy.save(content, values.double().cpu().numpy())
        write_atomically(self.path / f"log_px_k{k}.npy", content.getvalue())

    def read_log_px(self) -> tuple[int, NDArray[Any]] | None:
        """The estimate with most samples that is kept: K and log p(x) of each test image (N,), or None."""
        import numpy

        found = {
            int(match[1]): path for path in self.path.glob("log_px_k*.npy") if (match := _LOG_PX.fullmatch(path.name))
        }
        return (max(found), numpy.load(found[max(found)], allow_pickle=False)) if found else None

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all; numbers that are not finite become null."""
        write_atomically(self.path / name, (json.dumps(finite(content), indent=2) + "\n").encode())

    def write_start(self, device: str, images: dict[str, Any]) -> None:
        """Write `config.json` and `env.json`; a run that is to be trained further is no longer complete.

        Args:
            device: where the run computes.
            images: what the model has to know of its images, so that it can be rebuilt without them.
        """
        import numpy
        import scipy
        import torch

        old = read_json(self.path / "config.json")
        if old is None or old["epochs"] != self.config.epochs:
            for stale in (*self.path.glob("summary*.json"), *self.path.glob("log_px_k*.npy")):
                stale.unlink()
            self.write_json("config.json", json.loads(self.config.to_json()))
        self.write_json(
            "env.json",
            {
                "command": shlex.join([Path(sys.executable).name, *sys.argv]),
                "device": device,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "torch": torch.__version__,
                "numpy": numpy.__version__,
                "scipy": scipy.__version__,
                "threads": torch.get_num_threads(),
                "images": images,
            },
        )

    def save_last(self, state: dict[str, Any]) -> None:
        """Keep the state of training; see `checkpoints.save_checkpoint`."""
        save_checkpoint(self.last, state)

    def save_best(self, state: dict[str, Any]) -> None:
        """Keep the best model so far."""
        save_checkpoint(self.best, state)

    def load_last(self) -> dict[str, Any]:
        """The state of training that was kept last.

        Raises:
            CheckpointError: there is none that can be read.
        """
        return self._load(self.last)

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
        return state

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.last.exists() or previous(self.last).exists()

    def log(self, line: dict[str, Any]) -> None:
        """Add one epoch to `metrics.jsonl`."""
        with open(self.metrics_path, "a") as file:
            file.write(json.dumps(finite(line)) + "\n")

    def rewind(self, epoch: int) -> None:
        """Drop what `metrics.jsonl` says of epochs after `epoch`, which are trained anew."""
        lines = [json.dumps(line) + "\n" for line in read_metrics(self.metrics_path) if line["epoch"] <= epoch]
        write_atomically(self.metrics_path, "".join(lines).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is no such file or it is torn."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; one that a crash tore is skipped."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "epoch" in line:
            lines.append(line)
    return lines


def finite(value: Any) -> Any:
    """The same nested value with None in place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
