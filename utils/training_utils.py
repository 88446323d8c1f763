"""Training: the loop, the KL schedule, early stopping, and what happens when numbers stop being finite.

`fit` trains any module that offers `elbo_terms(x)`; where it is validated, what is saved and what is printed are the
caller's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from utils.config.schedule import kl_weight
from utils.run.checkpoints import Progress
from utils.seeds import derive_seed
from utils.train.adam import Adam
from utils.train.peers import ALONE, Alone

if TYPE_CHECKING:
    from utils.config.config import Config
    from utils.train.batches import TrainingImages
    from utils.train.protocols import Model, Reporter, Store, Terms


class NonFinite(Exception):
    """A loss or gradient was not finite; no step was taken from it on.

    Args:
        step: number of the batch in its epoch, from 0; None where the validation was not finite.
    """

    def __init__(self, step: int | None = None) -> None:
        super().__init__()
        self.step = step


def extra_names(config: Config) -> tuple[str, ...]:
    """The losses besides the ELBO that the run has."""
    return ("commitment",) * (config.name == "vq") + ("cross_entropy",) * config.classifier


def extra_weights(config: Config, batch: tuple[Tensor, ...]) -> dict[str, Tensor | float]:
    """Weight of each of those losses for a batch.

    The cross-entropy is 0 for unlabelled images; its weight makes the mean over the batch one over the labelled images
    in it. A weight in proportion to how rare labels are would do so for the whole epoch, but with few labels a single
    image would then outweigh everything else in the step.
    """
    weights: dict[str, Tensor | float] = {"commitment": config.commitment} if config.name == "vq" else {}
    if config.classifier:
        labels = batch[1]
        weights["cross_entropy"] = config.classifier_weight * len(labels) / (labels >= 0).sum().clamp(min=1)
    return weights


def objective(
    terms: Terms, weight: float, target: float, extra: Mapping[str, Tensor | float] = MappingProxyType({})
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


def stops_early(config: Config, progress: Progress) -> bool:
    """Whether the validation ELBO has not risen for `look_ahead` epochs, none of them in the burn-in."""
    return progress.epoch - max(progress.best_epoch, config.burn_in) >= config.look_ahead


def _is_better(elbo: float, config: Config, progress: Progress) -> bool:
    if progress.epoch <= config.burn_in:
        return False
    return progress.best_epoch == 0 or elbo > progress.best_elbo + config.min_improv


def snapshot(model: Model, optimizer: Adam, progress: Progress, sums: Tensor | None) -> dict[str, Any]:
    """Everything that resuming needs, as tensors and numbers."""
    return {
        "progress": asdict(progress),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "sums": sums,
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state() if sums is not None and sums.is_cuda else None,
    }


def fit(
    model: Model,
    batches: TrainingImages,
    validate: Callable[[], dict[str, Any]],
    config: Config,
    store: Store,
    reporter: Reporter,
    check_stop: Callable[[], None],
    state: dict[str, Any] | None = None,
    examine: Callable[[Tensor], dict[str, Any]] = lambda images: {},
    peers: Alone = ALONE,
) -> tuple[Progress, bool]:
    """Train until the last epoch, early stopping or divergence.

    Args:
        model: offers `elbo_terms(x)`, or `elbo_terms(x, labels)` where the batches come with labels.
        batches: the training images.
        validate: measures the model as it is; its result has `elbo` and goes into the metrics.
        config: the run.
        store: keeps checkpoints and metrics.
        reporter: is told of epochs and restarts.
        check_stop: called between steps; raises to stop. The state is saved first. `validate` may raise like it.
        state: a checkpoint to resume from; resuming equals never having stopped.
        examine: measures the model on the images of a batch, for the report on a run that diverged.
        peers: the processes among which every batch is shared.

    Returns:
        How far it came, and whether it diverged: a non-finite loss or gradient came back after `max_restarts` reloads.
    """
    optimizer = Adam(model.parameters(), config.lr)
    progress, sums = Progress(), None
    if state is None:
        store.save_last(snapshot(model, optimizer, progress, sums))
    else:
        progress, sums = _restore(state, model, optimizer)
    store.rewind(progress.epoch)
    if progress.restarts > config.max_restarts:  # given up before, and interrupted after that
        return progress, True

    reporter.begin(progress.epoch)
    while progress.epoch < config.epochs and not stops_early(config, progress):
        started = time.perf_counter()
        weight = kl_weight(config, progress.epoch + 1)
        try:
            model.train(True)
            sums = train_epoch(model, optimizer, batches, weight, config, progress, sums, store, check_stop, peers)
            model.train(False)
            try:
                validated = validate() if (progress.epoch + 1) % config.val_f == 0 else None
            except BaseException:
                store.save_stopped(snapshot(model, optimizer, progress, sums))
                raise
            if validated is not None and not math.isfinite(validated["elbo"]):
                raise NonFinite
        except NonFinite as failure:
            failed = replace(progress, restarts=progress.restarts + 1)
            if gives_up := failed.restarts > config.max_restarts:
                store.save_diverged(_evidence(model, batches, config, progress, failure.step, examine))
            progress, sums = _restore(store.load_last(), model, optimizer)
            # The best model so far stays the best, though the epochs since the last checkpoint are trained anew.
            progress = replace(
                progress, restarts=failed.restarts, best_elbo=failed.best_elbo, best_epoch=failed.best_epoch
            )
            store.rewind(progress.epoch)
            store.save_last(snapshot(model, optimizer, progress, sums))
            if gives_up:
                return progress, True
            reporter.restart(progress)
            continue

        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.seconds += time.perf_counter() - started
        line = {
            "epoch": progress.epoch,
            "kl_weight": weight,
            "seconds": time.perf_counter() - started,
            "train": _means(sums, config, batches),
            "val": validated,
            "restarts": progress.restarts,
        }
        store.log(line)
        sums = None
        if validated is not None and _is_better(validated["elbo"], config, progress):
            progress.best_elbo, progress.best_epoch = validated["elbo"], progress.epoch
            store.save_best({"progress": asdict(progress), "model": model.state_dict()})
        if progress.epoch % config.save_f == 0 or progress.epoch == config.epochs:
            store.save_last(snapshot(model, optimizer, progress, sums))
        reporter.epoch(line, progress)
    return progress, False


def train_epoch(
    model: Model,
    optimizer: Adam,
    batches: TrainingImages,
    weight: float,
    config: Config,
    progress: Progress,
    sums: Tensor | None,
    store: Store,
    check_stop: Callable[[], None],
    peers: Alone = ALONE,
) -> Tensor:
    """One pass over the training images, or the rest of one that was interrupted.

    Nothing in a step waits for the device. Whether a loss or gradient was not finite is noted there, and Adam is told
    there to skip that step and all later ones; the host asks once, at the end.

    Returns:
        Sums over the examples of the epoch: (examples, log p(x|z), KL of each factor, extra losses), float64.

    Raises:
        NonFinite: a loss or gradient was not finite.
    """
    epoch, first_step = progress.epoch + 1, progress.step
    model.latent.set_epoch(epoch)
    names = extra_names(config)
    if peers.rank:  # each has noise of its own, also where it goes on from a state that has the first one's
        noise = ("training noise", epoch, progress.restarts, "of process", peers.rank, progress.step)
        torch.manual_seed(derive_seed(config.rs, *noise))
        sums = None if sums is None else torch.zeros_like(sums)
    elif progress.step == 0:
        torch.manual_seed(derive_seed(config.rs, "training noise", epoch, progress.restarts))
    bad, taken_before = optimizer.skip.zero_(), optimizer.taken.clone()
    one = torch.ones_like(bad)

    for batch in batches.epoch(derive_seed(config.rs, "order", epoch, progress.restarts), progress.step):
        terms = model.elbo_terms(*batch)
        loss = objective(terms, weight, config.kl_target, extra_weights(config, batch))
        optimizer.zero_grad()
        loss.backward()
        note_nonfinite(bad, [loss.detach(), *optimizer.gradients()], one)
        optimizer.step()
        parts = [terms.log_px_z.unsqueeze(-1), terms.kl_factors, *(terms.extra[name].unsqueeze(-1) for name in names)]
        columns = torch.cat(parts, -1).detach()
        if sums is None:
            sums = columns.new_zeros(1 + columns.shape[-1], dtype=torch.float64)
        sums[0].add_(len(batch[0]))
        sums[1:].add_(columns.sum(0, dtype=torch.float64))
        progress.step += 1
        try:
            check_stop()
        except BaseException:
            if not bool(bad):
                store.save_stopped(snapshot(model, optimizer, progress, sums))
            raise
    if bool(peers.total(bad)):
        raise NonFinite(first_step + int(optimizer.taken - taken_before))
    assert sums is not None
    return peers.total(sums)


def _evidence(
    model: Model,
    batches: TrainingImages,
    config: Config,
    progress: Progress,
    step: int | None,
    examine: Callable[[Tensor], dict[str, Any]],
) -> dict[str, Any]:
    """What failed, for a bug report. No step was taken since, so the model is the very one that failed.

    The images are those of the failed batch; where they are binarized in every batch, that is done anew.
    """
    batch = None
    if step is not None:
        torch.manual_seed(derive_seed(config.rs, "diverged"))
        batch = next(batches.epoch(derive_seed(config.rs, "order", progress.epoch + 1, progress.restarts), step))[0]
    return {
        "where": "validation" if step is None else "training",
        "epoch": progress.epoch + 1,
        "step": step,
        "restarts": progress.restarts,
        "batch": batch,
        "measured": None if batch is None else examine(batch),
        "model": model.state_dict(),
    }


def _restore(state: dict[str, Any], model: Model, optimizer: Adam) -> tuple[Progress, Tensor | None]:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"].cpu())
    if state["rng_cuda"] is not None:
        torch.cuda.set_rng_state(state["rng_cuda"].cpu())
    return Progress(**state["progress"]), state["sums"]


def _means(sums: Tensor, config: Config, batches: TrainingImages) -> dict[str, Any]:
    names = extra_names(config)
    examples, log_px_z, *rest = sums.tolist()
    kl = [factor / examples for factor in rest[: len(rest) - len(names)]]
    found: dict[str, Any] = {"elbo": log_px_z / examples - sum(kl), "log_px_z": log_px_z / examples, "kl": sum(kl)}
    if len(kl) > 1:
        found["kl_factors"] = kl
    for name, total in zip(names, rest[len(kl) :], strict=True):
        found[name] = total / examples / (batches.labelled_fraction if name == "cross_entropy" else 1)
    return found
