"""The course of a run: data, model, training, evaluation, figures, summary."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor

from hyperspherical_vae.kinds import KINDS, LIKELIHOODS
from hyperspherical_vae.latents.code_priors import CodePrior
from models import VAE, ELBOTerms, Images, build_model, fill, point_of, restore_best
from utils.classifying_utils import (
    check_labels,
    choose_labelled,
    classifier_metrics,
    note_on_labels,
    of_posteriors,
    probe,
    training_labels,
)
from utils.config.config import NO_FIGURES, Config
from utils.config.flags import UsageError, nearest, refuse
from utils.config.formats import RULES
from utils.config.networks import NETWORKS
from utils.config.schedule import note_on_selection, warm_up
from utils.config.seeds import derive_seed
from utils.data.splits import SPLITS
from utils.export.run import export
from utils.figures import registry
from utils.figures.subject import Subject
from utils.load_data import DATASETS, Data, Split, load_data
from utils.measure.code_prior import CodesOfImages, code_prior_metrics, fit_by_gradient
from utils.measure.conditions import Conditions
from utils.measure.elbo import SplitTerms, active_units, evaluate_elbo
from utils.measure.judge import judge_of
from utils.measure.log_px import PartialResult, estimate_log_px
from utils.measure.score import Standard, score
from utils.model_utils import count_parameters
from utils.run.checkpoints import Progress
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.interrupts import StopRequest
from utils.run.records import read_metrics
from utils.run.stamped import Damaged, digest
from utils.train.batches import Preparation, TrainingImages
from utils.train.peers import ALONE, Alone
from utils.train.tensorboard import check_installed, scalar_writer, write_figures
from utils.training_utils import Trainer, is_trained

# Importance samples for the log p(x) of every validation that -vll asks for.
VALIDATION_K = 10

# The probe learns from embeddings of so many training images; more change nothing and take time.
PROBED = 10_000


def choose_device(name: str) -> torch.device:
    """The device that `--device` names: `auto` takes CUDA if there is a card.

    Raises:
        UsageError: it is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no CUDA device that torch can use; allowed here: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def check_figures(names: Sequence[str], config: Config, place: str = "") -> None:
    """Refuse figures that this run does not offer.

    Args:
        names: of figures, or NO_FIGURES alone.
        config: the run.
        place: where the run is, for the message.

    Raises:
        UsageError: a name is unknown, or runs of this kind have no such figure.
    """
    figures = registry.FIGURES
    if tuple(names) == (NO_FIGURES,):
        return
    for name in names:  # before any that does not fit, which may be named rightly
        if name not in figures:
            raise UsageError(f"--figures: {name!r} is none of {', '.join(figures)}{nearest(name, figures)}")
    for name in names:
        if misfit := figures[name].misfit(config):
            fitting = ", ".join(other for other, picture in figures.items() if not picture.misfit(config))
            raise UsageError(f"--figures {name}: {misfit}{place}; it has {fitting}")


def check_data(config: Config, data: Data) -> None:
    """Refuse settings that have no meaning or no effect for these data.

    Raises:
        UsageError: which, and why.
    """
    check_labels(config, data)
    likelihood = config.loss_function or data.likelihood
    refuse(
        (
            config.binarize and not resolve_name(LIKELIHOODS[likelihood]).binary,
            f"-bnz: is for binary pixels (-lf bce), but the likelihood is {likelihood}; leave it out",
        ),
        (
            config.binarize and data.levels == 1,
            f"-bnz: has no effect with {config.data_name}, which is binary already; leave it out",
        ),
        (
            config.allow_unverified and not DATASETS[config.dataset].files,
            f"--allow_unverified: -d {config.dataset} has no files with a checksum; leave it out",
        ),
    )
    for flag, network in (("-et", config.encode_type), ("-dt", config.decode_type)):
        if data.is_vectors and NETWORKS[network].has_map:
            raise UsageError(f"{flag} {network}: is for images, but {config.data_name} holds vectors; leave it out")
    lacking = {"pictures": data.is_vectors, "labels": data.train.labels is None}
    for name in config.figures or ():
        for need, lacks in lacking.items():
            if lacks and name != NO_FIGURES and need in registry.FIGURES[name].needs:
                raise UsageError(f"--figures {name}: {registry.NEEDS[need].reason} ({config.data_name}); leave it out")


