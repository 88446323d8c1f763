"""What a finished run is asked beyond its ELBO: the classifier's accuracy, a prior over codes, the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hyperspherical_vae.latents import CodebookLatent
from hyperspherical_vae.latents.code_priors import IndependentCodePrior
from utils.classifying_utils import choose_labelled, classifier_metrics, embed, probe
from utils.config.flags import UsageError
from utils.measure.code_prior_fitting import code_prior_metrics, codes_of, fit_by_gradient
from utils.measure.evaluation import evaluate_validation
from utils.run.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from utils.seeds import derive_seed
from utils.train.batches import fixed_images
from utils.train.peers import ALONE, Alone

if TYPE_CHECKING:
    from models import VAE
    from utils.config.config import Config
    from utils.load_data import Data
    from utils.run.console import Console
    from utils.run.folder import RunDir

# The probe learns from embeddings of so many training images; more change nothing and take time.
PROBED = 10_000


def check_labels(config: Config, data: Data) -> None:
    """Refuse what needs labels where there are none, or not enough.

    Raises:
        UsageError: the data set has no labels, or --labels asks for more or fewer images than it can.
    """
    for flag, wanted in (("--classifier", config.classifier), ("--probe", config.probe)):
        if wanted and data.train.labels is None:
            raise UsageError(f"{flag}: the data set {config.dataset} has no labels; leave it out, or choose another -d")
    if config.labels is not None and not data.classes <= config.labels <= len(data.train):
        raise UsageError(
            f"--labels {config.labels}: allowed with -d {config.dataset}: from {data.classes}, one of each class, to "
            f"{len(data.train)}, all training images"
        )


def validation_metrics(
    model: VAE,
    images: Tensor,
    labels: Tensor | None,
    seed: int,
    k: int,
    check_stop: Callable[[], None],
    peers: Alone = ALONE,
) -> dict[str, Any]:
    """What `evaluate_validation` finds and, where the model has a classifier, how well that does."""
    found = evaluate_validation(model, images, seed, k, check_stop, peers)
    if model.classifier is not None and labels is not None:
        found.update(classifier_metrics(model, images, labels, seed))
    return found


def system_metrics(
    config: Config,
    run: RunDir,
    model: VAE,
    data: Data,
    how: dict[str, Any],
    test: Tensor,
    console: Console,
) -> dict[str, Any]:
    """Test figures of the classifier and of the prior over codes, which is fitted first.

    Args:
        config: the run.
        run: keeps the fitted prior.
        model: the best model; gets the prior.
        data: the data set.
        how: how images are to be prepared for the model.
        test: test images as the model sees them.
        console: is told how the prior's training goes.
    """
    found: dict[str, Any] = {}
    if model.classifier is not None and data.test.labels is not None:
        found.update(classifier_metrics(model, test, data.test.labels, config.rs))
    if config.vq_prior is not None:
        _add_code_prior(config, run, model, data, how, console)
        found["code_prior"] = code_prior_metrics(model, test, data.test.labels, config.vq_prior)
    return found


def _add_code_prior(
    config: Config,
    run: RunDir,
    model: VAE,
    data: Data,
    how: dict[str, Any],
    console: Console,
) -> None:
    """Give the model a fitted prior over codes: the one kept with the run if it fits this model, else a new one."""
    best_epoch = run.load_best()["progress"]["best_epoch"]
    torch.manual_seed(derive_seed(config.rs, "code prior"))
    assert isinstance(model.latent, CodebookLatent)
    assert config.vq_prior is not None
    prior = model.latent.add_code_prior(config.vq_prior, data.classes)
    try:
        kept = load_checkpoint(run.code_prior)
        if kept["best_epoch"] == best_epoch:
            prior.load_state_dict(kept["prior"])
            return
    except CheckpointError:
        pass  # none yet, or one that has to be made again
    images = fixed_images(data.train, purpose="code prior", **how)
    codes = codes_of(model, images)
    labels = None if data.train.labels is None else data.train.labels.to(codes.device)
    if isinstance(prior, IndependentCodePrior):
        prior.count(codes, labels)
    else:

        def on_epoch(done: int, total: int) -> None:
            console.counting("epochs of the prior over codes", done, total)

        val_codes = codes_of(model, fixed_images(data.val, purpose="val", **how))
        fit_by_gradient(prior, codes, labels, val_codes, config.vq_prior_epochs, config.rs, on_epoch)
    save_checkpoint(run.code_prior, {"best_epoch": best_epoch, "prior": prior.state_dict()})


def probe_metrics(config: Config, model: VAE, data: Data, how: dict[str, Any], test: Tensor) -> dict[str, Any]:
    """Accuracy of nearest neighbours and logistic regression on the embeddings; see `classifying_utils.probe`."""
    assert data.train.labels is not None
    assert data.test.labels is not None
    train = data.train
    if len(train) > PROBED:
        chosen = choose_labelled(data.train.labels, PROBED, derive_seed(config.rs, "probed"))
        train = type(train)(train.images[chosen], data.train.labels[chosen])
    assert train.labels is not None
    kinds = {kind for kind, _ in config.factors}
    spherical = len(config.factors) == 1 and kinds <= {"vmf", "powerspherical"}
    embeddings = embed(model, fixed_images(train, purpose="probe", **how))
    return probe(embeddings, train.labels, embed(model, test), data.test.labels, spherical, config.rs)
