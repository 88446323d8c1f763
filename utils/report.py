"""A page of all runs in a folder: `python -m utils.report results/` writes `results/report.html`.

The page is one file that works from the disk and asks nothing of the network: means over seeds, the validation ELBO of
runs in one plot, a table of the runs that can be sorted and filtered, and the figures of each, which stay where they
are.
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import json
import os
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from utils.config.command_line import CommandLine
from utils.config.flags import UsageError, printable
from utils.files import write_atomically
from utils.run.failures import guarded
from utils.run.identity import MARK
from utils.run.metrics import METRICS
from utils.run.records import Record, find_runs, mean_of, read_metrics
from utils.tables.columns import FIRST, as_flags, default_columns, in_common, setting
from utils.tables.comparison import compare, finished
from utils.tables.comparison_table import in_words
from utils.tables.layout import Bold, Table
from utils.tables.result import described

# Metrics of the table besides those that are compared.
_ALSO = ("ess", "best_epoch")
# Epochs of a curve at most.
_POINTS = 200
# Heading, value to sort by (None where there is none), text.
Cell = tuple[str, float | str | None, str]


def cells_of(record: Record, metrics: Sequence[str], settings: Sequence[str]) -> list[Cell]:
    """The row of a run, with these metrics and these settings."""
    config = record.config
    words = [("data", record.data), ("model", _model(record)), ("latent space", config.space)]
    found: list[Cell] = [*((heading, text, text) for heading, text in words), ("seed", config.rs, str(config.rs))]
    for key in metrics:
        known = key in record.values
        value = mean_of(record.values[key]) if known else None
        found.append((METRICS[key].heading, value, described(key, record.values, with_detail=False) if known else "–"))
    flags = _flags(record, settings)
    status = f"{record.status}, {MARK}" if record.identity.is_first else record.status
    return [*found, ("status", status, status), ("settings", flags, flags)]


def _flags(record: Record, settings: Sequence[str]) -> str:
    return as_flags({name: setting(record, name) for name in settings})


def _model(record: Record) -> str:
    """The kind of model, and the name of the experiment where it has one."""
    name = str(record.config.name)
    return f"{record.config.exp_name} ({name})" if record.config.exp_name else name


def page(records: Sequence[Record], folder: Path) -> str:
    """The HTML page of runs below a folder, whose figures it names relative to that; there has to be a run."""
    metrics = [
        key
        for key, metric in METRICS.items()
        if (metric.compared or key in _ALSO) and any(key in record.values for record in records)
    ]
    # The version of a run is told by its status.
    settings = [name for name in default_columns(records) if name not in (*FIRST, "format")]
    runs = [cells_of(record, metrics, settings) for record in records]
    # A column in which nothing differs is said once, but for that which links to the figures.
    same = [len({row[place] for row in runs}) == 1 < len(runs) for place in range(len(runs[0]))]
    same[[heading for heading, *_ in runs[0]].index("model")] = False
    facts = [f"{heading} {text}" for (heading, _, text), is_same in zip(runs[0], same, strict=True) if is_same and text]
    facts += filter(None, [in_common(records, ("format",))])
    runs = [[cell for cell, is_same in zip(row, same, strict=True) if not is_same] for row in runs]
    source = Template((Path(__file__).parent / "tables" / "report_page.html").read_text(encoding="utf-8"))
    return source.substitute(
        title=_html(f"Runs in {folder.resolve().name}"),
        means=_means(records),
        facts=_text(f"All runs: {', '.join(facts)}." if facts else ""),
        heads="".join(
            f'<th{_class(heading, value)} scope="col"><button type="button">{_html(heading)}</button></th>'
            for heading, value, _ in runs[0]
        ),
        rows="\n".join(_row(row, place) for place, row in enumerate(runs, 1)),
        curves=json.dumps(
            [_curve(record, place, settings) for place, record in enumerate(records, 1)]
        ).replace("<", "\\u003c"),
        sections="\n".join(_section(record, place, folder) for place, record in enumerate(records, 1)),
    )


def _row(cells: Sequence[Cell], place: int) -> str:
    """The row of a run in the table."""
    found = []
    for heading, value, text in cells:
        shown = f'<a href="#run{place}">{_html(text)}</a>' if heading == "model" else _text(text)
        sorted_by = "" if value is None else _html(str(value))
        found.append(f'<td{_class(heading, value)} data-value="{sorted_by}">{shown}</td>')
    return f'<tr data-section="run{place}">{"".join(found)}</tr>'


def _means(records: Sequence[Record]) -> str:
    """A table of means over seeds, where some runs differ in their seed only."""
    done, notes = finished(records)
    found = compare(done, notes=notes) if done else None
    if found is None or all(row.runs < 2 for row in found.rows):
        return ""
    table = in_words(found, folded=True)
    head, *rows = table.rows
    heads = "".join(f"<th{_side(table, place)}>{_html(text)}</th>" for place, text in enumerate(head))
    lines = (
        "".join(f"<td{_side(table, place)}>{_marked(text)}</td>" for place, text in enumerate(row)) for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    said = "".join(f"<p>{_text(text)}</p>" for text in ([f"All rows: {table.facts}."] if table.facts else []))
    said_below = "".join(f"<p>{_html(note)}</p>" for note in table.notes)
    return (
        f"<h2>Means over seeds, ± standard deviations</h2>{said}"
        f'<div class="wide"><table id="means"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{said_below}"
    )


def _marked(text: str) -> str:
    return f"<b>{_html(text)}</b>" if isinstance(text, Bold) else _text(text)


def _side(table: Table, place: int) -> str:
    return "" if place < table.left else ' class="number"'


def _curve(record: Record, place: int, settings: Sequence[str]) -> dict[str, object]:
    """The validation ELBO of a run over its epochs, thinned to what a plot can show."""
    try:
        lines = read_metrics(record.folder / "metrics.jsonl")
    except OSError:  # a run whose other files can be read is shown without its curve
        lines = []
    validated = [(line["epoch"], line["val"].get("elbo")) for line in lines if line["val"]]
    points = [(epoch, elbo) for epoch, elbo in validated if elbo is not None]
    step = -(-len(points) // _POINTS) or 1
    model = filter(None, (_model(record), record.config.space, _flags(record, settings)))
    return {
        "section": f"run{place}",
        "data": printable(record.data),
        "model": printable(", ".join(model)),
        "seed": record.config.rs,
        "points": points[::-1][::step][::-1],
    }


def _text(text: str) -> str:
    """Text as HTML, in which no line breaks within a flag or between it and its value as long as there is room."""
    return re.sub(r"(?<!\S)--?[a-z]\w*(?: [^\s-]\S*)?", r'<span class="flag">\g<0></span>', _html(text))


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


def main(arguments: Sequence[str]) -> int:
    """Write the page of the folder that is given; returns the exit code."""
    return guarded("utils.report", lambda stop: _report(arguments))


def _report(arguments: Sequence[str]) -> int:
    parser = CommandLine(
        (),
        usage="python -m utils.report FOLDER",
        description="Write FOLDER/report.html: a table of all runs in the folder, with their pictures.",
        epilog="Exit codes: 0 done, 1 the folder holds no runs, 2 usage.",
    )
    _, places = parser.read(arguments, takes_words=True)
    if len(places) != 1:
        raise UsageError("takes one folder of runs, such as results/")
    folder = Path(places[0])
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
