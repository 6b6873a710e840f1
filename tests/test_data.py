"""Step `data`: drawn, photographed and own pictures, their splits, manifests and pixels."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
import rehearse
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from loopback import Handler, serving
from PIL import Image

from vqddm.artifacts import UserError, sha256
from vqddm.data import fashion
from vqddm.data.arrays import load_split, to_bytes, to_unit
from vqddm.data.download import download
from vqddm.data.faces import BACKGROUNDS, draw_face
from vqddm.data.pictures import ORIGINALS, Picture, find_pictures, read_picture, require_original
from vqddm.data.pool import map_in_pool
from vqddm.data.prepare import prepare
from vqddm.data.settings import DataParams
from vqddm.settings import SPLITS

NAMES = list(fashion.CONTENT)


def params(source: str, path: Path | None = None, **other: int) -> DataParams:
    sizes = {"resolution": 16, "train": 24, "test": 8, "seed": 3} | other
    return DataParams.model_validate({"source": source, "path": str(path) if path else None, **sizes})


def rows(folder: Path, split: str) -> set[bytes]:
    return {image.tobytes() for image in np.load(folder / f"{split}.npy")}


def check_manifests(folder: Path, expected: DataParams) -> None:
    for split in SPLITS:
        manifest = json.loads((folder / f"{split}.json").read_text())
        array = load_split(folder / f"{split}.npy")
        content = (folder / f"{split}.npy").read_bytes()
        assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
        assert manifest["count"] == getattr(expected, split) == len(array)
        assert (manifest["resolution"], manifest["seed"]) == (expected.resolution, expected.seed)
        assert array.dtype == np.uint8 and isinstance(array, np.memmap)
        assert manifest["split"] == split and manifest["source"] and manifest["licence"] and manifest["note"]


# Pixels and units


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6).map(lambda s: (*s, 3))))
def test_pixels_survive_the_round_trip_and_match_float64(pixels: np.ndarray) -> None:
    unit = to_unit(pixels)
    assert unit.dtype == torch.float32 and unit.shape == (pixels.shape[0], 3, *pixels.shape[1:3])
    expected = np.moveaxis(pixels.astype(np.float64), 3, 1) / 127.5 - 1
    np.testing.assert_allclose(unit.numpy(), expected, atol=1e-6)
    assert torch.equal(unit, to_unit(torch.from_numpy(pixels)))
    np.testing.assert_array_equal(to_bytes(unit), pixels)


def test_every_pixel_value_survives_and_the_ends_are_exact() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    unit = to_unit(pixels)
    assert (unit.min().item(), unit.max().item()) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_bytes(unit), pixels)


@given(st.floats(-3, 3, width=32))
def test_bytes_are_the_nearest_pixel_after_clamping(value: float) -> None:
    pixel = int(to_bytes(torch.full((1, 3, 1, 1), value))[0, 0, 0, 0])
    wanted = (min(max(value, -1.0), 1.0) + 1) * 127.5
    assert abs(pixel - wanted) <= 0.5 + 1e-4


def test_a_read_only_array_is_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels.flags.writeable = False
    to_unit(pixels)
    assert not recwarn.list


# Splits on disk


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "faces"
    prepare(params("faces", validation=6), out, workers=1)
    return out


def test_number_of_processes_changes_no_byte(faces: Path, tmp_path: Path) -> None:
    prepare(params("faces", validation=6), tmp_path / "faces", workers=2)
    for name in (f"{split}.{kind}" for split in SPLITS for kind in ("npy", "json")):
        assert (tmp_path / "faces" / name).read_bytes() == (faces / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == sorted(p.name for p in faces.iterdir())


def test_faces_manifests_are_true_and_splits_disjoint(faces: Path) -> None:
    check_manifests(faces, params("faces", validation=6))
    train, test, validation = (rows(faces, split) for split in SPLITS)
    assert (len(train), len(test), len(validation)) == (24, 8, 6)
    assert not train & test and not train & validation and not test & validation
    assert "not photographed" in json.loads((faces / "train.json").read_text())["source"]


def test_validation_is_the_next_part_of_the_order_and_changes_neither_of_the_others(
    faces: Path, tmp_path: Path
) -> None:
    none, more = tmp_path / "none", tmp_path / "more"
    prepare(params("faces"), none, workers=1)
    prepare(params("faces", test=14), more, workers=1)
    for name in ("train.npy", "test.npy", "train.json", "test.json"):
        assert (none / name).read_bytes() == (faces / name).read_bytes()
    assert load_split(none / "validation.npy").shape == (0, 16, 16, 3)
    np.testing.assert_array_equal(np.load(more / "test.npy")[8:], np.load(faces / "validation.npy"))


def test_a_negative_number_of_validation_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        params("faces", validation=-1)


def test_another_seed_draws_other_faces(faces: Path, tmp_path: Path) -> None:
    prepare(params("faces", seed=4, train=4, test=1), tmp_path / "faces", workers=1)
    assert not rows(tmp_path / "faces", "train") & rows(faces, "train")


@pytest.mark.parametrize("resolution", [16, 64])
def test_a_face_shows_one_of_the_backgrounds_at_any_resolution(resolution: int) -> None:
    colours = {tuple(bytes.fromhex(text[1:])) for text in BACKGROUNDS}
    drawn = [draw_face(index, 0, resolution) for index in range(40)]
    assert {image.shape for image in drawn} == {(resolution, resolution, 3)}
    corners = [tuple(image[0, 0].tolist()) for image in drawn]  # large hair or a hat may reach them
    assert colours <= set(corners)
    assert sum(corner in colours for corner in corners) >= 35


@pytest.mark.parametrize("damage", ["shape", "missing manifest", "foreign manifest", "cut short"])
def test_load_split_says_what_is_wrong(faces: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train.npy"
    for name in ("train.npy", "train.json"):
        shutil.copy(faces / name, tmp_path / name)
    if damage == "shape":
        np.save(path, np.load(path)[:-1])
    elif damage == "missing manifest":
        path.with_suffix(".json").unlink()
    elif damage == "foreign manifest":
        path.with_suffix(".json").write_text("[1]")
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train\.(npy|json)"):
        load_split(path)


# The pool


def test_a_killed_process_and_a_wrong_number_of_them_are_errors() -> None:
    with pytest.raises(UserError, match="killed"):
        list(map_in_pool(os._exit, range(9, 18), workers=2))
    with pytest.raises(UserError, match="workers"):
        list(map_in_pool(os._exit, range(9, 18), workers=0))


# Fashion


def idx(pictures: np.ndarray) -> bytes:
    """The format as its authors describe it: magic number, big-endian sizes, bytes row by row."""
    return (
        b"\0\0\x08" + bytes([pictures.ndim]) + struct.pack(f">{pictures.ndim}I", *pictures.shape) + pictures.tobytes()
    )


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files in Fashion-MNIST's format, of 60 + 20 pictures; five of the test file are in the train file too."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    test = np.concatenate([train[:5], rng.integers(0, 256, (15, 28, 28), dtype=np.uint8)])
    folder = tmp_path / "originals"
    folder.mkdir()
    for name, pictures in zip(NAMES, (train, test), strict=True):
        (folder / name).write_bytes(gzip.compress(idx(pictures)))
        monkeypatch.setitem(fashion.CONTENT, name, hashlib.sha256(idx(pictures)).hexdigest())
    return folder


def test_idx_is_read_as_its_authors_describe_it() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (3, 2, 5), dtype=np.uint8)
    np.testing.assert_array_equal(fashion.read_idx(idx(pictures), Path("x")), pictures)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:9], lambda b: b"PNG!" + b])
def test_a_damaged_idx_file_is_named(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UserError, match=r"^my\.idx: "):
        fashion.read_idx(spoil(idx(np.zeros((2, 3, 3), np.uint8))), Path("my.idx"))


def test_equal_photographs_never_stand_in_both_splits(originals: Path, tmp_path: Path) -> None:
    wanted = params("fashion", originals, resolution=32, train=60, test=15)  # all 75 that differ
    prepare(wanted, tmp_path / "data" / "fashion")
    check_manifests(tmp_path / "data" / "fashion", wanted)
    train, test = (rows(tmp_path / "data" / "fashion", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60, 15) and not train & test
    image = np.load(tmp_path / "data" / "fashion" / "train.npy")[0]
    known = fashion.read_idx(gzip.decompress((originals / NAMES[0]).read_bytes()), Path("x"))
    known = np.concatenate([known, fashion.read_idx(gzip.decompress((originals / NAMES[1]).read_bytes()), Path("x"))])
    assert not image[:2].any() and not image[:, -2:].any()
    assert (image[2:30, 2:30, 0] == known).all((1, 2)).any()
    assert (image == image[..., :1]).all()


def test_too_many_photographs_asked_is_said_and_leaves_no_array(originals: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="75 different pictures are fewer"):
        prepare(params("fashion", originals, train=60, test=16), tmp_path / "out")
    assert not [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("resolution", [8, 28, 32, 64])
def test_photographs_fit_any_resolution(resolution: int) -> None:
    fitted = fashion.fit(np.full((28, 28), 200, np.uint8), resolution)
    assert fitted.shape == (resolution, resolution, 3)
    assert (fitted[resolution // 2, resolution // 2] == 200).all()
    if resolution == 32:
        assert not fitted[:2].any() and (fitted[2:30, 2:30] == 200).all()


def test_a_wrong_checksum_is_an_error(originals: Path, tmp_path: Path) -> None:
    pictures = np.zeros((60, 28, 28), np.uint8)
    (originals / NAMES[0]).write_bytes(gzip.compress(idx(pictures)))
    with pytest.raises(UserError, match=f"{NAMES[0]}: its checksum is wrong"):
        prepare(params("fashion", originals), tmp_path / "out")
    (originals / NAMES[0]).unlink()
    with pytest.raises(UserError, match=f"{NAMES[0]}: no such file"):
        prepare(params("fashion", originals), tmp_path / "out")


@pytest.fixture
def server(originals: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Handler]]]:
    """A server on the loopback device that serves `originals`."""
    with serving(originals, monkeypatch) as running:
        yield running


@pytest.mark.parametrize("spoiled", [[], ["cut"], ["no length", "other"]])
def test_a_broken_download_is_noticed_and_tried_again(
    server: tuple[str, type[Handler]], originals: Path, tmp_path: Path, spoiled: list[str]
) -> None:
    address, handler = server
    handler.spoiled.extend(spoiled)
    fashion.from_server(tmp_path, address)
    assert handler.asked == ["/" + NAMES[0]] * (1 + len(spoiled)) + ["/" + NAMES[1]]
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (originals / name).read_bytes()


def test_a_download_that_stays_broken_is_an_error_and_leaves_no_file(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    address, handler = server
    handler.spoiled.extend(["cut"] * 9)
    with pytest.raises(UserError, match=r"no whole file in 3 tries \(ended after"):
        fashion.from_server(tmp_path, address)
    assert not (tmp_path / NAMES[0]).exists() and len(handler.asked) == 3


@pytest.mark.parametrize("status", ["408", "429", "500", "503"])
def test_a_busy_server_is_asked_again(
    server: tuple[str, type[Handler]], originals: Path, tmp_path: Path, status: str
) -> None:
    address, handler = server
    handler.spoiled.extend([status, status])
    fashion.from_server(tmp_path, address)
    assert (tmp_path / NAMES[0]).read_bytes() == (originals / NAMES[0]).read_bytes()
    assert handler.asked == ["/" + NAMES[0]] * 3 + ["/" + NAMES[1]]


@pytest.mark.parametrize(("status", "tries"), [("503", 3), ("404", 1), ("403", 1)])
def test_an_answer_that_stays_bad_is_told_with_its_status_and_address(
    server: tuple[str, type[Handler]], tmp_path: Path, status: str, tries: int
) -> None:
    address, handler = server
    handler.spoiled.extend([status] * 9)
    with pytest.raises(UserError, match=f"^{address}{NAMES[0]}: .*HTTP status {status}, [A-Z]"):
        fashion.from_server(tmp_path, address)
    assert len(handler.asked) == tries


@pytest.mark.parametrize(
    ("reason", "tries"), [(TimeoutError("timed out"), 3), (ConnectionRefusedError("Connection refused"), 1)]
)
def test_a_connection_that_times_out_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: OSError, tries: int
) -> None:
    asked = []

    def unreachable(url: str, timeout: float) -> None:
        asked.append(url)
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr("vqddm.data.download.PAUSE", 0.0)
    with pytest.raises(UserError, match=f"^http://far/file: .*{reason}"):
        download("http://far/file", tmp_path / "file", lambda aside: None)
    assert len(asked) == tries


def test_originals_are_downloaded_once_and_damaged_ones_again(
    server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = server
    monkeypatch.setattr(fashion, "SERVERS", ("http://127.0.0.1:9/", address))  # nothing listens on the first
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "not installed")
    monkeypatch.setattr(fashion.shutil, "which", lambda name: None)
    downloads = tmp_path / "downloads" / "fashion"
    for _ in range(2):
        prepare(params("fashion"), tmp_path / "fashion")
        assert len(handler.asked) == 2
    (downloads / NAMES[1]).write_bytes(b"damaged")
    prepare(params("fashion"), tmp_path / "fashion")
    assert len(handler.asked) == 4
    (downloads / NAMES[1]).unlink()
    monkeypatch.setattr(fashion, "SERVERS", ("http://127.0.0.1:9/",))
    with pytest.raises(UserError, match=r"(?s)no apt-get.*127\.0\.0\.1:9.*data\.path"):
        prepare(params("fashion"), tmp_path / "fashion")


def test_an_installed_debian_package_is_enough(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", originals)
    fashion.from_debian(tmp_path)
    assert [sha256(tmp_path / name) for name in NAMES] == [sha256(originals / name) for name in NAMES]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(NAMES)


# The user's own pictures


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 90)], axis=-1).astype(np.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """32 different pictures in two folders, in all formats; one hidden file and one text beside them."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for index in range(32):
        suffix = ("png", "jpg", "JPEG", "webp", "bmp")[index % 5]
        image = Image.fromarray(rng.integers(0, 256, (20 + index % 3, 25, 3), dtype=np.uint8))
        image.save(folder / ("more" if index % 2 else "") / f"{index:02d}.{suffix}")
    (folder / "._00.jpg").write_bytes(b"not a picture")
    (folder / "readme.txt").write_text("not a picture")
    return folder


