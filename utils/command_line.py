"""From the words of a command line to checked settings. argparse is used for `--help`; the words are checked here.

argparse accepts what a user did not mean: `-di x` for `-dis x`, `-zd5` for `-z d5`, `nan` for a number. So every word
that begins with a dash has to be a flag in full before argparse's formatting is even imported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from utils.config import Config, resolve
from utils.flags import Flag, UsageError, bare, flag_of, nearest, shown

_HELP = ("-h", "--help")
_METAVARS = {"int": "N", "float": "X", "str": "TEXT", "ints": "N,N,...", "strs": "S,S,..."}
_DESCRIPTION = (
    "Train, evaluate and picture a variational auto-encoder with a normal, hyperspherical or product latent space."
)
_EPILOG = (
    "Repeating a command prints the table of a finished run and resumes an unfinished one. "
    "Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 130 or 143 interrupted."
)

Settings = TypeVar("Settings")


class Given(NamedTuple):
    """A flag of a command line with the words that follow it, each checked.

    Attributes:
        word: the flag as it was spelled.
        field: the setting that it fills.
        flag: what it allows.
        texts: its words; none for a switch.
    """

    word: str
    field: str
    flag: Flag
    texts: tuple[str, ...]

    @property
    def value(self) -> Any:
        """What the (first) word means; True for a switch."""
        return self.flag.parse(self.word, self.texts[0]) if self.texts else True


def parse(arguments: Sequence[str]) -> Config:
    """The run that the words describe; the last of a repeated flag counts, so that scripts can append `"$@"`.

    Raises:
        UsageError: a word is no flag, a value is missing, malformed, out of range, or contradicts another.
        SystemExit: `--help` was asked for and printed.
    """
    if asks_for_help(arguments):
        print_help(Config, "run_models.py", _DESCRIPTION, _EPILOG)
    return resolve(Config(**{given.field: given.value for given in read_flags(arguments, Config)}))


def parse_options(
    arguments: Sequence[str], settings: type[Settings], program: str, description: str, epilog: str
) -> tuple[Settings, list[str]]:
    """The settings of another program, and the words that come before its first flag or after a switch.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        program, description, epilog: for `--help`.

    Raises:
        UsageError, SystemExit: as `parse`.
    """
    if asks_for_help(arguments):
        print_help(settings, program, description, epilog)
    loose: list[str] = []
    values = {}
    for given in read_flags(arguments, settings, loose=loose):
        # A list may be written with blanks too: `--metric log_px elbo` is `--metric log_px,elbo`.
        whole = given._replace(texts=(",".join(given.texts),)) if given.texts else given
        values[given.field] = whole.value
    return settings(**values), loose


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether `-h` or `--help` is among the words."""
    return any(word in _HELP for word in arguments)


def read_flags(
    arguments: Sequence[str], settings: type, *, several: bool = False, loose: list[str] | None = None
) -> list[Given]:
    """The flags of a command line, every word checked.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        several: let every flag take several words; otherwise only those whose kind is a list may, outside `Config`.
        loose: takes the words that belong to no flag; None refuses them.

    Raises:
        UsageError: a word is no flag, a value is missing, malformed or out of range.
    """
    known = {word: (f.name, flag_of(f)) for f in dataclasses.fields(settings) for word in flag_of(f).names}
    found: list[Given] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, text = word.partition("=")
        if name not in known:
            if loose is not None and not word.startswith("-"):
                loose.append(word)
                continue
            kind = "unknown flag" if word.startswith("-") else "a value that belongs to no flag"
            raise UsageError(f"{bare(name)}: {kind}{nearest(name, known)} (--help lists all)")
        field, spec = known[name]
        if spec.kind == "bool":
            if equals:
                raise UsageError(f"{name}: is a switch and takes no value; {shown(text)} was given")
            found.append(Given(name, field, spec, ()))
            continue
        if equals:
            texts = [text]
        elif not words or _is_flag(words[0], known):
            what = f"before {shown(words[0])}" if words else "at the end of the line"
            raise UsageError(f"{name}: its value is missing {what}; allowed: {spec.allowed}")
        else:
            texts = [words.pop(0)]
            while (several or (loose is not None and spec.kind == "strs")) and words and not _is_flag(words[0], known):
                texts.append(words.pop(0))
        for part in texts:
            spec.parse(name, part)
        found.append(Given(name, field, spec, tuple(texts)))
    return found


def _is_flag(word: str, known: dict[str, tuple[str, Flag]]) -> bool:
    # A dash before a digit or point is a negative number, which the flag's own limits then judge.
    return word in known or (word.startswith("-") and not re.match(r"-[0-9.]", word))


def print_help(settings: type, program: str, description: str, epilog: str) -> NoReturn:
    """Print the flags in their groups, with defaults, and leave with exit code 0."""
    import argparse

    parser = argparse.ArgumentParser(prog=program, description=description, epilog=epilog)
    headings = dict.fromkeys(flag_of(f).group for f in dataclasses.fields(settings))
    groups = {heading: parser.add_argument_group(heading) for heading in headings}
    for f in dataclasses.fields(settings):
        spec = flag_of(f)
        group = groups[spec.group]
        text = spec.help + ("" if f.default is None or spec.kind == "bool" else f" (default: {f.default})")
        if spec.kind == "bool":
            group.add_argument(*spec.names, action="store_true", help=text)
        else:
            metavar = "{" + ",".join(spec.choices) + "}" if spec.choices else _METAVARS[spec.kind]
            group.add_argument(*spec.names, metavar=metavar, help=text)
    parser.print_help()
    raise SystemExit(0)
