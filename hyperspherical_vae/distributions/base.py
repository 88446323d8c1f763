"""What the distributions of this package have in common."""

import copy
import math
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size

from ..constraints import Sphere, unit_vector
from ..ops.bessel import log_sphere_area, working_dtype
from ..ops.placement import sample_around

Batched = TypeVar("Batched", bound="BatchOfTensors")


def all_true(checks: Tensor) -> bool:
    """Whether all are true, also under `torch.func.vmap`, where a tensor cannot be asked for its value."""
    return bool(torch._is_all_true(checks))


def check_range(owner: str, name: str, below: float, scalar: Tensor) -> None:
    """Raise ValueError where a parameter is not in [0, below)."""
    allowed = (scalar >= 0) & (scalar < below)
    if not all_true(allowed):
        worst = scalar[~allowed].flatten()[0]
        bound = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{owner}: a {name} is {worst:.7g}; it has to be {bound} and zero or more")


def unit_in(dtype: torch.dtype, loc: Tensor) -> Tensor:
    """Vectors (..., m) in a wider dtype, where those that are unit vectors to the rounding of theirs are made ones."""
    wide = loc.to(dtype)
    if dtype == loc.dtype:
        return wide
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide / norm.where(unit_vector.check(loc).unsqueeze(-1), 1.0)


class BatchOfTensors(Distribution):
    """A distribution given by tensors over its batch and by other attributes, which copies of other batches keep.

    Attributes:
        batched: for each of the tensors, by the name of its attribute, the number of its dimensions to the right of the
            batch.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    batched: ClassVar[dict[str, int]] = {}

    def with_tensors(self: Batched, tensors: Mapping[str, Tensor], batch_shape: _size) -> Batched:
        """A copy, also of a subclass with attributes of its own, with other values of the `batched` tensors."""
        new = copy.copy(self)
        new.__dict__.update(tensors)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def expand(self: Batched, batch_shape: _size, _instance: Any = None) -> Batched:
        shape = torch.Size(batch_shape)
        tensors = {name: getattr(self, name) for name in self.batched}
        new = self.with_tensors(
            {name: x.expand(shape + x.shape[x.dim() - self.batched[name] :]) for name, x in tensors.items()}, shape
        )
        if _instance is None:
            return new
        _instance.__dict__.update(new.__dict__)
        return _instance

    def kind(self) -> Hashable:
        """What distributions must share to become one of a larger batch: everything but the `batched` tensors."""
        others = {k: v for k, v in vars(self).items() if k not in self.batched and k != "_batch_shape"}
        return type(self), tuple(sorted(others.items(), key=lambda item: item[0]))


class OnSphere(BatchOfTensors):
    """A distribution on the sphere of `radius` in R^m; the density is with respect to the sphere's surface measure.

    Args:
        ambient_dim: m >= 2.
        radius: a positive number; a tensor is refused, since no gradient would reach it.
        batch_shape: shape of the batch.
        validate_args: whether arguments are checked.

    Raises:
        ValueError: the dimension is not allowed, the radius is a tensor or, under `validate_args`, not allowed.
    """

    has_rsample = True

    def __init__(
        self, ambient_dim: int, radius: float, batch_shape: torch.Size, validate_args: bool | None = None
    ) -> None:
        name = type(self).__name__
        if ambient_dim < 2:
            raise ValueError(f"{name}: a sphere needs vectors of at least 2 coordinates, not {ambient_dim}")
        if isinstance(radius, Tensor):
            raise ValueError(f"{name}: radius is a tensor; it has to be a number, as float(radius) gives")
        self.radius = radius
        super().__init__(batch_shape, torch.Size((ambient_dim,)), validate_args=False)
        self._validate_args = Distribution._validate_args if validate_args is None else validate_args
        if self._validate_args and not (0 < radius < math.inf):
            raise ValueError(f"{name}: radius is {radius}; it has to be positive and finite")

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Sphere:
        return Sphere(self.radius)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, radius: {self.radius:g})"

    def _log_area(self) -> float:
        """Logarithm of the sphere's area."""
        dim = self.event_shape[0]
        return log_sphere_area(dim) + (dim - 1) * math.log(self.radius)

    def _validate_sample(self, value: Tensor) -> None:
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}: the value is of type {type(value).__name__}; it has to be a tensor")
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"{name}: the value has shape {tuple(value.shape)}; its last size has to be {self.event_shape[0]}"
            )
        try:
            torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        except RuntimeError:
            raise ValueError(
                f"{name}: the value has shape {tuple(value.shape)}, which does not broadcast with batch shape "
                f"{tuple(self.batch_shape)}"
            ) from None
        if not all_true(self.support.check(value)):
            norm = torch.linalg.vector_norm(value.double(), dim=-1)
            worst = norm.flatten()[(norm - self.radius).abs().nan_to_num(math.inf).argmax()]
            raise ValueError(
                f"{name}: a value has norm {worst:.7g}; its support is the sphere of radius {self.radius:g}"
            )


