"""Generated pictures and archives of all kinds, whole and damaged, and what `vqddm data prepare` makes of them."""

from __future__ import annotations

import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image, PngImagePlugin

from torture.damage import damaged
from torture.inputs import Case

SIDE = 16
PLACE = "originals"


def drawn(rng: random.Random, mode: str = "RGB") -> Image.Image:
    """A picture of noise, a little larger than it needs to be."""
    size = rng.randint(SIDE, 40), rng.randint(SIDE, 40)
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA") if mode == "RGBA" else Image.fromarray(pixels[..., :3])
    if mode == "I;16":
        return image.convert("L").convert("I;16")
    return image if mode in ("RGB", "RGBA") else image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file's content."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_texts(rng: random.Random) -> bytes:
    """A PNG with texts and an orientation."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "x" * rng.randint(0, 3000), zip=rng.random() < 0.5)
    exif = Image.Exif()
    exif[0x0112] = rng.randint(0, 9)
    return saved(drawn(rng), "png", pnginfo=texts, exif=exif)


def as_array(rng: random.Random) -> bytes:
    """A `.npy`, of a picture or not."""
    shape = rng.choice([(SIDE, SIDE, 3), (3, SIDE, SIDE), (1, 3, 20, 20), (SIDE, SIDE), (0, 0, 3), (2, 3, 20, 20)])
    buffer = io.BytesIO()
    kind = rng.choice([np.uint8, np.uint8, np.uint8, np.float32, np.int64, object])
    np.save(buffer, np.zeros(shape, kind), allow_pickle=True)
    return buffer.getvalue()


def animated(rng: random.Random, kind: str) -> bytes:
    """Several frames."""
    frames = [drawn(rng).resize((SIDE, SIDE)) for _ in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


# Suffixes, and what is written under them.
KINDS: list[tuple[str, Callable[[random.Random], bytes]]] = [
    (".png", lambda rng: saved(drawn(rng, rng.choice(["RGB", "RGBA", "L", "P", "1", "LA", "I;16"])), "png")),
    (".png", with_texts),
    (".png", lambda rng: animated(rng, "png")),
    (".jpg", lambda rng: saved(drawn(rng, rng.choice(["RGB", "L", "CMYK"])), "jpeg", progressive=rng.random() < 0.5)),
    (".jpeg", lambda rng: saved(drawn(rng), "jpeg", exif=exif_of(rng))),
    (".webp", lambda rng: saved(drawn(rng, rng.choice(["RGB", "RGBA"])), "webp", lossless=rng.random() < 0.5)),
    (".webp", lambda rng: animated(rng, "webp")),
    (".bmp", lambda rng: saved(drawn(rng, rng.choice(["RGB", "L", "P", "1"])), "bmp")),
    (".npy", as_array),
    (".png", lambda rng: saved(drawn(rng), rng.choice(["gif", "tiff", "ppm", "ico", "jpeg2000", "tga", "sgi"]))),
    (".jpg", lambda rng: rng.choice([b"", b"<html>", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"])),
]  # fmt: skip


def exif_of(rng: random.Random) -> Image.Exif:
    """Metadata with an orientation and odd values."""
    exif = Image.Exif()
    exif[0x0112] = rng.choice([0, 1, 3, 6, 9, 65535])
    exif[0x010E] = "\x00é" * rng.randint(0, 40)
    return exif


def picture(rng: random.Random) -> tuple[str, str, bytes]:
    """A suffix, what was done, and the content of a picture that is damaged in most cases."""
    suffix, make = rng.choice(KINDS)
    content = make(rng)
    if rng.random() < 0.12:
        return rng.choice([suffix, ".png", ".jpg", ".webp", ".bmp", ".npy"]), "under another suffix", content
    if not content:
        return suffix, "empty", content
    how, content = damaged(content, rng)
    if rng.random() < 0.2:
        how, content = f"{how} with sizes", with_sizes(content, rng)
    return suffix, how, content


def with_sizes(content: bytes, rng: random.Random) -> bytes:
    """A PNG's or BMP's width and height put to extremes, a PNG's checksum with them."""
    sizes = rng.choice([(0, 0), (1, 1), (2**31 - 1, 1), (60_000, 60_000), (13_000, 13_000), (SIDE, 2**32 - 1)])
    if content[:4] == b"\x89PNG" and len(content) > 33:
        header = b"IHDR" + struct.pack(">II", *sizes) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    if content[:2] == b"BM" and len(content) > 26:
        return content[:18] + struct.pack("<II", *sizes) + content[26:]
    return content


