"""Speed of training, of log p(x) and of the start, as ratios within one run.

    python -m benchmarks.bench [training compiled networks product likelihood memory start growth ...] [FLAGS]

Without names everything is measured. What is compared takes turns, so that whatever else the machine does meets all of
it alike, and medians are taken. One table is printed at the end, and its numbers are written as JSON beside it.
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import functools
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from models import VAE
from utils.config.command_line import parse_options, parse_run
from utils.config.config import Config
from utils.config.flags import UsageError, flag, nearest
from utils.experiment import Experiment
from utils.measure.conditions import Conditions
from utils.measure.log_px import ROWS, estimate_log_px
from utils.run.checkpoints import Progress
from utils.run.console import Console
from utils.run.failures import guarded
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.interrupts import StopRequest
from utils.tables.layout import Table, as_text
from utils.train.batches import TrainingImages
from utils.training_utils import Trainer

ROOT = Path(__file__).resolve().parents[1]
MEBIBYTE = 2**20
STEPS = 100  # of training between two turns of a comparison


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        value: ratio, seconds or bytes.
        unit: `x` for a ratio, `s`, `ms`, `us`, `MiB`.
        must, aim: what it should not exceed.
        detail: the medians behind it, in words.
    """

    what: str
    value: float
    unit: str
    must: float | None
    aim: float | None
    detail: str


