"""Write docs/reproduction.md and its figure from the rows of runs: `python docs/make_reproduction.py [FOLDER...]`.

The rows lie in docs/reproduction/, one file for each data set, one line for each result of a run. Finished runs in the
folders that are given are added first, or take the place of their earlier rows; rows of other runs stay. The words of
the page are those of docs/reproduction/page.md.
"""

import csv
import io
import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

from matplotlib.figure import Figure  # noqa: E402

from utils.config.command_line import parse_run  # noqa: E402  (the project is not installed)
from utils.config.config import identity_fields  # noqa: E402
from utils.config.flags import UsageError  # noqa: E402
from utils.files import write_atomically  # noqa: E402
from utils.plotting_utils import COLOURS, MARKERS, Style, legend, panel_grid, render  # noqa: E402
from utils.run import stamped  # noqa: E402
from utils.run.failures import guarded  # noqa: E402
from utils.run.identity import Identity  # noqa: E402
from utils.run.metrics import Value  # noqa: E402
from utils.run.records import Record, find_runs, mean_of  # noqa: E402
from utils.tables.columns import as_flags  # noqa: E402
from utils.tables.comparison import compare, finished  # noqa: E402
from utils.tables.comparison_table import write  # noqa: E402
from utils.tables.published import (  # noqa: E402
    KNN_METRICS,
    PUBLISHED,
    S_VAE,
    TABLE_1_METRICS,
    Published,
    differences,
)

ROWS, PAGE, FIGURE = ROOT / "docs" / "reproduction", ROOT / "docs" / "reproduction.md", "log_px.png"
COURSE = ("status", "epochs", "best_epoch", "seconds", "warm_up", "restarts")  # of the summary, beside its metrics
VERSIONS = ("version", "commit", "python", "torch", "numpy", "scipy", "device", "threads")  # of env.json
KEY = ("hash", "max_epochs", "k")  # what makes two rows results of one run
HEAD = ("flags", "seed", *KEY, *COURSE, *VERSIONS)
PANELS = {"log_px": "log p(x)", "elbo": "ELBO", "gap": "log p(x) - ELBO"}
NONE_YET = "No run is finished yet."

Row = Mapping[str, str]


def row_of(record: Record) -> dict[str, str]:
    """A result of a run as a line of a file; numbers of the summary are written as JSON.

    Raises:
        Damaged, Foreign, OSError: its `env.json` cannot be read.
    """
    env = stamped.read(record.folder / "env.json", record.identity.stamp)
    settings = [field.name for field in identity_fields() if field.name != "format"] + ["epochs"]
    course = {name: record.summary[name] for name in COURSE if name in record.summary}
    metrics = {name: value for name, value in record.values.items() if not name.startswith("run.")}
    return {
        "flags": as_flags({name: getattr(record.config, name) for name in settings}),
        "seed": str(record.config.rs),
        "hash": record.identity.hash,
        "max_epochs": str(record.config.epochs),
        **{name: str(env.get(name, "")) for name in VERSIONS},
        **{name: json.dumps(value) for name, value in (metrics | course).items()},
        "k": str(record.k),
    }


def record_of(row: Row) -> Record:
    """The result of a run that a line holds.

    Raises:
        UsageError: its flags are not those of the run that its hash names.
    """
    identity = Identity(parse_run(shlex.split(row["flags"])))
    if (identity.hash, str(identity.config.rs)) != (row["hash"], row["seed"]):
        raise UsageError(f"{row['flags']}: is the run {identity.hash}, not {row['hash']}, which its line names")
    values = {name: json.loads(text) for name, text in row.items() if text and name not in HEAD}
    course = {name: json.loads(row[name]) for name in COURSE if row[name]}
    test = {**values, "k": int(row["k"])} if values else None  # a run that diverged has no test metrics
    return Record(Path(row["hash"]), identity, {**course, "test": test}, identity.data_set[0])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a file of rows, none where there is no such file."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.exists() else []


