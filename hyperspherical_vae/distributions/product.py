"""Products of independent distributions over concatenated coordinates."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, constraints
from torch.types import _size

from .base import BatchOfTensors

Group = tuple[Distribution, tuple[int, ...]]


class _Run(NamedTuple):
    """Neighbouring factors of a product that are also neighbours in one group."""

    group: int
    start: int
    stop: int
    dim: int


def _find_runs(positions: tuple[tuple[int, ...], ...], dims: tuple[int, ...]) -> tuple[_Run, ...]:
    """The runs of a product in the order of its coordinates; the positions must be 0 .. n-1, in any order."""
    owner = {where: (group, place) for group, places in enumerate(positions) for place, where in enumerate(places)}
    if sorted(owner) != list(range(sum(map(len, positions)))):
        raise ValueError(f"ProductDistribution: the positions {list(positions)} do not name each factor exactly once")
    runs: list[_Run] = []
    for where in range(len(owner)):
        group, place = owner[where]
        if runs and runs[-1].group == group and runs[-1].stop == place:
            runs[-1] = runs[-1]._replace(stop=place + 1)
        else:
            runs.append(_Run(group, place, place + 1, dims[group]))
    return tuple(runs)


_kept_runs = functools.lru_cache(maxsize=256)(_find_runs)


class _ProductSupport(constraints.Constraint):
    """Values whose every factor is in its support."""

    event_dim = 1

    def __init__(self, product: ProductDistribution) -> None:
        self.product = product
        self.is_discrete = any(_support(group).is_discrete for group, _ in product.groups)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        parts = zip(self.product.groups, self.product.split_groups(value), strict=True)
        checks = [_support(group).check(part).all(-1) for (group, _), part in parts]
        return torch.stack(torch.broadcast_tensors(*checks)).all(0)


class ProductDistribution(Distribution):
    """Independent factors z = (z_1, ..., z_n) over concatenated coordinates, in the order given.

    Factors of the same kind, dimension and radius are held in one batched distribution, so that every quantity takes
    one call per group whatever the number of factors.

    Args:
        factors: distributions with event shape (d_i,) whose batch shapes broadcast: those of this package,
            `MultivariateNormal`, `Independent` over one dimension of a univariate distribution, and whatever else takes
            just the tensors that its `arg_constraints` name.
        validate_args: whether the parameters of the factors and values are checked; each factor keeps its own choice
            unless given.

    Raises:
        ValueError: there is no factor, a factor does not have vectors as events, its kind cannot be batched or, under
            `validate_args`, its parameters are not allowed.

    Attributes:
        groups: (distribution, positions) of each group: batch shape (*batch_shape, n_g), event shape (d_g,), and the
            places of its n_g factors in the product.
        factor_dims: (d_1, ..., d_n).
        has_rsample: whether every factor has.

    Example:
        >>> from hyperspherical_vae.distributions import HypersphericalUniform
        >>> product = ProductDistribution([HypersphericalUniform(dim) for dim in (2, 3, 2)])
        >>> product.factor_dims, product.rsample((5,)).shape, len(product.groups)
        ((3, 4, 3), torch.Size([5, 10]), 2)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, factors: Sequence[Distribution], validate_args: bool | None = None) -> None:
        for position, factor in enumerate(factors):
            if len(factor.event_shape) != 1:
                raise ValueError(
                    f"ProductDistribution: factor {position} is a {type(factor).__name__} of event shape "
                    f"{tuple(factor.event_shape)}; it has to be (d,): wrap univariate ones in Independent(..., 1)"
                )
        try:
            batch_shape = torch.broadcast_shapes(*(factor.batch_shape for factor in factors))
        except RuntimeError:
            shapes = ", ".join(str(tuple(factor.batch_shape)) for factor in factors)
            raise ValueError(
                f"ProductDistribution: the batch shapes {shapes} of the factors do not broadcast"
            ) from None
        expanded = [x if x.batch_shape == batch_shape else x.expand(batch_shape) for x in factors]
        places: dict[Any, list[int]] = {}
        for position, factor in enumerate(factors):
            places.setdefault(_kind(factor), []).append(position)
        self._set_groups(
            [(stack([expanded[i] for i in where]), tuple(where)) for where in places.values()],
            validate_args,
        )

    @classmethod
    def from_groups(cls, groups: Sequence[Group], validate_args: bool | None = None) -> ProductDistribution:
        """Build a product from distributions that are batched over their factors already.

        Args:
            groups: pairs of a distribution with batch shape (..., n) and event shape (d,), and the places of its n
                factors in the product.
            validate_args: as for the class.

        Raises:
            ValueError: there is no factor, or batch shapes, event shapes and positions do not fit together.

        Example:
            >>> from hyperspherical_vae.distributions import HypersphericalUniform
            >>> spheres = HypersphericalUniform(2, batch_shape=(7, 3))
            >>> ProductDistribution.from_groups([(spheres, (0, 1, 2))]).event_shape
            torch.Size([9])
        """
        new: ProductDistribution = cls.__new__(cls)
        new._set_groups(groups, validate_args)
        return new

    def _set_groups(self, groups: Sequence[Group], validate_args: bool | None) -> None:
        if not groups:
            raise ValueError("ProductDistribution: a product needs at least one factor")
        batch_shape = groups[0][0].batch_shape[:-1]
        for group, positions in groups:
            if len(group.event_shape) != 1 or group.batch_shape != (*batch_shape, len(positions)):
                raise ValueError(
                    f"ProductDistribution: a {type(group).__name__} for {len(positions)} factors has batch shape "
                    f"{tuple(group.batch_shape)} and event shape {tuple(group.event_shape)}; they have to be "
                    f"{(*batch_shape, len(positions))} and (d,)"
                )
        if validate_args is not None:
            groups = [(_validated(group, validate_args), positions) for group, positions in groups]
        self.groups = list(groups)
        self.has_rsample = all(group.has_rsample for group, _ in groups)
        find_runs = _find_runs if torch.compiler.is_compiling() else _kept_runs
        self._runs = find_runs(
            tuple(positions for _, positions in groups), tuple(group.event_shape[0] for group, _ in groups)
        )
        self.factor_dims = tuple(run.dim for run in self._runs for _ in range(run.start, run.stop))
        super().__init__(batch_shape, torch.Size((sum(self.factor_dims),)), validate_args=False)
        self._validate_args = any(group._validate_args for group, _ in groups)

    @constraints.dependent_property(event_dim=1)
    def support(self) -> constraints.Constraint:
        return _ProductSupport(self)

    def split(self, value: Tensor) -> list[Tensor]:
        """The factors' coordinates of values (..., D), in order: n tensors (..., d_i)."""
        return list(value.split(self.factor_dims, -1))

    def split_groups(self, value: Tensor) -> list[Tensor]:
        """The groups' coordinates of values (..., D): a tensor (..., n_g, d_g) for each group."""
        sizes = [(run.stop - run.start) * run.dim for run in self._runs]
        pieces: list[list[tuple[int, Tensor]]] = [[] for _ in self.groups]
        for run, part in zip(self._runs, value.split(sizes, -1), strict=True):
            pieces[run.group].append((run.start, part.unflatten(-1, (run.stop - run.start, run.dim))))
        return [
            found[0][1] if len(found) == 1 else torch.cat([part for _, part in sorted(found, key=lambda x: x[0])], -2)
            for found in pieces
        ]

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        """Inverse of `split_groups`."""
        columns = [parts[run.group][..., run.start : run.stop, :].flatten(-2) for run in self._runs]
        return columns[0] if len(columns) == 1 else torch.cat(columns, -1)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Samples of shape (*sample_shape, *batch_shape, D), reparameterized."""
        return self._join([group.rsample(sample_shape) for group, _ in self.groups])

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Samples of shape (*sample_shape, *batch_shape, D)."""
        return self._join([group.sample(sample_shape) for group, _ in self.groups])

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of the factors' log densities for values (..., D)."""
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"ProductDistribution: the value has shape {tuple(value.shape)}; its last size has to be "
                f"{self.event_shape[0]}"
            )
        parts = zip(self.groups, self.split_groups(value), strict=True)
        return total([group.log_prob(part) for (group, _), part in parts])

    def entropy(self) -> Tensor:
        """Sum of the factors' entropies in nats."""
        return total([group.entropy() for group, _ in self.groups])

    @property
    def mean(self) -> Tensor:
        return self._join([group.mean for group, _ in self.groups])

    @property
    def mode(self) -> Tensor:
        return self._join([group.mode for group, _ in self.groups])

    @property
    def variance(self) -> Tensor:
        return self._join([group.variance for group, _ in self.groups])

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix, (..., D, D): 0 between factors.

        Raises:
            NotImplementedError: a factor has none and is not `Independent`.
        """
        covariance = torch.diag_embed(self.variance)
        starts = [sum(self.factor_dims[:i]) for i in range(len(self.factor_dims))]
        for group, positions in self.groups:
            if isinstance(group, Independent):
                continue  # of univariate distributions
            if not hasattr(group, "covariance_matrix"):
                raise NotImplementedError(f"ProductDistribution: a {type(group).__name__} has no covariance_matrix")
            for block, position in zip(group.covariance_matrix.unbind(-3), positions, strict=True):
                here = slice(starts[position], starts[position] + self.factor_dims[position])
                covariance[..., here, here] = block
        return covariance

    def expand(self, batch_shape: _size, _instance: Any = None) -> ProductDistribution:
        shape = torch.Size(batch_shape)
        groups = [(group.expand((*shape, len(where))), where) for group, where in self.groups]
        new: ProductDistribution = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        new._set_groups(groups, None)
        return new

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{len(where)} x {type(group).__name__}({group.event_shape[0]})" for group, where in self.groups
        )
        return f"ProductDistribution({parts}, batch_shape={tuple(self.batch_shape)})"


def total(values: Sequence[Tensor]) -> Tensor:
    """Sum over the factors of values (..., n_g) for each group."""
    return functools.reduce(torch.add, [value.sum(-1) for value in values])


def _support(group: Distribution) -> constraints.Constraint:
    return group.support or constraints.real_vector


def _validated(group: Distribution, validate_args: bool) -> Distribution:
    """A copy that checks its parameters, now, and values; or does not."""
    new = copy.copy(group)
    if isinstance(new, Independent):
        new.base_dist = _validated(new.base_dist, validate_args)
    try:
        Distribution.__init__(new, group.batch_shape, group.event_shape, validate_args)
    except ValueError as error:
        name = str(error).split()[2]  # Expected parameter <name> ...
        raise ValueError(
            f"ProductDistribution: {name} of a {type(group).__name__} is not within its constraint, "
            f"{group.arg_constraints[name]}"
        ) from None
    return new


def _kind(factor: Distribution) -> Any:
    """What factors must share to be held in one batched distribution."""
    if isinstance(factor, BatchOfTensors):
        return factor.kind()
    base = _kind(factor.base_dist) if isinstance(factor, Independent) else None
    return type(factor), factor.event_shape, factor._validate_args, base


def _map_arguments(
    members: Sequence[Distribution], change: Callable[[list[Tensor], int], Tensor], shape: torch.Size, inner: int = 0
) -> Distribution:
    """A distribution of the same kind as `members` whose arguments are `change(arguments of the members, n)`.

    Args:
        members: distributions of one kind and batch shape.
        change: takes the members' tensors for one argument and the number of its dimensions to the right of the batch.
        shape: batch shape of the result.
        inner: dimensions of the members' batch that belong to the event.
    """
    first = members[0]

    def changed(name: str, dims: int) -> Tensor:
        return change([getattr(member, name) for member in members], inner + dims)

    if isinstance(first, BatchOfTensors):
        return first.with_tensors({name: changed(name, dims) for name, dims in first.batched.items()}, shape)
    validate = first._validate_args
    if isinstance(first, Independent):
        bases = [member.base_dist for member in members if isinstance(member, Independent)]
        base = _map_arguments(bases, change, shape, inner + first.reinterpreted_batch_ndims)
        return Independent(base, first.reinterpreted_batch_ndims, validate_args=validate)
    names = ["loc", "scale_tril"] if isinstance(first, MultivariateNormal) else list(first.arg_constraints)
    accepted = set(inspect.signature(type(first)).parameters) - {"validate_args"}
    if isinstance(first, MultivariateNormal):
        accepted -= {"covariance_matrix", "precision_matrix"}
    if not names or set(names) != accepted or {"probs", "logits"} <= accepted:
        raise ValueError(f"ProductDistribution: distributions of the kind {type(first).__name__} cannot be batched")
    arguments: dict[str, Any] = {name: changed(name, first.arg_constraints[name].event_dim) for name in names}
    return type(first)(**arguments, validate_args=validate)


def stack(members: Sequence[Distribution]) -> Distribution:
    """Distributions of one kind and batch shape (...) as one of batch shape (..., len(members))."""
    shape = torch.Size((*members[0].batch_shape, len(members)))
    return _map_arguments(members, lambda tensors, inner: torch.stack(tensors, -1 - inner), shape)


def take(group: Distribution, places: Sequence[int]) -> Distribution:
    """The part of a distribution of batch shape (..., n) at the given places of its last batch dimension."""
    if list(places) == list(range(group.batch_shape[-1])):
        return group

    def change(tensors: list[Tensor], inner: int) -> Tensor:
        return torch.stack([tensors[0].select(-1 - inner, place) for place in places], -1 - inner)

    return _map_arguments([group], change, torch.Size((*group.batch_shape[:-1], len(places))))