def test_own_pictures_make_disjoint_splits_and_true_manifests(pictures: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        prepare(params("folder", pictures), tmp_path / str(workers), workers=workers)
    check_manifests(tmp_path / "1", params("folder", pictures))
    assert not rows(tmp_path / "1", "train") & rows(tmp_path / "1", "test")
    for name in ("train.npy", "test.npy", "train.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    everything = {read_picture(path, 16).tobytes() for path in find_pictures(pictures, 32)}
    assert rows(tmp_path / "1", "train") | rows(tmp_path / "1", "test") == everything


def as_zip(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out / "celeba.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, f"CelebAMask-HQ/{path.relative_to(folder)}")
        archive.writestr("__MACOSX/._1.png", b"not a picture")
    return out / "celeba.zip"


def as_arrays(folder: Path, out: Path) -> Path:
    """As the scripts that make CelebA-HQ write it: uint8 (1, 3, H, W)."""
    (out / "npy").mkdir()
    for number, picture in enumerate(find_pictures(folder, 1)):
        rows = np.asarray(Image.open(picture.place).convert("RGB"))
        np.save(out / f"npy/imgHQ{number:05d}.npy", rows.transpose(2, 0, 1)[None])
    return out / "npy"


def as_lmdb(folder: Path, out: Path) -> Path:
    """As LSUN is given out: encoded pictures under hashed names."""
    with (
        lmdb.open(str(out / "church_outdoor_train_lmdb"), map_size=1 << 24) as database,
        database.begin(write=True) as t,
    ):
        for picture in find_pictures(folder, 1):
            buffer = io.BytesIO()
            Image.open(picture.place).convert("RGB").save(buffer, "webp", lossless=True)
            t.put(hashlib.sha1(str(picture).encode()).hexdigest().encode(), buffer.getvalue())
    return out / "church_outdoor_train_lmdb"


def as_classes(folder: Path, out: Path) -> Path:
    for number, picture in enumerate(find_pictures(folder, 1)):
        name = out / f"train/n{number % 3:08d}/n{number % 3:08d}_{number}.JPEG"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.open(picture.place).convert("RGB").save(name, "png")  # ImageNet too has one png of that name
    return out / "train"


@pytest.mark.parametrize("make", [as_zip, as_arrays, as_lmdb, as_classes])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_form_of_the_papers_data_holds_the_same_pictures(
    pictures: Path, tmp_path: Path, make: Callable[[Path, Path], Path], workers: int
) -> None:
    place = make(pictures, tmp_path)
    source = {as_zip: "celebahq", as_arrays: "celebahq", as_lmdb: "lsun_church", as_classes: "imagenet"}[make]
    prepare(params(source, place), tmp_path / "out", workers=workers)
    everything = {read_picture(picture, 16).tobytes() for picture in find_pictures(pictures, 32)}
    assert rows(tmp_path / "out", "train") | rows(tmp_path / "out", "test") == everything
    assert json.loads((tmp_path / "out/train.json").read_text())["source"] in {"CelebA-HQ", "LSUN-Church", "ImageNet"}


def save_all(root: Path, *names: str) -> None:
    """A small picture of its own under each name."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (20, 20), (number * 12, 0, 0))
        picture.save(root / name, "png" if name.endswith("png") else "jpeg")


def zipped(folder: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    return out


@pytest.mark.parametrize("packed", [False, True])
def test_the_masks_of_celebamask_are_no_pictures(tmp_path: Path, packed: bool) -> None:
    images = [f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg" for number in range(4)]
    masks = [f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/{n % 2}/{n:05d}_hair.png" for n in range(9)]
    save_all(tmp_path / "faces", *images, *masks)
    place = zipped(tmp_path / "faces", tmp_path / "faces.zip") if packed else tmp_path / "faces"
    found = find_pictures(place, 4, ORIGINALS["celebahq"])
    assert [(picture.key or picture.place.relative_to(place).as_posix()) for picture in found] == images
    prepare(params("celebahq", place, train=3, test=1), tmp_path / "out", workers=1)
    assert "4 pictures found" in json.loads((tmp_path / "out/train.json").read_text())["note"]


@pytest.mark.parametrize("above", ["", "ILSVRC/Data/CLS-LOC/"])
def test_more_pictures_than_the_dataset_has_are_counted_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    monkeypatch.setitem(ORIGINALS, "imagenet", ORIGINALS["imagenet"]._replace(number=6))
    train = [f"{above}train/n{n % 2:08d}/n{n % 2:08d}_{n}.JPEG" for n in range(6)]
    save_all(tmp_path / "root", *train)
    prepare(params("imagenet", tmp_path / "root", train=4, test=2), tmp_path / "out", workers=1)
    save_all(tmp_path / "root", *(f"{above}{split}/{n}.JPEG" for split, n in [("val", 1), ("test", 1), ("test", 2)]))
    counted = f"{above}train: 6, {above}test: 2, {above}val: 1"
    with pytest.raises(UserError, match=rf"9 pictures are more than the 6 of ImageNet \({counted}\); .*class folders"):
        prepare(params("imagenet", tmp_path / "root", train=4, test=2), tmp_path / "out", workers=1)
    save_all(tmp_path / "flat", *(f"n{n:08d}/{n}.JPEG" for n in range(20)))
    with pytest.raises(UserError, match=r"n00000000: 1, .* and 12 more\)"):
        find_pictures(tmp_path / "flat", 1, ORIGINALS["imagenet"])
    assert len(find_pictures(tmp_path / "flat", 1)) == 20  # a user's own have no number


def lmdb_in(folder: Path, pictures: Path) -> None:
    folder.mkdir(parents=True)
    as_lmdb(pictures, folder)


def test_an_lmdb_is_found_one_level_down(pictures: Path, tmp_path: Path) -> None:
    place = tmp_path / "lsun_church"
    lmdb_in(place, pictures)
    (place / "church_outdoor_val_lmdb").mkdir()
    (place / "church_outdoor_val_lmdb/data.mdb").write_bytes(b"the download script brings it too")
    require_original("lsun_church", place)
    found = find_pictures(place, 32, ORIGINALS["lsun_church"])
    assert len(found) == 32 and {picture.place.name for picture in found} == {"church_outdoor_train_lmdb"}
    prepare(params("lsun_church", place), tmp_path / "out", workers=2)
    (place / "church_outdoor_train_lmdb").rename(place / "bedroom_val_lmdb")
    with pytest.raises(UserError, match=r"2 LMDBs \(bedroom_val_lmdb, church_outdoor_val_lmdb\); .*data\.path"):
        require_original("lsun_church", place)


def test_a_users_own_folder_is_no_lmdb_because_of_one_in_it(pictures: Path) -> None:
    (pictures / "more/data.mdb").write_bytes(b"some cache")
    assert len(find_pictures(pictures, 32)) == 32


def zip_of_an_lmdb(pictures: Path, place: Path) -> None:
    lmdb_in(pictures.parent / "unpacked", pictures)
    zipped(pictures.parent / "unpacked", place)


def tar(pictures: Path, place: Path) -> None:
    with tarfile.open(place, "w") as archive:
        archive.add(pictures, "n01440764")


def zip_of_a_text(pictures: Path, place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.write(pictures / "readme.txt", "readme.txt")


def zip_in_a_folder(pictures: Path, place: Path) -> None:
    place.mkdir()
    zip_of_an_lmdb(pictures, place / "church_outdoor_train_lmdb.zip")


def tars_of_classes(pictures: Path, place: Path) -> None:
    place.mkdir()
    for number in range(10):
        tar(pictures, place / f"n{number:08d}.tar")


@pytest.mark.parametrize(
    ("source", "make", "words"),
    [
        ("lsun_church", zip_of_an_lmdb, r"a zip of an LMDB \(church_outdoor_train_lmdb/data\.mdb\); unpack it"),
        (
            "lsun_church",
            zip_in_a_folder,
            r"0 pictures .* unpack there first church_outdoor_train_lmdb\.zip; expected: the",
        ),
        ("imagenet", tar, "a tar archive; unpack it"),
        (
            "imagenet",
            tars_of_classes,
            r"0 pictures .*; unpack there first n00000000\.tar, .* and 2 more; expected: the training images'",
        ),
        ("celebahq", lambda pictures, place: place.write_text("<html>"), "a web page, saved instead"),
        (
            "celebahq",
            lambda pictures, place: save_all(place, "notes/.hidden.png"),
            "0 pictures .*; expected: a folder or a",
        ),
        (
            "celebahq",
            zip_of_a_text,
            "0 pictures .*; expected: a",
        ),
    ],
)
def test_an_original_in_another_form_is_told_before_any_job(
    pictures: Path, tmp_path: Path, source: str, make: Callable[[Path, Path], None], words: str
) -> None:
    make(pictures, tmp_path / "place")
    with pytest.raises(UserError, match=f"^{tmp_path}/place: {words}"):
        require_original(source, tmp_path / "place")
    with pytest.raises(UserError, match=f"^{tmp_path}/place: {words}"):
        prepare(params(source, tmp_path / "place"), tmp_path / "out", workers=1)


def test_too_few_pictures_of_a_known_dataset_tell_its_layout(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"32 pictures .* fewer than train \+ test \+ validation = 48; .*; expected: the training images'",
    ):
        prepare(params("imagenet", pictures, train=40), tmp_path / "out", workers=1)


def test_originals_of_a_rehearsal_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data/originals"
    monkeypatch.setattr(rehearse, "PICTURES", 5)

    def killed(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as then, pytest.raises(KeyboardInterrupt):
        then.setattr(rehearse, "encoded", killed)
        rehearse.write_originals(folder)
    assert not folder.exists()
    rehearse.write_originals(folder)
    for source, known in ORIGINALS.items():
        require_original(source, folder / source)
        assert len(find_pictures(folder / source, 5, known)) == 5
    monkeypatch.setattr(rehearse, "write_pictures", killed)  # must not be called again
    rehearse.write_originals(folder)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["originals"]


def test_a_rehearsal_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, copy = tmp_path / "project", tmp_path / "project/rehearsal"
    for name, content in {".gitignore": "/rehearsal/", "code/old.py": "1", "code/new.py": "1", "params": "1"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    subprocess.run(["git", "init", "-q", root], check=True)
    monkeypatch.setattr(rehearse, "ROOT", root)
    rehearse.refresh(copy)
    (copy / "data").mkdir()
    (copy / "data/made").write_text("before")
    (copy / ".refresh").mkdir()  # a killed run's
    (root / "code/old.py").unlink()
    (root / "code/new.py").write_text("2")
    (root / "params").write_text("2")
    rehearse.refresh(copy)
    assert {path.relative_to(copy).as_posix(): path.read_text() for path in copy.rglob("*") if path.is_file()} == {
        ".gitignore": "/rehearsal/",
        "code/new.py": "2",
        "params": "2",
        "data/made": "before",
    }


def test_imagenets_small_pictures_are_enlarged(tmp_path: Path) -> None:
    (tmp_path / "n01").mkdir()
    for side in (10, 20):
        gradient(side, side + 3).save(tmp_path / f"n01/{side}.JPEG", "jpeg")
    prepare(params("imagenet", tmp_path, train=1, test=1), tmp_path / "out")
    assert np.load(tmp_path / "out/train.npy").shape == (1, 16, 16, 3)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("celebahq", "CelebA-HQ is not here .*a zip of JPEG or PNG.* 30,000 pictures; made from CelebA"),
        ("lsun_church", "LSUN-Church is not here .*church_outdoor_train_lmdb.* 126,227 pictures; fetched by"),
        ("imagenet", "ImageNet is not here .*class folders.* 1,281,167 pictures; to be had from image-net"),
    ],
)
def test_absent_data_is_described(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        prepare(params(source, tmp_path / "nowhere"), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("some.zip", b"PK\x03\x04 cut", "not a whole zip archive"),
        ("lsun/data.mdb", b"cut", "not a whole LMDB"),
        ("npy/a.npy", b"\x93NUMPY cut", "a.npy: not a whole picture"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "npy/b.npy", np.zeros((3, 16, 16), np.uint8)) if name.endswith(".npy") else None
    place = tmp_path / name.split("/")[0]
    with pytest.raises(UserError, match=words):
        prepare(params("celebahq", place, train=1, test=1), tmp_path / "out")


def test_the_centre_is_cropped_and_resized_without_aliasing(tmp_path: Path) -> None:
    stripes = np.zeros((64, 192, 3), np.uint8)
    stripes[:, 64:128:2] = 255  # the finest stripes in the central square only: their mean is grey
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    small = read_picture(Picture(tmp_path / "stripes.png"), 16)
    assert small.shape == (16, 16, 3)
    assert abs(small[:, 3:13].astype(int) - 127).max() <= 3


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    gradient(40, 40).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    gradient(40, 40).convert("P").save(tmp_path / "palette.png")
    gradient(40, 40).convert("L").save(tmp_path / "grey.png")
    gradient(40, 40).convert("1").save(tmp_path / "bits.png")
    for name in ("cmyk.jpg", "palette.png", "grey.png", "bits.png"):
        assert read_picture(Picture(tmp_path / name), 32).shape == (32, 32, 3)
    wanted = np.asarray(gradient(40, 40).resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
    assert abs(read_picture(Picture(tmp_path / "cmyk.jpg"), 32) - wanted).mean() < 8

    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(tmp_path / "half.png")
    Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (read_picture(Picture(tmp_path / "clear.png"), 16) == 255).all()
    assert tuple(read_picture(Picture(tmp_path / "half.png"), 16)[8, 8]) == (255, 127, 127)
    assert (read_picture(Picture(tmp_path / "deep.png"), 16) == 128).all()


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    gradient(32, 32).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(np.asarray(gradient(32, 32)), k=-1)
    np.testing.assert_array_equal(read_picture(Picture(tmp_path / "turned.png"), 32), upright)


def broken_png(path: Path) -> None:
    buffer = io.BytesIO()
    gradient(64, 64).save(buffer, "png")
    path.write_bytes(buffer.getvalue()[:-200])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (broken_png, "not a whole picture"),
        (lambda path: path.write_bytes(b""), "not a whole picture"),
        (lambda path: path.write_text("hello"), "not a whole picture"),
        (lambda path: gradient(100, 15).save(path), "100 x 15 pixels are fewer than the resolution 16"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_picture_is_named(tmp_path: Path, make: Callable[[Path], object], said: str, workers: int) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    gradient(20, 20).save(folder / "a.png")
    make(folder / "bad one.png")
    with pytest.raises(UserError, match=f"bad one.png: {said}"):
        prepare(params("folder", folder, train=1, test=1), tmp_path / "out", workers=workers)


def test_missing_empty_or_repeated_pictures_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; .*data\.path"):
        prepare(params("folder", tmp_path / "nowhere"), tmp_path / "out")
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(UserError, match=r"own: 0 pictures .* fewer than train \+ test \+ validation = 32"):
        prepare(params("folder", folder), tmp_path / "out")
    for name in ("a.png", "b.png"):
        gradient(20, 20).save(folder / name)
    with pytest.raises(UserError, match="1 different pictures are fewer"):
        prepare(params("folder", folder, train=1, test=1), tmp_path / "out", workers=1)
