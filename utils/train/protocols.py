"""What training asks of the things that it is given: a model, a place for its state, someone to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from utils.run.checkpoints import Progress


class Terms(Protocol):
    """What is asked of the terms of an ELBO; see `models.ELBOTerms`."""

    @property
    def log_px_z(self) -> Tensor: ...

    @property
    def kl(self) -> Tensor: ...

    @property
    def kl_factors(self) -> Tensor: ...

    @property
    def extra(self) -> Mapping[str, Tensor]: ...


class Latent(Protocol):
    """What is asked of a latent space; see `hyperspherical_vae.latents.Latent`."""

    def set_epoch(self, epoch: int) -> None: ...


class Model(Protocol):
    """What is asked of a model; see `models.VAE`."""

    @property
    def latent(self) -> Latent: ...

    def elbo_terms(self, x: Tensor, y: Tensor) -> Terms: ...

    def train(self, mode: bool) -> Any: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...


class Store(Protocol):
    """Where `fit` keeps what must not be lost: `last` is the state after an epoch, `stopped` may be within one."""

    def save_last(self, state: dict[str, Any]) -> None: ...

    def save_stopped(self, state: dict[str, Any]) -> None: ...

    def save_best(self, state: dict[str, Any]) -> None: ...

    def load_last(self) -> dict[str, Any]: ...

    def save_diverged(self, evidence: dict[str, Any]) -> None: ...

    def log(self, line: dict[str, Any]) -> None: ...

    def rewind(self, epoch: int) -> None: ...


class Reporter(Protocol):
    """Whom `fit` tells how it goes."""

    def begin(self, first_epoch: int) -> None: ...

    def epoch(self, line: dict[str, Any], progress: Progress) -> None: ...

    def restart(self, progress: Progress) -> None: ...
