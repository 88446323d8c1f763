"""Scores of models that are broken on purpose, beside those of real images: which number tells which.

python -m benchmarks.broken_samples --data_dir data -d mnist
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from models import Images, build_model
from utils.config.command_line import parse_options
from utils.config.config import Config
from utils.config.flags import flag
from utils.config.rules import resolve
from utils.data.sets import DATASETS
from utils.load_data import Data, load_data
from utils.measure.judge import judge_of
from utils.measure.score import Standard, score
from utils.run.failures import guarded
from utils.run.metrics import METRICS
from utils.tables.layout import Table, as_text


@dataclass(frozen=True)
class Options:
    """The flags of `python -m benchmarks.broken_samples`."""

    dataset: str = flag(
        "-d --dataset", str, "data", "mnist", "data set with labels",
        options=lambda: [name for name, spec in DATASETS.items() if spec.classes],
    )
    data_dir: str = flag("--data_dir", str, "data", "data", "folder that holds it")
    log_dir: str = flag("-ld --log_dir", str, "how", "results", "folder of runs, where the judge is stored")
    samples: int = flag("-n", int, "how", 10_000, "samples of each kind", low=2, high=10**6)


@dataclass(frozen=True)
class Broken:
    """Samples of models that are broken on purpose: each method takes a number and a class, or None, to images."""

    data: Data

    def training_images(self, n: int, label: int | None) -> Tensor:
        """What a model gives that has learned the training images by heart."""
        images, labels = self.data.train.images, self.data.train.labels
        assert labels is not None
        images = images if label is None else images[labels == label]
        return images[torch.randint(len(images), (n,))].float() / self.data.levels

    def noise(self, n: int, label: int | None) -> Tensor:
        """Independent uniform pixels."""
        return torch.rand(n, *self.data.shape)

    def untrained(self, n: int, label: int | None) -> Tensor:
        """A decoder with its first weights."""
        torch.manual_seed(0)
        config = resolve(Config(name="vmf", z=10))
        return build_model(config, Images.of(self.data)).eval().sample(n)

    def collapsed(self, n: int, label: int | None) -> Tensor:
        """The mean image, always."""
        return (self.data.train.images.float() / self.data.levels).mean(0, keepdim=True).expand(n, -1, -1, -1)

    def one_class(self, n: int, label: int | None) -> Tensor:
        """Real images, of class 3 whatever is asked for."""
        return self.training_images(n, 3)

    def wrong_classes(self, n: int, label: int | None) -> Tensor:
        """Real images, of the class after the one that is asked for."""
        return self.training_images(n, None if label is None else (label + 1) % self.data.classes)

    def blurred(self, n: int, label: int | None) -> Tensor:
        """Half of a real image and half of the mean image."""
        return (self.training_images(n, label) + self.collapsed(n, label)) / 2

    @property
    def kinds(self) -> dict[str, Callable[[int, int | None], Tensor]]:
        """By their names in the table."""
        return {
            "training images": self.training_images, "untrained": self.untrained, "collapsed": self.collapsed,
            "noise": self.noise, "one class": self.one_class, "wrong classes": self.wrong_classes,
            "blurred": self.blurred,
        }  # fmt: skip


def as_subject(images: Callable[[int, int | None], Tensor], classes: int, binary: bool = False) -> Any:
    """What `score` needs of a run whose samples are these."""
    model = SimpleNamespace(decode=lambda z: z, likelihood=SimpleNamespace(binary=binary))
    latents = lambda n, label=None, kappa=None: images(n, label)  # noqa: E731
    return SimpleNamespace(model=model, latents=latents, classes=list(range(classes)))


def main(arguments: Sequence[str]) -> int:
    """Print the table; returns the exit code."""
    return guarded("benchmarks.broken_samples", lambda stop: _score(arguments))


def _score(arguments: Sequence[str]) -> int:
    asked, _ = parse_options(
        arguments, Options, takes_words=False,
        usage="python -m benchmarks.broken_samples [FLAGS]",
        description="Score samples of models that are broken on purpose, and real images.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage.",
    )
    data = load_data(resolve(Config(dataset=asked.dataset, data_dir=asked.data_dir)))
    folder = Path(asked.log_dir) / asked.dataset
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu")
    standard = Standard(data, judge_of(data, folder, device, print).judge, device)
    columns = {"real": standard.of_test_images(asked.samples)}
    for name, images in Broken(data).kinds.items():
        torch.manual_seed(1)
        columns[name], _ = score(as_subject(images, data.classes), standard, asked.samples)
    rows = [["samples", *columns]]
    for key, metric in METRICS.items():
        if metric.reference:
            name = key.removeprefix("score.")
            texts = [metric.text(values[name], values[f"{name}_se"]) for values in columns.values()]
            rows.append([metric.heading, *texts])
    print(as_text(Table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
