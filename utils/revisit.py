"""Looking again at finished runs, without training: `run_models.py --from RUN...`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from models import load_best, stored_images
from utils.config.flags import UsageError, nearest
from utils.config.request import Revisit
from utils.experiment import Experiment, check_figures, choose_device
from utils.figures import registry
from utils.figures.subject import Subject, Undrawable
from utils.files import write_atomically
from utils.load_data import Data, load_data
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.identity import changes
from utils.run.interrupts import StopRequest
from utils.run.records import Record, read_run
from utils.run.stamped import Damaged
from utils.seeds import derive_seed
from utils.tables.result import result_table


def revisit(request: Revisit, stop: StopRequest) -> bool:
    """Draw, evaluate, generate or compare, as asked.

    Args:
        request: what to do.
        stop: what signals ask for.

    Returns:
        Whether all could be done; what could not is reported on standard error.

    Raises:
        UsageError, DataError, Damaged, Foreign, Interrupted, OSError: see there; what is on disk stays usable.
    """
    visits = [Visit(request, Path(folder), stop) for folder in request.runs]
    if request.compares:
        return _compare(request, visits)
    done = [visit.carry_out() for visit in visits]
    return all(done)


class Visit:
    """One finished run that is looked at again: an experiment that does not train.

    Args:
        request: what to do.
        path: the run's folder.
        stop: what signals ask for.

    Raises:
        UsageError: the folder holds no finished run that saved a model, or the run lacks what is asked for.
        Damaged, Foreign: its model cannot be read.
    """

    def __init__(self, request: Revisit, path: Path, stop: StopRequest) -> None:
        self.request, self.path, self.stop = request, path, stop
        record = _finished(path)
        self.summary = dict(record.summary)
        self.model, self.best_epoch = load_best(RunDir(record.identity, path))
        if self.best_epoch != self.summary["best_epoch"]:
            raise Damaged(
                f"{path}: the model of epoch {self.summary['best_epoch']}, which summary.json is of, is lost; the one "
                f"of epoch {self.best_epoch} is left"
            )
        config = record.config.to_repeat
        asked = {name: getattr(request, name) for name in ("data_dir", "ll_sample", "verbosity")}
        config = dataclasses.replace(config, **{name: value for name, value in asked.items() if value is not None})
        check_figures(request.figures or (), config, f" ({path})")
        if request.kappas and (misfit := registry.missing(("sphere",), config)):
            raise UsageError(f"--kappas: {misfit} ({path}), and so no concentration; leave it out")
        self.config, self.console = config, Console(config)
        self.run = RunDir(dataclasses.replace(record.identity, config=config), path)
        self.label = None if request.label is None else self._class(request.label)
        self.model.to(choose_device(request.device or "auto"))

    def _class(self, text: str) -> int:
        """The class of a number or name.

        Raises:
            UsageError: there is none.
        """
        images = stored_images(self.run)
        names, classes, dataset = images.class_names, images.classes, self.config.data_name
        if text in names:
            return int(names.index(text))
        if not classes:
            raise UsageError(f"--label {text}: {dataset} has no labels; leave it out")
        if text.isdecimal() and text.isascii() and int(text) < classes:
            return int(text)
        raise UsageError(
            f"--label {text}: is no class of {dataset}; allowed: 0 to {classes - 1}"
            + (f", or a name such as {names[0]}" if names else "")
            + nearest(text, names)
        )

    def load_data(self) -> Data:
        """The data set of the run.

        Raises:
            UsageError: its content is not what the run was trained on.
            DataError: it cannot be had.
        """
        data, known = load_data(self.config), self.run.identity.data
        if known and known != data.contents:
            raise UsageError(
                f"--from {self.path}: the data changed since the run was made: {changes(known, data.contents)}; give "
                "--data_dir with those that it was trained on, or train a new run"
            )
        return data

    def experiment(self, data: Data) -> Experiment:
        """The run with its data."""
        return Experiment(self.config, data, self.model, self.run, self.console, self.stop)

    def carry_out(self) -> bool:
        """Evaluate, draw and generate, as asked; returns whether all could be done."""
        request = self.request
        with self.run:
            experiment = self.experiment(self.load_data())
            if request.ll_sample is not None:
                print(result_table(self.evaluate(experiment), self.config.verbosity))
            subject = experiment.subject(self.best_epoch, kappas=request.kappas)
            self.run.check()
            if request.generate is not None:
                self.generate(subject, request.generate)
            if not request.draws:
                return True
            drawn = registry.draw(subject, self.run.figures, request.figure_names, request)
        for file in drawn.files:
            self.console.say(str(file))
        for line in drawn.warnings:
            self.console.say(line)
        for line in drawn.refused:
            print(line, file=sys.stderr if request.figure_names else sys.stdout)
        return not (drawn.refused and request.figure_names)

    def evaluate(self, experiment: Experiment) -> dict[str, Any]:
        """The result with the asked number of importance samples; written beside those that are there."""
        if (found := self.run.result()) is not None:
            return found
        self.run.refuse_foreign_files()
        best = self.run.load("best")
        # What does not depend on K, such as the accuracy of a classifier, is taken over.
        test = {**self.summary["test"], **experiment.evaluate(best)}
        return experiment.write({**self.summary, "test": test}, best)

    def generate(self, subject: Subject, count: int) -> None:
        """Write new images, in place of earlier ones."""
        if not subject.has_pictures:
            raise UsageError(f"--generate {count}: vectors make no pictures ({self.path})")
        request, label = self.request, self.label
        seed = self.config.rs if request.rs is None else request.rs
        torch.manual_seed(derive_seed(seed, "generate", request.label or ""))
        with torch.no_grad():
            try:
                prior = self.model.latent.prior()
                z = prior.sample((count,)) if label is None else subject.class_latents(label, count)
            except Undrawable as reason:
                raise UsageError(f"--label {request.label}: {reason} ({self.path})") from None
            images = subject.decode(z)
        from utils.plotting_utils import png  # only here, since it imports matplotlib

        stem = self.run.figures / ("generated" if label is None else f"generated_label{label}")
        for old in stem.parent.glob(f"{stem.name}_[0-9]*.png"):
            old.unlink()
        width = max(len(str(count)), 4)
        for number, image in enumerate(images, 1):
            write_atomically(stem.with_name(f"{stem.name}_{number:0{width}d}.png"), png(image))
        self.console.say(f"{count} images: {stem}_*.png")


def _finished(path: Path) -> Record:
    """The first result of a finished run that saved a model.

    Raises:
        UsageError: the folder holds no such run.
    """
    if not path.is_dir():
        absolute = "" if path.is_absolute() else f" ({path.absolute()})"
        what = "is a file, not the folder of a run" if path.exists() else "there is no such folder"
        raise UsageError(f"--from {path}{absolute}: {what}")
    record = read_run(path)[0]
    if not record.summary:
        raise UsageError(f"--from {path}: is not finished; repeat its command to resume it")
    if not record.summary["best_epoch"]:
        raise UsageError(f"--from {path}: diverged before a model was saved; there is nothing to look at")
    return record


def _compare(request: Revisit, visits: list[Visit]) -> bool:
    """Draw the reconstructions of several runs below each other."""
    data_sets = {visit.run.identity.data_set for visit in visits}
    if len(data_sets) > 1:
        names = ", ".join(sorted(name for name, _ in data_sets))
        raise UsageError(f"--from: runs are compared on the same images, but these are of {names}; give runs of one")
    first = visits[0]
    data = first.load_data()
    with first.run:
        subjects = [visit.experiment(data).subject(visit.best_epoch) for visit in visits]
        files = registry.draw_side_by_side(subjects, first.run.figures, request)
    for file in files:
        first.console.say(str(file))
    return True