@dataclass(frozen=True)
class Setting:
    """How to measure, as flags."""

    data_dir: str = flag("--data_dir", str, "how", "data", "folder with MNIST and Frey faces")
    threads: int = flag(
        "--threads", int, "how", 2, "one is timed in processor time, more on the wall", low=1, high=1000
    )
    repetitions: int = flag("--repetitions", int, "how", 15, "turns of a comparison", low=1, high=10**6)

    def config(self, line: str) -> Config:
        """The run that these flags describe, on MNIST unless they say otherwise."""
        return parse_run(["-d", "mnist", *line.split(), "--data_dir", self.data_dir, "--device", "cpu"])

    def clock(self) -> float:
        """Processor time on one thread, which other programs hardly touch; else seconds on the wall."""
        return time.thread_time() if self.threads == 1 else time.perf_counter()

    def interleaved(self, timed: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Seconds of each repetition of each function; they take turns, and a first turn does not count."""
        found: dict[str, list[float]] = {name: [] for name in timed}
        for repetition in range(self.repetitions + 1):
            for name, function in timed.items():
                started = self.clock()
                function()
                if repetition:
                    found[name].append(self.clock() - started)
        return found


def ratio(found: dict[str, list[float]], above: str, below: str) -> float:
    """Median over the turns of the ratio of two times."""
    return statistics.median(a / b for a, b in zip(found[above], found[below], strict=True))


def training(line: str, setting: Setting) -> tuple[nn.Module, Callable[[], None]]:
    """The model of these flags, and a function that trains it for `STEPS` steps, or a shorter epoch, as a run does."""
    config = setting.config(line)
    experiment = Experiment.prepare(config, StopRequest())
    split = experiment.data.train
    split.images = split.images[: STEPS * config.batch_size]
    images = TrainingImages(split, experiment.preparation, config.batch_size)
    return experiment.model, epoch(config, experiment.model, images, config.compile)


def epoch(config: Config, model: VAE, images: TrainingImages, compiled: bool = False) -> Callable[[], None]:
    """An epoch as a run does it."""
    step: Any = model
    if compiled:
        from utils.train.compiling import compiled_step

        step = compiled_step(model, images)
    trainer = Trainer(model, images, config, RunDir(Identity(config)), Console(config), dict, step=step)

    def train() -> None:  # nothing is written before an epoch ends
        trainer.progress, trainer.sums = Progress(), None
        trainer.train_epoch()

    return train


# The products a b' of the libraries that PyTorch has on a CPU. They are held against the same thing whatever `dense`
# chooses on this machine.
Product = Callable[[Tensor, Tensor], Tensor]
PRODUCTS: dict[str, Product] = {"products, PyTorch's": lambda a, b: a @ b.T}
if torch.backends.mkldnn.is_available():
    PRODUCTS["products, oneDNN's"] = lambda a, b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


def products(model: nn.Module, product: Product, batch_size: int = 100) -> Callable[[], None]:
    """The matrix products of a step, forward and backward, and nothing else."""
    weights = [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Linear)]
    inputs = [torch.randn(batch_size, weight.shape[1]) for weight in weights]
    gradients = [torch.randn(batch_size, weight.shape[0]) for weight in weights]

    def multiply() -> None:
        for _ in range(STEPS):
            for x, weight in zip(inputs, weights, strict=True):
                product(x, weight)
            kept = []
            for number in reversed(range(len(weights))):
                kept.append(product(gradients[number].T, inputs[number].T))
                if number:  # nobody asks for the gradient of the images
                    product(gradients[number], weights[number].T)

    return multiply


def bare(model: nn.Module) -> dict[str, Callable[[], None]]:
    """The products of a step with each library."""
    return {name: products(model, product) for name, product in PRODUCTS.items()}


def fastest(found: dict[str, list[float]]) -> str:
    """The name of the products that took the least time."""
    return min(PRODUCTS, key=lambda name: statistics.median(found[name]))


def milliseconds(found: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {statistics.median(times) / STEPS * 1e3:.2f} ms" for name, times in found.items())


def bench_training(setting: Setting) -> list[Row]:
    """A step of the vMF model against one of the Normal model, and that against its matrix products."""
    normal, train_normal = training("-n normal -z 10", setting)
    _, train_vmf = training("-n vmf -z 10", setting)
    found = setting.interleaved({"vMF": train_vmf, "Normal": train_normal, **bare(normal)})
    detail, least = milliseconds(found) + " a step", fastest(found)
    return [
        Row("training, vMF z=10 against Normal z=10", ratio(found, "vMF", "Normal"), "x", 1.3, 1.1, detail),
        Row("training, Normal against its fastest bare products", ratio(found, "Normal", least), "x", 2.2, 1.5, least),
    ]


def bench_compiled(setting: Setting) -> list[Row]:
    """The same with `--compile`, and how long that takes where nothing is kept from before."""
    models, trained, started = {}, {}, []
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder):
        for name in ("normal", "vmf"):
            models[name], trained[f"{name}, plain"] = training(f"-n {name} -z 10", setting)
            before = setting.clock()
            _, trained[name] = training(f"-n {name} -z 10 --compile", setting)
            started.append(setting.clock() - before)
        found = setting.interleaved({**trained, **bare(models["normal"])})
    return [
        Row("compiled training, vMF against Normal", ratio(found, "vmf", "normal"), "x", 1.3, 1.1, milliseconds(found)),
        Row("compiled training, Normal against products", ratio(found, "normal", fastest(found)), "x", 2.2, 1.5, ""),
        *(
            Row(f"compiled training, {name} against plain", ratio(found, name, f"{name}, plain"), "x", None, None, "")
            for name in ("normal", "vmf")
        ),
        Row("compiling, Normal or vMF", max(started), "s", None, None, "the longer of the two"),
    ]


def bench_networks(setting: Setting) -> list[Row]:
    """A step and log p(x) of convolutional networks on Frey faces."""
    found: dict[str, Callable[[], object]] = {}
    for network in ("mlp", "cnn"):
        line = f"-n vmf -z 10 -d freyfaces -et {network} -dt {network}"
        _, found[f"step, {network}"] = training(line, setting)
        frey = Experiment.prepare(setting.config(line), StopRequest())
        found[f"log p(x), {network}"] = functools.partial(
            estimate_log_px, frey.model, frey.test_images[:20], 100, Conditions(1)
        )
    times = {name: statistics.median(took) for name, took in setting.interleaved(found).items()}
    steps = min(STEPS, -(-len(frey.data.train) // 100))
    return [
        Row(f"Frey faces, {name}", value, "ms" if "step" in name else "us", None, None, each)
        for name, took in times.items()
        for value, each in [(took / steps * 1e3, "") if "step" in name else (took / 2000 * 1e6, "a latent")]
    ]


def bench_product(setting: Setting) -> list[Row]:
    """Ten spheres S^3 against one S^39: the same number of coordinates."""
    _, train_ten = training("-n productspace -zd 3,3,3,3,3,3,3,3,3,3", setting)
    _, train_one = training("-n vmf -z 39", setting)
    found = setting.interleaved({"10 x S^3": train_ten, "S^39": train_one})
    return [
        Row(
            "training, ten S^3 against one S^39",
            ratio(found, "10 x S^3", "S^39"),
            "x",
            1.3,
            1.1,
            milliseconds(found) + " a step",
        )
    ]


def bench_likelihood(setting: Setting, k: int = 500, count: int = 100) -> list[Row]:
    """log p(x) of a vMF model against decoding as many latents and one log-likelihood of each."""
    experiment = Experiment.prepare(setting.config("-n vmf -z 10"), StopRequest())
    model, test, conditions = experiment.model, experiment.test_images[: 2 * count], Conditions(1)
    latents = model.latent.prior().sample((ROWS // 100, 100))
    pixels = test[:100].flatten(1)
    weights = [layer.weight for layer in model.decoder.modules() if isinstance(layer, nn.Linear)]
    few = latents[:20].flatten(0, 1)  # as many as the cache holds

    def least(product: Product) -> Callable[[], None]:
        @torch.no_grad()
        def products_and_functions() -> None:
            for _ in range(count * k // len(few)):
                y = few
                for weight in weights:
                    y = product(y, weight)
                y.abs_().add_(1).log_().neg_().exp_()

        return products_and_functions

    @torch.no_grad()
    def decode() -> None:
        for _ in range(count * k // (latents.shape[0] * 100)):
            model.likelihood.log_prob(model.decoder(latents), pixels)

    found = setting.interleaved(
        {
            "estimate": lambda: estimate_log_px(model, test[:count], k, conditions),
            "decoding": decode,
            "twice the images": lambda: estimate_log_px(model, test, k, conditions),
            "twice K": lambda: estimate_log_px(model, test[:count], 2 * k, conditions),
            **{name: least(product) for name, product in PRODUCTS.items()},
        }
    )
    each = {name: statistics.median(times) / count / k * 1e6 for name, times in found.items()}
    detail = ", ".join(f"{name} {each[name]:.2f}" for name in ("estimate", "decoding", *PRODUCTS)) + " us a latent"
    bound = fastest(found)
    return [
        Row(f"log p(x), K={k}, against decoding", ratio(found, "estimate", "decoding"), "x", 1.25, 1.1, detail),
        Row(f"log p(x), K={k}, against products, exp and log", ratio(found, "estimate", bound), "x", 1.3, 1.1, bound),
        Row("log p(x), twice the images", ratio(found, "twice the images", "estimate"), "x", None, None, ""),
        Row("log p(x), twice K", ratio(found, "twice K", "estimate"), "x", None, None, ""),
    ]


def in_process(lines: str, *arguments: str) -> str:
    """Standard output of a fresh Python that runs these lines in the repository.

    Raises:
        UsageError: they failed; says why: most often the data are not where they should be.
    """
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run([sys.executable, "-c", head + lines, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(re.split(r"^utils\.[\w.]+Error: ", done.stderr, flags=re.MULTILINE)[-1].strip())
    return done.stdout


HIGHEST = """
import re
def highest():  # unlike getrusage, which begins with that of the process that started this one
    return re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
"""

MEMORY = """
import sys
from utils.config.command_line import parse_run
from utils.experiment import Experiment
from utils.measure.conditions import Conditions
from utils.measure.log_px import estimate_log_px
from utils.run.interrupts import StopRequest
images, k, data_dir = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
config = parse_run(["-n", "vmf", "-d", "mnist", "--data_dir", data_dir, "--device", "cpu"])
experiment = Experiment.prepare(config, StopRequest())
test = experiment.test_images
before = highest()
estimate_log_px(experiment.model, test[:images], k, Conditions(1))
print(before, highest())
"""

LARGE = """
import sys, torch
from models import Images, build_model
from utils.config.command_line import parse_run
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
from utils.measure.log_px import estimate_log_px
size, likelihood = int(sys.argv[1]), sys.argv[2]
images = Images((3, size, size), 255, likelihood, classes=0)
model = build_model(parse_run(["-n", "vmf", "-z", "10", "-hd", "32", "-d", "digits"]), images)
test = torch.randint(256, (100, 3, size, size)).float() / 255
before = highest()
test = test.round() if model.likelihood.binary else test
evaluate_elbo(model, test, Conditions(1))
estimate_log_px(model, test, 40, Conditions(1))
print(before, highest())
"""


def bench_memory(setting: Setting) -> list[Row]:
    """Highest resident memory of a process that estimates log p(x), data and PyTorch included."""

    def measure(what: str, lines: str, *arguments: str, must: float, images: str) -> Row:
        before, peak = (int(part) / 1024 for part in in_process(HIGHEST + lines, *arguments).split())
        detail = f"{images}; {before:.0f} MiB before it began"
        return Row(f"peak memory of log p(x), {what}", peak, "MiB", must, None, detail)

    return [
        *(
            measure(f"K={k}", MEMORY, n, k, setting.data_dir, must=1024, images=f"{n} images of MNIST")
            for n, k in (("200", "500"), ("2", "50000"))
        ),
        *(
            measure(f"K=40, {size}x{size}, {likelihood}", LARGE, size, likelihood, must=must, images="100 RGB images")
            for size, likelihood, must in (("96", "logistic", 1500), ("256", "bce", 2500))
        ),
    ]


FIRST_STEP = """
import os, sys
from utils.train import adam
def stop(self):
    os._exit(0)
adam.Adam.step = stop
import run_models
run_models.main(sys.argv[1:])
os._exit(1)
"""


def bench_start(setting: Setting) -> list[Row]:
    """Seconds on the wall of whole processes."""
    took: dict[str, list[tuple[float, float]]] = {"start": [], "torch": [], "help": []}  # on the wall, and busy
    for _ in range(max(setting.repetitions // 2, 3)):
        with tempfile.TemporaryDirectory() as folder:
            flags = ["-n", "vmf", "-d", "mnist", "--data_dir", setting.data_dir, "-ld", folder, "--device", "cpu"]
            for name, lines, arguments in (
                ("start", FIRST_STEP, flags),
                ("torch", "import torch", []),
                ("help", "import run_models; run_models.main(['--help'])", []),
            ):
                started, busy_before = time.perf_counter(), _busy_of_children()
                in_process(lines, *arguments)
                took[name].append((time.perf_counter() - started, _busy_of_children() - busy_before))
    wall, cpu = ({name: statistics.median(each[i] for each in found) for name, found in took.items()} for i in (0, 1))
    detail = (
        f"{cpu['start']:.2f} s of processor time; importing torch alone {wall['torch']:.2f} s, "
        f"{cpu['torch']:.2f} s of processor time"
    )
    return [
        Row("start until the first step, MNIST", wall["start"], "s", 6, 3, detail),
        Row("--help", wall["help"], "s", 0.5, 0.2, f"{cpu['help']:.2f} s of processor time"),
    ]


def _busy_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


GROWTH = """
import sys, time
import run_models
from utils.run.console import Console
epochs, seen = int(sys.argv[1]), []
def note(self, line, progress):
    pages = int(open("/proc/self/statm").read().split()[1])
    seen.append((time.perf_counter(), pages * 4096))
Console.epoch = note
words = f"-n vmf -z 2 -d digits -hd 8 -bs 500 -klw 0 -lls 1 -v 0 -e {epochs} -la {epochs} -sf {epochs} -ld".split()
sys.stdout, out = open("/dev/null", "w"), sys.stdout
assert run_models.main([*words, sys.argv[2]]) == 0
tenth = epochs // 10
print(*(seen[-1][0] - seen[-tenth][0], seen[2 * tenth][0] - seen[tenth + 1][0], seen[tenth][1], seen[-1][1]), file=out)
"""


def bench_growth(setting: Setting, epochs: int = 1000) -> list[Row]:
    """Time of an epoch and memory at the end of a long run, against those near its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        late, early, before, after = (float(part) for part in in_process(GROWTH, str(epochs), folder).split())
    return [
        Row(f"last tenth of {epochs} epochs against the second", late / early, "x", None, None, "digits"),
        Row(
            f"memory gained from epoch {epochs // 10} to {epochs}",
            (after - before) / MEBIBYTE,
            "MiB",
            None,
            None,
            f"of {before / MEBIBYTE:.0f} MiB",
        ),
    ]


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {
    "training": bench_training,
    "compiled": bench_compiled,
    "networks": bench_networks,
    "product": bench_product,
    "likelihood": bench_likelihood,
    "memory": bench_memory,
    "start": bench_start,
    "growth": bench_growth,
}


@dataclass(frozen=True)
class Options(Setting):
    """The flags of `python -m benchmarks.bench`."""

    json: str = flag("--json", str, "how", str(Path(__file__).with_name("measured.json")), "file to write")


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write its numbers; returns the exit code."""
    return guarded("benchmarks.bench", lambda stop: _measure(arguments))


def _measure(arguments: Sequence[str]) -> int:
    given, names = parse_options(
        arguments, Options,
        usage="python -m benchmarks.bench [NAME...] [FLAGS]",
        description="Measure the speed of training, of log p(x) and of the start.",
        epilog=f"Names, all unless given: {', '.join(BENCHMARKS)}\nExit codes: 0 done, 1 failed, 2 usage.",
    )
    for name in names:
        if name not in BENCHMARKS:
            raise UsageError(f"{name!r} is not one of {', '.join(BENCHMARKS)}{nearest(name, BENCHMARKS)}")
    torch.set_num_threads(given.threads)
    rows = [row for name in names or BENCHMARKS for row in BENCHMARKS[name](given)]

    def cell(value: float | None, unit: str) -> str:
        return "" if value is None else f"{value:.0f} {unit}" if unit == "MiB" else f"{value:.2f} {unit}"

    lines = [[row.what, *(cell(x, row.unit) for x in (row.value, row.must, row.aim)), row.detail] for row in rows]
    print(as_text(Table([["what", "measured", "must", "aim", ""], *lines])))
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": given.threads,
        "repetitions": given.repetitions,
        "highest memory of this process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    Path(given.json).write_text(json.dumps({**facts, "rows": [vars(row) for row in rows]}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
