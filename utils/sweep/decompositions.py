"""Ways to break a latent space of a total dimension into factors: what `-zd auto:...` stands for in a sweep."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from utils.config.flags import UsageError, bare

MOST = 1000  # more runs than that were not meant
MOST_TOTAL, MOST_SIZES = 10_000, 50  # nor larger spaces, or more dimensions to choose from


def expand(text: str) -> list[str]:
    """The decompositions that a word of `-zd` stands for; itself where it is one already.

    `auto:10` breaks 10 into equal factors: 10, 5+5, 2+2+2+2+2 and ten circles, coarsest first. `auto:10:2,3` takes
    factors of dimension 2 and 3 in all ways: 3+3+2+2 and 2+2+2+2+2. The total is the intrinsic dimension, the sum of
    the m of S^m; with `auto:40:ambient` it is the ambient one, the sum of the m + 1, which is what the decoder sees:
    S^39, S^19 x S^19, S^9 x S^9 x S^9 x S^9 and so on.

    Args:
        text: a word of `-zd`.

    Returns:
        Words that `-zd` of a single run takes, such as `5,5`.

    Raises:
        UsageError: it begins like such a word, but is none, or there is no decomposition.
    """
    if not text.startswith("auto"):
        return [text]
    match = re.fullmatch(r"auto:([0-9]{1,5})(:ambient|:intrinsic)?(?::([0-9]{1,5}(?:,[0-9]{1,5})*))?", text)
    if not match or int(match[1]) < 1:
        raise UsageError(
            f"-zd {bare(text)}: write auto:TOTAL, auto:TOTAL:ambient, or either with the dimensions to choose from, "
            "such as auto:10:2,3"
        )
    if int(match[1]) > MOST_TOTAL or text.count(",") >= MOST_SIZES:
        raise UsageError(
            f"-zd {bare(text)}: the total may be up to {MOST_TOTAL:,}, of up to {MOST_SIZES} dimensions to choose from"
        )
    # On the ambient scale a factor S^m takes up m + 1.
    extra = 1 if match[2] == ":ambient" else 0
    total = int(match[1])
    if match[3]:
        sizes = sorted({int(size) + extra for size in match[3].split(",") if int(size)}, reverse=True)
        found = list(islice(_sums(total, sizes, _reachable(total, sizes)), MOST + 1))
    else:
        found = [
            [total // count] * count for count in range(1, total + 1) if total % count == 0 and total // count > extra
        ]
    if not found:
        raise UsageError(f"-zd {bare(text)}: there is no such decomposition")
    if len(found) > MOST:
        raise UsageError(f"-zd {bare(text)}: stands for more than {MOST:,} decompositions; give fewer dimensions")
    letter = "s" if extra else ""  # only a sphere has an ambient dimension of its own
    return [",".join(f"{letter}{size - extra}" for size in sizes) for sizes in found]


def _reachable(total: int, sizes: Sequence[int]) -> list[list[bool]]:
    """[i][t]: whether t is a sum of sizes[i:], each used any number of times."""
    rows = [[True] + [False] * total]
    for size in reversed(sizes):
        row = rows[-1].copy()
        for t in range(size, total + 1):
            row[t] |= row[t - size]
        rows.append(row)
    return rows[::-1]


def _sums(total: int, sizes: Sequence[int], reachable: Sequence[Sequence[bool]]) -> Iterator[list[int]]:
    """All ways to write a total as a sum of these sizes, which fall; each way with falling terms."""
    if not sizes:
        yield []
        return
    first, *others = sizes
    for count in range(total // first, -1, -1):
        if reachable[1][total - count * first]:
            for rest in _sums(total - count * first, others, reachable[1:]):
                yield [first] * count + rest