def load_together(config: Config, processes: Alone) -> Data:
    """The data set of a run; the first process loads it before the others do, for it may have to download.

    Raises:
        DataError: the data cannot be had.
    """
    if processes.rank:
        processes.wait()
    data = load_data(config)
    if not processes.rank:
        processes.wait()
    return data


@dataclass
class Experiment:
    """A run, and all that it works with.

    Attributes:
        config: the run.
        data: its data set.
        model: in training or trained; its parameters are on the device where everything is computed.
        run: its folder.
        console: where to report.
        stop: what signals ask for.
        processes: the processes that share the run.
    """

    config: Config
    data: Data
    model: VAE
    run: RunDir
    console: Console
    stop: StopRequest
    processes: Alone = ALONE

    @classmethod
    def prepare(
        cls, config: Config, stop: StopRequest, processes: Alone = ALONE, data: Data | None = None
    ) -> Experiment:
        """An experiment whose model has its initial weights; nothing is written.

        Args:
            config: the run.
            stop: what signals ask for.
            processes: the processes that share the run.
            data: its data set, where it is loaded already.

        Raises:
            UsageError: the device is not there, a setting does not suit the data, or the run has no such figure.
            DataError: the data cannot be had.
        """
        if config.tensorboard:
            check_installed()
        check_figures(config.figures or (), config)
        device = processes.device(choose_device(config.device))
        data = data or load_together(config, processes)
        check_data(config, data)
        processes.check(config, len(data.train))
        if config.compile:
            from utils.train.compiling import check_compiler

            check_compiler(device)
        torch.manual_seed(derive_seed(config.rs, "weights"))
        model = build_model(config, Images.of(data)).to(device)
        run = RunDir(Identity(config, data.contents))
        return cls(config, data, model, run, Console(config), stop, processes)

    @property
    def preparation(self) -> Preparation:
        """How images become what the model sees."""
        binary = self.model.likelihood.binary or self.config.binarize
        return Preparation(self.data.levels, binary, self.config.rs, next(self.model.parameters()).device)

    @property
    def conditions(self) -> Conditions:
        """How the model is evaluated."""
        return Conditions(self.config.rs, self.stop.check, self.processes)

    @functools.cached_property
    def val_images(self) -> Tensor:
        """The validation images as the model sees them, (M, C, H, W)."""
        return torch.cat(list(self.blocks("val")))

    @functools.cached_property
    def test_images(self) -> Tensor:
        """The test images as the model sees them, (N, C, H, W)."""
        return torch.cat(list(self.blocks("test")))

    def blocks(self, split: str) -> Iterator[Tensor]:
        """The images of `train`, `val` or `test` as the model sees them, block by block, (n, C, H, W).

        Those that are not trained on are the same, with the same noise, for all runs on this data set. Binarized
        training images are those that `-bnz` trains on.
        """
        of_data = split != "train" and RULES[self.config.format].noise_of_data
        return self.preparation.blocks(self.data.split(split), split, self.data.digest if of_data else None)

    @functools.cached_property
    def test_terms(self) -> SplitTerms:
        """The ELBO of the test images and where they lie in the latent space, with the best model."""
        return evaluate_elbo(self.model, self.test_images, self.conditions)

    def execute(self) -> dict[str, Any]:
        """Train (or resume training), evaluate and draw; what is done already is not done again.

        Returns:
            The summary, which is also written.

        Raises:
            UsageError, DataError, RunFileError, FolderLost, Interrupted, OSError: see there; what is on disk stays
                usable.
        """
        with self.processes.holding(self.run):
            self.processes.wait()
            if (summary := self.run.result()) is not None:  # another process did it while this one was preparing
                return summary
            if not self.processes.rank:
                self.run.refuse_foreign_files()
            if self.run.moved_to:
                self.console.say(f"the run that was here is now {self.run.moved_to}")
            summary = self.train()
            self.processes.wait()  # until the best model is written
            if summary["best_epoch"]:
                return self.finish(summary)
            return summary if self.processes.rank else self.run.write_result(summary)

    def train(self) -> dict[str, Any]:
        """Train from where the folder's checkpoints are; returns the summary, without test metrics."""
        config, data, run, first = self.config, self.data, self.run, not self.processes.rank
        state = run.load_furthest() if run.started else None
        progress = Progress(**state["progress"]) if state else Progress()
        if progress.epoch > config.epochs:  # what config.json would have said, were it whole
            raise UsageError(
                f"{run.path}: was trained for {progress.epoch} epochs already, and -e is {config.epochs}; give more, "
                "or --overwrite to move that run aside"
            )
        self.processes.wait()  # nobody reads what the first one is about to write
        self._say_head(progress if state else None)
        if first:
            run.write_start(self._device, dataclasses.asdict(Images.of(data)))
            if config.tensorboard:
                run.listeners.append(scalar_writer(run.path / "tensorboard", progress.epoch))
        labels = data.train.labels if config.classifier else None
        if labels is not None:
            labels = training_labels(labels, config.labels, config.rs)
        images = TrainingImages(
            data.train, self.preparation, config.batch_size, config.binarize, labels, self.processes
        )
        step: Callable[..., ELBOTerms] = self.processes.replica(self.model)
        if config.compile and not is_trained(config, progress):
            from utils.train.compiling import compiled_step

            step = compiled_step(self.model, images)  # before signals have to wait for the end of a step
        trainer = Trainer(
            self.model,
            images,
            config,
            self.processes.store(run),
            self.console,
            self.validate,
            examine=lambda batch: evaluate_elbo(self.model, batch, Conditions(config.rs)).summary(),
            check_stop=self.stop.check,
            peers=self.processes,
            step=step,
        )
        try:
            with self.stop.deferred():
                diverged = trainer.fit(state)
        finally:
            self.console.end()  # what is said next must not share the line of the bar
        progress = trainer.progress
        if diverged:
            self.console.diverged(progress, run.checkpoint("diverged"))
        return {
            "status": "diverged" if diverged else "complete",
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": progress.seconds,
            "restarts": progress.restarts,
            "test": None,
        }

    def validate(self) -> dict[str, Any]:
        """Metrics of the model as it is on the validation images."""
        found = evaluate_elbo(self.model, self.val_images, self.conditions).summary()
        if self.config.val_nll:
            found |= estimate_log_px(self.model, self.val_images, VALIDATION_K, self.conditions).summary()
        return found | self._accuracy(self.val_images, self.data.val.labels)

    def _accuracy(self, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
        """How well the model's classifier does, where there is one and the images have labels."""
        if self.model.classifier is None or labels is None:
            return {}
        return classifier_metrics(self.model, images, labels, self.config.rs)

    @property
    def _device(self) -> str:
        """Where this run computes, in words."""
        shared = f", one of {self.processes.size} processes" if self.processes.size > 1 else ""
        return f"{self.preparation.device}{shared}"

    def _say_head(self, progress: Progress | None) -> None:
        """Report what is about to run.

        Args:
            progress: how far a run has come that began earlier.
        """
        config, data = self.config, self.data
        so_far = ""
        if progress:
            trained = is_trained(config, progress)
            so_far = f" ({'trained already' if trained else f'resuming after epoch {progress.epoch}'})"
        notes = list(data.notes)
        if config.batch_size > len(data.train):
            notes.append(
                f"-bs {config.batch_size} is more than the {len(data.train):,} training images: an epoch is a single "
                "step on all of them"
            )
        if note := note_on_selection(config):
            notes.append(note)
        if self.preparation.device.type == "cpu":
            notes += self.run.notes_on_machine()
        labels = data.train.labels
        if labels is not None and config.labels is not None and (note := note_on_labels(labels, config.labels)):
            notes.append(note)
        if config.compile:
            notes.append("the training step is compiled first, which takes some ten seconds for each size of a batch")
        self.console.head(
            {
                "data": f"{config.data_name}: {len(data.train)} / {len(data.val)} / {len(data.test)} images to train / "
                "validate / test",
                **{f"note {number}": note for number, note in enumerate(notes, 1)},
                "parameters": f"{count_parameters(self.model):,}",
                "device": self._device,
                "seed": str(config.rs),
                "folder": f"{self.run.path}{so_far}",
            }
        )

    def finish(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Evaluate the best model on the test images, draw the figures and write the summary; returns that.

        What an earlier evaluation with as many importance samples found is not done again.

        Args:
            summary: of the training.
        """
        best, config, first = restore_best(self.run, self.model), self.config, not self.processes.rank
        best_epoch = best["progress"]["best_epoch"]  # before that of `summary` where the best was damaged
        self.model.eval()
        modes = self.test_terms.modes  # computed by all processes, also where the first one alone needs them
        result = self.run.evaluated()
        if result is None:
            result = {
                **summary,
                "best_epoch": best_epoch,
                "warm_up": warm_up(config, best_epoch),
                "space": config.space,
                "test": self.evaluate(best),
            }
            if first:  # it does what is not shared
                result["test"] |= self._classes_and_codes(best_epoch)
                subject = self.subject(best_epoch, modes)
                self.run.lock.check()
                drawn = registry.draw(subject, self.run.figures, config.figures, config)
                for line in (*drawn.warnings, *drawn.refused):
                    self.console.say(line)
                if config.tensorboard:
                    write_figures(self.run.path / "tensorboard", self.run.figures, best_epoch)
        if not first:
            return result
        if config.probe and "probe" not in result:
            result["probe"] = self._probe(modes)
        if config.score is not None:
            result["score"] = self.score(self.subject(best_epoch, modes), config.score, config.rs)
        if config.export:
            self.export(self.subject(best_epoch, modes))
        return self.write(result, best)

    def export(self, subject: Subject) -> None:
        """Write what other programs may want of the run, see `utils.export.run`, and say what was written."""
        blocks = {name: self.blocks(name) for name in SPLITS}
        for line in export(subject, self.data, blocks, self.run):
            self.console.say(line)

    def write(self, result: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
        """Write the result of the best model, of which no partial one is needed any more; returns what was written."""
        written = self.run.write_result(result)
        self._partial_log_px(best).remove()
        return written

    def _partial_log_px(self, best: dict[str, Any]) -> PartialResult:
        """Where an estimate of log p(x) of this model with this K is stored while it is computed."""
        key = {"k": self.config.ll_sample, "model": digest(best["model"]), "format": self.config.format}
        return PartialResult(self.run, key)

    def evaluate(self, best: dict[str, Any]) -> dict[str, Any]:
        """The metrics of the ELBO and log p(x) of the test images.

        Args:
            best: the checkpoint that the model is from.
        """
        k, latent, log_px = self.config.ll_sample, self.model.latent, None
        if latent.has_density:
            log_px = estimate_log_px(
                self.model,
                self.test_images,
                k,
                self.conditions,
                lambda done, total: self.console.counting("log p(x)", done, total),
                self._partial_log_px(best),
            )
            if not self.processes.rank:
                values = log_px.values.double().cpu().numpy()
                self.run.write(f"log_px_k{k}.npz", {"log_px": values, "best_epoch": best["progress"]["best_epoch"]})
        terms = self.test_terms
        found = {**terms.summary(), "log_px": None, "log_px_se": None, "k": k, "ess": None}
        if log_px is not None:
            found |= log_px.summary()
            if self.model.likelihood.of_grey_levels:
                found["bits_per_dim"] = -found["log_px"] / math.log(2) / self.test_images[0].numel()
            if RULES[self.config.format].mean_elbo:
                found |= log_px.elbo_summary()
        with contextlib.suppress(NotImplementedError):  # a prior without a variance has no measure of activity
            variance = latent.prior().variance
            found |= {"active_units": active_units(terms.means, variance), "units": len(variance)}
        return {"n": len(self.test_images), **found, "kl_is_constant": latent.kl_is_constant}

    def _classes_and_codes(self, best_epoch: int) -> dict[str, Any]:
        """Test metrics of the classifier and of the prior over codes, which is fitted first."""
        config, labels, terms = self.config, self.data.test.labels, self.test_terms
        found = self._accuracy(self.test_images, labels)
        if config.vq_prior is not None:
            prior = self._fitted_code_prior(config.vq_prior, best_epoch)
            assert terms.codes is not None
            found["code_prior"] = {
                "kind": config.vq_prior,
                **code_prior_metrics(prior, terms.codes, labels, terms.log_px_z),
            }
        return found

    def _fitted_code_prior(self, kind: str, best_epoch: int) -> CodePrior:
        """Give the model a fitted prior over codes: that in the run's folder if it is of this model, or a new one."""
        config, data = self.config, self.data
        torch.manual_seed(derive_seed(config.rs, "code prior"))
        prior = self.model.latent.add_code_prior(kind, data.classes)
        with contextlib.suppress(Damaged):  # there is none yet, or it has to be made again
            fill(prior, self.run.code_prior(best_epoch), self.run.checkpoint("code_prior"))
            return prior
        splits = (self.preparation.fixed(data.train, "code prior"), data.train), (self.val_images, data.val)
        train, val = (self._codes_of(images, split.labels) for images, split in splits)
        prior.count(*train)
        if not prior.is_counted:
            for done in fit_by_gradient(prior, train, val, config.vq_prior_epochs, config.rs):
                self.console.counting("epochs of the prior over codes", done, config.vq_prior_epochs)
        self.run.save("code_prior", {"best_epoch": best_epoch, "prior": prior.state_dict()})
        return prior

    def _codes_of(self, images: Tensor, labels: Tensor | None) -> CodesOfImages:
        codes = of_posteriors(self.model, images, self.model.latent.codes)
        return CodesOfImages(codes, None if labels is None else labels.to(codes.device))

    def _probe(self, test: Tensor) -> dict[str, Any]:
        """Accuracy of nearest neighbours and logistic regression on embeddings; see `classifying_utils.probe`.

        Args:
            test: embeddings of the test images, (N, D).
        """
        config, train, test_labels = self.config, self.data.train, self.data.test.labels
        assert train.labels is not None
        assert test_labels is not None
        chosen = choose_labelled(train.labels, min(PROBED, len(train)), derive_seed(config.rs, "probed"))
        images, labels = train.images[chosen], train.labels[chosen]
        embeddings = of_posteriors(self.model, self.preparation.fixed(Split(images, labels), "probe"), point_of)
        (kind, _), *others = config.factors
        return probe(embeddings, labels, test, test_labels, KINDS[kind].is_sphere and not others, config.rs)

    def score(self, subject: Subject, count: int, seed: int) -> dict[str, Any]:
        """How samples of the model compare with real images; see `measure.score`.

        Args:
            subject: the run; its `kappas` are concentrations at which posteriors of test images are sampled too.
            count: how many samples.
            seed: of the samples.

        Returns:
            The metrics of samples, under `real` those of test images, and under `kappas` those at each concentration.
        """
        data, device = self.data, self.preparation.device
        found: dict[str, Any] = {"n": count, "seed": seed}
        judge = None
        if data.classes:
            trained = judge_of(data, self.run.path.parent, device, self.console.say)
            judge = trained.judge
            found |= {
                "judge": trained.file.name,
                "judge_accuracy": trained.accuracy,
                "classes_from": "the model" if self.model.knows_classes else "posteriors of test images",
            }
        else:
            self.console.say(
                f"label agreement, entropy, diversity, FID and KID: n/a, since {self.config.data_name} has no labels "
                "to train a judge with"
            )
        standard = Standard(data, judge, device, self.stop.check)
        confusions, kappas = {}, {}
        for kappa in (None, *(subject.kappas or ())):
            torch.manual_seed(derive_seed(seed, "score", str(kappa)))
            values, seen = score(subject, standard, count, kappa)
            if kappa is None:
                found |= values
            else:
                kappas[f"{kappa:g}"] = values
            if seen is not None:
                confusions["samples" if kappa is None else f"kappa {kappa:g}"] = seen
        if confusions:
            self.run.write("confusions.npz", confusions)
        return {**found, "kappas": kappas, "real": standard.of_test_images(count)}

    def subject(
        self, best_epoch: int, embeddings: Tensor | None = None, kappas: tuple[float, ...] | None = None
    ) -> Subject:
        """The run, to be drawn.

        Args:
            best_epoch: the epoch that the model is from.
            embeddings: modes of the posteriors of all test images, (N, D), where they are computed already.
            kappas: concentrations to decode at, or None for some around the learned one.
        """
        return Subject(
            self.model,
            self.config,
            self.test_images,
            self.data.test.labels,
            self.data.class_names,
            read_metrics(self.run.metrics_path),
            best_epoch,
            self.run.log_px(best_epoch),
            kappas,
            embeddings,
            self.data.test.images,
            self.data.levels,
        )
