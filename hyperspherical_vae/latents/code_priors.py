"""Priors over the codes of a vector-quantized latent, overall and per class.

Shapes: B images, P positions, K codes, Y classes. Class Y stands for "any".
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CodePrior(nn.Module):
    """p(c) and p(c | y) of codes c at P positions.

    Args:
        codes: K.
        positions: P.
        classes: Y, 0 without labels.

    Attributes:
        is_counted: whether `count` is all that fits it; else gradients follow.
    """

    is_counted: bool = False

    def __init__(self, codes: int, positions: int, classes: int) -> None:
        super().__init__()
        self.codes = codes
        self.positions = positions
        self.classes = classes

    def count(self, codes: Tensor, labels: Tensor | None = None) -> None:
        """Fit to codes (N, P) and their classes (N,) as far as counting does that."""
        raise NotImplementedError

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(c), or log p(c | y), in nats: codes (B, P) and labels (B,) to (B,)."""
        raise NotImplementedError

    def sample(self, n: int, label: int | None = None) -> Tensor:
        """Codes (n, P), of one class if `label` is given.

        Raises:
            ValueError: there is no such class.
        """
        raise NotImplementedError

    def _labels(self, n: int, label: int | None, device: torch.device) -> Tensor:
        if label is not None and not 0 <= label < self.classes:
            allowed = f"0 to {self.classes - 1}" if self.classes else "none, for the prior knows no classes"
            raise ValueError(f"label is {label}; allowed: {allowed}")
        return torch.full((n,), self.classes if label is None else label, device=device)


class IndependentCodePrior(CodePrior):
    """Every position on its own, by counting; half a count is added to each (Krichevsky and Trofimov 1981)."""

    log_probs: Tensor
    is_counted = True

    def __init__(self, codes: int, positions: int, classes: int) -> None:
        super().__init__(codes, positions, classes)
        self.register_buffer("log_probs", torch.full((classes + 1, positions, codes), 1 / codes).log())

    @torch.no_grad()
    def count(self, codes: Tensor, labels: Tensor | None = None) -> None:
        counts = self.log_probs.new_full(self.log_probs.shape, 0.5, dtype=torch.float64)
        for position in range(self.positions):
            counts[-1, position] += torch.bincount(codes[:, position], minlength=self.codes)
            for label in range(self.classes if labels is not None else 0):
                counts[label, position] += torch.bincount(codes[labels == label, position], minlength=self.codes)
        self.log_probs.copy_((counts / counts.sum(-1, keepdim=True)).log())

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        chosen = self._labels(len(codes), None, codes.device) if labels is None else labels
        return self.log_probs[chosen].gather(-1, codes.unsqueeze(-1)).sum((-2, -1))

    @torch.no_grad()
    def sample(self, n: int, label: int | None = None) -> Tensor:
        row = self._labels(1, label, self.log_probs.device)[0]
        return torch.multinomial(self.log_probs[row].exp(), n, replacement=True).T


class AutoregressiveCodePrior(CodePrior):
    """p(c) = prod_i p(c_i | c_1 ... c_{i-1}, y) by a small causal transformer.

    Its output is added to the log-probabilities of an `IndependentCodePrior`, and is 0 before it is trained: with few
    images it would else know less of the classes than counting does.

    Args:
        codes: K.
        positions: P.
        classes: Y, 0 without labels.
        width, layers, heads: of the transformer.
    """

    def __init__(
        self, codes: int, positions: int, classes: int, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__(codes, positions, classes)
        self.embed_code = nn.Embedding(codes, width)
        self.embed_class = nn.Embedding(classes + 1, width)
        self.embed_position = nn.Parameter(0.02 * torch.randn(positions, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, codes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.independent = IndependentCodePrior(codes, positions, classes)

    def count(self, codes: Tensor, labels: Tensor | None = None) -> None:
        self.independent.count(codes, labels)

    def _logits(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Logits of positions 1 ... i + 1 given codes (B, i) of the first i: (B, i + 1, K)."""
        start = self.embed_class(labels).unsqueeze(1)
        words = torch.cat([start, self.embed_code(codes)], 1)
        length = words.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=codes.device).triu(1)
        change: Tensor = self.head(self.layers(words + self.embed_position[:length], mask=mask))
        return self.independent.log_probs[labels, :length] + change

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        chosen = self._labels(len(codes), None, codes.device) if labels is None else labels
        logits = self._logits(codes[:, :-1], chosen)
        return -F.cross_entropy(logits.transpose(1, 2), codes, reduction="none").sum(-1)

    @torch.no_grad()
    def sample(self, n: int, label: int | None = None) -> Tensor:
        labels = self._labels(n, label, self.embed_position.device)
        codes = labels.new_empty((n, 0))
        for _ in range(self.positions):
            probs = self._logits(codes, labels)[:, -1].softmax(-1)
            codes = torch.cat([codes, torch.multinomial(probs, 1)], 1)
        return codes


CODE_PRIORS: dict[str, type[IndependentCodePrior] | type[AutoregressiveCodePrior]] = {
    "independent": IndependentCodePrior,
    "autoregressive": AutoregressiveCodePrior,
}
