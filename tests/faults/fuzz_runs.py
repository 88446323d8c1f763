"""Damage and bait in the folders of runs, for everything that reads them."""

import contextlib
import copy
import io
import json
import os
import pickle
import random
import shutil
import sys
import warnings
import zipfile

import torch

import run_models
from tests.faults.fuzz_lines import json_value
from tests.faults.fuzzing import Tally, nothing_written, watched
from tests.memory import resident
from tests.utils.fake_runs import finished
from tests.utils.small_data import colliding_keys
from utils import report, results
from utils.run import stamped
from utils.run.folder import RunDir

LINES = (
    "-d digits -n vmf -z 2 -e 2 -klw 0 -lls 2 -hd 4 -bs 700 --classifier --labels 50",
    "-d digits -n vq --codes 4 --positions 2 -hd 4 -e 2 -klw 0 -bs 700 --vq_prior independent",
    "-d digits -zd s2,e2 -e 2 -klw 0 -lls 2 -hd 4 -bs 700",
)
QUIET = ("-v", "0")
MOST_GROWTH = 128 << 20  # bytes that the process may hold more after all cases than before


@contextlib.contextmanager
def without_matplotlib():
    """As if it were not installed.

    This one entry alone is put back: `mock.patch.dict` would drop all modules that are imported meanwhile, and each
    import of them again takes 30 MB for good.
    """
    before = sys.modules.get("matplotlib")
    sys.modules["matplotlib"] = None
    try:
        yield
    finally:
        del sys.modules["matplotlib"]
        if before:
            sys.modules["matplotlib"] = before


def make_runs(folder):
    """(line, folder of its results) of finished runs that have every kind of file, each with a sound run beside it."""
    made = []
    with without_matplotlib():
        for number, line in enumerate(LINES):
            place = folder / str(number)
            with contextlib.redirect_stdout(io.StringIO()):
                assert run_models.main(["-ld", str(place), *line.split(), *QUIET]) == 0
            run = RunDir.at(only(place))
            with run:
                last = run.load("last")
                run.save("log_px", {"key": {}, "part": {}})
                run.save("stopped", {**last, "progress": {**last["progress"], "step": 1}})
            finished(place / "sound", "-n normal -z 9 -d digits")
            made.append((line, place))
    return made


def only(place):
    (run,) = (place / "digits").iterdir()
    return run


def readers(place, run, line):
    """Everything that reads a run, by name: the light ones and those that compute."""
    again, look = ["-ld", str(place), *line.split(), *QUIET], ["--from", str(run), *QUIET]
    light = {"results": lambda: results.main([str(place)]), "report": lambda: report.main([str(place)])}
    computing = {
        "repeat": lambda: run_models.main(again),
        "more epochs": lambda: run_models.main([*again, "-e", "3"]),
        "other K": lambda: run_models.main([*again, "-lls", "3"]),
        "--from": lambda: run_models.main([*look, "-lls", "3"]),
        "curves": lambda: run_models.main([*look, "--figures", "learning_curves"]),
    }
    return light, computing


def shows_the_sound_run(name, printed, place):
    page = place / "report.html"
    return "R^9" in (printed if name == "results" else page.read_text() if page.exists() else "")


def tried(tally, case, name, read, place):
    """Let a reader meet a case, and note how it ended."""
    with contextlib.nullcontext() if name == "curves" else without_matplotlib():
        ended, broken, printed = watched(read)
    if not broken and name in ("results", "report") and not shows_the_sound_run(name, printed, place):
        broken = f"the sound run is not shown: {printed[-500:]}"
    tally.note(f"{name} {ended}" if broken else ended, broken, (case, name))


def fuzz(count, seed, folder):
    """Folders of runs with one or two damages, all read by a light reader and every third by one that computes."""
    tally, generator = Tally("mutated run folders"), random.Random(seed)
    made = make_runs(folder / "made")
    work = folder / "work"
    with nothing_written(folder / "empty"):
        for number in range(count):
            line, source = generator.choice(made)
            place, (_, other) = work / str(number), generator.choice(made)
            shutil.copytree(source, place)
            damages = [damage(generator, only(place), only(other)) for _ in range(generator.choice((1, 1, 2)))]
            light, computing = readers(place, only(place), line)
            name = list(light)[number % 2]
            tried(tally, damages, name, light[name], place)
            if number % 3 == 0:
                name = list(computing)[number // 3 % len(computing)]
                tried(tally, damages, name, computing[name], place)
            assert sorted(path.name for path in folder.iterdir()) == ["empty", "made", "work"]
            shutil.rmtree(place)
    return tally


def damage(generator, run, other):
    """Damage a run folder in one place; returns what was done."""
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.suffix != ".png"]
    path = generator.choice(files)
    kind = generator.choice(tuple(DAMAGES))
    try:
        DAMAGES[kind](generator, path, other / path.relative_to(run))
    except (OSError, ValueError, TypeError, stamped.RunFileError):  # it does not suit what an earlier one left
        return "nothing"
    return f"{kind}: {path.relative_to(run)}"