def wholes(rng: random.Random, count: int = 5) -> dict[str, bytes]:
    """Whole pictures by their names."""
    return {f"whole{number}.png": saved(drawn(rng), "png") for number in range(count)}


def prepared(named: list[str], count: int) -> Case:
    """The case of a `data prepare` that needs so many pictures, all that there are."""
    params = {"source": "folder", "path": PLACE, "resolution": SIDE, "train": count - 1, "test": 1, "seed": 0}
    words = ["vqddm", "data", "prepare", "--params", json.dumps(params), "--out", "data/own", "--workers", "1"]
    outputs = [f"data/own/{split}.{kind}" for kind in ("npy", "json") for split in ("train", "test", "validation")]

    def check(folder: Path) -> str:
        from vqddm.artifacts import read_array

        shapes = [read_array(folder / output, "uint8", 4).shape for output in outputs[:2]]
        expected = [(size, SIDE, SIDE, 3) for size in (count - 1, 1)]
        return "" if shapes == expected else f"splits of {shapes}"

    return Case(words, named, outputs, check)


def bad_picture(folder: Path, rng: random.Random) -> Case:
    """A folder of whole pictures and some that are damaged."""
    place = folder / PLACE
    place.mkdir()
    for name, content in wholes(rng).items():
        (place / name).write_bytes(content)
    named = []
    for number in range(rng.choice([1, 1, 1, 3])):
        suffix, _, content = picture(rng)
        named.append(f"odd{number}{suffix}")
        (place / named[-1]).write_bytes(content)
    return prepared(named, 5 + len(named))


def bad_zip(folder: Path, rng: random.Random) -> Case:
    """A zip archive, damaged as a file, in an entry's fields, or by its entries' names."""
    path = folder / PLACE
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    entries = wholes(rng, 6)
    if rng.random() < 0.3:
        odd = ["../out.png", "a\\..\\b.png", "/root.png", "x\x00y.png", "é.png", "a/" * 200 + "b.png", "whole0.png"]
        suffix, _, content = picture(rng)
        entries |= {rng.choice([*odd, f"odd{suffix}"]): content}
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in entries.items():
            archive.writestr(name, content)
    content = path.read_bytes()
    if rng.random() < 0.35:
        content = with_fields(content, rng)
    if rng.random() < 0.8:
        _, content = damaged(content, rng)
    path.write_bytes(content)
    return prepared([path.name], len(entries))


def with_fields(content: bytes, rng: random.Random) -> bytes:
    """Flags, method, sizes, offsets or times of an entry put to other values, in one or both of its headers."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = content.find(mark)
        field, size = rng.choice([(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)])
        if at >= 0 and rng.random() < 0.8:
            value = rng.choice([0, 1, 9, 14, 99, 0xFFFF, 0xFFFFFFFF, rng.getrandbits(32)])
            changed[at + offset + field : at + offset + field + size] = (value % 256**size).to_bytes(size, "little")
    return bytes(changed)


def bad_lmdb(folder: Path, rng: random.Random) -> Case:
    """An LMDB with small and large values whose pages are damaged."""
    place = folder / PLACE
    with lmdb.open(str(place), map_size=1 << 24) as opened, opened.begin(write=True) as transaction:
        count = rng.choice([6, 60, 300])
        for number in range(count):
            image = drawn(rng) if number % 2 else drawn(rng).resize((90, 90))
            transaction.put(rng.randbytes(rng.choice([4, 20])) + b"%d" % number, saved(image, "png"))
    content = (place / "data.mdb").read_bytes()
    for _ in range(rng.choice([1, 1, 3])):
        if rng.random() < 0.5:  # within the headers of a page, where numbers of other pages stand
            start = 4096 * rng.randrange(max(1, len(content) // 4096))
            header, rest = content[start : start + 64], content[start + 64 :]
            content = content[:start] + (damaged(header, rng)[1] + bytes(64))[:64] + rest if header else content
        elif content:
            _, content = damaged(content, rng)
    (place / "data.mdb").write_bytes(content)
    return prepared([place.name], count)
