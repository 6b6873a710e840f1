"""Own pictures as people have them: what a walk takes, damaged and odd archives, pixels as a viewer shows them."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image, ImageCms

from vqddm.artifacts import UserError
from vqddm.data.decode import decode
from vqddm.data.pictures import ORIGINALS, check_folder, find_pictures, read_picture, require_original
from vqddm.data.prepare import prepare
from vqddm.data.settings import DataParams
from vqddm.data.walk import Picture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (10, 14, 3), dtype=np.uint8)
PLAIN = Image.fromarray(PIXELS)


def encoded(image: Image.Image = PLAIN, kind: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def put(root: Path, *names: str) -> None:
    """A small picture of its own under each name."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(Image.new("RGB", (16, 16), (number * 7, 1, 2))))


def names(place: Path) -> list[str]:
    return [str(p.key or p.place.relative_to(place)) for p in find_pictures(place, 0)]


def params(path: Path, **other: int) -> DataParams:
    return DataParams.model_validate(
        {"source": "folder", "path": str(path), "resolution": 16, "train": 2, "test": 1, "seed": 0} | other
    )


# What a walk takes

FOREIGN = [
    *(".DS_Store/a.png", "._a.png", "d/.ipynb_checkpoints/a.png", ".thumbnails/normal/a.png", "__MACOSX/d/a.png"),
    *("d/@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg", "d/.@__thumb/a.png", "@Recycle/a.png", "#recycle/a.png"),
    *("FOUND.000/a.png", "@SynoResource/a.png", "@snapshot/a.png", "@sharesnap/a.png", "$WinREAgent/a.png"),
    *(
        "RECYCLER/a.png",
        "~snapshot/a.png",
        "lost+found/a.png",
        "$RECYCLE.BIN/a.png",
        "System Volume Information/a.png",
        "d/.a/b/c.png",
        "d/Thumbs.db",
    ),
]
TAKEN = [
    "A.PNG",
    "Recycled/a.png",
    "foundry/a.png",
    "a.png",
    "d/@alice/a.png",
    "d/thumbnails/a.jpeg",
    "d/x.png/inner.webp",
    "line\nbreak.png",
]


