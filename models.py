"""The variational auto-encoder: encoder, latent space, decoder and likelihood put together."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from hyperspherical_vae.kinds import KINDS, LIKELIHOODS
from hyperspherical_vae.latents import LATENTS, Latent, ProductLatent
from hyperspherical_vae.likelihoods import Likelihood
from utils.config.config import Config
from utils.config.networks import NETWORKS
from utils.model_utils import at_once, build_classifier, in_parts
from utils.run.folder import RunDir
from utils.run.stamped import fitting

# Most draws of the prior that sampling of a class makes for each latent that it finds.
PATIENCE = 10_000

# How earlier versions called likelihoods in `env.json`.
OLD_SPELLINGS = {"bernoulli": "bce", "gaussian": "mse"}

MOST_VALUES = 1 << 26  # of an image, more than any has


@dataclass(frozen=True)
class Images:
    """What a model has to know of its images; a run keeps it, so that its model can be built without the images.

    Attributes:
        shape: (C, H, W).
        levels: highest grey level.
        likelihood: the likelihood that suits them unless the configuration names another.
        classes: number of classes, 0 without labels.
        class_names: their names, in the order of the labels, where they are known.
        log_volume: see `Likelihood`.
    """

    shape: tuple[int, int, int]
    levels: int
    likelihood: str
    classes: int
    class_names: tuple[str, ...] = ()
    log_volume: float = 0.0

    @classmethod
    def of(cls, data: Any) -> Images:
        """Those of a loaded data set."""
        return cls(**{field.name: getattr(data, field.name) for field in dataclasses.fields(cls)})


class ELBOTerms(NamedTuple):
    """The evidence lower bound of each example, in nats.

    Attributes:
        log_px_z: log p(x | z) for one z ~ q(z | x), (B,).
        kl: KL(q(z | x) || p(z)), (B,).
        kl_factors: the KL of each factor of the latent space, (B, n); adds up to `kl`.
        extra: losses besides the ELBO, by name, unweighted, each (B,): `commitment` of a codebook, `cross_entropy` of
            the classifier (0 for images without a label).
    """

    log_px_z: Tensor
    kl: Tensor
    kl_factors: Tensor
    extra: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def elbo(self) -> Tensor:
        """log p(x|z) - KL, (B,): an unbiased estimate of a lower bound of log p(x)."""
        return self.log_px_z - self.kl


class VAE(nn.Module):
    """One model for every latent space, network and likelihood.

    Shapes: B images, K samples, D latent width, images (B, C, H, W).

    Args:
        encoder: images to features (B, F).
        latent: features to a posterior over z.
        decoder: z (..., D) to the likelihood's parameters.
        likelihood: those parameters to log p(x | z).
        shape: (C, H, W) of an image.
        classifier: z (..., D) to the logits of the classes (..., Y), or None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent: Latent,
        decoder: nn.Module,
        likelihood: Likelihood,
        shape: tuple[int, int, int],
        classifier: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.latent = latent
        self.decoder = decoder
        self.likelihood = likelihood
        self.shape = shape
        self.classifier = classifier

    def posterior(self, x: Tensor) -> Distribution:
        """q(z | x) for images (B, C, H, W)."""
        return self.latent.posterior(self.encoder(x))

    def forward(self, x: Tensor, y: Tensor | None = None) -> ELBOTerms:
        """The terms of the ELBO for images (B, C, H, W), with one sample of z per image.

        Args:
            x: images.
            y: their classes, (B,), -1 where unknown, for a model with a classifier.
        """
        q = self.posterior(x)
        return self.elbo_terms(q, sample_of(q), x, y)

    def elbo_terms(self, q: Distribution, z: Tensor, x: Tensor, y: Tensor | None = None) -> ELBOTerms:
        """The terms of the ELBO where the posterior q of x and a sample z (B, D) of it are at hand."""
        kl_factors = self.latent.kl(q, z)
        log_px_z = self.log_px_z(x, z)
        kl = kl_factors.squeeze(-1) if kl_factors.shape[-1] == 1 else kl_factors.sum(-1)
        extra = self.latent.extra_loss(q)
        if self.classifier is not None and y is not None:
            extra["cross_entropy"] = F.cross_entropy(self.classifier(z), y, ignore_index=-1, reduction="none")
        return ELBOTerms(log_px_z, kl, kl_factors, extra)

    def log_weights(self, x: Tensor, q: Distribution, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The weights of k samples z of q, whose logmeanexp estimates log p(x), and the terms of the ELBO.

        Args:
            x: images (B, C, H, W).
            q: their posterior.
            k: samples per image.

        Returns:
            log p(x | z) + log p(z) - log q(z | x), (k, B); log p(x | z), (k, B); and KL(q || p) of each factor, (B, n),
            or where it has no closed form that of each sample, (k, B, n).
        """
        z = sample_of(q, (k,))
        log_px_z = self.log_px_z(x, z)
        return log_px_z + self.latent.prior().log_prob(z) - q.log_prob(z), log_px_z, self.latent.kl(q, z)

    def log_px_z(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, (..., B); without gradients in parts that bound the memory.

        Args:
            x: images (B, C, H, W).
            z: latents of each image, (..., B, D).
        """
        pixels = x.flatten(1)
        size = at_once(z.device, self.likelihood.params_per_pixel * pixels.shape[1])
        if torch.is_grad_enabled() or z.shape[:-1].numel() <= size:
            return self.likelihood.log_prob(self.decoder(z), pixels)
        samples, found = z.reshape(-1, *z.shape[-2:]), []
        for images, latents in zip(pixels.split(size), samples.split(size, 1), strict=True):
            log_prob = self.likelihood.given(images)
            parts = latents.split(max(size // len(images), 1))
            found.append(torch.cat([log_prob(self.decoder(part)) for part in parts]))
        return torch.cat(found, 1).reshape(z.shape[:-1])

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Embeddings: the modes of q(z | x).

        On a sphere that is the mean direction times the radius, in R^d the mean, for a discrete latent the codes.

        Args:
            x: images (B, C, H, W) with pixel values in [0, 1]; of zeros and ones under a Bernoulli likelihood.

        Returns:
            (B, D).

        Raises:
            ValueError: the images are not of the shape that the model was trained on.
        """
        if x.dim() != 4 or tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"images have shape {tuple(x.shape)}; the model takes (B, {', '.join(map(str, self.shape))})"
            )
        return point_of(self.posterior(x))

    @property
    def knows_classes(self) -> bool:
        """Whether the model itself can draw latents of a class: by a classifier, or a prior for each class."""
        return self.classifier is not None or self.latent.class_prior(0) is not None

    @torch.no_grad()
    def sample_latents(
        self,
        n: int,
        label: int | None = None,
        like: Tensor | None = None,
        kappa: float | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Latents to decode, (n, D): see `sample`.

        Args:
            n, label, like: as there.
            kappa: concentration of the posteriors of `like` on every sphere, in place of their own.
            temperature: factor on the standard deviation of every normal distribution that is drawn from.
        """
        if n < 1:
            raise ValueError(f"n is {n}; at least one sample has to be asked for")
        if like is not None:
            if label is not None:
                raise ValueError("label and like: give one of the two; `like` images are of a class already")
            if not len(like):
                raise ValueError("like: holds no image")

            def draw(chosen: Tensor) -> Tensor:
                q = self.posterior(like[chosen])
                q = q if kappa is None else self.latent.with_concentration(q, kappa)
                return self.latent.with_temperature(q, temperature).sample()

            return in_parts(draw, torch.randint(len(like), (n,), device=like.device), math.prod(self.shape))
        prior = self.latent.class_prior(label) if label is not None else self.latent.prior()
        if prior is not None:
            return self.latent.with_temperature(prior, temperature).sample((n,))
        if self.classifier is None:
            raise ValueError(
                f"label {label}: the model knows no classes; train it with a classifier (or a codebook with a prior), "
                "or give images of the class as `like`"
            )
        assert label is not None
        return self._draws_of_class(n, label, self.latent.with_temperature(self.latent.prior(), temperature))

    def _draws_of_class(self, n: int, label: int, prior: Distribution) -> Tensor:
        """Draws of the prior that the classifier assigns to a class, (n, D)."""
        assert self.classifier is not None
        parts: list[Tensor] = []
        found = drawn = 0
        while found < n:
            z = prior.sample((max(n, 1000),))
            logits = self.classifier(z)
            if not 0 <= label < logits.shape[-1]:
                raise ValueError(f"label is {label}; allowed: 0 to {logits.shape[-1] - 1}")
            drawn += len(z)
            parts.append(z[logits.argmax(-1) == label])
            found += len(parts[-1])
            if drawn > PATIENCE * (found + 1):
                raise ValueError(
                    f"label {label}: the classifier assigns it to {found} of {drawn} draws of the prior, which is too "
                    "few; give images of the class as `like`"
                )
        return torch.cat(parts)[:n]

    @torch.no_grad()
    def sample(self, n: int, label: int | None = None, like: Tensor | None = None) -> Tensor:
        """New images, as pixel means.

        Args:
            n: how many.
            label: their class: by the class's own prior where the latent has one, else by those draws of the prior that
                the classifier assigns to the class.
            like: images (M, C, H, W) whose aggregate posterior takes the prior's place: each latent is drawn from the
                posterior of a random one of them. Images of one class give new images of that class.

        Returns:
            (n, C, H, W), values in [0, 1].

        Raises:
            ValueError: n is below 1, or the class is unknown, or too rare among the prior's draws.
        """
        return self.decode(self.sample_latents(n, label, like))

    def decode(self, z: Tensor) -> Tensor:
        """E[x | z]: (..., D) to images (..., C, H, W) with pixel values in [0, 1]."""
        numbers = self.likelihood.params_per_pixel * math.prod(self.shape)
        images = in_parts(lambda part: self.likelihood.mean(self.decoder(part)), z.flatten(0, -2), numbers)
        return images.reshape(*z.shape[:-1], *self.shape)


def point_of(q: Distribution, *names: str) -> Tensor:
    """The point of z that stands for a posterior, (B, D): its mode unless told otherwise.

    Args:
        q: the posterior.
        names: what to take, in order; a family that lacks all of these gives a sample.
    """
    for name in names or ("mode", "mean"):
        with contextlib.suppress(NotImplementedError):
            return getattr(q, name)
    return q.sample()


def sample_of(q: Distribution, sample_shape: tuple[int, ...] = ()) -> Tensor:
    """Samples with gradients to the parameters of q, where q has such."""
    return q.rsample(sample_shape) if q.has_rsample else q.sample(sample_shape)


def build_model(config: Config, images: Images) -> VAE:
    """The model that a configuration describes, for images of this data set.

    Args:
        config: the resolved configuration.
        images: what they are.
    """
    bias = not config.no_bias
    encode, decode = NETWORKS[config.encode_type], NETWORKS[config.decode_type]
    encoder = resolve_name(encode.encoder)(images.shape, config.h_dims or encode.hidden, bias)
    latent = build_latent(config, encoder.out_features, encoder.map_shape)
    likelihood = resolve_name(LIKELIHOODS[config.loss_function or images.likelihood])(images.levels, images.log_volume)
    decoder = resolve_name(decode.decoder)(
        latent.event_dim,
        images.shape,
        likelihood.params_per_pixel,
        config.h_dims or decode.hidden,
        bias,
        latent.map_shape,
    )
    classifier = build_classifier(latent.event_dim, images.classes) if config.classifier else None
    return VAE(encoder, latent, decoder, likelihood, images.shape, classifier)


def build_latent(config: Config, in_features: int, map_shape: tuple[int, int, int] | None = None) -> Latent:
    """The latent space of a configuration.

    Args:
        config: the resolved configuration.
        in_features: F, features of the encoder.
        map_shape: (C, H, W) where the features are a map, flattened.
    """
    settings = {**dataclasses.asdict(config), "map_shape": map_shape}

    def build(factor: tuple[str, int], count: int | None = None) -> Latent:
        kind, dim = factor
        arguments = {argument: settings[name] for argument, name in KINDS[kind].arguments.items()}
        copies = {} if count is None else {"count": count}
        return LATENTS[kind](in_features, dim, **arguments, **copies)

    return build(config.factors[0]) if config.z_dims is None else ProductLatent(config.factors, build)


def load_model(folder: str | Path) -> tuple[VAE, Config]:
    """The best model of a run, ready to use, and its configuration.

    Args:
        folder: of the run, such as `results/mnist/vmf-z10__s1__9d3c01ab`.

    Returns:
        The model on the CPU in evaluation mode, with its prior over codes if the run fitted one, and the configuration.

    Example:
        model, config = load_model("results/mnist/vmf-z10__s1__9d3c01ab")
        z = model.encode(x)                     # images (B, 1, 28, 28) to embeddings (B, D)
        images = model.decode(z)                # and back to pixel means
        images = model.sample(16)               # new images from the prior
        images = model.sample(16, label=3)      # of one class, if the model knows classes
        images = model.sample(16, like=x)       # from the aggregate posterior of images

    Raises:
        UsageError: the folder holds no run.
        Damaged: a file that is needed is absent, torn or edited.
        Foreign: a file is of another run, or the folder is an edited copy.
        OSError: a file may not be read.
    """
    run = RunDir.at(Path(folder))
    return load_best(run)[0], run.config


def load_best(run: RunDir) -> tuple[VAE, int]:
    """The best model of a run as `load_model` gives it, and the epoch that it is from.

    Raises:
        Damaged, Foreign, OSError: as `load_model`.
    """
    images = stored_images(run)
    with fitting(run.path / "env.json"):
        model = build_model(run.config, images)
    best_epoch = restore_best(run, model)["progress"]["best_epoch"]
    if run.config.vq_prior is not None:
        prior = model.latent.add_code_prior(run.config.vq_prior, images.classes)
        fill(prior, run.code_prior(best_epoch), run.checkpoint("code_prior"))
    return model.eval(), best_epoch


def stored_images(run: RunDir) -> Images:
    """What a run says of its images.

    Raises:
        Damaged, Foreign, OSError: as `load_model`.
    """
    with fitting(run.path / "env.json"):
        facts = run.read("env.json")["images"]
        likelihood = OLD_SPELLINGS.get(facts["likelihood"], facts["likelihood"])
        lists = {name: tuple(facts.get(name, ())) for name in ("shape", "class_names")}
        images = Images(**{**facts, **lists, "likelihood": likelihood})
        counts = (*images.shape, images.levels, images.classes)
        sound = len(images.shape) == 3 and all(type(count) is int and count >= 0 for count in counts)
        if not sound or math.prod(images.shape) > MOST_VALUES or {*map(type, images.class_names)} - {str}:
            raise ValueError("it does not say what the images of the run are")
    return images


def restore_best(run: RunDir, model: VAE) -> dict[str, Any]:
    """Give a model the weights of the best one of a run; returns that state.

    Raises:
        Damaged, Foreign: as `load_model`.
    """
    best = run.load("best")
    fill(model, best.get("model"), run.checkpoint("best"))
    return best


def fill(module: nn.Module, state: Any, place: Path) -> None:
    """Load the weights that a file holds.

    Raises:
        Damaged: they are not those of such a module.
    """
    with fitting(place):
        module.load_state_dict(state)