def changed_bytes(generator, path, other):
    content = bytearray(path.read_bytes())
    for _ in range(generator.choice((1, 1, 5))):
        content[generator.randrange(len(content))] = generator.randrange(256)
    path.write_bytes(content)


def cut(generator, path, other):
    path.write_bytes(path.read_bytes()[: generator.randrange(path.stat().st_size)])


def doubled(generator, path, other):
    content = path.read_bytes()
    place = generator.randrange(len(content))
    path.write_bytes(content[:place] + content[generator.randrange(len(content)) :])


def filled(generator, path, other):
    contents = (b"", b"\0" * 5000, b"[" * 100_000, b'{"a":' * 10_000, b"\xff\xfe", b"<html>", b"7" * 5000, b"null")
    path.write_bytes(generator.choice(contents))


def removed(generator, path, other):
    path.unlink()


def folder_instead(generator, path, other):
    path.unlink()
    path.mkdir()
    (path / "x").touch()


def special_instead(generator, path, other):
    path.unlink()
    generator.choice((os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(path)))(path)


def file_instead_of_folder(generator, path, other):
    if path.parent.name in ("checkpoints", "figures"):
        shutil.rmtree(path.parent)
        path.parent.touch()


def foreign(generator, path, other):
    shutil.copy(other, path)


def swapped(generator, path, other):
    beside = generator.choice([beside for beside in path.parent.iterdir() if beside.is_file()])
    content = path.read_bytes()
    path.write_bytes(beside.read_bytes())
    beside.write_bytes(content)


def odd_names(generator, path, other):
    names = ("\udcff\x1b[31m", "a\nb", "x" * 240, "=cmd()", "<b>", r"\input{x}", "summary_k\udcff", "log_px_k٣")
    name = f"{generator.choice(names)}{path.suffix}"
    shutil.copy(path, path.with_name(name))
    if generator.randrange(2):
        path.with_name(generator.choice(names)).mkdir()


def renamed_run(generator, path, other):
    run = next(folder for folder in path.parents if folder.parent.name == "digits")
    run.rename(run.with_name(generator.choice((f"{run.name}\udcff\x1b[31m", f"\n{run.name}", f"{run.name}.old7"))))


def sound_json_of_other_content(generator, path, other):
    if path.suffix == ".json":
        content, stamp = stamped.read_with_stamp(path)
        if generator.randrange(12) == 0:
            stamp = json_value(generator)
        else:
            change_within(generator, content, lambda: json_value(generator))
        stamped.write(path, content, stamp)


def metrics_of_other_content(generator, path, other):
    path = next(folder for folder in path.parents if folder.parent.name == "digits") / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change_within(generator, generator.choice(lines), lambda: json_value(generator))
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def change_within(generator, content, value):
    """Change, remove or add one item at any depth of nested lists and dictionaries."""
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = generator.choice(keys) if keys else None
        inner = content[key] if keys else None
        if isinstance(inner, (dict, list)) and inner and generator.randrange(5):
            content = inner
            continue
        kind = generator.randrange(8)
        if kind == 0 and keys:
            del content[key]
        elif kind == 1 and isinstance(content, dict):
            content[generator.choice(("", "x", "\x1b[31m", "test"))] = value()
        elif keys:
            content[key] = value()
        return


DAMAGES = {
    name.__name__: name
    for name in (
        changed_bytes, cut, doubled, filled, removed, folder_instead, special_instead, file_instead_of_folder, foreign,
        swapped, odd_names, renamed_run, sound_json_of_other_content, metrics_of_other_content,
    )
}  # fmt: skip
DAMAGES["sound_json_of_other_content again"] = sound_json_of_other_content  # the kind with the most cases


def odd_tensor(generator):
    """A tensor or number that a state does not hold where this one is put."""
    return generator.choice(
        (
            lambda: torch.zeros(()),
            lambda: torch.zeros(0),
            lambda: torch.zeros(generator.randrange(1, 9), generator.randrange(1, 9)),
            lambda: torch.full((3,), float("nan")),
            lambda: torch.zeros(3, dtype=torch.int64),
            lambda: torch.zeros(2, dtype=torch.complex64),
            lambda: torch.zeros(2, dtype=torch.bool),
            lambda: torch.zeros(5, dtype=torch.uint8),
            lambda: torch.zeros(1).expand(50),
            lambda: torch.ones(4, 4).t()[::2],
            lambda: json_value(generator),
            lambda: json_value(generator),
            lambda: -(2**70),
            lambda: float("inf"),
            lambda: ((),),
        )
    )()


def sound_state_of_other_content(generator, state):
    """A state with a valid digest and something wrong inside."""
    state = copy.deepcopy(state)
    for _ in range(generator.choice((1, 1, 3))):
        progress = state.get("progress")  # an earlier change may have made something else of it
        place = generator.choice([state, progress if isinstance(progress, dict) else state, state])
        change_within(generator, place, lambda: odd_tensor(generator))
    return bytes(stamped.KINDS[".pt"][0](state))


