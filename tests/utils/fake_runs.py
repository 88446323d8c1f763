"""Folders of finished runs, written without training."""

import dataclasses
import json
from pathlib import Path

from utils.config.command_line import parse_run
from utils.run import stamped
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.records import find_runs
from utils.tables import comparison

# Flags of 27 runs of all kinds, on digits unless they say otherwise.
MIXED = (
    "-n vmf -z 2", "-n vmf -z 2 -rs 2", "-n vmf -z 2 -rs 3", "-n normal -z 2", "-n normal -z 2 -rs 2",
    "-n normal -z 2 -rs 3", "-n vmf -z 5 -b 2 -klw 10", "-n normal -z 5 -cvm full", "-n normal -z 5 -lr 0.01",
    "-n powerspherical -z 10 --radius 2", "-n vmf -z 10 --kappa 50", "-n spcauchy -z 5", "-zd s2,s2,e3",
    "-zd 2,2 -dis powerspherical", "-zd s1,s2,s1,s2,e1,e4,s3,s3,s2,s1,e2", f"-zd {','.join(['3'] * 64)}", "-n gumbel",
    "-n gumbel --temperature_epochs 20", "-n vq", "-n vmf -z 2 --classifier", "-n vmf -z 3 -lf mse",
    "-n vmf -z 2 -lls 4 -bs 64", "-n vmf -z 4 -d mnist", "-n normal -z 4 -d mnist", "-n normal -z 4 -d mnist -hd 8",
    "-n vmf -z 4 -d freyfaces", "-n normal -z 4 -d freyfaces",
)  # fmt: skip


def finished(folder, line, data=None, **figures):
    """The folder of a run with these test figures; `diverged=True` makes one that came to nothing.

    `data` is what `Data.contents` says, where the data name the run, too.
    """
    config = parse_run(["-ld", str(folder), *line.split()])
    run = RunDir(Identity(config, data))
    diverged = figures.pop("diverged", False)
    test = {"n": 10, "elbo": -2.0, "log_px_z": -1.5, "kl": 0.5, "log_px": -1.0, "k": config.ll_sample, **figures}
    summary = {
        "status": "complete",
        "epochs": config.epochs,
        "best_epoch": 0 if diverged else 1,
        "seconds": 1.5,
        "test": None if diverged else test,
    }
    name = f"summary_k{config.ll_sample}.json" if (run.path / "summary.json").exists() else "summary.json"
    with run:
        run.write("config.json", {**dataclasses.asdict(config), "data": data})
        run.write("env.json", {})
        run.write(name, summary)
    return Path(run.path)


def edit(path, target=None, **changes):
    """Change the content of a file of a run, or that of a copy, which stays as whole as it was."""
    stamp = RunDir.at(path.parent).identity.stamp
    stamped.write(target or path, {**stamped.read(path, stamp), **changes}, stamp)


def in_json(config):
    """What a configuration is after it was stored as JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def comparable(*places):
    """The results of finished runs below these folders, and the notes on what is left out."""
    return comparison.finished(find_runs(places)[0])
