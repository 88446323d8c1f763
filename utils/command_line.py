"""From the words of a command line to a `Config`. argparse is used for `--help`; the words are checked here.

argparse accepts what a user did not mean: `-di x` for `-dis x`, `-zd5` for `-z d5`, `nan` for a number. So every word
that begins with a dash has to be a flag in full before argparse's formatting is even imported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from utils.config import Config, resolve
from utils.flags import Flag, UsageError, bare, flag_of, nearest, shown
from utils.revisit import Revisit, resolve_revisit

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


def _spellings(kind: type[Config] | type[Revisit]) -> dict[str, tuple[str, Flag]]:
    return {word: (f.name, flag_of(f)) for f in dataclasses.fields(kind) for word in flag_of(f).names}


def parse(arguments: Sequence[str]) -> Config | Revisit:
    """The run that the words describe, or with `--from` what to do with finished ones.

    The last of a repeated flag counts, so that scripts can append `"$@"`.

    Raises:
        UsageError: a word is no flag, a value is missing, malformed, out of range, or contradicts another.
        SystemExit: `--help` was asked for and printed.
    """
    words = list(arguments)
    if any(word in _HELP for word in words):
        print_help()
    if any(word.partition("=")[0] == _FROM for word in words):
        return resolve_revisit(Revisit(**_values(words, Revisit)))
    return resolve(Config(**_values(words, Config)))


def _values(words: list[str], kind: type[Config] | type[Revisit]) -> dict[str, Any]:
    known = _spellings(kind)
    values: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        given, equals, text = word.partition("=")
        if kind is Config and given in _spellings(Revisit) and given not in known:
            raise UsageError(f"{given}: is for finished runs; add --from RUN, or leave it out")
        if kind is Revisit and given in _spellings(Config) and given not in known:
            allowed = ", ".join(flag_of(f).names[0] for f in dataclasses.fields(Revisit))
            raise UsageError(f"{given}: is for training, and --from trains nothing; allowed with it: {allowed}")
        if given not in known:
            what = "unknown flag" if word.startswith("-") else "a value that belongs to no flag"
            raise UsageError(f"{bare(given)}: {what}{nearest(given, known)} (--help lists all)")
        field, spec = known[given]
        if spec.kind == "bool":
            if equals:
                raise UsageError(f"{given}: is a switch and takes no value; {shown(text)} was given")
            values[field] = True
            continue
        if not equals:
            if not words or _is_flag(words[0], known):
                what = f"before {shown(words[0])}" if words else "at the end of the line"
                raise UsageError(f"{given}: its value is missing {what}; allowed: {spec.allowed}")
            text = words.pop(0)
        values[field] = spec.parse(given, text)
        while spec.kind == "words" and not equals and words and not _is_flag(words[0], known):
            values[field] += spec.parse(given, words.pop(0))
    return values


def _is_flag(word: str, known: dict[str, tuple[str, Flag]]) -> bool:
    # A dash before a digit or point is a negative number, which the flag's own limits then judge.
    return word in known or (word.startswith("-") and not re.match(r"-[0-9.]", word))


def print_help() -> NoReturn:
    """Print the flags in their groups, with defaults, and leave with exit code 0."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="run_models.py",
        description="Train, evaluate and picture a variational auto-encoder with a normal, hyperspherical or "
        "product latent space.",
        epilog="Repeating a command prints the table of a finished run and resumes an unfinished one. "
        "Exit codes: 0 done, 1 failed, 2 usage, 3 diverged, 130 or 143 interrupted.",
    )
    fields = (*dataclasses.fields(Config), *dataclasses.fields(Revisit))
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
