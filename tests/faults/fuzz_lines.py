"""Nonsense on the command lines of all programs, and in configuration files."""

import contextlib
import dataclasses
import errno
import json
import random
import string
from unittest import mock

import run_models
from benchmarks import bench, bench_distributions, revisions
from tests.faults.fuzzing import Tally, nothing_written, watched
from tests.utils.fake_runs import finished, in_json
from utils import report, results, revisit
from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.flags import UsageError, flags_of
from utils.config.request import Revisit
from utils.config.rules import resolve
from utils.config.stored import from_values
from utils.run.records import read_identity
from utils.run.stamped import RunFileError
from utils.sweep import __main__ as sweep

# Not drawn: what prints much, and what makes a sweep fetch the data whose content names its runs.
LEFT_OUT = ("-h", "--help", "--version", "--allow_unverified")
ODD = (
    "", "\n", "\x1b[31m", "../x", "/x", ".", "a" * 9000, "é", "\udcff", "nan", "inf", "-inf", "1e999", "0x10", "1_000",
    "٣", "9" * 5000, "-0", "+1", "1e3", ".5", "-", "--", "=", "=1", ",", ",,", "s0", "auto:9:1,2", "auto:99999:2,3",
    "auto:5001:1", "%s%n", "{}", "$HOME", "`id`", "=cmd()", r"\input{x}", "<b>", "|",
)  # fmt: skip
# Values that suit flags, so that many lines are accepted, or refused for what contradicts what.
SUITED = {
    int: ("0", "1", "2", "5", "30"), float: ("0", "0.5", "1", "2e1"), str: ("a", "b/c", "4,4", "s4,e2", "8", "64,32"),
}  # fmt: skip


class Lines:
    """Draws command lines of one program.

    Args:
        settings: dataclasses of its flags.
        loose: words that belong to no flag and that it takes.
    """

    def __init__(self, settings, loose=()):
        flags = {flag.names: flag for kind in settings for flag in flags_of(kind).values()}
        self.flags = [(name, flag) for names, flag in flags.items() for name in names]
        self.loose = loose
        self.choices = sorted({choice for _, flag in self.flags for choice in flag.choices}) or ["x"]

    def value(self, random, flag, suited):
        kind = random.randrange(4 if suited else 8)
        if kind < 4:
            return random.choice(flag.choices or SUITED.get(flag.value_type, ("",)))
        if kind == 4:
            return random.choice(ODD)
        if kind == 5:
            return ",".join(random.choices(("s4", "e2", "x", "1", "0", "-1", ""), k=random.randrange(5)))
        if kind == 6:
            return random.choice((str(random.randrange(-3, 300)), repr(random.uniform(-1e3, 1e3)), repr(10.0**9)))
        return random.choice((random.choice(self.choices), text(random)))

    def part(self, random, suited):
        name, flag = random.choice(self.flags)
        kind = 4 + random.randrange(8) if suited else random.randrange(12)
        if kind == 0:
            name = name[:-1]
        elif kind == 1:
            name += random.choice(string.printable)
        elif kind == 2:
            return [random.choice((*ODD, text(random), *self.loose))]
        value = self.value(random, flag, suited)
        if kind == 3:
            return [f"{name}={value}"]
        if flag.value_type is bool:
            return [name]
        return [name, value, self.value(random, flag, suited)] if flag.many == "words" and kind < 7 else [name, value]

    def draw(self, random):
        suited = random.randrange(3) > 0  # else values that suit no flag
        parts = [self.part(random, suited) for _ in range(random.randrange(1, 4 if suited else 6))]
        if self.loose and random.randrange(3):
            parts.insert(0, [random.choice(self.loose)])
        return [word for part in parts for word in part if word not in LEFT_OUT]


def text(random):
    """What a shell can pass: any characters but NUL, and bytes that are no UTF-8 as lone surrogates."""
    highest = random.choice((128, 0x3000, 0x110000))
    drawn = (chr(random.randrange(1, highest)) for _ in range(random.randrange(12)))
    return "".join(char for char in drawn if not "\ud800" <= char <= "\udfff") + random.choice(("", "\udc80"))


