"""From the words of a command line to checked settings.

argparse parses. It accepts some words that a user did not mean, such as `-di x` for `-dis x` or `-zd5` for `-z d5`, so
every word that begins with a dash is compared with the flags before argparse sees it.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from hyperspherical_vae import __version__
from utils.config.config import Config, owners
from utils.config.flags import Flag, UsageError, bare, flags_of, nearest, shown
from utils.config.request import Revisit, resolve_revisit
from utils.config.rules import resolve

_METAVARS = {int: "N", float: "X", str: "TEXT"}

Settings = TypeVar("Settings")


class Program(NamedTuple):
    """What `--help` says of a program besides its flags.

    Attributes:
        usage: a command, with what it takes besides flags.
        description: what the program does.
        epilog: what comes after the flags.
        version: for `--version`; empty for a program without it.
        takes_words: whether it takes words that belong to no flag.
        misplaced: what to say of a flag that is none of this program but of `run_models.py`.
    """

    usage: str
    description: str
    epilog: str
    version: str = ""
    takes_words: bool = False
    misplaced: str = ""


RUN_MODELS = Program(
    "python run_models.py [FLAGS]",
    "Train, evaluate and picture a variational auto-encoder.\n"
    "Its latent space is a sphere, a Euclidean space, a product of these, or discrete codes.",
    """\
Repeating a command prints the table of a finished run and resumes an unfinished one.
Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 130 or 143 interrupted.

