"""The training step through PyTorch's compiler, which is imported with this module and not before."""

import copy
import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo

from models import VAE, ELBOTerms
from utils.train.batches import TrainingImages


def compiled_step(model: VAE, batches: TrainingImages) -> Callable[..., ELBOTerms]:
    """The model as training calls it: forward and backward are compiled here and now.

    Every size of a batch is compiled on its own, and nothing ever runs uncompiled instead. Models that differ in their
    numbers only, such as those of several seeds, share what was compiled.

    Args:
        model: is left as it is.
        batches: what it is to be trained on.

    Raises:
        torch._dynamo.exc.BackendCompilerFailed: PyTorch's compiler failed.
    """
    twin = copy.deepcopy(model)
    compiled = _compile(twin.forward)
    sizes = [next(batches.epoch(0, start)) for start in sorted({0, len(batches) - 1})]
    # torch keeps a table of the divergences that were asked for, and drops what was compiled when it changes.
    for training in (False, True):
        twin.train(training)(*sizes[0])
    for batch in sizes:
        terms = compiled(*batch)
        (terms.kl - terms.log_px_z + sum(terms.extra.values())).sum().backward()
    return _compile(model.forward)


@functools.cache
def check_compiler(device: torch.device) -> None:
    """Compile one addition, to find out before anything else whether the compiler works here.

    Raises:
        torch._dynamo.exc.BackendCompilerFailed: it does not; most often no C++ compiler is installed.
    """
    _compile(lambda x: x + 1)(torch.zeros(1, device=device))


def _compile(function: Any) -> Any:
    # Every kind of model in a process, and every size of a batch, is a variant of one function.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit
    logging.getLogger("torch.utils.cpp_extension").addFilter(_is_news)
    # The compiler's hints to its own authors, and the one to use TF32, which would cost digits.
    warnings.filterwarnings("ignore", module=r"torch\._(inductor|dynamo|functorch)\.")
    return torch.compile(
        function,
        fullgraph=True,
        # A second size of a batch would make sizes variables, which the vMF functions do not allow before torch 2.13.
        dynamic=False,
        options={
            # Random numbers are PyTorch's own, so that the plain and the compiled step draw the same ones.
            "fallback_random": True,
            # No kernel is chosen by its time where that changes rounding: a run may resume in another process.
            "deterministic": True,
        },
    )


def _is_news(record: logging.LogRecord) -> bool:
    # A CUDA toolkit on a machine without a card concerns nobody who computes on the CPU.
    return not record.getMessage().startswith("No CUDA runtime is found")