@contextlib.contextmanager
def nothing_done():
    """Let the programs stop where they would begin to train or to measure."""

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/file")

    with contextlib.ExitStack() as stack:
        for place, name, stand_in in (
            (run_models, "run_as_described", lambda *_: 0),
            (revisit, "revisit", lambda *_: True),
            (sweep, "sweep", lambda *_: 0),
            (bench, "BENCHMARKS", {"training": fail}),
            (bench_distributions, "keep_memory", fail),
            (revisions, "check_out", fail),
        ):
            stack.enter_context(mock.patch.object(place, name, stand_in))
        yield


def programs(folder):
    """Each program by name: draws of its lines, and what executes one."""
    run = finished(folder, "-n normal -z 2 -d digits")
    runs = (str(folder), str(run), "nowhere")
    grid = Lines((Config,))

    def sweep_line(random):
        own = Lines((sweep.Options,)).draw(random)
        return [*own, "--dry_run", "--", *grid.draw(random)] if random.randrange(8) else own

    return {
        "run_models": (Lines((Config, Revisit), runs).draw, run_models.main),
        "sweep": (sweep_line, sweep.main),
        "results": (Lines((results.TableOptions,), runs).draw, results.main),
        "report": (Lines((results.TableOptions,), runs).draw, report.main),
        "bench": (Lines((bench.Options,), ("training",)).draw, bench.main),
        "bench_distributions": (Lines((bench_distributions.Options,)).draw, bench_distributions.main),
        "revisions": (Lines((revisions.Options,)).draw, revisions.main),
    }


SHARES = {"run_models": 8, "sweep": 3, "results": 2, "report": 1, "bench": 1, "bench_distributions": 1, "revisions": 1}


def fuzz(count, seed, folder):
    """Command lines of all programs."""
    tally, generator = Tally("command lines"), random.Random(seed)
    known = programs(folder / "results")
    names = list(random.Random(seed).choices(list(SHARES), SHARES.values(), k=count))
    with nothing_written(folder / "empty"), nothing_done():
        for name in names:
            draw, execute = known[name]
            words = draw(generator)
            ended, broken, _ = watched(lambda execute=execute, words=words: execute(words))
            tally.note(ended, broken, (name, words))
            if name == "run_models":
                survives_being_written(words)
    return tally


def survives_being_written(words):
    """A line that is accepted gives a configuration that its file gives again."""
    with contextlib.suppress(UsageError):
        config = parse(words)
        assert isinstance(config, Revisit) or from_values(in_json(config)) == config


def json_value(random, depth=0):
    """Any value that JSON can hold, and some that Python writes beyond that."""
    kind = random.randrange(10 if depth < 3 else 8)
    if kind == 8:
        return [json_value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 9:
        return {text(random): json_value(random, depth + 1) for _ in range(random.randrange(4))}
    return (
        None, random.choice((True, False)), random.randrange(-3, 300), random.uniform(-10, 10), random.choice(ODD[:-4]),
        random.choice((10**400, -(10**18), 2**63, 1e300)), text(random), "x" * random.choice((10, 10**5)),
    )[kind]  # fmt: skip


def configuration(random, plain):
    """The text of a configuration file."""
    kind = random.randrange(8)
    field = random.choice(dataclasses.fields(Config)).name
    if kind < 3:
        return json.dumps({**plain, field: json_value(random)})
    if kind == 3:
        return json.dumps({**plain, text(random): json_value(random)})
    if kind == 4:
        return json.dumps(json_value(random))
    if kind == 5:
        return json.dumps(plain)[: random.randrange(700)]
    if kind == 6:
        return random.choice(("[" * 100_000, '{"a":' * 100_000, "1" * 5000, '{"epochs": ' + "1" * 5000 + "}", "", "\0"))
    return json.dumps({name: json_value(random) for name in random.sample([*plain], 3)})


def fuzz_configurations(count, seed, folder):
    """Files `config.json`, and the settings that they hold."""
    tally, generator = Tally("configuration files"), random.Random(seed)
    plain = in_json(resolve(Config()))
    folder.mkdir(parents=True)
    for _ in range(count):
        content = configuration(generator, plain)
        (folder / "config.json").write_text(content, errors="surrogatepass")
        ended, broken, _ = watched(lambda: read_identity(folder), RunFileError)
        tally.note(ended, broken, content[:300])
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(content)
            if isinstance(values, dict):
                ended, broken, _ = watched(lambda values=values: from_values(values), UsageError)
                tally.note(ended, broken, content[:300])
    return tally