examples:
  python run_models.py -n vmf -z 10 -d mnist
  python run_models.py -zd s4,s4,e2 -d f_mnist -e 500 -rs 1 --seeds 5
  python run_models.py --from results/mnist/RUN --figures latent samples --pdf""",
    version=f"run_models.py {__version__}",
)


class CommandLine(argparse.ArgumentParser):
    """A parser of the flags of some settings, whose errors are a `UsageError` of one line.

    Args:
        settings: dataclasses whose fields `flags.flag` made; a flag that is in several of them is there once.
        program: what `--help` says.
        several: let every flag take several words, and leave their values as text.
    """

    def __init__(self, settings: Iterable[type], program: Program, several: bool = False) -> None:
        super().__init__(
            usage=program.usage, description=program.description, epilog=program.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS,
        )  # fmt: skip
        self.program, self.several = program, several
        self.known: dict[str, Flag] = {}
        self._headings: dict[str, Any] = {}
        for kind in settings:
            defaults = vars(kind())
            for name, flag in flags_of(kind).items():
                if flag.names[0] not in self.known:
                    self._add(flag, dest=name, default=defaults[name], **self._arguments(flag))
        self._add(Flag(("-h", "--help"), bool, "help", "print this help and stop"), action="help")
        if program.version:
            version = Flag(("--version",), bool, "help", "print the version and stop")
            self._add(version, action="version", version=program.version)

    def _arguments(self, flag: Flag) -> dict[str, Any]:
        """How argparse reads a flag."""
        if flag.value_type is bool:
            return {"action": "store_true"}
        one = _METAVARS[flag.value_type]
        metavar = f"{one},{one},..." if flag.many == "commas" else one
        if flag.choices:
            metavar = "{" + ",".join(flag.choices) + "}"

        def check(text: str) -> Any:
            value = flag.parse(text)
            return text if self.several else value

        several = self.several or flag.many in ("words", "either")
        return {"type": check, "metavar": metavar, **({"nargs": "+"} if several else {})}

    def _add(self, flag: Flag, default: Any = None, **arguments: Any) -> None:
        if flag.group not in self._headings:
            self._headings[flag.group] = self.add_argument_group(flag.group)
        kinds = " or ".join(owners(arguments.get("dest", "")))
        text = flag.help + (f", for -n {kinds}" if kinds else "")
        if default not in (None, ()) and flag.value_type is not bool:
            text += f" (default: {default})"
        self._headings[flag.group].add_argument(*flag.names, help=text, **arguments)
        self.known |= dict.fromkeys(flag.names, flag)

    def read(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The values of the fields whose flags are given, and the words that belong to no flag.

        The last of a repeated flag counts, so that scripts can append `"$@"`.

        Raises:
            UsageError: a word is no flag, a value is missing, malformed or out of range.
            SystemExit: `--help` or `--version` was asked for and printed.
        """
        help_only = ["--help"] if {"-h", "--help"} & set(words) else None
        found, loose = self.parse_known_args(help_only or self._checked(words))
        if loose and not self.program.takes_words:
            self._refuse(loose[0])
        values = vars(found)
        if not self.several:
            values = {
                name: tuple(itertools.chain.from_iterable(value)) if isinstance(value, list) else value
                for name, value in values.items()
            }
        return values, loose

    def _checked(self, words: Sequence[str]) -> list[str]:
        """The words, none of which argparse takes for anything else."""
        checked: list[str] = []
        for word, after in itertools.zip_longest(words, words[1:]):
            name, equals, text = word.partition("=")
            flag, before = self.known.get(name), self.known.get(checked[-1]) if checked else None
            if flag is None:
                if _is_flag(word):
                    self._refuse(word)
                if word.startswith("-") and before and before.value_type is not bool:
                    checked[-1] += f"={word}"  # argparse takes some negative numbers, such as -1e5, for a flag
                    continue
            elif flag.value_type is bool and equals:
                raise UsageError(f"{name}: is a switch and takes no value; {shown(text)} was given")
            elif flag.value_type is not bool and not equals and (after is None or _is_flag(after)):
                what = "at the end of the line" if after is None else f"before {shown(after)}"
                raise UsageError(f"{name}: its value is missing {what}; allowed: {flag.allowed}")
            checked.append(word)
        return checked

    def _refuse(self, word: str) -> NoReturn:
        """Refuse a word that is no flag, nor the value of one."""
        name = word.partition("=")[0]
        if self.program.misplaced and any(name in flag.names for flag in flags_of(Config).values()):
            raise UsageError(f"{name}: {self.program.misplaced}")
        what = "unknown flag" if word.startswith("-") else "a value that belongs to no flag"
        takers = [flag.names[0] for flag in self.known.values() if name.lower() in flag.choices]
        meant = f" (did you mean {takers[0]} {name.lower()}?)" if takers else nearest(name, self.known)
        raise UsageError(f"{bare(name)}: {what}{meant}; --help lists all")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong, instead of printing a usage and ending the program."""
        raise UsageError(message.removeprefix("argument "))


def _is_flag(word: str) -> bool:
    # A dash before a digit or point is a negative number, which the flag's own limits then judge.
    return word.startswith("-") and not re.match(r"-[0-9.]", word)


def parse(arguments: Sequence[str]) -> Config | Revisit:
    """The run that the words describe, or with `--from` what to do with finished ones.

    Raises:
        UsageError, SystemExit: as `CommandLine.read`, or two settings contradict each other.
    """
    values = _read_runs(arguments)
    if "runs" not in values:
        return _run(values)
    extra = [flag.names[0] for name, flag in flags_of(Config).items() if name in values.keys() - flags_of(Revisit)]
    if extra:
        allowed = ", ".join(flag.names[0] for flag in flags_of(Revisit).values())
        raise UsageError(f"{extra[0]}: is for training, and --from trains nothing; allowed with it: {allowed}")
    return resolve_revisit(Revisit(**values))


def parse_run(arguments: Sequence[str]) -> Config:
    """The run that the words describe.

    Raises:
        UsageError, SystemExit: as `parse`.
    """
    return _run(_read_runs(arguments))


def read_grid(arguments: Sequence[str]) -> dict[str, list[str]]:
    """The words of each flag of runs, where a flag may have several; a switch has none.

    Raises:
        UsageError, SystemExit: as `CommandLine.read`.
    """
    values = _only_of_training(_read_runs(arguments, several=True))
    flags = flags_of(Config)
    return {flags[name].names[0]: [] if texts is True else texts for name, texts in values.items()}


def _read_runs(arguments: Sequence[str], several: bool = False) -> dict[str, Any]:
    values, _ = CommandLine((Config, Revisit), RUN_MODELS, several).read(arguments)
    return values


def _run(values: dict[str, Any]) -> Config:
    return resolve(Config(**_only_of_training(values)))


def _only_of_training(values: dict[str, Any]) -> dict[str, Any]:
    """Refuse a flag that is for finished runs only."""
    for name, flag in flags_of(Revisit).items():
        if name in values.keys() - flags_of(Config):
            raise UsageError(f"{flag.names[0]}: is for finished runs; add --from RUN, or leave it out")
    return values


def parse_options(
    arguments: Sequence[str], settings: type[Settings], program: Program
) -> tuple[Settings, list[str]]:
    """The settings of another program, and the words that belong to no flag.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        program: what `--help` says.

    Raises:
        UsageError, SystemExit: as `CommandLine.read`.
    """
    values, loose = CommandLine((settings,), program).read(arguments)
    return settings(**values), loose