def merged(known: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Rows of earlier and new results, each result once, in the order of their flags."""
    rows = {tuple(row[name] for name in KEY): row for row in (*known, *new)}
    return sorted(rows.values(), key=lambda row: (len(row["flags"]), row["flags"], int(row["k"])))


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as the text of a file; a metric that a run lacks is empty."""
    metrics = sorted({name for row in rows for name in row} - set(HEAD))
    file = io.StringIO()
    writer = csv.DictWriter(file, [*HEAD, *metrics], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def add(folders: Sequence[Path], place: Path) -> None:
    """Add the finished runs below these folders to the files of rows.

    Raises:
        UsageError: a folder is none, or holds a run whose content its settings do not fix.
    """
    found, left_out = find_runs(folders)
    records, notes = finished(found)
    for line in (*left_out, *notes):
        print(f"reproduction: {line}", file=sys.stderr)
    rows: dict[str, list[Row]] = {}
    for record in records:
        if record.identity.is_first or not record.config.has_known_data:
            raise UsageError(f"{record.folder}: its settings do not say which data it is on, or it is of version 1.0")
        rows.setdefault(record.config.dataset, []).append(row_of(record))
    place.mkdir(exist_ok=True)
    for dataset, new in rows.items():
        path = place / f"{dataset}.csv"
        write_atomically(path, as_csv(merged(read_rows(path), new)).encode())


def page(place: Path) -> str:
    """The page as Markdown, from the files of rows in a folder."""
    records = [record_of(row) for path in sorted(place.glob("*.csv")) for row in read_rows(path)]
    mnist = [record for record in records if record.config.dataset == "mnist"]
    protocol = [record for record in mnist if is_of_protocol(record)]
    hours = sum(mean_of(record.values["seconds"]) or 0.0 for record in records) / 3600
    return Template((ROWS / "page.md").read_text(encoding="utf-8")).substitute(
        table_1=table(protocol, TABLE_1_METRICS, ("z", "name", "kappa_start")),
        table_2=table([r for r in protocol if KNN_METRICS[0] in r.values], KNN_METRICS, ("z", "name", "kappa_start")),
        others=table([r for r in mnist if not is_of_protocol(r)], TABLE_1_METRICS),
        products=table([r for r in records if r.config.dataset != "mnist"], TABLE_1_METRICS, ("dataset", "space")),
        runs=f"{len(records)} result{'s' * (len(records) != 1)}",
        hours=f"{hours:.1f} hours",
    )


def table(records: Sequence[Record], metrics: Sequence[str], by: Sequence[str] = ()) -> str:
    """The comparison of some runs as Markdown."""
    if not records:
        return NONE_YET
    known = [metric for metric in metrics if any(metric in record.values for record in records)]
    return write(compare(records, known, by), "markdown")


def figure(place: Path) -> Figure:
    """log p(x), ELBO and their distance against the dimension, ours and published, with s.d. over runs."""
    mnist = map(record_of, read_rows(place / "mnist.csv"))
    records = [record for record in mnist if is_of_protocol(record) and record.config.kappa_start == "dim"]
    title = "Ours beside Davidson et al. 2018, Table 1, in nats"
    found, places = panel_grid((False,) * 3, title, "bars: ± s.d. over runs; that of the published ELBO is not known")
    for spot, metric in zip(places, PANELS, strict=True):
        panel: Any = found.add_subplot(spot)
        for rank, (kind, word) in enumerate((("normal", "Normal"), ("vmf", "vMF"))):
            style: dict[str, Any] = {"color": COLOURS[rank], "marker": MARKERS[rank], "capsize": 3, "markersize": 5}
            entries = [entry for entry in PUBLISHED if entry.protocol is S_VAE and entry.factors[0][0] == kind]
            panel.errorbar(*published_points(entries, metric), label=f"{word}, published", mfc="none", ls=":", **style)
            if ours := our_points([record for record in records if record.config.name == kind], metric):
                panel.errorbar(*zip(*ours, strict=True), label=f"{word}, ours", ls="-", **style)
        panel.set(xscale="log", xlabel="dimension of the latent space", ylabel=PANELS[metric])
        panel.set_xticks([entry.factors[0][1] for entry in entries], [entry.factors[0][1] for entry in entries])
        panel.minorticks_off()
        legend(panel)
    return found


def is_of_protocol(record: Record) -> bool:
    """Whether a run was made as the published ones, wherever its concentration starts."""
    return set(differences(S_VAE, record)) <= {"kappa_start"}


def value_of(values: Mapping[str, Value], metric: str) -> float | None:
    """A metric, or as `gap` how far log p(x) lies above the ELBO; None where a number is missing or not finite."""
    if metric != "gap":
        return mean_of(values.get(metric))
    log_px, elbo = (mean_of(values.get(name)) for name in ("log_px", "elbo"))
    return None if log_px is None or elbo is None else log_px - elbo


def published_points(entries: Sequence[Published], metric: str) -> tuple[list[int], list[float | None], list[float]]:
    """Dimensions, published means and standard deviations, 0 where they are not known."""
    dims, means = [e.factors[0][1] for e in entries], [value_of(e.values, metric) for e in entries]
    return dims, means, [e.stds.get(metric, 0.0) for e in entries]


def our_points(records: Sequence[Record], metric: str) -> list[tuple[int, float, float]]:
    """(dimension, mean, standard deviation over runs) of our runs; 0 for one run."""
    values: dict[int, list[float]] = {}
    for record in records:
        if (value := value_of(record.values, metric)) is not None:
            values.setdefault(record.config.factors[0][1], []).append(value)
    return [
        (dim, statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else 0.0)
        for dim, found in sorted(values.items())
    ]


def make(folders: Sequence[Path]) -> int:
    """Write the page and its figure, with the finished runs below these folders; returns the exit code."""
    if folders:
        add(folders, ROWS)
    write_atomically(PAGE, page(ROWS).encode())
    write_atomically(ROWS / FIGURE, render(lambda: figure(ROWS), Style())["png"])
    print(PAGE, ROWS / FIGURE, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("reproduction", lambda stop: make([Path(folder) for folder in sys.argv[1:]])))
