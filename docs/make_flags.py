"""Write docs/flags.md from the parser of run_models.py: `python docs/make_flags.py`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from utils.config.command_line import PROGRAM, CommandLine  # noqa: E402  (the project is not installed)
from utils.config.config import owners  # noqa: E402
from utils.config.flags import Flag  # noqa: E402

HEAD = """\
# The flags of `run_models.py`

`python run_models.py --help` prints the same. A mistake is answered in one line that says what was given and what is
allowed, with exit code 2, and nothing is created. The last of a repeated flag counts, so that scripts can append
`"$@"`. This page is written by `python docs/make_flags.py`.
"""


def page() -> str:
    """The page as Markdown: one table for each group of flags."""
    parser = CommandLine(PROGRAM)
    parts = [HEAD]
    for heading in dict.fromkeys(flag.group for flag in parser.flags.values()):
        rows = [
            f"| {' '.join(f'`{name}`' for name in flag.names)} | {_meaning(name, flag)} | {_default(parser, name)} |"
            for name, flag in parser.flags.items()
            if flag.group == heading
        ]
        parts += [f"\n## {heading.capitalize()}\n", "| flag | meaning | default |", "|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def _meaning(name: str, flag: Flag) -> str:
    choices = f" ({', '.join(flag.choices)})" if flag.choices else ""
    kinds = " or ".join(owners(name))
    return flag.help.replace("|", "\\|") + choices + (f"; for `-n` {kinds}" if kinds else "")


def _default(parser: CommandLine, name: str) -> str:
    value = parser.defaults[name]
    return "" if value in (None, (), False) else str(value)


if __name__ == "__main__":
    (ROOT / "docs" / "flags.md").write_text(page(), encoding="utf-8")
