"""The course of a run: data, model, training, evaluation, figures, summary.

Which model a configuration describes is told by the caller (`build_model`), so that nothing here depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from hyperspherical_vae.latents import CodebookLatent
from utils.classifying_utils import training_labels
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.config.schedule import warm_up
from utils.figures.registry import draw
from utils.figures.subject import Subject
from utils.load_data import Data, load_data
from utils.measure.evaluation import evaluate_elbo, evaluate_test
from utils.measure.system_metrics import check_labels, probe_metrics, system_metrics, validation_metrics
from utils.model_utils import count_parameters
from utils.run.checkpoints import Progress, load_newest
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.image_log_px import read_log_px, write_log_px
from utils.run.interrupts import StopRequest
from utils.run.records import read_config, read_json, read_metrics
from utils.run.tensorboard import check_installed, scalar_writer, write_figures
from utils.seeds import derive_seed
from utils.train.batches import TrainingImages, fixed_images
from utils.train.devices import choose_device
from utils.train.peers import ALONE, Alone
from utils.training_utils import fit, stops_early

if TYPE_CHECKING:
    from models import VAE

# What `models.Images` asks for; kept with a run, so that its model can be rebuilt without the images.
IMAGE_FACTS = ("shape", "levels", "likelihood", "classes", "class_names", "log_volume")

# How earlier versions called likelihoods in `env.json`.
OLD_SPELLINGS = {"bernoulli": "bce", "gaussian": "mse"}

# Importance samples for the log p(x) of every validation that -vll asks for.
VALIDATION_K = 10

BuildModel = Callable[[Config, Any], "VAE"]


def prepare(
    config: Config, build_model: BuildModel, data: Data | None = None, peers: Alone = ALONE
) -> tuple[Data, VAE, dict[str, Any]]:
    """The data, the model with its initial weights, and how images are to be prepared for it.

    Args:
        config: the run.
        build_model: makes the model that a configuration describes.
        data: the data set of the run, where it is loaded already.
        peers: the processes that share the run.

    Raises:
        UsageError: the device is not there, or the labels that the run needs are not.
        DataError: the data cannot be had.
    """
    if config.tensorboard:
        check_installed()
    device = peers.device(choose_device(config.device))
    if data is None:
        if peers.rank:
            peers.wait()  # the first one may have to download
        data = load_data(config)
        if not peers.rank:
            peers.wait()
    check_labels(config, data)
    peers.check(config, len(data.train))
    if config.compile:
        from utils.train.compiling import check_compiler

        check_compiler(device)
    torch.manual_seed(derive_seed(config.rs, "weights"))
    model = build_model(config, data).to(device)
    binary = model.likelihood.binary or config.binarize
    return data, model, {"levels": data.levels, "binary": binary, "seed": config.rs, "device": device}


def execute(
    config: Config,
    run: RunDir,
    console: Console,
    stop: StopRequest,
    data: Data,
    model: VAE,
    how: dict[str, Any],
    peers: Alone = ALONE,
) -> dict[str, Any]:
    """Train (or go on training), evaluate and draw; what is done already is not done again.

    Args:
        config: the run.
        run: its folder.
        console: where to report.
        stop: what signals ask for.
        data, model, how: what `prepare` returned.
        peers: the processes that share the run.

    Returns:
        The summary, which is also written.

    Raises:
        UsageError, DataError, CheckpointError, Interrupted, OSError: see there; what is on disk stays usable.
    """
    with peers.holding(run):
        return _execute(config, run, console, stop, data, model, how, peers)


def _execute(
    config: Config,
    run: RunDir,
    console: Console,
    stop: StopRequest,
    data: Data,
    model: VAE,
    how: dict[str, Any],
    peers: Alone,
) -> dict[str, Any]:
    peers.wait()
    if (summary := run.result()) is not None:  # another process did it while this one was preparing
        return summary
    if run.moved_to:
        console.say(f"the run that was here is now {run.moved_to}")
    state = run.load_furthest() if run.started else None
    peers.wait()  # nobody reads what the first one is about to write
    device = str(how["device"]) + (f", one of {peers.size} processes" if peers.size > 1 else "")
    console.head(
        {
            "data": f"{config.dataset}: {len(data.train)} / {len(data.val)} / {len(data.test)} images to train / "
            "validate / test",
            **{f"note {number}": note for number, note in enumerate([*data.notes, *_notes(config, data)], 1)},
            "model": f"{config.name} on {config.space}, {config.encode_type} encoder, {config.decode_type} decoder",
            "parameters": f"{count_parameters(model):,}",
            "device": device,
            "seed": str(config.rs),
            "folder": str(run.path) + (f" ({_so_far(config, Progress(**state['progress']))})" if state else ""),
        }
    )
    if not peers.rank:
        run.write_start(device, {name: getattr(data, name) for name in IMAGE_FACTS})
        if config.tensorboard:
            run.listeners.append(scalar_writer(run.board, state["progress"]["epoch"] if state else 0))
    labels = None
    if config.classifier and data.train.labels is not None:
        labels = training_labels(data.train.labels, config.labels, config.rs)
    train = TrainingImages(
        data.train, once=config.binarize, batch_size=config.batch_size, labels=labels, peers=peers, **how
    )
    val = fixed_images(data.val, purpose="val", **how)
    trained = peers.replica(model)
    if config.compile and not (state and _is_trained(config, Progress(**state["progress"]))):
        from utils.train.compiling import Compiled

        trained = Compiled(model, train)  # before signals have to wait for the end of a step
    try:
        with stop.deferred():
            progress, diverged = fit(
                trained,
                train,
                lambda: validation_metrics(
                    model, val, data.val.labels, config.rs, VALIDATION_K * config.val_nll, stop.check, peers
                ),
                config,
                peers.store(run),
                console,
                stop.check,
                state,
                examine=lambda images: evaluate_elbo(model, images, config.rs).summary(),
                peers=peers,
            )
    finally:
        console.end()  # what is said next must not share the line of the bar
    if diverged:
        console.diverged(progress, run.diverged)
    summary = {
        "status": "diverged" if diverged else "complete",
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": progress.seconds,
        "restarts": progress.restarts,
        "test": None,
    }
    peers.wait()  # until the best model is written
    if progress.best_epoch:
        return finish(config, run, console, model, data, how, summary, peers)
    return summary if peers.rank else run.write_result(summary)


def _notes(config: Config, data: Data) -> list[str]:
    """What may surprise the user."""
    notes = []
    if config.batch_size > len(data.train):
        notes.append(
            f"-bs {config.batch_size} is more than the {len(data.train):,} training images: an epoch is a single step "
            "on all of them"
        )
    if config.compile:
        notes.append("the training step is compiled first, which takes some ten seconds for each size of a batch")
    return notes


def _so_far(config: Config, progress: Progress) -> str:
    """How far the training of a run that began earlier has come."""
    return "trained already" if _is_trained(config, progress) else f"resuming after epoch {progress.epoch}"


def _is_trained(config: Config, progress: Progress) -> bool:
    """Whether no epoch is left to train."""
    return progress.epoch >= config.epochs or stops_early(config, progress)


def finish(
    config: Config,
    run: RunDir,
    console: Console,
    model: VAE,
    data: Data,
    how: dict[str, Any],
    summary: dict[str, Any],
    peers: Alone,
) -> dict[str, Any]:
    """Evaluate the best model on the test images, draw the figures and write the summary; returns that.

    What an earlier evaluation with as many importance samples found is not done again.
    """

    def on_block(done: int, total: int) -> None:
        console.counting("log p(x)", done, total)

    best = run.load_best()
    best_epoch = best["progress"]["best_epoch"]  # before that of `summary` where the best was damaged
    partial = run.partial_log_px(best)
    model.load_state_dict(best["model"])
    model.eval()
    test = fixed_images(data.test, purpose="test", **how)
    result = run.evaluated()
    if result is None:
        figures = evaluate_test(
            model,
            test,
            config.ll_sample,
            config.rs,
            on_block,
            partial,
            None if peers.rank else lambda values: write_log_px(run.path, config.ll_sample, best_epoch, values),
            peers,
        )
        if peers.rank:  # the first one does what is not shared
            return {**summary, "test": figures}
        figures |= system_metrics(config, run, model, data, how, test, console)
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
        if config.tensorboard:
            write_figures(run.board, run.figures, best_epoch)
        told = {"best_epoch": best_epoch, "warm_up": warm_up(config, best_epoch), "space": config.space}
        result = {**summary, **told, "test": figures}
    if peers.rank:
        return result
    if config.probe:
        result["probe"] = probe_metrics(config, model, data, how, test)
    written = run.write_result(result)
    partial.remove()
    return written


def load_model(path: Path, build_model: BuildModel) -> tuple[VAE, Config]:
    """The best model of a run, ready to use, and its configuration; see `run_models.load_run`."""
    env, config = read_json(path / "env.json"), read_config(path)
    if env is None or "images" not in env or config is None:
        raise UsageError(f"{path}: holds no run; give the folder that contains config.json and env.json")
    images = SimpleNamespace(**env["images"])
    images.likelihood = OLD_SPELLINGS.get(images.likelihood, images.likelihood)
    images.shape = tuple(images.shape)
    model = build_model(config, images)
    model.load_state_dict(load_newest(path / "checkpoints" / "best.pt")[0]["model"])
    if config.vq_prior is not None and (path / "checkpoints" / "code_prior.pt").exists():
        kept = load_newest(path / "checkpoints" / "code_prior.pt")[0]
        assert isinstance(model.latent, CodebookLatent)
        model.latent.add_code_prior(config.vq_prior, images.classes).load_state_dict(kept["prior"])
    return model.eval(), config
