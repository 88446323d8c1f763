"""How much memory this process takes, on systems that tell it; elsewhere it is 0."""

import contextlib
from pathlib import Path

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def resident(key="VmRSS"):
    """Bytes that the process holds, or with `VmHWM` held at its highest."""
    found = [line for line in STATUS.read_text().splitlines() if line.startswith(key)] if RESET.exists() else ()
    return int(found[0].split()[1]) << 10 if found else 0


@contextlib.contextmanager
def highest_memory():
    """A list that gets, in the end, the bytes that the process held at its highest beyond those before."""
    took, before = [], resident()
    if RESET.exists():
        RESET.write_text("5")
    try:
        yield took
    finally:
        took.append(resident("VmHWM") - before)
