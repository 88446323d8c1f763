"""Looking again at finished runs, without training: `run_models.py --from RUN...`."""

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspherical_vae.kinds import KINDS
from models import stored_images
from utils.config.config import Config
from utils.config.flags import UsageError, bare, nearest
from utils.config.request import Revisit
from utils.config.seeds import derive_seed
from utils.experiment import Experiment, check_figures, choose_device
from utils.export.arrays import writing_arrays
from utils.export.run import facts_of
from utils.figures import registry
from utils.figures.subject import Subject, Undrawable
from utils.files import write_atomically
from utils.load_data import Data
from utils.model_utils import at_once
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.interrupts import StopRequest
from utils.runs import load_run
from utils.tables.result import kappas_table, result_table

ALL = "all"  # what --label calls every class


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
        try:
            self.finished = load_run(path, request.data_dir)
        except UsageError as error:
            raise UsageError(f"--from {error}") from None
        self.model, self.best_epoch = self.finished.model, self.finished.best_epoch
        k = request.ll_sample or self.finished.summary["test"]["k"]  # the configuration may ask for another by now
        verbosity = Config.verbosity if request.verbosity is None else request.verbosity
        config = dataclasses.replace(self.finished.config.to_repeat, ll_sample=k, verbosity=verbosity)
        check_figures(request.figures or (), config, f" ({path})")
        if request.kappas and not (need := registry.NEEDS["sphere"]).of_config(config):
            raise UsageError(f"--kappas: {need.reason} ({path}), and so no concentration; leave it out")
        if request.sample_temperature and all(KINDS[kind].symbol != "R" for kind, _ in config.factors):
            raise UsageError(f"--sample_temperature: {config.space} has no Euclidean part ({path}); leave it out")
        self.config, self.console = config, Console(config)
        self.run = RunDir(dataclasses.replace(self.finished.identity, config=config), path)
        self.labels = (None,) if request.label is None else self._classes(request.label)
        self.model.to(choose_device(request.device or "auto"))

    def _classes(self, text: str) -> tuple[int, ...]:
        """The class of a number or name, or all of them.

        Raises:
            UsageError: there is none.
        """
        images = stored_images(self.run)
        names, classes, dataset = images.class_names, images.classes, self.config.data_name
        if text in names:
            return (int(names.index(text)),)
        if not classes:
            raise UsageError(f"--label {bare(text)}: {dataset} has no labels; leave it out")
        if text == ALL:
            return tuple(range(classes))
        if re.fullmatch("[0-9]{1,9}", text) and int(text) < classes:
            return (int(text),)
        raise UsageError(
            f"--label {bare(text)}: is no class of {dataset}; allowed: {ALL}, 0 to {classes - 1}"
            + (f", or a name such as {names[0]}" if names else "")
            + nearest(text, names)
        )

    def experiment(self, data: Data) -> Experiment:
        """The run with its data."""
        return Experiment(self.config, data, self.model, self.run, self.console, self.stop)

    def carry_out(self) -> bool:
        """Evaluate, draw and generate, as asked; returns whether all could be done."""
        request = self.request
        with self.run:
            experiment = self.experiment(self.finished.data)
            subject = experiment.subject(self.best_epoch, kappas=request.kappas)
            result = self.evaluate(experiment) if request.ll_sample is not None else dict(self.finished.summary)
            if request.score is not None:
                result = self.score(experiment, subject, result, request.score)
            if request.ll_sample is not None or request.score is not None:
                print(result_table(result))
                self.console.say(str(self.run.result_path))
            if request.score is not None and request.kappas:
                print(kappas_table(result["score"]))
            self.run.lock.check()
            if request.export:
                experiment.export(subject)
            if request.generate is not None:
                self.generate(subject, request.generate, experiment.data)
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
        test = {**self.finished.summary["test"], **experiment.evaluate(best)}
        return experiment.write({**self.finished.summary, "test": test}, best)

    def score(self, experiment: Experiment, subject: Subject, result: dict[str, Any], count: int) -> dict[str, Any]:
        """The result with the scores of so many samples, which is also written."""
        self.run.refuse_foreign_files()
        return self.run.write_result({**result, "score": experiment.score(subject, count, self.seed)})

    @property
    def seed(self) -> int:
        """Of samples."""
        return self.config.rs if self.request.rs is None else self.request.rs

    @torch.no_grad()
    def generate(self, subject: Subject, count: int, data: Data) -> None:
        """Write new images as PNG files, in place of earlier ones, and all of them as one array with --export.

        Where all classes are asked for, each has a folder.

        Raises:
            UsageError: vectors make no pictures, or the model draws none of a class.
            FolderLost, OSError: a file could not be written.
        """
        if not (subject.has_pictures or self.request.export):
            raise UsageError(
                f"--generate {count}: vectors make no pictures ({self.path}); add --export, which writes an array"
            )
        kappas = self.request.kappas or (None,)
        drawn = {
            (kappa, label): self._draw(subject, count, label, kappa) for kappa in kappas for label in self.labels
        }
        for kappa in kappas:
            stem, rows = _stem(kappa, self.labels), count * len(self.labels)
            array = self.run.figures / f"{stem}.npz"
            with contextlib.ExitStack() as opened:
                if self.request.export:
                    add = opened.enter_context(writing_arrays(array, rows, facts_of(self.run, subject)))
                for label in self.labels:
                    place = self.run.figures / _place(kappa, label, self.labels, subject.class_names)
                    for block in self._write(place, drawn[kappa, label], subject, data):
                        if self.request.export:
                            add(block if label is None else block | {"label": np.full(len(block["z"]), label)})
            if self.request.export:
                self.console.say(f"{rows} examples: {array}")

    def _write(
        self, place: Path, latents: Tensor, subject: Subject, data: Data
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Decode latents (N, D) to numbered PNG files.

        Yields:
            The same as arrays, block by block: `x` (n, C, H, W) in the units of the data, `z` (n, D).
        """
        from utils.plotting_utils import png  # only here, since it imports matplotlib

        place.parent.mkdir(parents=True, exist_ok=True)
        for old in place.parent.glob(f"{place.name}_[0-9]*.png"):
            old.unlink()
        width, number = max(len(str(len(latents))), 4), 0
        for z in latents.split(at_once(latents.device, self.model.likelihood.params_per_pixel * prod(data.shape))):
            images = self.model.decode(z)
            for image in subject.shown(images.cpu().numpy()) if subject.has_pictures else ():
                number += 1
                write_atomically(place.with_name(f"{place.name}_{number:0{width}d}.png"), png(image))
            yield {"x": data.in_units(images).cpu().numpy(), "z": z.cpu().numpy()}
        if subject.has_pictures:
            self.console.say(f"{len(latents)} images: {place}_*.png")

    def _draw(self, subject: Subject, count: int, label: int | None, kappa: float | None) -> Tensor:
        """Latents of new images, (count, D)."""
        of_kappa = () if kappa is None else (str(kappa),)
        torch.manual_seed(derive_seed(self.seed, "generate", "" if label is None else str(label), *of_kappa))
        try:
            return subject.latents(count, label, kappa, self.request.sample_temperature or 1.0)
        except Undrawable as reason:
            raise UsageError(f"--label {self.request.label}: {reason} ({self.path})") from None


def _stem(kappa: float | None, labels: Sequence[int | None]) -> str:
    """What files of generated images are called, without their numbers.

    Args:
        kappa: the concentration that they are drawn with.
        labels: their classes.
    """
    stem = "generated" + ("" if kappa is None else f"_kappa{kappa:g}")
    if labels[0] is None:
        return stem
    return f"{stem}_label{labels[0]}" if len(labels) == 1 else f"{stem}_label_{ALL}"


def _place(kappa: float | None, label: int | None, labels: Sequence[int | None], names: Sequence[str]) -> str:
    """Where generated images of one class go, from the folder of figures on: several classes have a folder each.

    Args:
        kappa, labels: as in `_stem`.
        label: their class, one of `labels`.
        names: of the classes, where known.
    """
    if label is None or len(labels) == 1:
        return _stem(kappa, labels)
    name = f"_{names[label]}" if names and names[label] != str(label) else ""
    digits = len(str(len(labels) - 1))  # by which the folders sort
    folder = f"{label:0{digits}d}{re.sub('[^A-Za-z0-9.+_-]+', '-', name)}"
    return f"{_stem(kappa, (None,))}/{folder}/image"


def _compare(request: Revisit, visits: list[Visit]) -> bool:
    """Draw the reconstructions of several runs below each other."""
    data_sets = {visit.run.identity.data_set for visit in visits}
    if len(data_sets) > 1:
        names = ", ".join(sorted(name for name, _ in data_sets))
        raise UsageError(f"--from: runs are compared on the same images, but these are of {names}; give runs of one")
    first = visits[0]
    data = first.finished.data
    if data.is_vectors:
        raise UsageError(
            f"--from: {first.config.data_name} holds vectors, which make no pictures to compare; `python -m "
            "utils.results` compares the numbers of runs"
        )
    with first.run:
        subjects = [visit.experiment(data).subject(visit.best_epoch) for visit in visits]
        files = registry.draw_side_by_side(subjects, first.run.figures, request)
    for file in files:
        first.console.say(str(file))
    return True
