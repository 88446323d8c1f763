"""Adam (Kingma and Ba 2015) on PyTorch's fused kernel, without what `torch.optim` does around it.

`torch.optim.Adam(fused=True)` calls the same kernel and gives the same numbers to the bit, but making one imports the
compiler, which costs as much as importing PyTorch, and its step spends as long in Python as in the kernel.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

BETAS, EPS = (0.9, 0.999), 1e-8


class Adam:
    """Adam with the usual constants, which can leave a step out on the device.

    Args:
        parameters: what to train; those that require no gradient are left alone.
        lr: learning rate.

    Attributes:
        parameters: what is trained.
        skip: a float32 scalar on their device; while it is 1, `step` changes nothing.
        taken: number of steps taken, likewise.

    Raises:
        ValueError: nothing requires a gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not self.parameters:
            raise ValueError("Adam: no parameter requires a gradient")
        self.lr = lr
        self.skip = torch.zeros((), device=self.parameters[0].device)
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.taken = torch.zeros((), device=self.parameters[0].device)

    def gradients(self) -> list[Tensor]:
        """The gradients that there are."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def zero_grad(self) -> None:
        """Drop the gradients; the next backward pass makes new ones, which is faster than adding to zeros."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient, unless `skip` is 1."""
        rows = zip(self.parameters, self.means, self.squares, strict=True)
        moved = [(parameter, parameter.grad, *moments) for parameter, *moments in rows if parameter.grad is not None]
        parameters, gradients, means, squares = (list(column) for column in zip(*moved, strict=True))
        # The kernel wants the number of this step; where it leaves the step out, that number is taken back.
        self.taken.add_(1)
        torch._fused_adam_(
            parameters,
            gradients,
            means,
            squares,
            [],
            [self.taken] * len(moved),
            lr=self.lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
            found_inf=self.skip,
        )
        self.taken.sub_(self.skip)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to resume."""
        return {"means": self.means, "squares": self.squares, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an Adam of as many parameters of the same shapes; its tensors are copied.

        Raises:
            ValueError: it is of other parameters.
        """
        for target, source in zip(
            (*self.means, *self.squares, self.taken), (*state["means"], *state["squares"], state["taken"]), strict=True
        ):
            if source.shape != target.shape:
                raise ValueError(f"Adam: {tuple(source.shape)} is not the shape of a parameter, {tuple(target.shape)}")
            target.copy_(source)
