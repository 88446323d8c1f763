"""From the words of a command line to checked settings. argparse is used for `--help`; the words are checked here.

argparse accepts what a user did not mean: `-di x` for `-dis x`, `-zd5` for `-z d5`, `nan` for a number. So every word
that begins with a dash has to be a flag in full before argparse's formatting is even imported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from utils.config.config import Config
from utils.config.flags import Flag, UsageError, bare, flag_of, nearest, shown
from utils.config.request import Revisit, resolve_revisit
from utils.config.rules import resolve

_HELP = ("-h", "--help")
_FROM = "--from"
_METAVARS = {
    "int": "N",
    "float": "X",
    "str": "TEXT",
    "ints": "N,N,...",
    "floats": "X,X,...",
    "strs": "S,S,...",
    "words": "WORD ...",
}
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
        """What its words mean; True for a switch. Those of a list count together, `a b` being the same as `a,b`."""
        if not self.texts:
            return True
        if self.flag.kind not in ("strs", "words"):
            return self.flag.parse(self.word, self.texts[0])
        return tuple(part for text in self.texts for part in self.flag.parse(self.word, text))


def parse(arguments: Sequence[str]) -> Config | Revisit:
    """The run that the words describe, or with `--from` what to do with finished ones.

    The last of a repeated flag counts, so that scripts can append `"$@"`.

    Raises:
        UsageError: a word is no flag, a value is missing, malformed, out of range, or contradicts another.
        SystemExit: `--help` was asked for and printed.
    """
    if any(word in _HELP for word in arguments):
        print_help((Config, Revisit), "run_models.py", _DESCRIPTION, _EPILOG)
    if any(word.partition("=")[0] == _FROM for word in arguments):
        return resolve_revisit(Revisit(**{given.field: given.value for given in read_flags(arguments, Revisit)}))
    return parse_run(arguments)


def parse_run(arguments: Sequence[str]) -> Config:
    """The run that the words describe.

    Raises:
        UsageError: as `parse`.
    """
    return resolve(Config(**{given.field: given.value for given in read_flags(arguments, Config)}))


def parse_options(
    arguments: Sequence[str],
    settings: type[Settings],
    program: str,
    description: str,
    epilog: str,
    of_runs: str | None = None,
) -> tuple[Settings, list[str]]:
    """The settings of another program, and the words that belong to no flag.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        program, description, epilog: for `--help`.
        of_runs: what to say of a flag that is none of this program but of `run_models.py`.

    Raises:
        UsageError, SystemExit: as `parse`.
    """
    if any(word in _HELP for word in arguments):
        print_help((settings,), program, description, epilog)
    if of_runs:
        misplaced = _spellings(Config).keys() - _spellings(settings).keys()
        for word in arguments:
            if (name := word.partition("=")[0]) in misplaced:
                raise UsageError(f"{name}: {of_runs}")
    loose: list[str] = []
    values = {given.field: given.value for given in read_flags(arguments, settings, loose=loose)}
    return settings(**values), loose


def read_flags(
    arguments: Sequence[str], settings: type, *, several: bool = False, loose: list[str] | None = None
) -> list[Given]:
    """The flags of a command line, every word checked.

    Args:
        arguments: the words.
        settings: a dataclass whose fields `flags.flag` made.
        several: let every flag take several words; otherwise only those of kind `words` do.
        loose: takes the words that belong to no flag; None refuses them.

    Raises:
        UsageError: a word is no flag, a value is missing, malformed or out of range.
    """
    known = _spellings(settings)
    found: list[Given] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, text = word.partition("=")
        if name not in known:
            if loose is not None and not word.startswith("-"):
                loose.append(word)
                continue
            _refuse(word, name, settings)
        field, spec = known[name]
        if spec.kind == "bool":
            if equals:
                raise UsageError(f"{name}: is a switch and takes no value; {shown(text)} was given")
            found.append(Given(name, field, spec, ()))
            continue
        if not equals:
            if not words or _is_flag(words[0], known):
                what = f"before {shown(words[0])}" if words else "at the end of the line"
                raise UsageError(f"{name}: its value is missing {what}; allowed: {spec.allowed}")
            text = words.pop(0)
        texts = [text]
        while (several or spec.kind == "words") and not equals and words and not _is_flag(words[0], known):
            texts.append(words.pop(0))
        for part in texts:
            spec.parse(name, part)
        found.append(Given(name, field, spec, tuple(texts)))
    return found


def _spellings(settings: type) -> dict[str, tuple[str, Flag]]:
    return {word: (f.name, flag_of(f)) for f in dataclasses.fields(settings) for word in flag_of(f).names}


def _refuse(word: str, name: str, settings: type) -> NoReturn:
    if settings is Config and name in _spellings(Revisit):
        raise UsageError(f"{name}: is for finished runs; add --from RUN, or leave it out")
    if settings is Revisit and name in _spellings(Config):
        allowed = ", ".join(flag_of(f).names[0] for f in dataclasses.fields(Revisit))
        raise UsageError(f"{name}: is for training, and --from trains nothing; allowed with it: {allowed}")
    what = "unknown flag" if word.startswith("-") else "a value that belongs to no flag"
    takers = [spec.names[0] for _, spec in _spellings(settings).values() if name.lower() in spec.choices]
    meant = f" (did you mean {takers[0]} {name.lower()}?)" if takers else nearest(name, _spellings(settings))
    raise UsageError(f"{bare(name)}: {what}{meant}; --help lists all")


def _is_flag(word: str, known: dict[str, tuple[str, Flag]]) -> bool:
    # A dash before a digit or point is a negative number, which the flag's own limits then judge.
    return word in known or (word.startswith("-") and not re.match(r"-[0-9.]", word))


def print_help(settings: Sequence[type], program: str, description: str, epilog: str) -> NoReturn:
    """Print the flags in their groups, with defaults, and leave with exit code 0."""
    import argparse

    parser = argparse.ArgumentParser(prog=program, description=description, epilog=epilog)
    fields = [f for kind in settings for f in dataclasses.fields(kind)]
    headings = dict.fromkeys(flag_of(f).group for f in fields)
    groups = {heading: parser.add_argument_group(heading) for heading in headings}
    seen: set[str] = set()
    for f in fields:
        spec = flag_of(f)
        if spec.names[0] in seen:
            continue
        seen.add(spec.names[0])
        group = groups[spec.group]
        text = spec.help + ("" if f.default in (None, ()) or spec.kind == "bool" else f" (default: {f.default})")
        if spec.kind == "bool":
            group.add_argument(*spec.names, action="store_true", help=text)
        else:
            metavar = "{" + ",".join(spec.choices) + "}" if spec.choices else _METAVARS[spec.kind]
            group.add_argument(*spec.names, metavar=metavar, help=text)
    parser.print_help()
    raise SystemExit(0)
