#!/usr/bin/env python3
"""Train, evaluate and picture a variational auto-encoder; `--help` lists the flags."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.config.request import Revisit
from utils.load_data import DataUsageError, dataset_table
from utils.run.console import Console
from utils.run.failures import explain, flush_output
from utils.run.folder import RunDir
from utils.run.interrupts import Interrupted, StopRequest
from utils.run.processes import is_first, processes, program
from utils.tables.result import result_table, seeds_table
from utils.train import join

if TYPE_CHECKING:
    from utils.load_data import Data

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line describes and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not is_first():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    asked: Config | Revisit | None = None
    try:
        with StopRequest() as stop:
            asked = parse(words)
            if isinstance(asked, Revisit):
                from utils.revisit import revisit

                return DONE if revisit(asked, stop) else FAILED
            return run_as_described(asked, stop)
    except (UsageError, DataUsageError) as error:
        code, line = USAGE, str(error)
    except Interrupted as stopped:
        again = shlex.join([*program(), *(word for word in words if word != "--overwrite")])
        begun = isinstance(asked, Revisit) or (asked and any(RunDir(one).started for one in asked.runs))
        code, line = stopped.exit_code, f"stopped by {stopped}; to {'resume' if begun else 'start again'}: {again}"
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, line = FAILED, explained
    if is_first() or code == FAILED:  # a mistake or a signal concerns every process; a failure may be of one alone
        print(f"run_models.py: {line}", file=sys.stderr)
    flush_output()
    return code


def run_as_described(config: Config, stop: StopRequest) -> int:
    """Do what is missing of the runs, print all results and return the exit code."""
    if config.list_datasets:
        print(dataset_table(config.data_dir))
        return DONE
    summaries: dict[int, dict[str, Any]] = {}
    data: Data | None = None
    with join() as peers:
        for one in config.runs:
            run, console = RunDir(one), Console(one)
            summary = run.earlier_result()
            if summary is not None:
                console.say("this run was given more epochs since; this is what it had after as many as are asked for")
            elif (summary := run.result()) is None:
                from utils.experiment import Experiment

                experiment = Experiment.prepare(one, stop, peers, data)
                data, summary = experiment.data, experiment.execute()
            else:
                console.say("this run is complete already")
            summaries[one.rs] = summary
            if config.seeds == 1 or config.verbosity:
                print(result_table(summary, config.verbosity), flush=True)
            console.say(f"figures: {run.figures}")
    if config.seeds > 1:
        print(seeds_table(summaries), flush=True)
    return DIVERGED if any(summary["status"] == "diverged" for summary in summaries.values()) else DONE


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a terminal may lack characters
    code = main()
    if processes():
        # Threads of gloo can outlive the process group, and abort a process that has done its work as it is torn down.
        flush_output()
        os._exit(code)
    sys.exit(code)
