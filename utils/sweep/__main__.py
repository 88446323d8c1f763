"""`python -m utils.sweep`: run a grid of settings, or the lines of a batch file, and print their table."""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.config.command_line import parse_options
from utils.config.config import Config
from utils.config.flags import UsageError, flag, flags_of, printable
from utils.results import TableOptions, print_comparison
from utils.run.failures import DONE, FAILED, guarded
from utils.run.interrupts import StopRequest
from utils.run.records import read_runs
from utils.sweep.display import Bars, Lines
from utils.sweep.driver import drive, failure_of
from utils.sweep.engines import ENGINES, Ended, Request, build_engine
from utils.sweep.units import Unit, build_units
from utils.tables.columns import check_columns

RUN_MODELS = (sys.executable, str(Path(__file__).parents[2] / "run_models.py"))
EXAMPLE = "-- -n vmf normal -z 2 5 -rs 1 2 3"


@dataclass(frozen=True)
class Options(TableOptions):
    """The flags of a sweep itself, before `--`; those of the table at its end are inherited."""

    zip: bool = flag(
        "--zip", bool, "what to run", False, "pair the values of flags that have several, instead of all combinations"
    )
    dry_run: bool = flag("--dry_run", bool, "what to run", False, "list the commands and how far each is, and stop")
    engine: str = flag("--engine", str, "where to run", "local", "what executes the runs", options=lambda: ENGINES)
    workers: int | None = flag(
        "--workers", int, "where to run", None, "runs at the same time; as many as cores or cards allow",
        low=1, high=10_000,
    )
    cores: int | None = flag(
        "--cores", int, "where to run", None, "cores per run; local divides all, the others give 1", low=1, high=1000
    )
    gpus: float | None = flag(
        "--gpus", float, "where to run", None,
        "share of a card per run, where there are cards (1); Slurm gives a card only with --gpus 1", above=0, high=1,
    )
    retries: int = flag(
        "--retries", int, "where to run", 2, "times that a killed run is started again, to resume",
        low=0, high=100,
    )
    address: str | None = flag(
        "--address", str, "where to run", None, "Ray cluster, such as auto or 10.0.0.1:6379; else Ray starts here"
    )
    slurm: tuple[str, ...] | None = flag(
        "--slurm", str, "where to run", None, "settings of submitit, such as timeout_min=600 slurm_partition=gpu",
        many="words",
    )


def main(arguments: Sequence[str], program: Sequence[str] = RUN_MODELS) -> int:
    """Run what the command line describes and return the exit code.

    Args:
        arguments: the words of the command line.
        program: what is executed in place of `python run_models.py`.
    """
    return guarded(
        "utils.sweep",
        lambda stop: _sweep(arguments, program, stop),
        lambda: f"to resume: {shlex.join(['python', '-m', 'utils.sweep', *arguments])}",
    )


def _sweep(arguments: Sequence[str], program: Sequence[str], stop: StopRequest) -> int:
    own, words = list(arguments), []
    if "--" in own:
        own, words = own[: own.index("--")], own[own.index("--") + 1 :]
    for word in (word.partition("=")[0] for word in own):
        if any(word in flag.names for flag in flags_of(Config).values()):
            raise UsageError(f"{word}: is a flag of the runs; those come after --, such as: {EXAMPLE}")
    options, files = parse_options(
        own, Options,
        usage="python -m utils.sweep [BATCH_FILE...] [FLAGS] [-- FLAGS OF run_models.py, each with several values]",
        description="Run a grid of settings, or the commands of batch files, each run in its own process.\n"
        "Complete runs are skipped, others resumed.",
        epilog="Exit codes: 0 done, 1 a run failed, 2 usage, 130 or 143 interrupted.\n\n"
        f"example:\n  python -m utils.sweep --workers 4 {EXAMPLE}",
    )
    if not words and not files:
        raise UsageError(f"nothing to run; write -- and the flags of the runs, such as: {EXAMPLE}")
    check_columns(options.by)
    check_columns([options.across] if options.across else [], "--across")
    units = build_units(words, [Path(file) for file in files], options.zip)
    return dry_run(units) if options.dry_run else sweep(units, options, program, stop)


def dry_run(units: Sequence[Unit]) -> int:
    """List the commands, as lines of a batch file."""
    commands = [unit.command for unit in units]
    width = max(map(len, commands))
    for unit, command in zip(units, commands, strict=True):
        print(f"{command.ljust(width)}  # {unit.state}")
    return DONE


def sweep(units: Sequence[Unit], options: Options, program: Sequence[str], stop: StopRequest) -> int:
    """Run what is missing, list what failed and print the table of the rest."""
    complete = [unit for unit in units if unit.run.result() is not None]
    missing = [unit for unit in units if unit not in complete]
    failures = {unit: failure for unit in complete if (failure := failure_of(unit, Ended(0)))}
    engine = build_engine(options.engine, request_of(options, missing)) if missing else None
    print(f"{len(units)} runs: {len(complete)} complete, {len(missing)} to do", file=sys.stderr, flush=True)
    if engine:
        print(engine.summary, file=sys.stderr, flush=True)
        display = (Bars if sys.stderr.isatty() else Lines)(len(units), len(complete))
        try:
            failures |= drive(missing, engine, program, options.retries, display, stop.check)
        finally:
            display.close()
            engine.stop()
    report(units, failures, options)
    return FAILED if failures else DONE


def request_of(options: Options, units: Sequence[Unit]) -> Request:
    """What the options ask of an engine.

    Raises:
        UsageError: an option is for another engine, or malformed.
    """
    for word, given, engine in (("--address", options.address, "ray"), ("--slurm", options.slurm, "slurm")):
        if given is not None and options.engine != engine:
            raise UsageError(f"{word}: is for --engine {engine}, but the engine is {options.engine}")
    return Request(
        jobs=len(units),
        workers=options.workers,
        cores=options.cores,
        gpus=options.gpus,
        uses_gpus=any(unit.config.device != "cpu" for unit in units),
        address=options.address,
        slurm=options.slurm or (),
        log_dir=Path(units[0].config.log_dir).absolute(),
        retries=options.retries,
    )


def report(units: Sequence[Unit], failures: Mapping[Unit, str], options: TableOptions) -> None:
    """The table of the complete runs, and the failures with their logs."""
    wanted = {(unit.run.path, unit.config.ll_sample) for unit in units}
    folders = dict.fromkeys(unit.run.path for unit in units if unit.run.path.exists())
    found, left_out = read_runs(folders)
    records = [
        record for record in found if record.summary and (record.diverged or (record.folder, record.k) in wanted)
    ]
    if failures:
        print(f"\n{len(failures)} of {len(units)} runs failed:", file=sys.stderr)
        for unit, failure in failures.items():
            lines = (f"  {unit.command}", f"    {failure}", f"    log: {unit.log}")
            print(*map(printable, lines), sep="\n", file=sys.stderr)
    for line in left_out:
        print(f"utils.sweep: left out: {line}", file=sys.stderr)
    if records:
        print_comparison(records, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
