"""A latent space that is a product of latent spaces."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import ProductDistribution
from .base import Latent


class ProductLatent(Latent[ProductDistribution]):
    """z = (z_1, ..., z_n) with independent factors in the order given: S^4 x S^4 x R^2.

    Equal factors are held together in one latent with `count` copies, so that ten spheres cost about as much as one.

    Args:
        factors: for each factor a hashable description; equal ones are held together.
        build: makes the latent for (description, count).

    Raises:
        ValueError: there is no factor.

    Example:
        >>> from hyperspherical_vae.latents import NormalLatent, SphericalLatent
        >>> def build(factor, count):
        ...     kind, dim = factor
        ...     return {"s": SphericalLatent, "e": NormalLatent}[kind](128, dim, count=count)
        >>> latent = ProductLatent([("s", 4), ("e", 2), ("s", 4)], build)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> z = q.rsample()
        >>> z.shape, latent.kl(q, z).shape
        (torch.Size([3, 12]), torch.Size([3, 3]))
    """

    order: Tensor

    def __init__(self, factors: Sequence[Any], build: Callable[[Any, int], Latent]) -> None:
        nn.Module.__init__(self)  # a product has no head of its own
        if not factors:
            raise ValueError("a product space needs at least one factor")
        positions: dict[Any, list[int]] = {}
        for position, factor in enumerate(factors):
            positions.setdefault(factor, []).append(position)
        self.count = None
        self.groups = nn.ModuleList(build(factor, len(where)) for factor, where in positions.items())
        self.positions = tuple(tuple(where) for where in positions.values())
        self.event_dim = sum(
            group.event_dim * len(where) for group, where in zip(self.members, self.positions, strict=True)
        )
        self.has_density = all(group.has_density for group in self.members)
        self.kl_is_constant = all(group.kl_is_constant for group in self.members)
        # Factor i of the product is column order[i] of the groups laid side by side.
        order = torch.tensor([place for where in self.positions for place in where]).argsort()
        self.register_buffer("order", order, persistent=False)
        self._in_order = bool((order == torch.arange(len(order))).all())

    @property
    def members(self) -> list[Latent]:
        """The latents of the groups of equal factors."""
        return [group for group in self.groups if isinstance(group, Latent)]

    def posterior(self, features: Tensor) -> ProductDistribution:
        return self._joint([member.posterior(features) for member in self.members])

    def prior(self) -> ProductDistribution:
        return self._joint([member.prior() for member in self.members])

    def _joint(self, parts: Sequence[Distribution]) -> ProductDistribution:
        return ProductDistribution.from_groups(list(zip(parts, self.positions, strict=True)))

    def _side_by_side(self, columns: list[Tensor]) -> Tensor:
        joined = columns[0] if len(columns) == 1 else torch.cat(columns, -1)
        return joined if self._in_order else joined[..., self.order]

    def kl(self, q: ProductDistribution, z: Tensor) -> Tensor:
        parts = zip(self.members, q.groups, q.split_groups(z), strict=True)
        columns = [member.kl(q_part, z_part) for member, (q_part, _), z_part in parts]
        dims = [column.dim() for column in columns]
        if max(dims) > min(dims):  # of each sample where there is no closed form
            columns = [column.expand(*z.shape[:-1], -1) for column in columns]
        return self._side_by_side(columns)

    def extra_loss(self, q: ProductDistribution) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for member, (q_part, _) in zip(self.members, q.groups, strict=True):
            for name, loss in member.extra_loss(q_part).items():
                found[name] = found[name] + loss if name in found else loss
        return found

    def set_epoch(self, epoch: int) -> None:
        for member in self.members:
            member.set_epoch(epoch)

    def statistics(self, q: ProductDistribution) -> dict[str, Tensor]:
        found: dict[str, dict[int, Tensor]] = {}
        for member, (q_part, where) in zip(self.members, q.groups, strict=True):
            for name, values in member.statistics(q_part).items():
                found.setdefault(name, {}).update(zip(where, values.unbind(-1), strict=True))
        # In the order of the factors, without those that lack the statistic.
        return {name: torch.stack([of[place] for place in sorted(of)], -1) for name, of in found.items()}

    def with_concentration(self, q: ProductDistribution, kappa: float) -> ProductDistribution:
        return self._changed(q, lambda member, part: member.with_concentration(part, kappa))

    def with_temperature(self, q: ProductDistribution, temperature: float) -> ProductDistribution:
        return self._changed(q, lambda member, part: member.with_temperature(part, temperature))

    def _changed(
        self, q: ProductDistribution, change: Callable[[Latent, Distribution], Distribution]
    ) -> ProductDistribution:
        """q with the distribution of each group of equal factors changed."""
        return self._joint([change(member, part) for member, (part, _) in zip(self.members, q.groups, strict=True)])
