"""What a command-line flag is: spelling, kind, limits, and the checks that follow from them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool}
_ITEMS: dict[str, Any] = {"ints": int, "floats": (int, float), "strs": str, "words": str}
_FLOAT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"
_CLOSE = 0.7  # of two words, in the measure of difflib


class UsageError(Exception):
    """A mistake in the description of a run; its text is the one line that the user sees."""


@dataclass(frozen=True)
class Flag:
    """How one setting looks on the command line.

    Attributes:
        names: every spelling, the short one first.
        kind: `int`, `float`, `str`, `bool` (a switch), `ints`, `floats` or `strs` (comma-separated), or `words` (one or
            more words of the command line).
        group: heading in `--help`.
        help: one plain sentence.
        choices: allowed values, if they can be listed.
        low, high: closed range of a number, or of each number of a list.
        above: open lower bound of a number.
        identity: whether two runs that differ here are different runs (and so live in different folders).
    """

    names: tuple[str, ...]
    kind: str
    group: str
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    identity: bool = True

    @property
    def allowed(self) -> str:
        """The values that it takes, in words."""
        if self.choices:
            return ", ".join(self.choices)
        noun = {"int": "whole numbers", "ints": "whole numbers", "float": "numbers", "floats": "numbers"}.get(
            self.kind, "text"
        )
        if self.low is None and self.above is None:
            return noun
        return (
            f"{noun} {'above' if self.low is None else 'from'} {_plain(self.above if self.low is None else self.low)}"
            + (f" to {_plain(self.high)}" if self.high is not None else "")
        )

    def parse(self, given: str, text: str) -> Any:
        """The value that a word of the command line stands for, checked.

        Args:
            given: the flag's spelling there, for the message.
            text: the word.

        Raises:
            UsageError: it is no such value, or one that is not allowed.
        """
        value: Any = text
        if self.kind == "int":
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise UsageError(f"{given}: {shown(text)} is not a whole number; allowed: {self.allowed}")
            value = int(text)
        elif self.kind == "float":
            if not re.fullmatch(_FLOAT, text):
                raise UsageError(f"{given}: {shown(text)} is not a finite number; allowed: {self.allowed}")
            value = float(text)
        elif self.kind == "ints":
            if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
                raise UsageError(
                    f"{given}: {shown(text)} is not a list of whole numbers separated by commas, such as 256,128"
                )
            value = tuple(int(part) for part in text.split(","))
        elif self.kind == "floats":
            if not all(re.fullmatch(_FLOAT, part) for part in text.split(",")):
                raise UsageError(f"{given}: {shown(text)} is not a list of numbers separated by commas, such as 0.1,5")
            value = tuple(float(part) for part in text.split(","))
        elif self.kind == "strs":
            value = tuple(text.split(","))
        elif self.kind == "words":
            value = (text,)
        self.check(given, value)
        return value

    def check(self, given: str, value: Any) -> None:
        """Check a value against the limits.

        Raises:
            UsageError: it is of the wrong kind, not one of the choices, or out of range.
        """
        item = _ITEMS.get(self.kind)
        parts = value if item and isinstance(value, tuple) else (value,)
        # bool is a kind of int to Python, not to a user.
        right = all(
            isinstance(part, item or _TYPES[self.kind]) and (self.kind == "bool") == isinstance(part, bool)
            for part in parts
        )
        if not parts or not right or isinstance(value, tuple) != bool(item):
            raise UsageError(f"{given}: {shown(value)} is not of the right kind; allowed: {self.allowed}")
        if self.choices and value not in self.choices:
            raise UsageError(f"{given}: {shown(value)} is not one of {self.allowed}{nearest(value, self.choices)}")
        for number in parts if self.kind in ("int", "float", "ints", "floats") else ():
            # Written so that a NaN fails every comparison and is refused.
            fits = (self.low is None or number >= self.low) and (self.above is None or number > self.above)
            if not (fits and (self.high is None or number <= self.high)):
                raise UsageError(f"{given}: {shown(number)} is out of range; allowed: {self.allowed}")


def flag(names: str, kind: str, group: str, default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that carries its `Flag`; `names` are separated by blanks."""
    return field(default=default, metadata={"flag": Flag(tuple(names.split()), kind, group, help, **limits)})


def flag_of(item: dataclasses.Field[Any]) -> Flag:
    """The flag of a field that `flag` made."""
    found: Flag = item.metadata["flag"]
    return found


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the closest known spelling, or nothing where none is close.

    Leading dashes and case do not count: they would make any two flags alike, and `MNIST` unlike `mnist`. Close are the
    beginning of a word, its letters in another order, and at most a letter or so in four that differs: `gpu` is not a
    slip for `cpu`. A word without letters has no slips, only other values.
    """
    from difflib import SequenceMatcher  # only needed once something is wrong

    given = _plain_word(word[:80])
    if not any(character.isalpha() for character in given):
        return ""

    def likeness(name: str) -> float:
        name = _plain_word(name)
        found = SequenceMatcher(None, name, given).ratio()
        begins = len(given) >= 3 and name.startswith(given)
        return max(found, _CLOSE) if begins or sorted(name) == sorted(given) else found

    best = max(sorted(known), key=likeness, default="")
    return f" (did you mean {best}?)" if best and likeness(best) >= _CLOSE else ""


def _plain_word(word: str) -> str:
    return word.lstrip("-").lower()


def shown(value: Any) -> str:
    """A value in a message: in one line however many it has, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text):,} characters)"


def bare(text: str) -> str:
    """A word of the command line in a message: as it was typed where that can be read, else as `shown`."""
    return text if text.isprintable() and 0 < len(text) <= 80 else shown(text)


def _plain(number: float | None) -> str:
    return f"{number:,.0f}" if number is not None and number == round(number) else f"{number:g}"
