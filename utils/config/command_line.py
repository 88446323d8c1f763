"""From the words of a command line to checked settings.

argparse parses. It accepts some words that a user did not mean, such as `-di x` for `-dis x` or `-zd5` for `-z d5`, so
every word that begins with a dash is compared with the flags before argparse sees it.
"""

import argparse
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from hyperspherical_vae import __version__
from utils.config.config import Config, owners
from utils.config.flags import Flag, UsageError, bare, flags_of, nearest, shown
from utils.config.request import Revisit, resolve_revisit
from utils.config.rules import resolve
from utils.config.stored import Source, settings_in

PROGRAM = (Config, Source, Revisit)  # what the flags of run_models.py fill
_ONE = {int: "N", float: "X", str: "TEXT"}
_HELP = Flag(("-h", "--help"), bool, "help", "print this help and stop")
_VERSION = Flag(("--version",), bool, "help", "print the version and stop")
_EPILOG = """\
Repeating a command prints the table of a finished run and resumes an unfinished one.
Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 130 or 143 interrupted (128 + the signal).
torchrun itself ends with 1 unless all of its processes end with 0.

examples:
  python run_models.py -n vmf -z 10 -d mnist
  python run_models.py -zd s4,s4,e2 -d f_mnist -e 500 -rs 1 --seeds 5
  python run_models.py --from results/mnist/RUN --figures latent samples --pdf"""

Settings = TypeVar("Settings")


class _PrintAndStop(argparse.Action):
    """Print `const`; argparse's own `version` hides from its caller that the output is full."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(self.const)
        parser.exit()


class CommandLine(argparse.ArgumentParser):
    """A parser of the flags of some settings, whose errors are a `UsageError` of one line.

    Args:
        settings: dataclasses whose fields `flags.flag` made; a flag that is in several of them is there once.
        about: usage, description and epilog of `--help`.
    """

    def __init__(self, settings: Sequence[type], **about: Any) -> None:
        super().__init__(
            **about, formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS,
        )
        self.flags = {name: flag for kind in settings for name, flag in flags_of(kind).items()}
        self.defaults = {name: value for kind in reversed(settings) for name, value in vars(kind()).items()}
        headings = dict.fromkeys(flag.group for flag in (*self.flags.values(), _HELP))
        self.groups = {heading: self.add_argument_group(heading) for heading in headings}
        self.known: dict[str, Flag] = {}
        for name, flag in self.flags.items():
            kinds, default = " or ".join(owners(name)), self.defaults[name]
            text = flag.help + (f", for -n {kinds}" if kinds else "")
            if flag.value_type is bool:
                self.add(flag, action="store_true", dest=name, help=text)
                continue
            one = _ONE[flag.value_type]
            several = "+" if flag.many in ("words", "either") else None
            self.add(
                flag, type=flag.parse, dest=name, choices=flag.choices or None,
                metavar=None if flag.choices else f"{one},{one},..." if flag.many == "commas" else one,
                nargs=several if flag.alone is None else "?", const=flag.alone,
                help=text + ("" if default in (None, ()) else f" (default: {default})"),
            )
        self.add(_HELP, action="help")

    def add(self, flag: Flag, **how: Any) -> None:
        """Let argparse take a flag, as `add_argument` describes."""
        self.groups[flag.group].add_argument(*flag.names, **{"help": flag.help, **how})
        self.known |= dict.fromkeys(flag.names, flag)

    def read(self, words: Sequence[str], takes_words: bool = False) -> tuple[dict[str, Any], list[str]]:
        """The values of the fields whose flags are given, and the words that belong to no flag.

        The last of a repeated flag counts, so that scripts can append `"$@"`.

        Raises:
            UsageError: a word is no flag, a value is missing, malformed or out of range.
            SystemExit: `--help` or `--version` was asked for and printed.
        """
        words = ["--help"] if set(_HELP.names) & set(words) else words
        for word, after in itertools.zip_longest(words, words[1:]):
            name, equals, text = word.partition("=")
            flag = self.known.get(name)
            if flag is None and is_flag(word):
                self.refuse(word)
            if flag and flag.value_type is bool and equals:
                raise UsageError(f"{name}: is a switch and takes no value; {shown(text)} was given")
            needs_value = flag and flag.value_type is not bool and flag.alone is None
            if flag and needs_value and not equals and (after is None or is_flag(after)):
                what = "at the end of the line" if after is None else f"before {shown(after)}"
                raise UsageError(f"{name}: its value is missing {what}; allowed: {flag.allowed}")
        found, loose = self.parse_known_args(words)
        if loose and not takes_words:
            self.refuse(loose[0])
        return {n: tuple(itertools.chain(*v)) if isinstance(v, list) else v for n, v in vars(found).items()}, loose

    def refuse(self, word: str) -> NoReturn:
        """Refuse a word that is no flag, nor the value of one."""
        name = word.partition("=")[0]
        what = "unknown flag" if word.startswith("-") else "a value that belongs to no flag"
        takers = [flag.names[0] for flag in self.known.values() if name.lower() in flag.choices]
        meant = f" (did you mean {takers[0]} {name.lower()}?)" if takers else nearest(name, self.known)
        raise UsageError(f"{bare(name)}: {what}{meant}; --help lists all")

    def print_help(self, file: Any = None) -> None:
        """Print the help; see `_PrintAndStop`."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found wrong, instead of printing a usage and ending the program."""
        raise UsageError(message.removeprefix("argument "))


