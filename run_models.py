#!/usr/bin/env python3
"""Train, evaluate and picture a variational auto-encoder; `--help` lists the flags."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.checkpoints import load_newest
from utils.command_line import parse
from utils.config import Config
from utils.console import Console
from utils.failures import explain
from utils.flags import UsageError
from utils.interrupts import Interrupted, StopRequest
from utils.load_data import DataUsageError, dataset_table, load_data
from utils.results import result_table
from utils.revisit import Revisit, revisit
from utils.run_dir import RunDir, read_config, read_json, read_metrics

if TYPE_CHECKING:
    from torch import Tensor

    from models import VAE
    from utils.load_data import Data

# What `models.Images` asks for; kept with a run, so that its model can be rebuilt without the images.
IMAGE_FACTS = ("shape", "levels", "likelihood", "classes", "class_names")

# Importance samples for the log p(x) of every validation that -vll asks for.
VALIDATION_K = 10

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line describes and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with StopRequest() as stop:
            asked = parse(words)
            if isinstance(asked, Revisit):
                return DONE if revisit(asked, load_run) else FAILED
            return run_as_described(asked, stop)
    except (UsageError, DataUsageError) as error:
        code, line = USAGE, str(error)
    except Interrupted as stopped:
        again = shlex.join(["python", "run_models.py", *(word for word in words if word != "--overwrite")])
        code, line = stopped.exit_code, f"stopped by {stopped}; to go on: {again}"
    except BrokenPipeError:  # nobody reads the output any more; Python must not fail at flushing it either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code, line = FAILED, "standard output was closed; repeating the command goes on"
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, line = FAILED, explained
    print(f"run_models.py: {line}", file=sys.stderr)
    return code


def run_as_described(config: Config, stop: StopRequest) -> int:
    """Answer what was asked: print what is there already, or else do what is missing and print it."""
    if config.list_datasets:
        print(dataset_table(config.data_dir))
        return DONE
    run, console = RunDir(config), Console(config)
    summary = run.result()
    if summary is None:
        summary = execute(config, run, console, stop)
    else:
        console.say("this run is complete already")
    print(result_table(summary, config.verbosity))
    console.say(f"figures: {run.figures}")
    return DIVERGED if summary["status"] == "diverged" else DONE


def prepare(config: Config) -> tuple[Data, VAE, dict[str, Any]]:
    """The data, the model with its initial weights, and how images are to be prepared for it.

    Raises:
        UsageError: the device is not there.
        DataError: the data cannot be had.
    """
    import torch

    from models import build_model
    from utils.devices import choose_device
    from utils.seeds import derive_seed

    device = choose_device(config.device)
    data = load_data(
        config.dataset,
        config.data_dir,
        allow_unverified=config.allow_unverified,
        image_size=config.image_size,
        grey=config.grey,
    )
    torch.manual_seed(derive_seed(config.rs, "weights"))
    model = build_model(config, data).to(device)
    binary = model.likelihood.binary or config.binarize
    return data, model, {"levels": data.levels, "binary": binary, "seed": config.rs, "device": device}


def execute(config: Config, run: RunDir, console: Console, stop: StopRequest) -> dict[str, Any]:
    """Train (or go on training), evaluate and draw; what is done already is not done again.

    Returns:
        The summary, which is also written.

    Raises:
        UsageError, DataError, CheckpointError, Interrupted, OSError: see there; what is on disk stays usable.
    """
    from utils.batches import TrainingImages, fixed_images
    from utils.evaluation import evaluate_elbo, evaluate_validation
    from utils.model_utils import count_parameters
    from utils.training_utils import fit

    data, model, how = prepare(config)
    with run:
        if (summary := run.result()) is not None:  # another process did it while this one was preparing
            return summary
        if run.moved_to:
            console.say(f"the run that was here is now {run.moved_to}")
        state = run.load_furthest() if run.started else None
        console.head(
            {
                "data": f"{config.dataset}: {len(data.train)} / {len(data.val)} / {len(data.test)} images to train / "
                "validate / test",
                **{f"note {number}": note for number, note in enumerate(data.notes, 1)},
                "model": f"{config.name} on {config.space}, {config.encode_type} encoder, {config.decode_type} decoder",
                "parameters": f"{count_parameters(model):,}",
                "device": str(how["device"]),
                "seed": str(config.rs),
                "folder": str(run.path) + (f" (resuming after epoch {state['progress']['epoch']})" if state else ""),
            }
        )
        run.write_start(str(how["device"]), {name: getattr(data, name) for name in IMAGE_FACTS})
        train = TrainingImages(data.train, once=config.binarize, batch_size=config.batch_size, **how)
        val = fixed_images(data.val, purpose="val", **how)
        with stop.deferred():
            progress, diverged = fit(
                model,
                train,
                lambda: evaluate_validation(model, val, config.rs, VALIDATION_K * config.val_nll, stop.check),
                config,
                run,
                console,
                stop.check,
                state,
                examine=lambda images: evaluate_elbo(model, images, config.rs).summary(),
            )
        if diverged:
            console.diverged(progress, run.diverged)
        test = fixed_images(data.test, purpose="test", **how)
        summary = {
            "status": "diverged" if diverged else "complete",
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "restarts": progress.restarts,
            "test": None,
        }
        if not progress.best_epoch:
            return run.write_result(summary)
        return finish(config, run, console, model, data, test, summary)


def finish(
    config: Config, run: RunDir, console: Console, model: VAE, data: Data, test: Tensor, summary: dict[str, Any]
) -> dict[str, Any]:
    """Evaluate the best model on the test images, draw the figures and write the summary; returns that."""
    from utils.evaluation import evaluate_test
    from utils.figures import draw
    from utils.image_log_px import read_log_px, write_log_px
    from utils.subject import Subject

    def on_block(done: int, total: int) -> None:
        console.counting("log p(x)", done, total)

    best = run.load_best()
    best_epoch = best["progress"]["best_epoch"]  # before that of `summary` where the best was damaged
    partial = run.partial_log_px(best)
    model.load_state_dict(best["model"])
    result = evaluate_test(
        model.eval(),
        test,
        config.ll_sample,
        config.rs,
        on_block,
        partial,
        lambda values: write_log_px(run.path, config.ll_sample, best_epoch, values),
    )
    subject = Subject(
        model,
        config,
        test,
        data.test.labels,
        data.class_names,
        read_metrics(run.metrics_path),
        best_epoch,
        read_log_px(run.path, best_epoch),
    )
    for reason in draw(subject, run.figures, pdf=config.pdf).refused:
        console.say(reason)
    written = run.write_result({**summary, "best_epoch": best_epoch, "test": result})
    partial.remove()
    return written


def load_run(folder: str | Path) -> tuple[VAE, Config]:
    """The best model of a run, ready to use, and its configuration.

    Args:
        folder: of the run, such as `results/mnist/vmf__s1__f9d2c5f4`.

    Returns:
        The model on the CPU in evaluation mode, and the configuration.

    Raises:
        UsageError: the folder holds no run.
        CheckpointError: its best model cannot be read.
    """
    from types import SimpleNamespace

    from models import build_model

    path = Path(folder)
    env, config = read_json(path / "env.json"), read_config(path)
    if env is None or "images" not in env or config is None:
        raise UsageError(f"{path}: holds no run; give the folder that contains config.json and env.json")
    images = SimpleNamespace(**env["images"])
    images.shape = tuple(images.shape)
    model = build_model(config, images)
    model.load_state_dict(load_newest(path / "checkpoints" / "best.pt")[0]["model"])
    return model.eval(), config


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a terminal without ± must do, too
    sys.exit(main())
