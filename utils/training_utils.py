"""Training: the loop, the KL schedule, early stopping, and what happens when numbers stop being finite."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hyperspherical_vae.kinds import KINDS
from models import VAE, ELBOTerms
from utils.config.config import Config
from utils.config.schedule import compared_after, kl_weight, lr_falls
from utils.config.seeds import derive_seed
from utils.run.checkpoints import Progress
from utils.run.console import Console
from utils.run.folder import RunDir
from utils.run.stamped import fitting
from utils.train.adam import Adam
from utils.train.batches import TrainingImages
from utils.train.peers import ALONE, Alone


class NonFinite(Exception):
    """A loss or gradient was not finite; no step was taken from it on.

    Args:
        step: number of the batch in its epoch, from 0; None where the validation was not finite.
    """

    def __init__(self, step: int | None = None) -> None:
        super().__init__()
        self.step = step


def loss_weights(config: Config) -> dict[str, float]:
    """The losses besides the ELBO that a run has, each with its weight."""
    weights = {loss: getattr(config, loss) for kind, _ in config.factors for loss in KINDS[kind].losses}
    return {**weights, "cross_entropy": config.classifier_weight} if config.classifier else weights


def batch_weights(weights: Mapping[str, float], batch: tuple[Tensor, ...]) -> Mapping[str, Tensor | float]:
    """Weight of each of those losses for a batch.

    The cross-entropy is 0 for unlabelled images; its weight makes the mean over the batch one over the labelled images
    in it. A weight in proportion to how rare labels are would do so for the whole epoch, but with few labels a single
    image would then outweigh everything else in the step.
    """
    if "cross_entropy" not in weights:
        return weights
    labels = batch[1]
    return {**weights, "cross_entropy": weights["cross_entropy"] * len(labels) / (labels >= 0).sum().clamp(min=1)}


def objective(
    terms: ELBOTerms, weight: float, target: float, extra: Mapping[str, Tensor | float] = MappingProxyType({})
) -> Tensor:
    """The loss, a mean over the batch: weight * |KL - target| - log p(x|z) (Burgess et al. 2018), and extra losses.

    Args:
        terms: per example.
        weight: of the KL.
        target: nats of KL to aim for, 0 for the ordinary objective.
        extra: weight of each of `terms.extra`.
    """
    if target:
        loss = -terms.log_px_z.mean() + weight * (terms.kl.mean() - target).abs()
    else:
        loss = (weight * terms.kl - terms.log_px_z).mean()
    for name, factor in extra.items():
        loss = loss + factor * terms.extra[name].mean()
    return loss


def note_nonfinite(bad: Tensor, tensors: Sequence[Tensor], one: Tensor) -> None:
    """Set the float32 scalar `bad` to 1 if a number in the tensors is not finite; nothing waits for the device.

    It is the kernel with which loss scaling finds overflow; here the scale is `one`, which leaves all as it is.
    """
    torch._amp_foreach_non_finite_check_and_unscale_(list(tensors), bad, one)


def is_trained(config: Config, progress: Progress) -> bool:
    """Whether no epoch is left to train.

    Training stops early where the validation ELBO has not risen for `look_ahead` epochs, in all of which models were
    compared.
    """
    patient_until = max(progress.best_epoch, compared_after(config)) + config.look_ahead
    return progress.epoch >= min(config.epochs, patient_until)


@dataclass
class Trainer:
    """A model in training.

    Attributes:
        model: what is trained.
        batches: the training images.
        config: the run.
        store: writes checkpoints and metrics.
        console: reports epochs and restarts.
        validate: measures the model as it is; its result has `elbo` and is part of the metrics.
        examine: measures the model on the images of a batch, for the report on a run that diverged.
        check_stop: called between steps; raises to stop, and the state is saved first. `validate` may raise like it.
        peers: the processes among which every batch is shared.
        step: gives the ELBO's terms of a batch: the model itself unless it is shared or compiled.
        progress: how far training has come.
        sums: over the examples of the current epoch: number of examples, log p(x|z), KL of each factor, losses besides
            the ELBO; float64, None before its first step.
    """

    model: VAE
    batches: TrainingImages
    config: Config
    store: RunDir
    console: Console
    validate: Callable[[], dict[str, Any]]
    examine: Callable[[Tensor], dict[str, Any]] = lambda images: {}
    check_stop: Callable[[], None] = lambda: None
    peers: Alone = ALONE
    step: Callable[..., ELBOTerms] | None = None
    progress: Progress = field(default_factory=Progress)
    sums: Tensor | None = None

    def __post_init__(self) -> None:
        self.optimizer = Adam(self.model.parameters(), self.config.lr)
        self.losses = loss_weights(self.config)

    def fit(self, state: dict[str, Any] | None = None) -> bool:
        """Train until the last epoch, early stopping or divergence.

        Args:
            state: a checkpoint to resume from; resuming equals never having stopped.

        Returns:
            Whether the run diverged: a non-finite loss or gradient came back after `max_restarts` reloads.
        """
        if state is None:
            self.store.save("last", self.state())
        else:
            self._restore(state)
        self.store.rewind(self.progress.epoch)
        if self.progress.restarts > self.config.max_restarts:  # given up before, and interrupted after that
            return True
        self.console.begin(self.progress.epoch)
        while not is_trained(self.config, self.progress):
            started = time.perf_counter()
            try:
                self.model.train(True)
                self.train_epoch()
                self.model.train(False)
                validated = self._validated()
            except NonFinite as failure:
                if self._restarts_too_often(failure.step):
                    return True
                continue
            self._end_epoch(validated, time.perf_counter() - started)
        return False

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs, as tensors and numbers."""
        on_gpu = self.sums is not None and self.sums.is_cuda
        return {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.sums,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state() if on_gpu else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        sums = state.get("sums")
        columns = 2 + len(self.config.factors) + len(self.losses)
        with fitting(self.store.checkpoint("last")):
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"].cpu())
            if state["rng_cuda"] is not None:
                torch.cuda.set_rng_state(state["rng_cuda"].cpu())
            if sums is not None and (sums.dtype, sums.shape) != (torch.float64, (columns,)):
                raise ValueError("the sums over the epoch are of another model")
        self.progress, self.sums = Progress(**state["progress"]), sums

    def train_epoch(self) -> None:
        """One pass over the training images, or the rest of one that was interrupted.

        Nothing in a step waits for the device. Whether a loss or gradient was not finite is noted there, and Adam skips
        that step and all later ones there; the host asks once, at the end.

        Raises:
            NonFinite: a loss or gradient was not finite.
        """
        epoch, progress, optimizer = self.progress.epoch + 1, self.progress, self.optimizer
        weight, first_step, step = kl_weight(self.config, epoch), progress.step, self.step or self.model
        optimizer.lr = self.config.lr / 2**progress.halvings
        self.model.latent.set_epoch(epoch)
        self._seed_noise(epoch)
        bad, taken_before = optimizer.skip.zero_(), optimizer.taken.clone()
        one = torch.ones_like(bad)
        order = derive_seed(self.config.rs, "order", epoch, progress.restarts)

        for batch in self.batches.epoch(order, progress.step):
            terms = step(*batch)
            loss = objective(terms, weight, self.config.kl_target, batch_weights(self.losses, batch))
            optimizer.zero_grad()
            loss.backward()
            note_nonfinite(bad, [loss.detach(), *optimizer.gradients()], one)
            optimizer.step()
            extra = (terms.extra[name].unsqueeze(-1) for name in self.losses)
            columns = torch.cat([terms.log_px_z.unsqueeze(-1), terms.kl_factors, *extra], -1).detach()
            if self.sums is None:
                self.sums = columns.new_zeros(1 + columns.shape[-1], dtype=torch.float64)
            self.sums[0].add_(len(batch[0]))
            self.sums[1:].add_(columns.sum(0, dtype=torch.float64))
            progress.step += 1
            try:
                self.check_stop()
            except BaseException:
                if not bool(bad):
                    self.store.save("stopped", self.state())
                raise
        if bool(self.peers.total(bad)):
            raise NonFinite(first_step + int(optimizer.taken - taken_before))
        assert self.sums is not None
        self.sums = self.peers.total(self.sums)

    def _seed_noise(self, epoch: int) -> None:
        rank, progress = self.peers.rank, self.progress
        if rank:  # each process has noise of its own, also where it resumes from the state of the first one
            noise = ("training noise", epoch, progress.restarts, "of process", rank, progress.step)
            torch.manual_seed(derive_seed(self.config.rs, *noise))
            self.sums = None if self.sums is None else torch.zeros_like(self.sums)
        elif progress.step == 0:
            torch.manual_seed(derive_seed(self.config.rs, "training noise", epoch, progress.restarts))

    def _validated(self) -> dict[str, Any] | None:
        """The validation of this epoch, None where none is due.

        Raises:
            NonFinite: its ELBO is not finite.
        """
        if (self.progress.epoch + 1) % self.config.val_f:
            return None
        try:
            found = self.validate()
        except BaseException:
            self.store.save("stopped", self.state())
            raise
        if not math.isfinite(found["elbo"]):
            raise NonFinite
        return found

    def _restarts_too_often(self, step: int | None) -> bool:
        """Return to the last checkpoint after a failure in this step, unless that happened too often already."""
        failed = replace(self.progress, restarts=self.progress.restarts + 1)
        if gives_up := failed.restarts > self.config.max_restarts:
            self.store.save("diverged", self._evidence(step))
        self._restore(self.store.load("last"))
        # The best model so far stays the best, though the epochs since the last checkpoint are trained once more.
        self.progress = replace(
            self.progress, restarts=failed.restarts, best_elbo=failed.best_elbo, best_epoch=failed.best_epoch
        )
        self.store.rewind(self.progress.epoch)
        self.store.save("last", self.state())
        if not gives_up:
            self.console.restart(self.progress)
        return gives_up

    def _evidence(self, step: int | None) -> dict[str, Any]:
        """What failed, for a bug report. No step was taken since, so the model is the very one that failed.

        The images are those of the failed batch; where they are binarized in every batch, that is done once more.
        """
        batch, progress = None, self.progress
        if step is not None:
            torch.manual_seed(derive_seed(self.config.rs, "diverged"))
            order = derive_seed(self.config.rs, "order", progress.epoch + 1, progress.restarts)
            batch = next(self.batches.epoch(order, step))[0]
        return {
            "where": "validation" if step is None else "training",
            "epoch": progress.epoch + 1,
            "step": step,
            "restarts": progress.restarts,
            "batch": batch,
            "measured": None if batch is None else self.examine(batch),
            "model": self.model.state_dict(),
            "config": asdict(self.config),
        }

    def _end_epoch(self, validated: dict[str, Any] | None, seconds: float) -> None:
        """Log the epoch, and save the model where it is the best and the state where that is due."""
        progress, config = self.progress, self.config
        progress.epoch, progress.step, progress.seconds = progress.epoch + 1, 0, progress.seconds + seconds
        line = {
            "epoch": progress.epoch,
            "kl_weight": kl_weight(config, progress.epoch),
            "lr": self.optimizer.lr,
            "seconds": seconds,
            "train": self._means(),
            "val": validated,
            "restarts": progress.restarts,
        }
        self.store.log(line)
        self.sums = None
        if validated is not None and self._is_best(validated["elbo"]):
            self.store.save("best", {"progress": asdict(progress), "model": self.model.state_dict()})
        if lr_falls(config, progress.epoch, max(progress.best_epoch, progress.halved)):
            progress.halvings, progress.halved = progress.halvings + 1, progress.epoch
        if progress.epoch % config.save_f == 0 or progress.epoch == config.epochs:
            self.store.save("last", self.state())
        self.console.epoch(line, progress)

    def _is_best(self, elbo: float) -> bool:
        """Whether the model of this epoch is the best so far, given its validation ELBO; if so, `progress` notes it.

        Before models are compared that is the newest, at -inf, which whatever is compared later will exceed.
        """
        progress = self.progress
        if progress.epoch <= compared_after(self.config):
            elbo = -math.inf
        is_best = elbo > progress.best_elbo + self.config.min_improv or elbo == progress.best_elbo == -math.inf
        if is_best:
            progress.best_elbo, progress.best_epoch = elbo, progress.epoch
        return is_best

    def _means(self) -> dict[str, Any]:
        """The training terms of the epoch, means over its examples."""
        assert self.sums is not None
        examples, log_px_z, *rest = self.sums.tolist()
        kl = [factor / examples for factor in rest[: len(rest) - len(self.losses)]]
        found: dict[str, Any] = {"elbo": log_px_z / examples - sum(kl), "log_px_z": log_px_z / examples, "kl": sum(kl)}
        if len(kl) > 1:
            found["kl_factors"] = kl
        for name, total in zip(self.losses, rest[len(kl) :], strict=True):
            found[name] = total / examples / (self.batches.labelled_fraction if name == "cross_entropy" else 1)
        return found
