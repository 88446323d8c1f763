"""What of a run has to be the same however often it was interrupted."""

import json

from utils.run.folder import RunDir
from utils.run.stamped import digest


def only_run(results, dataset="digits"):
    """The one folder of a run below `results`."""
    (found,) = (results / dataset).iterdir()
    return found


def metrics(run):
    """The lines of metrics.jsonl without the time, which no seed fixes."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def state_of(run, name):
    """A checkpoint of a run."""
    return RunDir.at(run).load(name)


def outcome(run):
    """Weights, optimizer, random state and progress, best model, metrics and test figures, without the time."""
    summary = RunDir.at(run).read("summary.json")
    states = {name: state_of(run, name) for name in ("last", "best")}
    for state in (summary, *(state["progress"] for state in states.values())):
        del state["seconds"]
    return {
        "metrics": metrics(run),
        "summary": summary,
        "last": {key: digest(value) for key, value in states["last"].items()},
        "best": digest(states["best"]),
        "files": sorted(
            str(path.relative_to(run))
            for path in run.rglob("*")
            if "previous" not in path.name and path.suffix != ".png"
        ),
    }


def figures(run):
    """The names of the figures."""
    return sorted(path.name for path in (run / "figures").iterdir())
