#!/usr/bin/env python3
"""Train, evaluate and picture a variational auto-encoder; `--help` lists the flags."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
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
from utils.run_dir import RunDir, read_json, read_metrics

if TYPE_CHECKING:
    from models import VAE
    from utils.load_data import Data

# What `models.Images` asks for; kept with a run, so that its model can be rebuilt without the images.
IMAGE_FACTS = ("shape", "levels", "likelihood", "classes", "class_names")

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line describes and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        config = parse(words)
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
        for path in sorted(run.figures.glob("*.png")):
            console.say(str(path))
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
        UsageError: the device is not there, or the labels that the run needs are not.
        DataError: the data cannot be had.
    """
    import torch

    from models import build_model
    from utils.seeds import derive_seed
    from utils.system_figures import check_labels

    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no CUDA device that torch can use; allowed here: auto, cpu")
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    data = load_data(
        config.dataset,
        config.data_dir,
        allow_unverified=config.allow_unverified,
        image_size=config.image_size,
        grey=config.grey,
    )
    check_labels(config, data)
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
    from utils.classifying_utils import training_labels
    from utils.model_utils import count_parameters
    from utils.system_figures import validation_figures
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
        labels = None
        if config.classifier and data.train.labels is not None:
            labels = training_labels(data.train.labels, config.labels, config.rs)
        train = TrainingImages(data.train, once=config.binarize, batch_size=config.batch_size, labels=labels, **how)
        val = fixed_images(data.val, purpose="val", **how)
        progress, diverged = fit(
            model,
            train,
            lambda: validation_figures(model, val, data.val.labels, config.rs),
            config,
            run,
            console,
            stop.check,
            state,
        )
        summary = {
            "status": "diverged" if diverged else "complete",
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "restarts": progress.restarts,
            **(finish(config, run, console, stop, model, data, how) if progress.best_epoch else {"test": None}),
        }
        run.write_result(summary)
    return summary


def finish(
    config: Config, run: RunDir, console: Console, stop: StopRequest, model: VAE, data: Data, how: dict[str, Any]
) -> dict[str, Any]:
    """Evaluate the best model on the test images and draw the figures.

    Returns:
        The test figures, and those of the probe if it is wanted; what an earlier evaluation found is not done again.
    """
    from utils.batches import fixed_images
    from utils.evaluation import evaluate_test
    from utils.figures import Subject, draw
    from utils.system_figures import probe_figures, system_figures

    def counting(what: str, done: int, total: int) -> None:
        stop.check()
        console.counting(what, done, total)

    best = run.load_best()
    model.load_state_dict(best["model"])
    model.eval()
    test = fixed_images(data.test, purpose="test", **how)
    result = run.evaluated()
    if result is None:
        figures = evaluate_test(model, test, config.ll_sample, config.rs, partial(counting, "log p(x)"))
        figures |= system_figures(config, run, model, data, how, test, partial(counting, "epochs of the prior"))
        result = {"test": figures}
        metrics = read_metrics(run.metrics_path)
        draw(Subject(model, config, test, metrics, best["progress"]["best_epoch"]), run.figures)
    if config.probe:
        result = {**result, "probe": probe_figures(config, model, data, how, test)}
    return result


def load_run(folder: str | Path) -> tuple[VAE, Config]:
    """The best model of a run, ready to use, and its configuration.

    Args:
        folder: of the run, such as `results/mnist/vmf__s1__f9d2c5f4`.

    Returns:
        The model on the CPU in evaluation mode, with its prior over codes if the run fitted one, and the configuration.

    Example:
        model, config = load_run("results/mnist/vmf__s1__f9d2c5f4")
        z = model.encode(x)                     # images (B, 1, 28, 28) to embeddings (B, D)
        images = model.decode(z)                # and back to pixel means
        images = model.sample(16)               # new images from the prior
        images = model.sample(16, label=3)      # of one class, if the model knows classes
        images = model.sample(16, like=x)       # from the aggregate posterior of images

    Raises:
        UsageError: the folder holds no run.
        CheckpointError: its best model cannot be read.
    """
    from types import SimpleNamespace

    from hyperspherical_vae.latents import CodebookLatent
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
    if config.vq_prior is not None and (path / "checkpoints" / "code_prior.pt").exists():
        kept = load_newest(path / "checkpoints" / "code_prior.pt")[0]
        assert isinstance(model.latent, CodebookLatent)
        model.latent.add_code_prior(config.vq_prior, images.classes).load_state_dict(kept["prior"])
    return model.eval(), config


if __name__ == "__main__":
    sys.exit(main())
