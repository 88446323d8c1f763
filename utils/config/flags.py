"""What a flag of the command line is: its spelling, the values that it takes, and the checks that follow from them."""

import argparse
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

_NUMBERS = {int: r"[+-]?[0-9]{1,18}", float: r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"}
_NOUNS = {int: "whole numbers", float: "finite numbers", str: "text", bool: "a switch"}
_CLOSE = 0.7  # likeness of two words, as difflib measures it


class UsageError(argparse.ArgumentTypeError):
    """A mistake in the description of a run; its text is the one line that the user sees.

    It is an argparse error so that argparse names the flag whose value raised it.
    """


@dataclass(frozen=True)
class Flag:
    """How one setting looks on the command line.

    Attributes:
        names: every spelling, the short one first.
        value_type: of the value, or of each value of a list: `int`, `float`, `str`, or `bool` for a switch.
        group: heading in `--help`.
        help: one plain sentence.
        many: how several values are written: `commas` for one word such as 256,128, `words` for several words, `either`
            for both, empty for a flag with a single value.
        options: returns the allowed values, if they can be listed. They are asked for whenever a value is checked, so
            that what was registered after the start is allowed, too.
        low, high: closed range of a number, or of each number of a list.
        above: open lower bound of a number.
        word: a word that is allowed in place of a number.
        alone: the value where the flag is given without one; None where it needs one.
        pattern: of allowed text, and what it allows in words; by default all that can name a file.
        needs: another setting and the value that it must have for this one to have an effect.
        identity: whether two runs that differ here are different runs (and so live in different folders).
    """

    names: tuple[str, ...]
    value_type: type
    group: str
    help: str
    many: Literal["", "commas", "words", "either"] = ""
    options: Callable[[], Iterable[str]] = tuple
    low: float | None = None
    high: float | None = None
    above: float | None = None
    word: str = ""
    alone: Any = None
    pattern: tuple[str, str] = ("[^\0\ud800-\udc7f\udd00-\udfff]+", "text that is not empty")
    needs: tuple[str, Any] | None = None
    identity: bool = True

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values; empty where they cannot be listed."""
        return tuple(self.options())

    @property
    def allowed(self) -> str:
        """The values that it takes, in words."""
        noun = self.pattern[1] if self.value_type is str else _NOUNS[self.value_type]
        if self.high is not None:
            start = f"from {_plain(self.low)}" if self.low is not None else f"above {_plain(self.above)}"
            noun += f" {start} to {_plain(self.high)}" + (f", or {self.word}" if self.word else "")
        return ", ".join(self.choices) or noun + (", separated by commas" if self.many == "commas" else "")

    def parse(self, text: str) -> Any:
        """The value that a word of the command line stands for, checked; a tuple for a flag with several values.

        Raises:
            UsageError: it is no such value, or one that is not allowed.
        """
        if self.word and text == self.word:
            return text
        parts = text.split(",") if self.many in ("commas", "either") else [text]
        if self.value_type in _NUMBERS and not all(re.fullmatch(_NUMBERS[self.value_type], part) for part in parts):
            one = "a whole number" if self.value_type is int else "a finite number"
            raise UsageError(f"{shown(text)} is not {'a list' if self.many else one}; allowed: {self.allowed}")
        values = tuple(self.value_type(part) for part in parts)
        return self.check(values if self.many else values[0])

    def check(self, value: Any) -> Any:
        """The value, if it is within the limits.

        Raises:
            UsageError: it is of the wrong type, not one of the choices, or out of range.
        """
        if self.word and value == self.word:
            return value
        parts = value if self.many else (value,)
        types = (int, float) if self.value_type is float else self.value_type
        # bool is a kind of int to Python, not to a user.
        if not isinstance(parts, tuple) or not parts or not all(
            isinstance(part, types) and isinstance(part, bool) == (self.value_type is bool) for part in parts
        ):
            raise UsageError(f"{shown(value)} is not of the right kind; allowed: {self.allowed}")
        for part in parts:
            if self.value_type is str and not re.fullmatch(self.pattern[0], part):
                raise UsageError(f"{shown(part)} cannot be used here; allowed: {self.allowed}")
            if self.choices and part not in self.choices:
                raise UsageError(f"{shown(part)} is not one of {self.allowed}{nearest(part, self.choices)}")
            # Written so that a NaN fails every comparison and is refused.
            fits = (self.low is None or part >= self.low) and (self.above is None or part > self.above)
            if not (fits and (self.high is None or part <= self.high)):
                raise UsageError(f"{shown(part)} is out of range; allowed: {self.allowed}")
        return value


def refuse(*mistakes: tuple[object, str]) -> None:
    """Refuse the first mistake that was made.

    Args:
        mistakes: whether each was made, and the line that the user sees then.

    Raises:
        UsageError: with that line.
    """
    for is_made, line in mistakes:
        if is_made:
            raise UsageError(line)


def flag(names: str, value_type: type, group: str, default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that carries its `Flag`; `names` are separated by blanks."""
    return field(default=default, metadata={"flag": Flag(tuple(names.split()), value_type, group, help, **limits)})


def flag_of(item: dataclasses.Field[Any]) -> Flag:
    """The flag of a field that `flag` made."""
    return item.metadata["flag"]


@functools.cache
def flags_of(settings: type) -> dict[str, Flag]:
    """The flag of each field of a dataclass that `flag` made."""
    return {item.name: flag_of(item) for item in dataclasses.fields(settings) if "flag" in item.metadata}


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the closest known spelling, or nothing where none is close.

    Leading dashes and case do not count: they would make any two flags alike, and `MNIST` unlike `mnist`. Close are the
    beginning of a word, its letters in another order, and at most a letter or so in four that differs: `gpu` is not a
    slip for `cpu`. A word without letters has no slips, only other values.
    """
    from difflib import SequenceMatcher  # only needed once something is wrong

    given = word[:80].lstrip("-").lower()
    if not any(character.isalpha() for character in given):
        return ""

    def likeness(name: str) -> float:
        name = name.lstrip("-").lower()
        found = SequenceMatcher(None, name, given).ratio()
        begins = len(given) >= 3 and name.startswith(given)
        return max(found, _CLOSE) if begins or sorted(name) == sorted(given) else found

    best = max(sorted(known), key=likeness, default="")
    return f" (did you mean {best}?)" if best and likeness(best) >= _CLOSE else ""


def shown(value: Any) -> str:
    """A value in a message: in one line however many it has, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text):,} characters)"


def bare(text: str) -> str:
    """A word of the command line in a message: as it was typed where that can be read, else as `shown`."""
    return text if text.isprintable() and 0 < len(text) <= 80 else shown(text)


def printable(text: object) -> str:
    """A text or path on one line, with escapes for what would change the terminal or cannot be encoded."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def _plain(number: float | None) -> str:
    return f"{number:,.0f}" if number is not None and number == round(number) else f"{number:g}"