@pytest.mark.parametrize("packed", [False, True])
def test_hidden_and_foreign_folders_are_passed_over_in_folders_and_zips(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / ".cache" / "own"  # what lies above does not count
    put(root, *FOREIGN, *TAKEN)
    place = root
    if packed:
        place = tmp_path / "own.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in sorted(root.rglob("*")):
                archive.write(path, f"./{path.relative_to(root)}")
    assert [name.removeprefix("./") for name in names(place)] == sorted(TAKEN)


def test_links_are_followed_and_each_real_file_is_taken_once(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    put(root, "own/a.png", "z/own.png", ".hidden/b.png")
    put(other, "n01/c.png", "n01/deep/d.png", "blob", "e.png")
    for link, goal in {
        "a link to its class": other / "n01",
        "again": other / "n01",  # one of two links to a folder
        "own/up": root,  # loops
        "own/far up": tmp_path,
        "own/self": root / "own",
        "a.png": root / "own/a.png",  # its own name wins
        "renamed.png": other / "blob",  # the link's name says what it is
        "twice.png": other / "blob",
        "e": other / "e.png",
        "in.png": other / "n01/c.png",  # also in a linked folder
        "from hidden.png": root / ".hidden/b.png",
        ".lock.png": Path("nowhere"),
    }.items():
        (root / link).symlink_to(goal)
    linked = [f"a link to its class/{name}" for name in ("c.png", "deep/d.png")]
    assert names(root) == [*linked, "from hidden.png", "own/a.png", "renamed.png", "z/own.png"]
    (tmp_path / "link").symlink_to(root)
    assert len(names(tmp_path / "link")) == 6


def test_only_linked_class_folders_are_enough(tmp_path: Path) -> None:
    put(tmp_path / "real", "n01/a.png", "n02/b.png")
    (tmp_path / "all").mkdir()
    for name in ("n01", "n02"):
        (tmp_path / "all" / name).symlink_to(f"../real/{name}")
    require_original("imagenet", tmp_path / "all")
    assert names(tmp_path / "all") == ["n01/a.png", "n02/b.png"]


def test_what_cannot_be_read_is_named_and_nothing_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    put(root, "a.png", "locked/b.png")
    os.mkfifo(root / "pipe.png")
    os.mkfifo(root / "pipe.txt")  # no picture by its name
    (root / "to pipe.png").symlink_to("pipe.png")
    (root / "null.png").symlink_to(os.devnull)
    (root / "gone.png").symlink_to("nowhere")
    (root / "n01").symlink_to("no folder")
    (root / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as end:
        monkeypatch.chdir(root)
        end.bind("socket.png")
    scan = os.scandir

    def refused(path: str) -> object:  # root may read all
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError) as caught:
        find_pictures(root, 1)
    said = str(caught.value)
    assert said.startswith(f"8 entries of {root} cannot be read:\n  ") and said.count("\n") == 8
    for words in [
        *("pipe.png: a pipe", "to pipe.png: a pipe", "null.png: a pipe, a socket or a device", "socket.png: a pipe"),
        *("gone.png: a link to nowhere", "n01: a link to no folder", "loop: a link to loop", "locked: cannot be read"),
    ]:
        assert words in said


def test_a_pipe_as_the_place_itself_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: neither a folder nor a file"):
        find_pictures(tmp_path / "pipe", 1)
    (tmp_path / "lsun").mkdir()
    os.mkfifo(tmp_path / "lsun/data.mdb")
    with pytest.raises(UserError, match="0 pictures"):
        require_original("lsun_church", tmp_path / "lsun")


def test_a_user_that_there_is_not_is_told() -> None:
    asked = params(Path("~nosuchuser/pictures"))
    with pytest.raises(UserError, match=r"^data\.path: ~nosuchuser/pictures: there is no user ~nosuchuser; write"):
        check_folder(asked)
    with pytest.raises(UserError, match="there is no user ~nosuchuser"):
        prepare(asked, Path("nowhere"))


def test_names_that_are_no_text_are_read_and_told_in_one_line(tmp_path: Path) -> None:
    put(tmp_path / "own", "a.png", "b.png")
    name = os.fsencode(tmp_path / "own") + b"/\xff\n.png"
    Path(os.fsdecode(name)).write_bytes(encoded())
    prepare(params(tmp_path / "own", resolution=8), tmp_path / "out", workers=2)
    Path(os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(UserError, match=r"own/\\udcff\\n\.png: not a whole picture \(an empty file\); replace"):
        prepare(params(tmp_path / "own", resolution=8), tmp_path / "out", workers=2)


def test_a_place_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refused)  # root may read all
    for look in (lambda: require_original("imagenet", tmp_path), lambda: find_pictures(tmp_path, 1)):
        with pytest.raises(UserError, match=rf"{tmp_path}: cannot be read \(Permission denied\)"):
            look()


# Bad pictures


@pytest.mark.parametrize("workers", [1, 2])
def test_all_bad_pictures_are_named_with_their_true_reasons(tmp_path: Path, workers: int) -> None:
    place = tmp_path / "own"
    put(place, *(f"{number:02d}.png" for number in range(30)))
    bad = {
        "bad0.png": (b"", "not a whole picture (an empty file)"),
        "bad1.png": (b"<html>", "not a whole picture (of no known kind, it begins with b'<html>')"),
        "bad2.png": (encoded()[:-60], "not a whole picture (image file is truncated"),
        "bad3.jpg": (encoded(kind="jpeg")[:-60], "not a whole picture (image file is truncated"),
        "bad4.png": (encoded().replace(b"IHDR", b"IHDX"), "not a whole picture (broken PNG file"),
        "bad5.png": (encoded(Image.new("RGB", (40, 9))), "40 x 9 pixels are fewer than the resolution 16"),
        "bad6.png": (huge_png(), "too large, more than 178,956,970 pixels"),
        "bad7.png": (png_of((0, 10, 8, 2), b""), "not a whole picture (its width or height is 0)"),
        "bad8.png": (png_of((16, 1, 8, 3), bytes(17)), "not a whole picture (its colours are numbers of a palette, w"),
        "bad9.png": (b"\xff\xd8\xff", "not a whole picture (it ends within its header)"),
    }
    for name, (content, _) in bad.items():
        (place / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        prepare(params(place, train=20), tmp_path / "out", workers=workers)
    first, *lines = str(caught.value).split("\n  ")
    assert first == "10 of 40 pictures are bad (nothing was written):"
    for line, (name, (_, words)) in zip(lines, bad.items(), strict=True):
        assert line.startswith(f"{place}/{name}: {words}") and "; replace or remove it" in line and "0x" not in line
    assert not list((tmp_path / "out").glob("*.npy"))
    for number in range(20):
        (place / f"worse{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^30 of 60 pictures (?s:.*)\n  and 10 more$"):
        prepare(params(place, train=20), tmp_path / "out", workers=workers)


def test_an_unreadable_picture_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refused)  # root may read all
    put(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_picture(Picture(tmp_path / "a.png"), 16)


def test_large_pictures_are_read_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow warns from here on
    put(tmp_path, "a.png")
    with pytest.raises(UserError, match="too large, more than 200 pixels"):
        read_picture(Picture(tmp_path / "a.png"), 16)
    (tmp_path / "b.png").write_bytes(encoded())
    assert read_picture(Picture(tmp_path / "b.png"), 16).shape == (16, 16, 3) and not recwarn.list


# Archives


def zip_with(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def changed(path: Path, offset: int, value: int) -> Path:
    """A zip whose first entry has another two-byte field, here and in the central directory (2 bytes further)."""
    content = bytearray(path.read_bytes())
    for at in (offset, content.index(b"PK\x01\x02") + offset + 2):
        content[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    return path


def link_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


TWO = {"a.png": encoded(), "b.png": encoded()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: changed(zip_with(p, TWO), 6, 1), r"a\.png: encrypted; unpack it"),
        (lambda p: changed(zip_with(p, TWO), 8, 9), r"a\.png: compressed by a method .*number 9\); unpack it"),
        (lambda p: zip_with(p, TWO | {"../c.png": b""}), r"\.\./c\.png: its name leads out of the archive"),
        (lambda p: zip_with(p, TWO | {"d\\..\\..\\c.png": b""}), r"c\.png: its name leads out of the archive"),
        (lambda p: zip_with(p, TWO | {"a.png/b.png": b""}), r"a\.png: both a file or link and a folder; unpack it"),
        (lambda p: zip_with(p, TWO | {link_entry("d"): b".", "d/b.png": b""}), r"d: both a file or link and a folder"),
        (lambda p: p.write_bytes(zip_with(p, TWO).read_bytes()[:-80]), "not a whole zip archive"),
        (lambda p: p.write_bytes(zip_with(p, TWO).read_bytes().replace(b"PK\1\2", b"PK\1\1")), "not a whole zip"),
        (lambda p: p.write_bytes(b""), "not a whole zip archive"),
        (lambda p: zip_with(p, TWO | {link_entry("n01"): b"/elsewhere/n01"}), r"n01: a link to /elsewhere/n01"),
        (lambda p: zip_with(p, TWO | {link_entry("c.png"): b"../a.png"}), r"c\.png: a link to"),
    ],
)
def test_an_archive_that_cannot_be_read_is_told_before_any_job(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "own.zip")
    with pytest.raises(UserError, match=words) as caught:
        require_original("celebahq", tmp_path / "own.zip")
    assert "\n" not in str(caught.value)


def test_odd_archives_are_read(tmp_path: Path) -> None:
    pictures = {
        name: encoded(Image.new("RGB", (16, 16), (n, 0, 0)))
        for n, name in enumerate(["a.png", "A.png", "/abs/b.png", "w\\c.png"])
    }
    folders = {"x.png/": b"", "y.png\\": b"", link_entry("d/l.png"): b"../a.png", link_entry("again"): b"abs"}
    place = zip_with(tmp_path / "own.zip", pictures | folders | {"abs/d.png": encoded()})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(place, "a") as archive:
        archive.writestr("a.png", encoded(Image.new("RGB", (16, 16), (99, 0, 0))))
        with archive.open("big.png", "w", force_zip64=True) as file:
            file.write(encoded())
    (tmp_path / "link.zip").symlink_to(place)
    found = find_pictures(tmp_path / "link.zip", 6)
    assert [p.key for p in found] == ["A.png", "a.png", "abs/b.png", "abs/d.png", "big.png", "w/c.png"]
    reds = {p.key: int(read_picture(p, 16)[0, 0, 0]) for p in found if p.key not in ("abs/d.png", "big.png")}
    assert reds == {"a.png": 99, "A.png": 1, "abs/b.png": 2, "w/c.png": 3}  # the last of one name counts


def packed(root: Path, place: Path) -> Path:
    """A zip of a folder with its links, as `zip --symlinks` makes it."""
    with zipfile.ZipFile(place, "w") as archive:
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_symlink():
                archive.writestr(link_entry(name), str(path.readlink()))
            else:
                archive.write(path, name)
    return place


def test_links_in_a_zip_follow_the_folders_rule(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "a.png", "d/b.png", ".store/x.png", ".store/deep/y.png", ".store/blob", ".store/.no/z.png", "photos")
    for link, goal in {
        *(("d/e", ".."), ("d/self", "."), ("up", "d/../d")),  # loops, and one that is walked already
        *(("stored", ".store"), ("again", "stored/deep"), ("c.png", ".store/blob"), ("e.png", "c.png")),
        *(("f.png", "a.png"), ("g.png", "d/../.store/x.png"), ("n.png", "photos"), ("notes", "photos")),
        ("h.png", "stored/deep/../blob"),
    }:
        (root / link).symlink_to(goal)
    found = names(root)
    assert found == ["a.png", "again/y.png", "c.png", "d/b.png", "n.png", "stored/x.png"]
    place = packed(root, tmp_path / "own.zip")
    assert names(place) == found
    for picture in find_pictures(place, 6):
        np.testing.assert_array_equal(read_picture(picture, 16), read_picture(Picture(root / str(picture.key)), 16))
    nowhere = {"i": "i", "j": "k", "k": "j", "l.png": "gone", "m": "a.png/../a.png", "o": "gone.txt"}
    for link, goal in nowhere.items():
        (root / link).symlink_to(goal)
    for where in (root, packed(root, tmp_path / "bad.zip")):
        with pytest.raises(UserError) as caught:
            find_pictures(where, 1)
        lines = str(caught.value).split("\n  ")
        assert lines[0] == f"{len(nowhere)} entries of {where} cannot be read:"
        for line, (link, goal) in zip(lines[1:], nowhere.items(), strict=True):
            assert line.startswith((f"{where}/{link}: a link to {goal}, ", f"{where}: {link}: a link to {goal}, "))


def test_backslashes_in_a_zip_are_folders(tmp_path: Path) -> None:
    """As some programs for Windows write it: masks are then found beside the pictures, and left out."""
    inside = {f"X\\{name}": encoded() for name in ("CelebA-HQ-img\\0.jpg", "mask\\0.png", ".a\\1.png")}
    place = zip_with(tmp_path / "own.zip", {"C:\\b.png": encoded()} | inside)
    assert names(place) == ["C:/b.png", "X/CelebA-HQ-img/0.jpg", "X/mask/0.png"]
    assert [p.key for p in find_pictures(place, 1, ORIGINALS["celebahq"])] == ["X/CelebA-HQ-img/0.jpg"]


def test_files_that_do_not_count_are_told_by_their_suffixes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "own", "a.png", "b.TIF", "c/d.tif", "e.gif", "readme", ".f.gif")
    for place in (tmp_path / "own", packed(tmp_path / "own", tmp_path / "own.zip")):
        find_pictures(place, 1)
        said = capfd.readouterr().err
        assert f"{place}: 4 files do not count, by suffix (.tif 2, .gif 1, none 1); pictures are .bmp" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded(), "one PNG picture and no folder of pictures; let `data.path` name the folder"),
        (encoded(kind="jpeg"), "one JPEG picture"),
        (b"7z\xbc\xaf'\x1c" + bytes(60), "a 7z archive; unpack it"),
        (b"Rar!\x1a\x07\1\0", "a RAR archive; unpack it"),
        (gzip.compress(bytes(999), mtime=0)[:5], "a gzip archive; unpack it"),
        (gzip.compress(bytes(999), mtime=0), "a gzip archive; unpack it"),
        (bytes(257) + b"ustar\0" + bytes(999), "a tar archive; unpack it"),
        (b"\n<!DOCTYPE html><html>" + b"x" * 999, "a web page, saved instead of the archive"),
        ("Grüße\n".encode(), "a text file; let `data.path` name"),
        (bytes(99), "no zip archive, it begins with b'"),
        (b"PK\3\4" + bytes(99), "not a whole zip archive .*does not end as one: .*; fetch it again, or unpack it"),
    ],
)
def test_a_file_that_is_no_zip_is_told_by_its_first_bytes(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "own\n").write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        find_pictures(tmp_path / "own\n", 1)
    assert "\n" not in str(caught.value)