def is_flag(word: str) -> bool:
    """Whether a word stands for a flag, not for a value: argparse takes a negative number for a value."""
    return word.startswith("-") and not re.fullmatch(r"-\d+|-\d*\.\d+", word)


def parse(arguments: Sequence[str], say: Callable[[str], None] | None = None) -> Config | Revisit:
    """The run that the words describe, or with `--from` what to do with finished ones.

    Args:
        arguments: the words.
        say: takes a line on what is done otherwise than the file of `--config` says.

    Raises:
        UsageError, SystemExit: as `CommandLine.read`, or two settings contradict each other.
    """
    parser = CommandLine(
        PROGRAM, usage="python run_models.py [FLAGS]", epilog=_EPILOG,
        description="Train, evaluate and picture a variational auto-encoder.\n"
        "Its latent space is a sphere, a Euclidean space, a product of these, or discrete codes.",
    )
    parser.add(_VERSION, action=_PrintAndStop, nargs=0, const=f"run_models.py {__version__}")
    values, _ = parser.read(arguments)
    known = flags_of(Revisit) if "runs" in values else flags_of(Config) | flags_of(Source)
    extra = next((flag.names[0] for name, flag in parser.flags.items() if name in values.keys() - known), None)
    if "runs" in values:
        if extra:
            allowed = ", ".join(flag.names[0] for flag in known.values())
            raise UsageError(f"{extra}: is for training, and --from trains nothing; allowed with it: {allowed}")
        return resolve_revisit(Revisit(**values))
    if extra:
        raise UsageError(f"{extra}: is for finished runs; add --from RUN, or leave it out")
    stored, note = settings_in(values.pop("config")) if "config" in values else ({}, "")
    if note and say:
        say(note)
    return resolve(Config(**stored | values))


def parse_run(arguments: Sequence[str]) -> Config:
    """The run that the words describe.

    Raises:
        UsageError, SystemExit: as `parse`.
    """
    config = parse(arguments)
    if isinstance(config, Revisit):
        raise UsageError("--from: is for finished runs; a new run is trained here")
    return config


def read_grid(words: Sequence[str]) -> dict[str, list[str]]:
    """The values of each flag of a command line where a flag may have several, unchecked; a switch has none.

    Raises:
        UsageError: a value belongs to no flag.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        if is_flag(word):
            name, equals, text = word.partition("=")
            found[name] = [text] if equals else []
        elif not found:
            raise UsageError(f"{bare(word)}: a value that belongs to no flag")
        else:
            found[name].append(word)
    return found


def parse_options(
    arguments: Sequence[str], settings: type[Settings], takes_words: bool = True, **about: str
) -> tuple[Settings, list[str]]:
    """The settings of another program, and the words that belong to no flag.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        takes_words: whether words may belong to no flag.
        about: usage, description and epilog of `--help`.

    Raises:
        UsageError, SystemExit: as `CommandLine.read`.
    """
    values, loose = CommandLine((settings,), **about).read(arguments, takes_words)
    return settings(**values), loose