class LocatedOnSphere(OnSphere):
    """A distribution on a sphere that is symmetric about a direction and more or less concentrated there.

    Parameters of different dtypes are promoted to the one that holds both, integers to that of the other or, like
    numbers, to the default.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        concentration: (...), zero or more; broadcasts with the batch of `loc`.
        radius: radius of the sphere, a number.
        validate_args: whether arguments are checked; without the check, NaN in gives NaN out.

    Raises:
        ValueError: an argument is not allowed.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": unit_vector,
        "concentration": constraints.nonnegative,
    }
    batched: ClassVar[dict[str, int]] = {"loc": 1, "concentration": 0}
    # The parameter besides the direction, and what it has to be below.
    scalar: ClassVar[tuple[str, float]] = ("concentration", math.inf)

    # The key of `RADIAL` by which it draws samples.
    radial: ClassVar[str]

    concentration: Tensor

    def __init__(
        self, loc: Tensor, concentration: Tensor | float, radius: float = 1.0, validate_args: bool | None = None
    ) -> None:
        loc, scalar = self._joined(loc, concentration, self.scalar[0])
        self.loc = loc
        setattr(self, self.scalar[0], scalar)
        super().__init__(loc.shape[-1], radius, scalar.shape, validate_args)
        if self._validate_args:
            if not all_true(unit_vector.check(loc)):
                raise ValueError(
                    f"{type(self).__name__}: loc has to be unit vectors; divide by the norm, as "
                    "torch.nn.functional.normalize does"
                )
            check_range(type(self).__name__, *self.scalar, scalar)

    @classmethod
    def _joined(cls, loc: Tensor, scalar: Tensor | float, name: str) -> tuple[Tensor, Tensor]:
        """Both with one dtype and one batch shape."""
        if loc.dim() == 0:
            raise ValueError(
                f"{cls.__name__}: loc is a single number; it has to be unit vectors (..., m) with m >= 2"
            )
        if not loc.is_floating_point():
            floating = isinstance(scalar, Tensor) and scalar.is_floating_point()
            loc = loc.to(scalar.dtype if isinstance(scalar, Tensor) and floating else torch.get_default_dtype())
        if not isinstance(scalar, Tensor):
            scalar = torch.as_tensor(scalar, dtype=loc.dtype, device=loc.device)
        elif scalar.dtype != loc.dtype:
            dtype = torch.promote_types(loc.dtype, scalar.dtype)
            loc, scalar = unit_in(dtype, loc), scalar.to(dtype)
        batch_shape, shape = loc.shape[:-1], tuple(scalar.shape)
        if shape == batch_shape:
            return loc, scalar
        given = f"{cls.__name__}: loc has shape {tuple(loc.shape)} and {name} {shape}"
        if batch_shape and shape[-1 - len(batch_shape) :] == (*batch_shape, 1):
            raise ValueError(
                f"{given}, whose last size would set the batch against itself; it has to be {shape[:-1]}, "
                "as squeeze(-1) gives"
            )
        try:
            batch_shape = torch.broadcast_shapes(batch_shape, shape)
        except RuntimeError:
            raise ValueError(f"{given}; loc without its last size has to broadcast with {name}") from None
        return loc.expand(batch_shape + loc.shape[-1:]), scalar.expand(batch_shape)

    def _kl_uniform(self, dtype: torch.dtype) -> Tensor:
        """KL divergence to the uniform distribution in nats, (...)."""
        raise NotImplementedError

    def _length(self) -> Tensor:
        """E<loc, z> on the unit sphere, (...)."""
        raise NotImplementedError

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Variances along `loc` and in each direction across it, on the unit sphere; (...) each."""
        raise NotImplementedError

    def _log_density(self, unit: Tensor) -> Tensor:
        """Log-density on the unit sphere at points (..., m) in single precision or more."""
        raise NotImplementedError

    @property
    def _working(self) -> Tensor:
        """The scalar parameter in double precision, where the device has it."""
        scalar: Tensor = getattr(self, self.scalar[0])
        return scalar.to(working_dtype(scalar))

    @property
    def mode(self) -> Tensor:
        return self.loc * self.radius

    @property
    def mean(self) -> Tensor:
        """E[z], (..., m)."""
        return self.loc * (self.radius * self._length()).to(self.loc.dtype).unsqueeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, (..., m): the diagonal of the covariance matrix."""
        square = self.loc.square()
        along, across = ((self.radius**2 * x).to(square.dtype).unsqueeze(-1) for x in self._spread())
        return across * (1 - square) + along * square

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix, (..., m, m): v mu mu' + w (I - mu mu') with the variances v along and w across mu."""
        dim = self.event_shape[0]
        along, across = ((self.radius**2 * x).to(self.loc.dtype)[..., None, None] for x in self._spread())
        outer = self.loc.unsqueeze(-1) * self.loc.unsqueeze(-2)
        return across * torch.eye(dim, dtype=outer.dtype, device=outer.device) + (along - across) * outer

    def entropy(self) -> Tensor:
        """Differential entropy in nats, (...)."""
        return (self._log_area() - self._kl_uniform(working_dtype(self.loc))).to(self.loc.dtype)

    def kl_uniform(self) -> Tensor:
        """KL divergence to the uniform distribution on the same sphere in nats, (...)."""
        return self._kl_uniform(self.loc.dtype)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw a sample of shape `sample_shape` + batch + (m,)."""
        z = sample_around(self.radial, self.loc, self.concentration, self._extended_shape(sample_shape))
        return z if self.radius == 1 else z * self.radius

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` (..., m), points of the sphere.

        It is computed from |z - loc|, without the cancellation in 1 - <loc, z>. Like its gradients it is a function on
        the sphere: of a point elsewhere it says nothing.
        """
        if self._validate_args:
            self._validate_sample(value)
        dtype = torch.promote_types(value.dtype, self.loc.dtype)
        unit = value.to(torch.promote_types(dtype, torch.float32))
        log_prob = self._log_density(unit if self.radius == 1 else unit / self.radius)
        if self.radius != 1:
            log_prob = log_prob - (self.event_shape[0] - 1) * math.log(self.radius)
        return log_prob.to(dtype)
