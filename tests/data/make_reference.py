"""Write ``bessel_reference.csv``: Bessel functions I_v and their derivatives at real orders, in 60-digit arithmetic.

Run it as ``python tests/data/make_reference.py``. It needs mpmath, which the tests do not.
"""

import csv
import importlib
import random
from pathlib import Path

COLUMNS = (
    "order",
    "x",
    "log_iv",
    "log_ive",
    "log_ive_slope",
    "ratio",
    "complement",
    "slope",
    "curvature",
    "divergence",
)


def main() -> None:
    mp = importlib.import_module("mpmath")
    mp.mp.dps = 60
    draw = random.Random(20240917)
    points = []
    for order in (0.0, 0.01, 0.25, 0.5, 1.0, 1.75, 4.0, 9.3, 20.0, 77.7, 300.0, 2048.5, 20000.25):
        exponents = [draw.uniform(-5, 4) for _ in range(6)] + [draw.uniform(4.5, 9) for _ in range(3 * (order < 100))]
        arguments = [float(f"{10**exponent:.6g}") for exponent in exponents]
        arguments += [float(f"{(order + 1) * draw.uniform(0.2, 5):.6g}") for _ in range(3)]
        points += [(order, x) for x in sorted(arguments)]
    with (Path(__file__).parent / "bessel_reference.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for order, argument in points:
            v, x = mp.mpf(order), mp.mpf(argument)
            value = mp.besseli(v, x, maxterms=10**7)
            log_iv = mp.log(value)
            ratio = mp.besseli(v + 1, x, maxterms=10**7) / value
            slope = 1 - ratio**2 - (2 * v + 1) * ratio / x
            curvature = -2 * ratio * slope - (2 * v + 1) * (slope / x - ratio / x**2)
            growth = log_iv - v * mp.log(x / 2) + mp.loggamma(v + 1)
            values = (
                *(log_iv, log_iv - x, v / x + ratio - 1, ratio, 1 - ratio),
                *(slope, curvature, x * ratio - growth),
            )
            writer.writerow([repr(order), repr(argument), *(mp.nstr(number, 20) for number in values)])


if __name__ == "__main__":
    main()