def test_a_zip_with_something_behind_it_is_explained(tmp_path: Path) -> None:
    place = zip_with(tmp_path / "own.zip", TWO)
    whole = place.read_bytes()
    for behind, words in ((60_000, None), (70_000, r"something else stands behind it\); fetch it again, or")):
        other = tmp_path / f"{behind}.zip"
        other.write_bytes(whole + bytes(behind))
        if words is None:
            assert names(other) == ["a.png", "b.png"]
        else:
            with pytest.raises(UserError, match=words):
                names(other)


def test_an_lmdbs_own_file_is_told(database: Path) -> None:
    with pytest.raises(UserError, match=r"data\.mdb: the file of an LMDB; let `data\.path` name its folder"):
        find_pictures(database / "data.mdb", 1)


def test_a_damaged_entry_is_told_by_its_checksum(tmp_path: Path) -> None:
    content = bytearray(zip_with(tmp_path / "own.zip", TWO, zipfile.ZIP_STORED).read_bytes())
    content[content.index(b"IDAT") + 9] ^= 1
    (tmp_path / "own.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"own\.zip: a\.png: not a whole picture \(Bad CRC-32"):
        prepare(params(tmp_path / "own.zip", train=1, resolution=8), tmp_path / "out", workers=1)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 22) as opened, opened.begin(write=True) as transaction:
        for number in range(200):
            transaction.put(b".%04d" % number, encoded(Image.new("RGB", (16, 16), (number, 0, 0))))
    return tmp_path / "db"


def test_all_keys_of_an_lmdb_are_taken(database: Path) -> None:
    assert len(find_pictures(database, 200)) == 200  # keys may be any bytes: a dot hides nothing


def zeroed(content: bytes) -> bytes:
    """Whole by its size, but with holes for pages, as an interrupted download that reserved its space first."""
    return content[:8192] + bytes(len(content) - 8192)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: b[: len(b) // 2], r"cut short \([\d,]+ of [\d,]+ bytes\); fetch it again"),
        (lambda b: b[:5000], "cut short"),
        (lambda b: b[:100], "not a whole LMDB"),
        (lambda b: b"", r"not a whole LMDB \(an empty file\)"),
        (lambda b: b"garbage " * 9999, r"not a whole LMDB \(its first page is not that of an LMDB of version 1\)"),
        (lambda b: b[:20] + b"\2" + b[21:], "not a whole LMDB .*version 1"),
        (zeroed, "not a whole LMDB"),
    ],
)
def test_a_damaged_lmdb_is_told_before_any_job(database: Path, spoil: Callable[[bytes], bytes], words: str) -> None:
    file = database / "data.mdb"
    file.write_bytes(spoil(file.read_bytes()))
    asked = "from vqddm.data.pictures import *; import sys; require_original('lsun_church', Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", asked, database], capture_output=True, text=True, check=False)
    assert done.returncode == 1, "a process of its own: to read a page that is not there would end it"
    with pytest.raises(UserError, match=words):
        require_original("lsun_church", database)


