"""What a sweep consists of: one command of run_models.py for each point of a grid or line of a batch file."""

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config.command_line import parse_run, read_grid
from utils.config.config import Config
from utils.config.flags import UsageError, shown
from utils.load_data import load_data
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.records import read_metrics
from utils.sweep.decompositions import expand

# The settings that the content of a data set depends on.
OF_DATA = ("dataset", "data_dir", "image_size", "grey", "allow_unverified", "loss_function")

MOST = 10_000  # runs of a sweep
LONGEST = 1 << 22  # characters of a batch file

# What a batch file may hold besides commands of run_models.py; the sweep sees to all of it.
_HARMLESS = {"set", "cd", "wait", "echo", ".", "source", "exit"}
# A word, which may hold quoted parts and a `#` after its first character, or else a comment.
_WORD_OR_COMMENT = re.compile(r"""((?!#)(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+)|#.*""")
_SHELL = set("$`|;<>(){}*?")


@dataclass(frozen=True)
class Unit:
    """One run.

    Attributes:
        words: of the command line of run_models.py.
        label: the words in which it differs from the others of the sweep.
        run: what they describe.
    """

    words: tuple[str, ...]
    label: str
    run: RunDir

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def command(self) -> str:
        """The command as one would type it."""
        return shlex.join(["python", "run_models.py", *self.words])

    @property
    def log(self) -> Path:
        """Where its output goes: beside the runs, for a run that is refused makes no folder."""
        return Path(self.config.log_dir) / "logs" / str(self.config.data_name) / f"{self.run.path.name}.log"

    @property
    def state(self) -> str:
        """`complete`, `new`, or how far it came.

        Raises:
            UsageError: the folder holds a run with other settings, or of more epochs.
        """
        if self.run.result() is not None:
            return "complete"
        if not self.run.started:
            return "new"
        lines = read_metrics(self.run.metrics_path)
        return f"at epoch {lines[-1]['epoch'] if lines else 0} of {self.config.epochs}"


def build_units(words: Sequence[str], files: Sequence[Path], pairs: bool) -> list[Unit]:
    """The runs of a sweep, each once.

    Args:
        words: flags of run_models.py, each with one value or several, which span a grid.
        files: batch files; the flags are then added to each of their commands, and the last of a repeated flag counts.
        pairs: take the first values of all flags that have several, then the second ones, instead of the grid.

    Raises:
        UsageError: a command is not valid, or two of them would train one run for different numbers of epochs.
    """
    lines = [line for file in files for line in read_batch_file(file)] if files else [("", ())]
    points = list(_points(words, pairs, MOST // len(lines)))
    units: dict[tuple[Any, ...], Unit] = {}
    epochs: dict[Path, Unit] = {}
    contents: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for (place, line), (point, label) in itertools.product(lines, points):
        command = (*line, *point)
        try:
            config = parse_run(command)
        except UsageError as error:
            raise UsageError(f"{place or shlex.join(['run_models.py', *command])}: {error}") from None
        if config.list_datasets:
            raise UsageError("--list_datasets: is no run; give it to run_models.py itself")
        if config.seeds > 1:
            raise UsageError(f"--seeds {config.seeds}: a sweep takes each seed as a run; give -rs 1 2 3 and so on")
        if config.overwrite:
            raise UsageError("--overwrite: a sweep continues what is there; to train from the start choose another -ld")
        run = RunDir(Identity(config, _content_of(config, contents)))
        unit = Unit(command, " ".join([*(line if files else ()), *label]) or "run", run)
        path = unit.run.path
        first = epochs.setdefault(path, unit)
        if first.config.epochs != config.epochs:
            raise UsageError(
                f"-e {first.config.epochs} and -e {config.epochs}: would train one run twice ({path}); "
                "the longer one alone does, or give each another -ld"
            )
        units.setdefault((path, config.ll_sample), unit)
    return list(units.values())


def _content_of(config: Config, known: dict[tuple[Any, ...], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What names a run on data of unknown content besides its settings; each data set is loaded once."""
    if config.has_known_data:
        return None
    settings = tuple(getattr(config, name) for name in OF_DATA)
    if settings not in known:
        known[settings] = load_data(config).contents
    return known[settings]


def _points(words: Sequence[str], pairs: bool, most: int) -> Iterator[tuple[list[str], list[str]]]:
    """(all words, those that vary) of each point of the grid."""
    axes: dict[str, list[list[str]]] = {}
    for word, texts in read_grid(words).items():
        if word == "-zd":
            texts = [single for text in texts for single in expand(text)]
        axes[word] = [[word, text] for text in texts] or [[word]]
    sizes = {word: len(axis) for word, axis in axes.items() if len(axis) > 1}
    if pairs and len(set(sizes.values())) > 1:
        counts = ", ".join(f"{word} has {size}" for word, size in sizes.items())
        raise UsageError(f"--zip: needs equally many values for each flag that has several; {counts}")
    count = max(sizes.values(), default=1) if pairs else math.prod(sizes.values())
    if count > most:
        raise UsageError(f"a grid of {count:,}: a sweep has up to {MOST:,} runs; give fewer values, or several sweeps")
    points: Iterator[tuple[list[str], ...]] = itertools.product(*axes.values())
    if pairs and axes:
        points = zip(*(axis if word in sizes else axis * count for word, axis in axes.items()), strict=True)
    for point in points:
        label = [text for word, part in zip(axes, point, strict=True) if word in sizes for text in part]
        yield [text for part in point for text in part], label


def read_batch_file(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The commands of a file with one `python run_models.py ...` per line: (place, words after run_models.py).

    Raises:
        UsageError: it cannot be read, holds no command, or something that only a shell understands.
    """
    try:
        with open(path) as file:
            text = file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{path}: the batch file cannot be read ({reason})") from None
    if len(text) > LONGEST:
        raise UsageError(f"{path}: is longer than the {LONGEST:,} characters that a batch file may have")
    found = []
    joined = ""
    for number, line in enumerate(text.rstrip().removesuffix("\\").splitlines(), 1):
        joined += _WORD_OR_COMMENT.sub(r"\1", line)  # words alone
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        whole, joined = joined, ""
        place = f"{path}, line {number}"
        try:
            words = shlex.split(whole)
        except ValueError as error:
            raise UsageError(f"{place}: {error}") from None
        if words and words[-1] == "&":  # in the background, as all of them are here
            words.pop()
        if not words or (words[0] in _HARMLESS and not _command(words)):
            continue
        command = _command(words)
        if command is None or any(_SHELL & set(word) for word in command):
            raise UsageError(
                f"{place}: {shown(whole.strip())} is not understood; a batch file holds plain lines of the form "
                "python run_models.py FLAGS"
            )
        found.append((place, command))
    if not found:
        raise UsageError(f"{path}: holds no line of the form python run_models.py FLAGS")
    return found


def _command(words: Sequence[str]) -> tuple[str, ...] | None:
    for number, word in enumerate(words[:2]):
        if Path(word).name == "run_models.py" and (number == 0 or Path(words[0]).name.startswith("python")):
            return tuple(words[number + 1 :])
    return None
