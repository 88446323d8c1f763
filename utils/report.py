"""A page of all runs in a folder: `python -m utils.report results/` writes `results/report.html`.

The page is one file that works from the disk and asks nothing of the network: a table of the runs that can be sorted
and filtered, and the figures of each, which stay where they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from utils.config.command_line import parse_options
from utils.config.config import identity_fields
from utils.config.flags import UsageError, flag_of, printable
from utils.files import write_atomically
from utils.run.failures import guarded
from utils.run.identity import MARK
from utils.run.metrics import METRICS
from utils.run.records import Record, find_runs, mean_of
from utils.tables.columns import has, say
from utils.tables.result import described

# They have columns of their own, and so are not among the settings.
IN_COLUMNS = {"name", "z", "z_dims", "dataset", "rs"}
# Heading, value to sort by (None where there is none), text.
Cell = tuple[str, float | str | None, str]


def cells_of(record: Record, metrics: Sequence[str]) -> list[Cell]:
    """The row of a run, with these metrics."""
    config = record.config
    words = [("data", record.data), ("model", _model(record)), ("latent space", config.space)]
    found: list[Cell] = [(heading, text, text) for heading, text in words]
    found.append(("seed", config.rs, str(config.rs)))
    for key in metrics:
        known = key in record.values
        value = mean_of(record.values[key]) if known else None
        found.append((METRICS[key].heading, value, described(key, record.values) if known else "–"))
    settings = _settings(record)
    status = f"{record.status}, {MARK}" if record.identity.is_first else record.status
    return [*found, ("status", status, status), ("settings", settings, settings or "defaults")]


def _model(record: Record) -> str:
    """The kind of model, and the name of the experiment where it has one."""
    name = str(record.config.name)
    return f"{record.config.exp_name} ({name})" if record.config.exp_name else name


def _settings(record: Record) -> str:
    """What differs from the defaults, as flags."""
    words = []
    for field in identity_fields():
        value = getattr(record.config, field.name)
        if field.name not in IN_COLUMNS and value != field.default and has(record, field.name):
            words.append(flag_of(field).names[0] + ("" if value is True else f" {say(value)}"))
    return " ".join(words)


def page(records: Sequence[Record], folder: Path) -> str:
    """The HTML page of runs below a folder, whose figures it names relative to that; there has to be a run."""
    metrics = [
        key
        for key, metric in METRICS.items()
        if (metric.compared or key == "best_epoch") and any(key in record.values for record in records)
    ]
    heads = [
        f'<th{_class(heading, value)} scope="col"><button type="button">{_html(heading)}</button></th>'
        for heading, value, _ in cells_of(records[0], metrics)
    ]
    rows, sections = [], []
    for place, record in enumerate(records, 1):
        cells = []
        for heading, value, text in cells_of(record, metrics):
            shown = f'<a href="#run{place}">{_html(text)}</a>' if heading == "model" else _html(text)
            sorted_by = "" if value is None else _html(str(value))
            cells.append(f'<td{_class(heading, value)} data-value="{sorted_by}">{shown}</td>')
        rows.append(f'<tr data-section="run{place}">{"".join(cells)}</tr>')
        sections.append(_section(record, place, folder))
    source = Template((Path(__file__).parent / "tables" / "report_page.html").read_text(encoding="utf-8"))
    return source.substitute(
        title=_html(f"Runs in {folder.resolve().name}"),
        subtitle="Means over the test images, in nats per image, ± standard errors. Click on a heading to sort by it.",
        heads="".join(heads),
        rows="\n".join(rows),
        sections="\n".join(sections),
    )


def _html(text: str) -> str:
    return escape(printable(text))


def _class(heading: str, value: float | str | None) -> str:
    return ' class="settings"' if heading == "settings" else "" if isinstance(value, str) else ' class="number"'


def _section(record: Record, place: int, folder: Path) -> str:
    """The figures of one run."""
    drawn = sorted((record.folder / "figures").glob("*.png"))
    shown = [path for path in drawn if not path.name.startswith("generated_")]
    figures = []
    for path in shown:
        address, caption = quote(os.fsencode(path.relative_to(folder))), _html(path.stem.replace("_", " "))
        figures.append(
            f'<figure><a href="{address}"><img src="{address}" alt="{caption}" loading="lazy"></a>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    name = _html(record.folder.relative_to(folder).as_posix())
    note = "" if figures else "<p>This run has no figures yet.</p>"
    if len(shown) < len(drawn):
        note += f"<p>{len(drawn) - len(shown)} generated images in {name}/figures.</p>"
    heading = _html(f"{_model(record)} on {record.config.space}, {record.data}, seed {record.config.rs}")
    return (
        f'<section id="run{place}"><h2>{heading}</h2><p>{name}</p>{note}'
        f'<div class="figures">{"".join(figures)}</div></section>'
    )


@dataclass(frozen=True)
class NoOptions:
    """`python -m utils.report` has no flags but `--help`."""


def main(arguments: Sequence[str]) -> int:
    """Write the page of the folder that is given; returns the exit code."""
    return guarded("utils.report", lambda stop: _report(arguments))


def _report(arguments: Sequence[str]) -> int:
    _, places = parse_options(
        arguments, NoOptions,
        usage="python -m utils.report FOLDER",
        description="Write FOLDER/report.html: a table of all runs in the folder, with their pictures.",
        epilog="Exit codes: 0 done, 1 the folder holds no runs, 2 usage.",
    )
    if len(places) != 1:
        raise UsageError("takes one folder of runs, such as results/")
    folder = Path(places[0])
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)}: is no folder; give one that holds runs, such as results/")
    records, left_out = find_runs([folder])
    for line in left_out:
        print(f"utils.report: left out: {line}", file=sys.stderr)
    # Of a run that was evaluated with several K, the result with the most.
    runs = list({record.folder: record for record in sorted(records, key=lambda record: record.k)}.values())
    if not runs:
        print(f"utils.report: {printable(folder)}: holds no runs", file=sys.stderr)
        return 1
    target = folder / "report.html"
    write_atomically(target, page(sorted(runs, key=lambda record: record.folder), folder).encode())
    print(f"{len(runs)} runs: {printable(target)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
