"""A page of all runs in a folder: `python -m utils.report results/` writes `results/report.html`.

The page is one file that works from the disk and asks nothing of the network: a table of the runs that can be sorted
and filtered, and the pictures of each, which stay where they are.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from utils.config.config import Config, identity_fields
from utils.config.flags import UsageError, flag_of
from utils.files import write_atomically
from utils.run.metrics import number
from utils.run.records import read_config, read_summary

# Shown in columns of their own, and so not among the settings.
IN_COLUMNS = {"name", "distribution", "z", "z_dims", "dataset", "rs"}


@dataclasses.dataclass
class Run:
    """A run as the page shows it.

    Attributes:
        path: its folder.
        config: its configuration.
        summary: the result with most importance samples, or None where the run is not finished.
    """

    path: Path
    config: Config
    summary: dict[str, Any] | None

    @property
    def model(self) -> str:
        """The kind of model, and the name of the experiment where it has one."""
        name = str(self.config.name)
        return f"{self.config.exp_name} ({name})" if self.config.exp_name else name

    @property
    def settings(self) -> str:
        """What differs from the defaults, as flags."""
        words = []
        for field in identity_fields():
            value = getattr(self.config, field.name)
            if field.name in IN_COLUMNS or value == field.default:
                continue
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(flag_of(field).names[0] + ("" if value is True else f" {text}"))
        return " ".join(words)

    @property
    def cells(self) -> list[tuple[str, float | str | None, str]]:
        """Heading, value to sort by (None where there is none) and text of each cell of its row."""
        summary = self.summary or {}
        test = summary.get("test") or {}
        found: list[tuple[str, float | str | None, str]] = [
            (heading, text, text)
            for heading, text in (
                ("data", self.config.dataset),
                ("model", self.model),
                ("latent space", self.config.space),
            )
        ]
        found.append(("seed", self.config.rs, str(self.config.rs)))
        for heading, key in (
            ("log p(x)", "log_px"),
            ("± SE", "log_px_se"),
            ("ELBO", "elbo"),
            ("reconstruction", "log_px_z"),
            ("KL", "kl"),
        ):
            value = test.get(key)
            found.append((heading, value, "–" if value is None else number(value)))
        for heading, value in (("K", test.get("k")), ("best epoch", summary.get("best_epoch"))):
            found.append((heading, value, "–" if value is None else str(value)))
        status = summary.get("status", "not finished")
        return [*found, ("status", status, status), ("settings", self.settings, self.settings or "defaults")]


NUMBERS = {"seed", "log p(x)", "± SE", "ELBO", "reconstruction", "KL", "K", "best epoch"}


def find_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """The runs below a folder in the order of their paths, and why others cannot be shown."""
    runs, unreadable = [], []
    for path in sorted(found.parent for found in folder.rglob("config.json")):
        try:
            config = read_config(path)
        except (UsageError, OSError) as error:
            unreadable.append(str(error))
            continue
        first = read_summary(path / "summary.json")
        others = (read_summary(other) for other in path.glob("summary_k*.json"))
        summaries = [first, *filter(None, others)] if first else []
        best = max(summaries, key=lambda summary: (summary["test"] or {}).get("k", 0), default=None)
        if config is not None:
            runs.append(Run(path, config, best))
    return runs, unreadable


def page(runs: Sequence[Run], folder: Path) -> str:
    """The HTML page of runs, whose pictures it names relative to the folder; there has to be a run."""
    heads, rows, sections = "", [], []
    for heading, _, _ in runs[0].cells:
        heads += f'<th{_class(heading)} scope="col"><button type="button">{escape(heading)}</button></th>'
    for place, run in enumerate(runs, 1):
        cells = []
        for heading, value, text in run.cells:
            shown = f'<a href="#run{place}">{escape(text)}</a>' if heading == "model" else escape(text)
            sorted_by = "" if value is None else escape(str(value))
            cells.append(f'<td{_class(heading)} data-value="{sorted_by}">{shown}</td>')
        rows.append(f'<tr data-section="run{place}">{"".join(cells)}</tr>')
        sections.append(_section(run, place, folder))
    source = Template((Path(__file__).parent / "tables" / "report_page.html").read_text(encoding="utf-8"))
    return source.substitute(
        title=escape(f"Runs in {folder.resolve().name}"),
        subtitle="Means over the test images, in nats per image. Click on a heading to sort by it.",
        heads=heads,
        rows="\n".join(rows),
        sections="\n".join(sections),
    )


def _class(heading: str) -> str:
    return ' class="number"' if heading in NUMBERS else ' class="settings"' if heading == "settings" else ""


def _section(run: Run, place: int, folder: Path) -> str:
    """The pictures of one run."""
    drawn = sorted((run.path / "figures").glob("*.png"))
    generated = [path for path in drawn if path.name.startswith("generated_")]
    figures = []
    for path in drawn:
        if path in generated:
            continue
        address, caption = quote(path.relative_to(folder).as_posix()), escape(path.stem.replace("_", " "))
        figures.append(
            f'<figure><a href="{address}"><img src="{address}" alt="{caption}" loading="lazy"></a>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    name = run.path.relative_to(folder).as_posix()
    note = "" if figures else "<p>This run has no pictures yet.</p>"
    if generated:
        note += f"<p>{len(generated)} generated images in {escape(name)}/figures.</p>"
    heading = f"{run.model} on {run.config.space}, {run.config.dataset}"
    return (
        f'<section id="run{place}"><h2>{escape(heading)}, seed {run.config.rs}</h2><p>{escape(name)}</p>{note}'
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


def main(arguments: Sequence[str]) -> int:
    """Write the page of the folder that is given."""
    if len(arguments) != 1:
        print("utils.report: takes one folder of runs, such as results/", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    if not folder.is_dir():
        print(f"utils.report: {folder}: is no folder; give one that holds runs, such as results/", file=sys.stderr)
        return 2
    runs, unreadable = find_runs(folder)
    for line in unreadable:
        print(f"utils.report: left out: {line}", file=sys.stderr)
    if not runs:
        print(f"utils.report: {folder}: holds no runs", file=sys.stderr)
        return 1
    target = folder / "report.html"
    try:
        write_atomically(target, page(runs, folder).encode())
    except OSError as error:
        print(f"utils.report: {target}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{len(runs)} runs: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