def test_an_lmdb_without_its_data_is_told(database: Path) -> None:
    (database / "data.mdb").unlink()
    with pytest.raises(UserError, match=r"0 pictures .*expected: the official LMDB"):
        require_original("lsun_church", database)


# Metadata


def chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ damage)


def png_of(header: tuple[int, int, int, int], rows: bytes, *chunks: bytes) -> bytes:
    """A PNG by its specification: width, height, bits, kind of colour; rows of bytes, each behind its filter 0."""
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def huge_png() -> bytes:
    return png_of((20000, 20000, 8, 0), b"")


def png_rows(stored: np.ndarray, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG of bytes or big-endian pairs (H, W, channels)."""
    rows = stored.astype(">u2" if bits == 16 else np.uint8).reshape(len(stored), -1)
    return png_of(
        (stored.shape[1], len(stored), bits, colour), b"".join(b"\0" + row.tobytes() for row in rows), *chunks
    )


def exif(orientation: int, extra: bytes = b"") -> bytes:
    """A TIFF header and one directory with the orientation and an ImageWidth stored as text."""
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0") + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + b"\0\0\0\0" + extra


def jpeg_with(marker: int, data: bytes) -> bytes:
    whole = encoded(kind="jpeg", quality=95)
    return whole[:20] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + whole[20:]


BOMB = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    "before",
    [
        chunk(b"zTXt", b"key\0\0" + BOMB),
        chunk(b"iTXt", b"key\0\1\0\0\0" + BOMB),
        chunk(b"iCCP", b"key\0\0" + BOMB),
        chunk(b"iCCP", b"key\0\7"),
        chunk(b"tEXt", b"key\0value", damage=1),
        chunk(b"tEXt", b"interlace\0yes"),
        chunk(b"tEXt", b"transparency\0yes"),
        chunk(b"eXIf", b"garbage"),
        chunk(b"eXIf", exif(1), damage=1),
        chunk(b"pHYs", b"\0"),
        chunk(b"acTL", b"\0\0\0\2") + chunk(b"fcTL", bytes(26)),
        b"".join(chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(1_000_000))) for _ in range(70)),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_metadata_refuse_no_png(tmp_path: Path, before: bytes, late: bool) -> None:
    content = encoded()
    at = content.index(b"IEND" if late else b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:at] + before + content[at:])
    np.testing.assert_array_equal(decode(Picture(tmp_path / "a.png")), PIXELS)
    turned = content[:33] + chunk(b"eXIf", exif(3)) + content[33:at] + before + content[at:]
    (tmp_path / "b.png").write_bytes(turned)
    if b"eXIf" not in before:
        np.testing.assert_array_equal(decode(Picture(tmp_path / "b.png")), PIXELS[::-1, ::-1])


@pytest.mark.parametrize(
    ("marker", "data"),
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0garbage"),
        (0xE1, b"Exif\0\0II*\0\xff\xff\0\0"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmp"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0garbage"),
        (0xED, b"Photoshop 3.0\08BIM\4"),
        (0xEE, b"Adobe"),
        (0xFE, b"\xff\xfe"),
    ],
)
def test_metadata_refuse_no_jpeg(tmp_path: Path, marker: int, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with(marker, data))
    wanted = Image.open(io.BytesIO(encoded(kind="jpeg", quality=95))).convert("RGB")
    np.testing.assert_array_equal(decode(Picture(tmp_path / "a.jpg")), wanted)


# Orientations 1 to 8, as EXIF's text has them: which sides row 0 and column 0 are.
TURNED: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda p: p,
    lambda p: p[:, ::-1],
    lambda p: p[::-1, ::-1],
    lambda p: p[::-1],
    lambda p: p.transpose(1, 0, 2),
    lambda p: p[::-1].transpose(1, 0, 2),
    lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    lambda p: p[:, ::-1].transpose(1, 0, 2),
]


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_each_orientation_is_turned_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    options = {"exif": b"Exif\0\0" + exif(orientation)} | ({"lossless": True} if kind == "webp" else {})
    content = jpeg_with(0xE1, options["exif"]) if kind == "jpeg" else encoded(PLAIN, kind, **options)
    (tmp_path / "a.png").write_bytes(content)
    with Image.open(tmp_path / "a.png") as opened:
        stored = np.asarray(opened.convert("RGB"))
    turn = TURNED[orientation - 1] if 1 <= orientation <= 8 else TURNED[0]
    np.testing.assert_array_equal(decode(Picture(tmp_path / "a.png")), turn(stored))


# Pixels, each with its own arithmetic


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours and opacities of [0, 255] laid on white."""
    return colour * (alpha / 255) + (255.0 - alpha)


def shows(tmp_path: Path, content: bytes, wanted: np.ndarray, tolerance: float = 0) -> None:
    (tmp_path / "a.png").write_bytes(content)
    got = np.asarray(decode(Picture(tmp_path / "a.png"))).astype(float)
    assert got.shape == (*wanted.shape[:2], 3)
    assert abs(got - (wanted if wanted.ndim == 3 else wanted[..., None])).max() <= tolerance


DEEP = RNG.integers(0, 65536, (10, 14, 4)).astype(np.uint16)
GREY = DEEP[..., 0]


def test_16_bits_become_8(tmp_path: Path) -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    wanted = every.astype(int) >> 8
    shows(tmp_path, png_rows(every, 16, 0), wanted)
    assert (np.asarray(decode(Picture(tmp_path / "a.png")))[:100, 0, 0] == np.arange(100)).all()
    shows(tmp_path, b"P5 256 256 65535\n" + every.astype(">u2").tobytes(), wanted)
    for kind in ("<u2", ">u2"):
        shows(tmp_path, encoded(Image.fromarray(every.astype(kind)), "tiff"), wanted)
    shows(tmp_path, png_rows(DEEP[..., :3], 16, 2), DEEP[..., :3] >> 8)
    shows(tmp_path, png_rows(DEEP, 16, 6), on_white(DEEP[..., :3] / 257, DEEP[..., 3:] / 257), 2)
    shows(tmp_path, png_rows(DEEP[..., 2:], 16, 4), on_white(DEEP[..., 2:3] / 257, DEEP[..., 3:] / 257), 2)


def test_a_transparent_value_is_laid_on_white_at_every_depth(tmp_path: Path) -> None:
    deep = GREY.copy()
    deep[0, :2] = 0x1234, 0x1235  # only the first is transparent
    wanted = deep.astype(int) >> 8
    wanted[0, 0] = 255
    shows(tmp_path, png_rows(deep, 16, 0, chunk(b"tRNS", b"\x12\x34")), wanted)
    colours = DEEP[..., :3].copy()
    colours[0, :2] = [0x1234, 0x5678, 0x9ABC], [0x1234, 0x5678, 0x9ABD]
    wanted = (colours >> 8).astype(int)
    wanted[0, 0] = 255
    chunks = [chunk(b"tRNS", bytes.fromhex("123456789abc")), chunk(b"iCCP", b"key\0\7")]
    shows(tmp_path, png_rows(colours, 16, 2, chunks[0]), wanted)
    shows(tmp_path, png_rows(colours, 16, 2, *chunks), wanted)  # read again, without the broken profile
    bytes_ = PIXELS[..., 0].copy()
    for high in (0, 7):
        shows(tmp_path, png_rows(bytes_, 8, 0, chunk(b"tRNS", bytes([high, 5]))), np.where(bytes_ == 5, 255, bytes_))
    for bits in (1, 2, 4):
        top = (1 << bits) - 1
        few = RNG.integers(0, top + 1, (8, 16))
        unpacked = few[..., None] >> np.arange(bits)[::-1] & 1
        rows = np.packbits(unpacked.reshape(8, -1).astype(np.uint8), axis=1)
        for high in (0, 1 << bits, 0xFF00):  # only as many bits count as a pixel has
            clear = chunk(b"tRNS", struct.pack(">H", high))
            content = png_of((16, 8, bits, 0), b"".join(b"\0" + row.tobytes() for row in rows), clear)
            shows(tmp_path, content, np.where(few == 0, 255, few * 255 // top))


@pytest.mark.parametrize("alphas", [b"\xff\xff\0", b"\x80\0\xff\x40"])
def test_palettes_and_their_transparency(tmp_path: Path, alphas: bytes) -> None:
    palette = RNG.integers(0, 256, (8, 3), dtype=np.uint8)
    index = RNG.integers(0, 8, (10, 14))
    opaque = np.frombuffer(alphas.ljust(8, b"\xff"), np.uint8)[index][..., None]
    chunks = [chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", alphas)]
    shows(tmp_path, png_rows(index, 8, 3, *chunks), on_white(palette[index], opaque), 1)
    shows(tmp_path, png_rows(index, 8, 3, chunks[0]), palette[index])


def test_other_kinds_of_pixels(tmp_path: Path) -> None:
    alpha = PIXELS[..., :1].astype(float)
    for mode in ("RGBA", "LA"):
        image = PLAIN.convert(mode)
        image.putalpha(Image.fromarray(PIXELS[..., 0]))
        colour = PIXELS.astype(float) if mode == "RGBA" else np.asarray(PLAIN.convert("L"))[..., None]
        shows(tmp_path, encoded(image), on_white(colour, alpha), 1)
    bits = GREY > 30000
    shows(tmp_path, encoded(Image.fromarray(bits)), np.where(bits, 255, 0))
    shows(tmp_path, encoded(Image.new("RGB", (1, 1), (1, 2, 3))), np.array([[[1, 2, 3]]]))
    grey = PIXELS[..., 0].astype(np.float32)
    shows(tmp_path, encoded(Image.fromarray(grey), "tiff"), grey)
    shows(tmp_path, encoded(Image.fromarray(grey / 255), "tiff"), grey)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(grey.astype(np.int32) - 300), "tiff"))
    with pytest.raises(UserError, match="greys from"):
        read_picture(Picture(tmp_path / "a.png"), 8)


def test_cmyk_as_photoshop_writes_it_is_inverted_back(tmp_path: Path) -> None:
    flat = Image.new("CMYK", (16, 16), (200, 30, 90, 40))
    content = encoded(flat, "jpeg", quality=100)
    assert b"Adobe" in content
    wanted = np.array([(255 - c) * (255 - 40) / 255 for c in (200, 30, 90)])
    shows(tmp_path, content, np.broadcast_to(wanted, (16, 16, 3)), 3)


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (14, 10), colour) for colour in ("blue", "red")]
    for kind, options in (("gif", {}), ("webp", {"lossless": True}), ("png", {}), ("tiff", {})):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        shows(tmp_path, content, np.broadcast_to([0, 0, 255], (10, 14, 3)))


def test_a_colour_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    shows(tmp_path, encoded(PLAIN, icc_profile=profile), PIXELS)
