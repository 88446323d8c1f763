"""Folders of finished runs, written without training."""

import json
from pathlib import Path

from utils.config.command_line import parse_run
from utils.run.folder import RunDir
from utils.run.records import find_runs
from utils.tables import comparison


def finished(folder, line, **figures):
    """The folder of a run with these test figures; `diverged=True` makes one that came to nothing."""
    config = parse_run(["-ld", str(folder), *line.split()])
    path = RunDir(config).path
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(config.to_json())
    diverged = figures.pop("diverged", False)
    test = {"n": 10, "elbo": -2.0, "log_px_z": -1.5, "kl": 0.5, "log_px": -1.0, "k": config.ll_sample, **figures}
    summary = {
        "status": "complete",
        "epochs": config.epochs,
        "best_epoch": 1,
        "seconds": 1.5,
        "test": None if diverged else test,
    }
    name = f"summary_k{config.ll_sample}.json" if (path / "summary.json").exists() else "summary.json"
    (path / name).write_text(json.dumps(summary))
    return Path(path)


def comparable(*places):
    """The results of finished runs below these folders, and the notes on what is left out."""
    return comparison.finished(find_runs(places)[0])
