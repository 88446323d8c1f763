"""Looking again at finished runs, without training: `run_models.py --from RUN...`.

Importing this module costs nothing; what computes is imported where it is used.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.config.config import Config
from utils.config.flags import UsageError, nearest
from utils.config.request import Revisit
from utils.run.folder import RunDir
from utils.run.records import read_json, read_metrics, read_run
from utils.tables.result import result_table

if TYPE_CHECKING:
    import torch

    from models import VAE
    from utils.figures.subject import Subject
    from utils.load_data import Data

    Load = Callable[[str | Path], tuple[VAE, Config]]

def revisit(request: Revisit, load: Load) -> bool:
    """Draw, evaluate, generate or compare, as asked.

    Args:
        request: what to do.
        load: gives the model and the configuration of a run's folder.

    Returns:
        Whether all could be done; what could not is said on standard error.

    Raises:
        UsageError, DataError, CheckpointError, Interrupted, OSError: see there; what is on disk stays usable.
    """
    visits = [Visit(request, Path(folder), load) for folder in request.runs]
    for visit in visits:
        visit.check()
    if request.compares:
        return _compare(request, visits)
    done = [visit.carry_out() for visit in visits]
    return all(done)


class Visit:
    """One finished run that is looked at again.

    Args:
        request: what to do.
        path: the run's folder.
        load: gives its model and configuration.

    Raises:
        UsageError: the folder holds no finished run that saved a model.
        CheckpointError: its model cannot be read.
    """

    def __init__(self, request: Revisit, path: Path, load: Load) -> None:
        from utils.train.devices import choose_device

        self.request, self.path = request, path
        if not path.is_dir():
            absolute = "" if path.is_absolute() else f" ({path.absolute()})"
            what = "is a file, not the folder of a run" if path.exists() else "there is no such folder"
            raise UsageError(f"--from {path}{absolute}: {what}")
        summary = read_run(path)[0].summary
        if not summary:
            raise UsageError(f"--from {path}: is not finished; repeat its command to resume it")
        if not summary["best_epoch"]:
            raise UsageError(f"--from {path}: diverged before a model was saved; there is nothing to look at")
        self.model, config = load(path)
        self.summary, self.best_epoch = summary, int(summary["best_epoch"])
        self.config = dataclasses.replace(
            config,
            data_dir=config.data_dir if request.data_dir is None else request.data_dir,
            ll_sample=config.ll_sample if request.ll_sample is None else request.ll_sample,
            verbosity=config.verbosity if request.verbosity is None else request.verbosity,
        )
        self.run = RunDir(self.config, path)
        self.device: torch.device = choose_device(request.device or "auto")
        self.model.to(self.device)

    def check(self) -> None:
        """Refuse what this run does not have, before anything is computed or written.

        Raises:
            UsageError: a figure or class is unknown or does not fit this kind of run.
        """
        from utils.figures.registry import FIGURES, missing

        names = self.request.figures or ()
        for name in names:  # before any that does not fit, which may be named rightly
            if name not in FIGURES:
                raise UsageError(f"--figures: {name!r} is none of {', '.join(FIGURES)}{nearest(name, FIGURES)}")
        for name in names:
            if misfit := FIGURES[name].misfit(self.config):
                fitting = ", ".join(other for other, picture in FIGURES.items() if not picture.misfit(self.config))
                raise UsageError(f"--figures {name}: {misfit} ({self.path}); it has {fitting}")
        if self.request.kappas and (misfit := missing(("sphere",), self.config)):
            raise UsageError(f"--kappas: {misfit} ({self.path}), and so no concentration; leave it out")
        if self.request.label is not None:
            self.label(self.request.label)

    def label(self, text: str) -> int:
        """The class of a number or name.

        Raises:
            UsageError: there is none.
        """
        images = (read_json(self.path / "env.json") or {})["images"]
        names, classes = images["class_names"], images["classes"]
        if text in names:
            return int(names.index(text))
        if not classes:
            raise UsageError(f"--label {text}: {self.config.dataset} has no labels; leave it out")
        if text.isdecimal() and text.isascii() and int(text) < classes:
            return int(text)
        raise UsageError(
            f"--label {text}: is no class of {self.config.dataset}; allowed: 0 to {classes - 1}"
            + (f", or a name such as {names[0]}" if names else "")
            + nearest(text, names)
        )

    def data(self) -> Data:
        """The data set that the run is of."""
        from utils.load_data import load_data

        return load_data(self.config)

    def subject(self, data: Data) -> Subject:
        """The run, to be drawn."""
        from utils.figures.subject import Subject
        from utils.run.image_log_px import read_log_px
        from utils.train.batches import fixed_images

        binary = self.model.likelihood.binary or self.config.binarize
        test = fixed_images(
            data.test, data.levels, binary=binary, seed=self.config.rs, purpose="test", device=self.device
        )
        return Subject(
            self.model,
            self.config,
            test,
            data.test.labels,
            data.class_names,
            read_metrics(self.run.metrics_path),
            self.best_epoch,
            read_log_px(self.path, self.best_epoch),
            self.request.kappas,
        )

    def carry_out(self) -> bool:
        """Evaluate, draw and generate, as asked; returns whether all could be done."""
        from utils.figures.registry import draw

        request = self.request
        with self.run:
            data = self.data()
            if request.ll_sample is not None:
                print(result_table(self.evaluate(self.subject(data)), self.config.verbosity))
            subject = self.subject(data)
            if request.generate is not None:
                self.say(*self.generate(subject))
            if not request.draws:
                return True
            drawn = draw(subject, self.run.figures, request.figure_names, bool(request.pdf))
        self.say(*map(str, drawn.files))
        for line in drawn.refused:
            print(line, file=sys.stderr if request.figure_names else sys.stdout)
        return not (drawn.refused and request.figure_names)

    def evaluate(self, subject: Subject) -> dict[str, Any]:
        """The result with the asked number of importance samples; written beside those that are there."""
        from utils.measure.evaluation import evaluate_test
        from utils.run.console import Console
        from utils.run.image_log_px import write_log_px

        found = self.run.result()
        if found is not None:
            return found
        console, config, run = Console(self.config), self.config, self.run
        partial = run.partial_log_px(run.load_best())
        test = evaluate_test(
            self.model,
            subject.images,
            config.ll_sample,
            config.rs,
            lambda done, total: console.counting("log p(x)", done, total),
            partial,
            lambda values: write_log_px(self.path, config.ll_sample, self.best_epoch, values),
        )
        # What does not depend on K, such as the accuracy of a classifier, is taken over.
        written = run.write_result({**self.summary, "test": {**self.summary["test"], **test}})
        partial.remove()
        return written

    def generate(self, subject: Subject) -> list[str]:
        """Write new images; returns what to say of it."""
        import torch

        from utils.figures.subject import Undrawable
        from utils.files import write_atomically
        from utils.plotting_utils import png
        from utils.seeds import derive_seed

        request = self.request
        assert request.generate is not None
        seed = self.config.rs if request.rs is None else request.rs
        torch.manual_seed(derive_seed(seed, "generate", request.label or ""))
        label = None if request.label is None else self.label(request.label)
        stem = "generated" if label is None else f"generated_label{label}"
        with torch.no_grad():
            if label is None:
                z = self.model.latent.prior().sample((request.generate,))
            else:
                try:
                    z = subject.class_latents(label, request.generate)
                except Undrawable as reason:
                    raise UsageError(f"--label {request.label}: {reason} ({self.path})") from None
            images = subject.decode(z)
        for old in self.run.figures.glob(f"{stem}_[0-9]*.png"):
            old.unlink()
        width = max(len(str(request.generate)), 4)
        for number, image in enumerate(images, 1):
            write_atomically(self.run.figures / f"{stem}_{number:0{width}d}.png", png(image))
        return [f"{request.generate} images: {self.run.figures / stem}_*.png"]

    def say(self, *lines: str) -> None:
        """Lines that `-v 0` leaves out."""
        if self.config.verbosity:
            for line in lines:
                print(line)


def _compare(request: Revisit, visits: list[Visit]) -> bool:
    """Draw the reconstructions of several runs below each other."""
    from utils.figures.registry import draw_side_by_side

    data_sets = {(visit.config.dataset, visit.model.shape) for visit in visits}
    if len(data_sets) > 1:
        names = ", ".join(sorted(name for name, _ in data_sets))
        raise UsageError(f"--from: runs are compared on the same images, but these are of {names}; give runs of one")
    data = visits[0].data()
    originals = data.test.images.float().div(data.levels)
    first = visits[0]
    with first.run:
        subjects = [visit.subject(data) for visit in visits]
        first.say(*map(str, draw_side_by_side(subjects, originals, first.run.figures, bool(request.pdf))))
    return True
