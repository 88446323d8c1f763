"""Damage and bait in the files of data sets."""

import gzip
import io
import pickle
import random
from functools import partial

import numpy as np
from PIL import Image

from tests.faults.fuzzing import Tally, nothing_written, watched
from tests.utils.small_data import amat, colliding_keys, idx, load, mat, random_images, tar, write
from utils.data.files import MAX_CONTENT, DataError, gunzip
from utils.data.formats import read_amat, read_tar_members
from utils.data.idx import read_idx
from utils.data.mat import read_mat
from utils.data.pickles import read_array_pickle

IMAGES = random_images(6, 12, 10)


def picture(kind, **options):
    stream = io.BytesIO()
    Image.fromarray(np.stack([IMAGES[0]] * 3, -1)).save(stream, kind, **options)
    return stream.getvalue()


def archive(save=np.savez, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def single(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def own_arrays(data, folder):
    return load("array", write(folder / "x.npz", data))


def own_images(data, folder, suffix):
    for number, image in enumerate(IMAGES):
        write(folder / suffix / "a" / f"{number}.png", single_png(image))
    write(folder / suffix / "b" / f"odd.{suffix}", data)
    return load("folder", folder / suffix, image_size=(8, 8))


def single_png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def sound_files(folder):
    """(content, what reads it) of each kind."""
    known = {"x": IMAGES.reshape(6, -1), "y": np.arange(6) % 2}
    many = {"x": random_images(30, 5, 5), "y": np.arange(30) % 3}
    split = {"x_train": random_images(20, 7), "x_val": random_images(5, 7), "x_test": random_images(5, 7)}
    arrays, images = partial(own_arrays, folder=folder), partial(own_images, folder=folder)
    return {
        "idx": (idx(IMAGES), lambda data: read_idx(data, "x", 3)),
        "gz": (gzip.compress(idx(IMAGES)), lambda data: read_idx(gunzip(data, MAX_CONTENT, "x"), "x", 3)),
        "amat": (amat(IMAGES[:, 0] % 2), lambda data: read_amat(data, "x", 10)),
        "tar": (tar({"a": b"1" * 600, "b": b"2"}), lambda data: read_tar_members(data, "x", ("a", "b"))),
        "pickle": (pickle.dumps(known, 2), lambda data: read_array_pickle(data, "x")),
        "pickle 5": (pickle.dumps([IMAGES], 5), lambda data: read_array_pickle(data, "x")),
        "npz": (archive(**many), arrays),
        "packed npz": (archive(np.savez_compressed, **split), arrays),
        "npy": (single(many["x"]), arrays),
        "png": (picture("PNG"), partial(images, suffix="png")),
        "jpg": (picture("JPEG"), partial(images, suffix="jpg")),
        "gif": (picture("GIF"), partial(images, suffix="gif")),
        "tif": (picture("TIFF", compression="tiff_lzw"), partial(images, suffix="tif")),
        "bmp": (picture("BMP"), partial(images, suffix="bmp")),
        "ppm": (picture("PPM"), partial(images, suffix="ppm")),
        "mat": (mat(data=IMAGES[0] / 7), lambda data: read_mat(data, "x", {"data": (None, 10)})),
        "mat 4": (mat("4", data=IMAGES[0] / 7), lambda data: read_mat(data, "x", {"data": (None, 10)})),
    }


def bombs():
    """(kind of `sound_files`, content) of small files that could become large."""
    zeros = bytes(1 << 24)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as stream:
        for _ in range(20):
            stream.write(zeros)
    yield "gz", packed.getvalue()
    yield "packed npz", archive(np.savez_compressed, x=np.zeros((400, 1 << 20), np.uint8))
    yield "npz", archive(**{"\x1b[31mx": np.zeros(3), "x": np.zeros(3)})
    for side, mode in ((13_000, "1"), (7_900, "P"), (7_900, "I;16")):
        stream = io.BytesIO()
        Image.new(mode, (side, side)).save(stream, "PNG", **({"transparency": 0} if mode == "P" else {}))
        yield "png", stream.getvalue()
    scans = io.BytesIO()
    Image.new("L", (7_900, 7_900)).save(scans, "JPEG", progressive=True)
    again = scans.getvalue()[scans.getvalue().rindex(b"\xff\xda") : -2]
    yield "jpg", scans.getvalue()[:-2] + 2_000 * again + b"\xff\xd9"
    text = pickle.dumps(("\xe9" * 50_000, "punycode"), 2)[2:-1]
    yield "pickle", pickle.PROTO + b"\2c_codecs\nencode\n" + text + b"R."
    yield "pickle", colliding_keys(200_000, b"d.")
    yield "pickle", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 9), }"
    yield "npy", b"\x93NUMPY\1\0\x76\0" + header.ljust(118)
    yield "mat", mat(data=np.zeros((4_000_000, 10)))


def damaged(generator, data):
    """A sound file with a few bytes changed, cut, doubled or put together with itself."""
    data, kind = bytearray(data), generator.randrange(6)
    if kind < 3:
        for _ in range(generator.choice((1, 1, 2, 8))):
            data[generator.randrange(len(data))] = generator.choice((0, 255, generator.randrange(256)))
    elif kind == 3:
        del data[generator.randrange(len(data)) :]
    elif kind == 4:
        place = generator.randrange(len(data))
        data[place : place + 4] = generator.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\1\0"))
    else:
        first, second = sorted(generator.sample(range(len(data)), 2))
        data[first:first] = data[first:second]
    return bytes(data)


def fuzz(count, seed, folder):
    """Files of every kind, damaged, and bombs."""
    tally, generator = Tally("mutated data files"), random.Random(seed)
    sound = sound_files(folder / "data")
    names = [name for name in sound if not name.startswith("mat")]
    cases = list(bombs())
    for number in range(count - len(cases)):
        # A MAT file is read by a process of its own, which takes as long as fifty others.
        name = f"mat{' 4' * (number % 60 == 0)}" if number % 30 == 0 else generator.choice(names)
        cases.append((name, damaged(generator, sound[name][0])))
    with nothing_written(folder / "empty"):
        for number, (name, data) in enumerate(cases):
            ended, broken, _ = watched(lambda name=name, data=data: sound[name][1](data), DataError)
            tally.note(ended, broken, (number, name, data[:200]))
    return tally
