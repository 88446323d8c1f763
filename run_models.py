#!/usr/bin/env python3
"""Train, evaluate and picture a variational auto-encoder; `--help` lists the flags."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.checkpoints import CheckpointError, load_newest
from utils.command_line import parse
from utils.config import Config
from utils.console import Console
from utils.flags import UsageError
from utils.interrupts import Interrupted, StopRequest
from utils.load_data import DataError, DataUsageError, dataset_table, load_data
from utils.results import result_table
from utils.revisit import Revisit, revisit
from utils.run_dir import RunDir, read_json, read_metrics

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
        config = parse(words)
        if isinstance(config, Revisit):
            return DONE if revisit(config, load_run) else FAILED
        if config.list_datasets:
            print(dataset_table(config.data_dir))
            return DONE
        run, console = RunDir(config), Console(config)
        summary = run.result()
        if summary is None:
            summary = execute(config, run, console)
        else:
            console.say("this run is complete already")
        print(result_table(summary, config.verbosity))
        console.say(f"figures: {run.figures}")
        return DIVERGED if summary["status"] == "diverged" else DONE
    except (UsageError, DataUsageError) as error:
        print(f"run_models.py: {error}", file=sys.stderr)
        return USAGE
    except (DataError, CheckpointError) as error:
        print(f"run_models.py: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"run_models.py: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except Interrupted as interrupted:
        print(
            f"\nstopped by {interrupted}; to go on: {shlex.join(['python', 'run_models.py', *words])}", file=sys.stderr
        )
        return interrupted.exit_code


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


def execute(config: Config, run: RunDir, console: Console) -> dict[str, Any]:
    """Train (or go on training), evaluate and draw; what is done already is not done again.

    Returns:
        The summary, which is also written.

    Raises:
        UsageError, DataError, CheckpointError, Interrupted, OSError: see there; what is on disk stays usable.
    """
    from utils.batches import TrainingImages, fixed_images
    from utils.evaluation import evaluate_validation
    from utils.model_utils import count_parameters
    from utils.training_utils import fit

    data, model, how = prepare(config)
    with run, StopRequest() as stop:
        state = run.load_last() if run.started else None
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
        progress, diverged = fit(
            model,
            train,
            lambda: evaluate_validation(model, val, config.rs, VALIDATION_K * config.val_nll),
            config,
            run,
            console,
            stop.check,
            state,
        )
        test = fixed_images(data.test, purpose="test", **how)
        summary = {
            "status": "diverged" if diverged else "complete",
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "restarts": progress.restarts,
            "test": finish(config, run, console, stop, model, data, test) if progress.best_epoch else None,
        }
        run.write_result(summary)
    return summary


def finish(
    config: Config, run: RunDir, console: Console, stop: StopRequest, model: VAE, data: Data, test: Tensor
) -> dict[str, Any]:
    """Evaluate the best model on the test images and draw the figures; returns the test figures."""
    from utils.evaluation import evaluate_test
    from utils.figures import draw
    from utils.subject import Subject

    def on_block(done: int, total: int) -> None:
        stop.check()
        console.counting("log p(x)", done, total)

    best = run.load_best()
    model.load_state_dict(best["model"])
    result = evaluate_test(model.eval(), test, config.ll_sample, config.rs, on_block, run.write_log_px)
    subject = Subject(
        model,
        config,
        test,
        data.test.labels,
        data.class_names,
        read_metrics(run.metrics_path),
        best["progress"]["best_epoch"],
        run.read_log_px(),
    )
    for reason in draw(subject, run.figures, pdf=config.pdf, check_stop=stop.check).refused:
        console.say(reason)
    return result


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
    env = read_json(path / "env.json")
    if env is None or not (path / "config.json").exists():
        raise UsageError(f"{path}: holds no run; give the folder that contains config.json")
    config = Config.from_json((path / "config.json").read_text())
    images = SimpleNamespace(**env["images"])
    images.shape = tuple(images.shape)
    model = build_model(config, images)
    model.load_state_dict(load_newest(path / "checkpoints" / "best.pt")[0]["model"])
    return model.eval(), config


if __name__ == "__main__":
    sys.exit(main())