def bait(generator, state):
    """A state whose tensors or lists are more than they seem, without a valid digest."""
    cyclic, laughs = [], [1]
    cyclic.append(cyclic)
    for _ in range(60):
        laughs = [laughs, laughs]
    deep = ()
    for _ in range(generator.choice((100, 900))):
        deep = (deep,)
    found = generator.choice(
        (
            lambda: torch.zeros(5, 5).to_sparse(),
            lambda: torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (10**8, 10**8)),
            lambda: torch.zeros(5, 5).to_sparse_csr(),
            lambda: torch.zeros(10**6, device="meta"),
            lambda: torch.zeros(1).expand(1 << 40),
            lambda: [torch.zeros(1 << 14).expand(4, -1) for _ in range(200)],
            lambda: torch.nn.Parameter(torch.zeros(3)),
            lambda: torch.Size((1 << 40,)),
            lambda: bytearray(100),
            lambda: {1, 2},
            lambda: 1j,
            lambda: cyclic,
            lambda: laughs,
            lambda: deep,
        )
    )()
    packed = io.BytesIO()
    content = {**state, generator.choice([*state]): found}
    torch.save({"layout": 1, "version": "1.1.0", "sha256": "0" * 64, "state": content}, packed)
    return packed.getvalue()


PICKLES = (
    b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x01\x85R.",
    b"\x80\x02c_codecs\nencode\n" + pickle.dumps(("\xe9" * 50_000, "punycode"), 2)[2:-1] + b"R.",
    b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\0\0\0\0\x01\x85R.",
    b"\x80\x02ctorch\nTensor\n\x8a\x05\0\0\0\0\x01\x85R.",
    b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    b"\x80\x02" + b"(" * 100_000,
    b"\x80\x02" + b"]" * 100 + b".",
    b"\x80\x02Nr\xff\xff\xff\x7f.",
    colliding_keys(100_000, b"d."),
    b"\x80\x02ccollections\nOrderedDict\n](K\1N\x86e\x85R.",
    b"garbage",
    b"",
)


def repacked(generator, content):
    """The archive of a state with another pickle, compressed, or with parts that are not there."""
    parts = {part.filename: content_of(content, part) for part in zipfile.ZipFile(io.BytesIO(content)).infolist()}
    kind, packed = generator.randrange(6), io.BytesIO()
    if kind == 5:  # torch reads what stands before an archive
        torch.save({"names": torch.Size((3,))}, packed, _use_new_zipfile_serialization=False)
    method = zipfile.ZIP_DEFLATED if kind == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "a", method) as archive:
        for name, part in parts.items():
            if kind == 1 and name.endswith("data.pkl"):
                part = generator.choice(PICKLES)
            if kind == 2 and generator.randrange(3) == 0:
                continue
            archive.writestr(name, bytes(1 << 24) if kind == 0 and "/data/" in name else part)
        if kind == 3:
            archive.writestr(next(name for name in parts if name.endswith("data.pkl")), generator.choice(PICKLES))
    data = bytearray(packed.getvalue())
    if kind == 4:
        for _ in range(3):
            data[generator.randrange(len(data) - 300, len(data))] = generator.randrange(256)
    return bytes(data)


def content_of(content, part):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(part)


READ_BY = {
    "last": ("more epochs",), "stopped": ("more epochs",), "best": ("--from", "other K"), "log_px": ("other K",),
    "code_prior": ("--from",),
}  # fmt: skip


def fuzz_checkpoints(count, seed, folder):
    """Runs with crafted files of states."""
    tally, generator = Tally("crafted checkpoints"), random.Random(seed)
    made = make_runs(folder / "made")
    before = resident()
    with nothing_written(folder / "empty"):
        for number in range(count):
            line, source = made[number % len(made)]
            place = folder / "work" / str(number)
            shutil.copytree(source, place)
            run = only(place)
            names = [name for name in READ_BY if (run / "checkpoints" / f"{name}.pt").exists()]
            name = generator.choice(names)
            path = run / "checkpoints" / f"{name}.pt"
            content, stamp = stamped.read_with_stamp(path)
            craft = generator.choice((sound_state_of_other_content, sound_state_of_other_content, bait, repacked))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of tensors that are not common
                crafted = craft(generator, path.read_bytes() if craft is repacked else {**content, "run": stamp})
            paths = [path, stamped.previous(path)] if stamped.previous(path).exists() else [path]
            for each in paths[: generator.choice((1, 2, 2))]:
                each.write_bytes(crafted)
            which = generator.choice(READ_BY[name])
            tried(tally, f"{number} {craft.__name__}: {name}", which, readers(place, run, line)[1][which], place)
            shutil.rmtree(place)
    if (grown := resident() - before) > MOST_GROWTH:
        tally.note("did not give memory back", f"{grown:,} bytes")
    return tally
