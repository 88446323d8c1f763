#!/usr/bin/env python3
"""Train, evaluate and picture a variational auto-encoder; `--help` lists the flags."""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.request import Revisit
from utils.load_data import dataset_table
from utils.run.console import Console
from utils.run.failures import DIVERGED, DONE, FAILED, guarded
from utils.run.folder import RunDir
from utils.run.identity import MARK, Identity
from utils.run.interrupts import StopRequest
from utils.run.processes import is_first, processes, program
from utils.tables.result import result_table, seeds_table
from utils.train import join


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line describes and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    runs: list[RunDir] = []

    def again() -> str:
        begun = "--from" in words or any(run.started for run in runs)
        command = shlex.join([*program(), *(word for word in words if word != "--overwrite")])
        return f"to {'resume' if begun else 'start again'}: {command}"

    def work(stop: StopRequest) -> int:
        if not is_first():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        asked = parse(words, say=warn if is_first() else None)
        if isinstance(asked, Revisit):
            from utils.revisit import revisit

            return DONE if revisit(asked, stop) else FAILED
        return run_as_described(asked, stop, runs)

    return guarded("run_models.py", work, again)


def warn(line: str) -> None:
    """A line on standard error."""
    print(f"run_models.py: {line}", file=sys.stderr)


def run_as_described(config: Config, stop: StopRequest, runs: list[RunDir]) -> int:
    """Do what is missing of the runs, print all results and return the exit code.

    Args:
        config: what is asked for.
        stop: what signals ask for.
        runs: takes the runs, as soon as they are known.
    """
    if config.list_datasets:
        print(dataset_table(config.data_dir))
        return DONE
    summaries: dict[int, dict[str, Any]] = {}
    Console(config).head({"model": config.model})  # at once: to import torch and to load the data takes longer
    with join() as peers:
        data = contents = None
        if not config.has_known_data:  # their content is part of the name of the folder
            from utils.experiment import load_together

            data = load_together(config, peers)
            contents = data.contents
        runs += [RunDir(Identity(one, contents)) for one in config.runs]
        of_version_1 = [run.of_version_1() for run in runs]
        old_results = [None if old is None else old.earlier_result() or old.result() for old in of_version_1]
        for run, old, old_result in zip(runs, of_version_1, old_results, strict=True):
            one, console, summary, is_new = run.config, Console(run.config), old_result, False
            # Unless all are complete, they would be averaged with new ones.
            if old and summary and all(old_results):
                run = old
                console.say(f"this run is complete already, {MARK}; --overwrite trains a new one")
            elif (summary := run.earlier_result()) is not None:
                console.say("this run was given more epochs since; this is what it had after as many as are asked for")
            elif (summary := run.result()) is not None:
                console.say("this run is complete already")
            else:
                from utils.experiment import Experiment

                if old:
                    state = "is complete, but not all of these runs are" if old_result else "is not resumed"
                    console.say(f"{old.path}: was {MARK} and {state}; this is a new run")
                if note := run.note_on_data():
                    console.say(note)
                experiment = Experiment.prepare(one, stop, peers, data)
                data, summary, is_new = experiment.data, experiment.execute(), True
            summaries[one.rs] = summary
            if config.seeds == 1 or (config.verbosity and is_new):
                print(result_table(summary), flush=True)
            console.say(f"figures: {run.figures}")
    if config.seeds > 1:
        print(seeds_table(summaries), flush=True)
    return DIVERGED if any(summary["status"] == "diverged" for summary in summaries.values()) else DONE


if __name__ == "__main__":
    code = main()
    if processes():
        # Threads of gloo can outlive the process group, and abort a process that has done its work as it is torn down.
        os._exit(code)
    sys.exit(code)
