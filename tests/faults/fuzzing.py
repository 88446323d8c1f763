"""Nonsense for every program and every reader, and what has to hold whatever it is.

`python -m tests.faults.fuzzing lines=10000 configurations=2000 runs=2000 checkpoints=200 data=500` tries more than the
tests do and prints a table; `seed=7` among the words tries others.
"""

import collections
import contextlib
import faulthandler
import io
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tests.memory import highest_memory

SECONDS = 10.0  # of processor time; a case that takes longer counts as a hang
MEMORY = 512 << 20  # bytes that a case may take
MOST_LINES = 3  # on standard error: what was left out or replaced, and the one that says why the program ends


@dataclass
class Tally:
    """How many cases of each kind ended in which way, and those that broke a promise."""

    kind: str
    counts: collections.Counter = field(default_factory=collections.Counter)
    broken: list = field(default_factory=list)

    def note(self, ended, broken=None, case=None):
        self.counts[ended] += 1
        if broken:
            self.broken.append((self.kind, case, broken))

    def __str__(self):
        ended = ", ".join(f"{name} {count:,}" for name, count in sorted(self.counts.items()))
        tried = sum(self.counts.values())
        return f"{self.kind}: {tried:,} tried, {tried - len(self.broken):,} as promised ({ended})"


def watched(call, allowed=(), promise_lines=True):
    """Call a program or a reader in this process.

    Args:
        call: returns an exit code or a value.
        allowed: exceptions that are documented.
        promise_lines: whether what it prints on standard error is one line for each thing that is wrong.

    Returns:
        How it ended in a word, what promise it broke or None, its standard output.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True) for _ in range(2))
    started, ended, text = time.process_time(), "done", ""
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)  # what waits takes no processor time
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), highest_memory() as took:
            code = call()
        ended = f"exit {code}" if isinstance(code, int) else "read"
    except allowed as error:
        ended, text = "refused", str(error)
    except BaseException:
        return "traceback", traceback.format_exc()[-3000:], ""
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds = time.process_time() - started
    said, printed = (stream.buffer.getvalue().decode() for stream in (err, out))
    if seconds > SECONDS:
        return "hang", f"{seconds:.0f} s", printed
    if took[0] > MEMORY:
        return "took memory", f"{took[0]:,} bytes", printed
    if "Traceback" in said:
        return "traceback", said[-3000:], printed
    if raw := {char for char in said + printed + text if char < " " and char not in "\n\t"}:
        return ended, f"control characters {raw}", printed
    if promise_lines and (said.count("\n") > MOST_LINES or "\n" in text):
        return ended, f"several lines: {said}{text}"[:3000], printed
    if ended not in ("exit 0", "read", "done") and not (said + text).strip():
        return ended, "not a word", printed
    return ended, None, printed


@contextlib.contextmanager
def nothing_written(folder):
    """Work in an empty folder, which has to stay so."""
    folder.mkdir(parents=True, exist_ok=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
    assert list(folder.iterdir()) == [], f"written in {folder}: {list(folder.iterdir())}"


def main(words):
    """Try as many cases as the words say; returns the exit code."""
    import tempfile

    from tests.faults import fuzz_data, fuzz_lines, fuzz_runs

    asked = dict(word.split("=") for word in words)
    seed = int(asked.pop("seed", 0))
    fuzzers = {
        "lines": fuzz_lines.fuzz,
        "configurations": fuzz_lines.fuzz_configurations,
        "runs": fuzz_runs.fuzz,
        "checkpoints": fuzz_runs.fuzz_checkpoints,
        "data": fuzz_data.fuzz,
    }
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in asked.items():
            started = time.monotonic()
            tally = fuzzers[kind](int(count), seed, Path(folder) / kind)
            print(f"{tally}; {time.monotonic() - started:.0f} s", flush=True)
            for case in tally.broken:
                print("BROKEN", *case, sep="\n  ", flush=True)
            broken += len(tally.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
