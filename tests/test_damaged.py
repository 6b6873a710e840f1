"""Damaged files of ours: one sentence, nothing thrown away, and what is whole goes on."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import DATA, PARAMS, Toy, run
from torch import nn

from vqddm.artifacts import (
    UserError,
    describe_checkpoint,
    fingerprint,
    read_array,
    read_arrays,
    read_checkpoint,
    read_json,
    write_array,
    write_batches,
    write_checkpoint,
    write_json,
)
from vqddm.data.arrays import load_split
from vqddm.ledger import dvc as dvc_module
from vqddm.ledger.dvc import clean_stages, recorded_stages
from vqddm.paper.page import page
from vqddm.paper.plan import plan_from
from vqddm.paper.render import read_table
from vqddm.params import load
from vqddm.samplers import load_sampler
from vqddm.state import IDENTITY, StateFolder, alone_in, belongs_to, seal
from vqddm.training import train
from vqddm.vqgan.codec import read_codes

FILES = [
    *("model.safetensors", "model_1.safetensors", "optimizer.bin", "optimizer_1.bin"),
    *("custom_checkpoint_0.pkl", "random_states_0.pkl", IDENTITY),
]
FLIPPED = [0, 7, 40, 0.3, 0.5, 0.8, -1]  # places in a file


class Killed(Exception): ...


class Two(Toy):
    """Two networks and optimisers, as a VQ-GAN has them."""

    def __init__(self) -> None:
        super().__init__()
        other = nn.Linear(5, 5)
        self.modules["other"] = other
        self.optimizers["other"] = torch.optim.Adam(other.parameters(), 0.1)

    def learn(self, accelerator, *drawn):
        batch, _ = drawn
        self.optimizers["other"].zero_grad()
        accelerator.backward((self.modules["other"](batch) - 1).square().mean())
        self.optimizers["other"].step()
        return super().learn(accelerator, *drawn)


def trained(folder: Path, stop: int | None = None) -> list[torch.Tensor]:
    """Train `Two` with a state after each step; killed as step `stop` begins."""
    calls = 0

    def fetch(index):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Killed
        return DATA[index]

    recipe = Two()
    with StateFolder(folder, {"rate": 0.1, "inputs": {"codes": "ab12"}}, 0.0) as state:
        train(recipe, fetch, len(DATA), PARAMS, state, folder / "curve.csv")
    return [tensor.clone() for module in recipe.modules.values() for tensor in module.state_dict().values()]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A state folder with the states after 5 and 6 steps, and the weights of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("killed") / "state"
    with pytest.raises(Killed):
        trained(folder, stop=7)
    assert sorted(f.name for f in (folder / "step-000000006").iterdir()) == sorted(FILES)
    return folder, trained(tmp_path_factory.mktemp("whole"))


def flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    at = int(place * len(content)) if isinstance(place, float) else min(place, len(content) - 1)
    content[at] ^= 1 << (len(content) % 8)
    file.write_bytes(content)


def damage(file: Path, how: str | float) -> None:
    size = file.stat().st_size
    if not isinstance(how, str):
        return flip(file, how)
    if how in ("missing", "folder"):
        file.unlink()
    if how == "folder":
        file.mkdir()
    contents = {"zeros": bytes(size), "random": np.random.default_rng(size).bytes(size), "empty": b""}
    contents |= {"cut": file.read_bytes()[: size // 2], "longer": file.read_bytes() + b"x"} if file.is_file() else {}
    if how in contents:
        file.write_bytes(contents[how])


@pytest.mark.parametrize("how", ["zeros", "random", "empty", "cut", "longer", "missing", "folder", *FLIPPED])
def test_a_damaged_last_state_is_set_aside_and_the_one_before_goes_on(killed, tmp_path, capfd, how):
    half, whole = killed
    for number, name in enumerate(FILES):
        folder = tmp_path / str(number)
        shutil.copytree(half, folder)
        damage(folder / "step-000000006" / name, how)
        result = trained(folder)
        said = capfd.readouterr().err
        assert "step-000000006: damaged (" in said and "set aside as damaged-step-000000006" in said, name
        assert "resuming after step 5" in said
        assert all(torch.equal(a, b) for a, b in zip(result, whole, strict=True)), name
        kept = folder / "damaged-step-000000006"
        assert {f.name for f in kept.iterdir()} >= set(FILES) - {name}


def test_a_state_in_the_place_of_another_is_damaged_and_names_do_not_collide(killed, tmp_path, capfd):
    folder = tmp_path / "state"
    shutil.copytree(killed[0], folder)
    (folder / "damaged-step-000000007").mkdir()
    shutil.copytree(folder / "step-000000006", folder / "step-000000007")
    (folder / "step-000000008").mkdir()
    (folder / "step-000000009").write_text("no folder")
    trained(folder)
    assert "resuming after step 6" in capfd.readouterr().err
    assert {p.name for p in folder.glob("damaged-*")} == {
        *("damaged-step-000000007", "damaged-step-000000007-2", "damaged-step-000000008", "damaged-step-000000009")
    }


def test_where_all_states_are_damaged_nothing_is_touched(killed, tmp_path):
    folder = tmp_path / "state"
    shutil.copytree(killed[0], folder)
    for state in folder.glob("step-*"):
        flip(state / "optimizer.bin", 0.5)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}
    for _ in range(2):
        with pytest.raises(UserError, match=r"no state here can .*step-000000006.*step-000000005.*move the"):
            trained(folder)
    assert {p: p.read_bytes() for p in before} == before


def unsealed(folder: Path) -> Path:
    """A folder of states as earlier versions wrote them, without checksums."""
    for record in folder.glob(f"*/{IDENTITY}"):
        record.write_text(json.dumps(json.loads(record.read_text())["belongs_to"], indent=2))
    return folder


def test_states_of_earlier_versions_go_on_and_what_cannot_be_loaded_is_set_aside(killed, tmp_path, capfd):
    half, whole = killed
    for how in (None, "zeros", "random", "cut", "missing"):
        for name in FILES[:-2]:  # accelerate passes over damaged random states, which nothing depends on
            folder = tmp_path / f"{how}-{name}"
            unsealed(Path(shutil.copytree(half, folder)))
            if how:
                damage(folder / "step-000000006" / name, how)
            result = trained(folder)
            assert f"resuming after step {5 if how else 6}" in capfd.readouterr().err
            assert all(torch.equal(a, b) for a, b in zip(result, whole, strict=True))
            if how is None:
                break


def test_what_others_keep_beside_and_in_states_stays(killed, tmp_path, capfd):
    half, whole = killed
    folder = tmp_path / "state"
    shutil.copytree(half, folder)
    notes = ["notes.txt", "saving/mine.txt", "step-000000005/notes.txt", "step-000000006/plot.png", "other/model.bin"]
    notes += ["step-000000006 (copy)/model.safetensors", "step-000000006.bak/x", "step-٠٠٠٠٠٠٠٠٩/x", "step-last"]
    for name in notes:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "saving/model.safetensors").write_text("half")
    (folder / "saving/.tmpAb12cD").write_text("half")
    result = trained(folder)
    assert "resuming after step 6" in capfd.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(result, whole, strict=True))
    found = {p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found >= {name.encode() for name in notes} and b"half" not in found


@pytest.mark.parametrize("how", ["zeros", "random", "empty", "cut", "missing", *FLIPPED])
@pytest.mark.parametrize("name", ["out.pt", "curve.csv", IDENTITY])
def test_a_damaged_copy_of_a_finished_training_is_not_taken(tmp_path, name, how):
    folder = tmp_path / "run"
    run(folder)
    for output in ("out.pt", "curve.csv"):
        (folder / output).unlink()  # as Snakemake does before it runs a step
    damage(folder / "state/finished" / name, how)
    with pytest.raises(UserError, match=r"is damaged .*move that folder away to train anew"):
        run(folder)
    assert not (folder / "out.pt").exists()
    shutil.rmtree(folder / "state/finished")
    run(folder)


@pytest.mark.parametrize("left", ["dropped-finishing", "finishing", "dropped-finished", "step-000000003"])
def test_what_a_kill_in_the_last_moment_leaves_goes_away_and_the_training_is_taken(tmp_path, left):
    folder = tmp_path / "run"
    result = run(folder)
    shutil.copytree(folder / "state/finished", folder / "state" / left)
    if left.startswith("step-"):  # a whole state of the same training, killed before it was dropped
        for name in ("out.pt", "curve.csv", IDENTITY):
            (folder / "state" / left / name).unlink()
        seal(folder / "state" / left, belongs_to(folder / "state/finished")["identity"], left)
    (folder / "out.pt").unlink()
    assert torch.equal(run(folder), result)
    assert {path.name for path in (folder / "state").iterdir()} == {"lock", "finished"}


@pytest.mark.parametrize(
    ("place", "make", "words"),
    [
        (".", Path.touch, "a file and no folder"),
        (".", lambda p: p.symlink_to("nowhere/else"), "a link that leads nowhere and no folder"),
        ("..", Path.touch, "a file and no folder"),
        ("lock", Path.mkdir, "a folder and no file"),
        ("lock", lambda p: p.symlink_to("nowhere/else"), "a link that leads nowhere and no file"),
        ("lock", os.mkfifo, "a pipe, a socket or a device and no file"),
        ("finished", lambda p: p.symlink_to("nowhere"), "a link that leads nowhere and no folder"),
        ("finished", Path.touch, "a file and no folder"),
        ("finishing", lambda p: p.symlink_to("nowhere"), "a link that leads nowhere and no folder"),
        ("saving", lambda p: p.symlink_to("nowhere"), "a link that leads nowhere and no folder"),
    ],
)
def test_what_stands_in_the_way_of_a_state_is_told_before_the_first_step(tmp_path, place, make, words):
    folder = tmp_path / "above" / "state"
    wrong = Path(os.path.normpath(folder / place))
    wrong.parent.mkdir(parents=True, exist_ok=True)
    make(wrong)
    with pytest.raises(UserError, match=rf"{wrong}: {words}; move it away"):
        StateFolder(folder, {}, 0)
    assert os.path.lexists(wrong)


def test_a_state_folder_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to("real")
    with StateFolder(tmp_path / "state", {}, 0):
        assert (tmp_path / "real/lock").exists()


# ---- checkpoints, arrays, JSON


def checkpoint(path: Path, **more: torch.Tensor) -> Path:
    tensors = {"weight": torch.arange(60.0).reshape(3, 20), "count": torch.tensor(3), "half": torch.ones(4).bfloat16()}
    write_checkpoint(path, tensors | {"none": torch.empty(0), "mask": torch.tensor([True])} | more, {"kind": "prior"})
    return path


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_found(tmp_path):
    path = checkpoint(tmp_path / "a.safetensors")
    whole = path.read_bytes()
    assert read_checkpoint(path, "prior")[0]["weight"][2, 1] == 41
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"a\.safetensors: "):
            read_checkpoint(path, "prior")
        with pytest.raises(UserError, match=r"a\.safetensors: "):
            describe_checkpoint(path)


@pytest.mark.parametrize("how", ["zeros", "random", "empty", "cut", "longer", "missing", "folder"])
def test_a_damaged_checkpoint_is_named(tmp_path, how):
    path = checkpoint(tmp_path / "a.safetensors")
    damage(path, how)
    for read in (lambda: read_checkpoint(path, "prior"), lambda: describe_checkpoint(path)):
        with pytest.raises(UserError, match=r"a\.safetensors: "):
            read()


def test_a_checkpoint_has_the_same_bytes_each_time(tmp_path):
    assert len({checkpoint(tmp_path / f"{number}.safetensors").read_bytes() for number in range(8)}) == 1


def test_checkpoints_of_earlier_versions_are_read_and_nan_is_refused(tmp_path):
    from safetensors.torch import save_file

    old = tmp_path / "old.safetensors"
    save_file({"weight": torch.ones(2)}, old, {"about": '{"kind": "prior"}'})
    assert read_checkpoint(old, "prior")[1] == {"kind": "prior"}
    assert describe_checkpoint(old)["tensors"] == {"weight": [2]}
    with pytest.raises(UserError, match="holds a prior, not a first stage"):
        read_checkpoint(old, "first stage")
    save_file({"weight": torch.tensor([1, torch.nan])}, old, {"about": '{"kind": "prior"}'})
    with pytest.raises(UserError, match="weight holds NaN"):
        read_checkpoint(old, "prior")
    with pytest.raises(UserError, match="weight holds NaN"):
        checkpoint(tmp_path / "new.safetensors", weight=torch.tensor(torch.nan))
    save_file({"weight": torch.ones(2)}, old, {"about": "[1"})
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_checkpoint(old, "prior")


def test_a_flipped_bit_anywhere_in_an_array_is_found(tmp_path):
    path = tmp_path / "a.npy"
    write_array(path, np.arange(20, dtype=np.uint16))
    whole = path.read_bytes()
    assert np.array_equal(np.load(path), np.arange(20)), "others read it too"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"a\.npy: not a whole \.npy file"):
            read_array(path)
    for cut in (0, 5, 60, 128, 140, len(whole) - 26, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"a\.npy: not a whole \.npy file"):
            read_array(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(UserError, match="does not end where"):
        read_array(path)


def test_arrays_of_earlier_versions_empty_ones_and_batches_are_read(tmp_path):
    path = tmp_path / "a.npy"
    for array in (np.ones((3, 2), np.float32), np.ones((0, 3)), np.asfortranarray(np.ones((2, 3))), np.float64(3)):
        np.save(path, array)
        assert np.array_equal(read_array(path), array)
        write_array(path, np.asarray(array))
        assert np.array_equal(read_array(path), array)
    write_batches(path, iter([np.ones((2, 3)), np.zeros((1, 3))]), 3)
    assert read_array(path, "float64", 2).sum() == 6
    write_batches(path, iter([np.ones((2, 3))]), 3)
    with pytest.raises(UserError, match="not a whole"):
        read_array(path)
    with path.open("wb") as handle:
        np.savez(handle, a=1)
    with pytest.raises(UserError, match="not a whole"):
        read_array(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match="not a whole"):
        read_array(path)
    np.save(path, np.ones(3))
    for expected in ({"dtype": "uint16"}, {"axes": 3}):
        with pytest.raises(UserError, match=r"float64 \(3,\), but expected"):
            read_array(path, **expected)


def test_pixels_are_held_against_their_manifest(tmp_path):
    path = tmp_path / "train.npy"
    np.save(path, np.zeros((2, 4, 4, 3), np.uint8))
    write_json(tmp_path / "train.json", {"count": 2, "resolution": 4, "sha256": fingerprint(path)})
    assert fingerprint(path) == read_json(tmp_path / "train.json")["sha256"]
    read_array(path)
    assert len(load_split(path)) == 2
    flip(path, -1)
    with pytest.raises(UserError, match=r"train\.npy and its manifest train\.json do not belong together .* either"):
        read_array(path)
    for text, words in (("[]", "not the manifest"), ("{}", "lacks `sha256`"), ('{"sha', "not JSON"), ("", "not JSON")):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(UserError, match=words):
            fingerprint(path)


def test_a_split_under_the_others_name_or_without_its_checksum_is_refused(tmp_path):
    path, manifest = tmp_path / "train.npy", tmp_path / "train.json"
    np.save(path, np.zeros((2, 4, 4, 3), np.uint8))
    about = {"count": 2, "resolution": 4, "sha256": fingerprint(path), "split": "train"}
    write_json(manifest, about)
    load_split(path)
    for changed, words in (
        ({"split": "test"}, "its manifest says that it is the split `test`; put both files back"),
        ({"sha256": None}, r"train\.json: its `sha256` is no checksum"),
    ):
        write_json(manifest, about | changed)
        with pytest.raises(UserError, match=words):
            load_split(path)
    write_json(manifest, {key: value for key, value in about.items() if key != "sha256"})
    with pytest.raises(UserError, match=r"train\.json: lacks `sha256`"):
        load_split(path)


def test_what_is_no_file_hangs_no_reader(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    readers = (read_array, read_arrays, read_json, describe_checkpoint, load_split, load_sampler)
    for read in readers:
        with pytest.raises(UserError, match=r"pipe: cannot be read \(a pipe, a socket or a device and no file\)"):
            read(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe"):
        fingerprint(tmp_path / "pipe")


def test_nobody_is_told_to_delete_a_picture_of_their_own(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    for read, kind in ((describe_checkpoint, "safetensors"), (read_array, "npy"), (read_json, "json")):
        with pytest.raises(UserError, match=rf"photo\.png: not .*; give a file \.{kind} of this project$"):
            read(path)


@pytest.mark.parametrize("how", ["zeros", "random", "empty", "cut", "missing", "folder"])
def test_damaged_npz_and_json_are_named(tmp_path, how):
    arrays, told = tmp_path / "a.npz", tmp_path / "a.json"
    np.savez(arrays, a=np.arange(100), b=np.arange(3))
    write_json(told, {"a": 1})
    for path, read in ((arrays, lambda: read_arrays(arrays, "a", "b")), (told, lambda: read_json(told))):
        damage(path, how)
        with pytest.raises(UserError, match=rf"{path.name}: "):
            read()


def test_a_flipped_bit_in_an_npz_is_found_or_does_no_harm(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(40), b=np.arange(3))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            found = read_arrays(path, "a", "b")
        except UserError:
            continue
        assert np.array_equal(found["a"], np.arange(40)) and np.array_equal(found["b"], np.arange(3))


@pytest.mark.parametrize("content", [b'{"a": NaN}', b"\xff\xfe{}", b'{"a": 1', b"[" * 100_000, b'{"a": -Infinity}'])
def test_what_is_not_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: not JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_key_is_named_at_any_depth(tmp_path):
    write_json(tmp_path / "a.json", {"masks": [{"mean": 1}]})
    with pytest.raises(UserError, match=r"a\.json: lacks `half_width`"):
        read_json(tmp_path / "a.json")["masks"][0]["half_width"]


def test_what_cannot_be_opened_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    write_json(tmp_path / "a.json", 1)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a\.json: cannot be read \(Permission denied\)$"):
        read_json(tmp_path / "a.json")


# ---- half-written files, locks, full disks


def test_half_written_files_of_dead_processes_go_and_others_stay(tmp_path):
    path = tmp_path / "[a] $b.npy"
    script = (
        "import os, sys; from pathlib import Path; from vqddm.artifacts import replacing\n"
        "with replacing(Path(sys.argv[1])) as aside:\n aside.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    (half,) = tmp_path.iterdir()
    live = tmp_path / half.name.replace(half.name.split(".")[-3], str(os.getppid()))
    others = [live, tmp_path / ".[a] $b.elsewhere.4194305.partial.npy", tmp_path / ".[a] $b.notes.npy", tmp_path / "a"]
    for other in others:
        other.write_text("theirs")
    write_array(path, np.ones(3))
    assert set(tmp_path.iterdir()) == {path, *others}


def failing(monkeypatch, where, name: str, number: int) -> None:
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, name, fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_or_a_read_only_folder_leaves_the_old_file_whole(tmp_path, monkeypatch, name, number):
    path = tmp_path / "a.json"
    write_json(path, 1)
    failing(monkeypatch, *((os, name) if name == "fsync" else (Path, name)), number)
    with pytest.raises(UserError, match=r"a\.json: (the disk is full|cannot be written)"):
        write_json(path, 2)
    assert list(tmp_path.iterdir()) == [path] and read_json(path) == 1


def test_an_array_for_which_the_disk_has_no_room_leaves_nothing(tmp_path):
    """A file-size limit stands in for the full disk: numpy's error has no number."""
    script = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from vqddm.artifacts import UserError, write_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "try: write_array(Path(sys.argv[1]), np.zeros(1000))\n"
        "except UserError as error: sys.exit(str(error))"
    )
    path = tmp_path / "a.npy"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith(f"{path}: could not be written whole"), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["fsync", "rename"])
def test_a_disk_that_is_full_while_a_state_is_saved_keeps_the_last_and_leaves_no_half(killed, tmp_path, name):
    half, whole = killed
    folder = tmp_path / "state"
    shutil.copytree(half, folder)
    with pytest.MonkeyPatch.context() as patched:
        rename = Path.rename

        def full(path, target):
            if path.name == "saving" and Path(target).name.startswith("step-"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return rename(path, target)

        failing(patched, os, "fsync", errno.ENOSPC) if name == "fsync" else patched.setattr(Path, "rename", full)
        with pytest.raises(UserError, match=r"could not be saved .*the last state is kept"):
            trained(folder)
    assert {p.name for p in folder.iterdir()} == {"lock", "step-000000005", "step-000000006"}
    assert all(torch.equal(a, b) for a, b in zip(trained(folder), whole, strict=True))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_flock_another_lock_is_taken_and_without_any_one_sentence_says_so(tmp_path, monkeypatch, number):
    failing(monkeypatch, fcntl, "flock", number)
    with alone_in(tmp_path / "a") as lock:
        script = f"import fcntl; fcntl.lockf(open({str(tmp_path / 'a/lock')!r}, 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode
        lock.seek(0)
        assert f"process {os.getpid()} on".encode() in lock.read()
    failing(monkeypatch, fcntl, "lockf", number)
    with pytest.raises(UserError, match="this file system has no locks"):
        alone_in(tmp_path / "b")


def test_without_hard_links_a_finished_training_is_copied(tmp_path, monkeypatch):
    failing(monkeypatch, os, "link", errno.EPERM)
    result = run(tmp_path / "it's a $path (Ω) {x}")
    monkeypatch.undo()
    assert torch.equal(run(tmp_path / "it's a $path (Ω) {x}"), result)


def test_codes_of_another_codebook_are_refused(tmp_path):
    write_array(tmp_path / "codes.npy", np.full((2, 4), 9, np.uint16))
    with pytest.raises(UserError, match="holds code 9, but the codebook has 8"):
        read_codes(tmp_path / "codes.npy", 8, axes=None)
    assert read_codes(tmp_path / "codes.npy", 10, axes=None).shape == (2, 4)


# ---- tables, and what DVC recorded


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'a,b\n"1'])
def test_a_damaged_table_is_named(tmp_path, content):
    path = tmp_path / "claims.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"claims\.csv: not a table"):
        read_table(path)


def test_damaged_claims_and_tables_of_a_page_are_named(tmp_path):
    results = Path(__file__).parents[1] / "results/mini"
    for name in ("claims.csv", "tables/table1.csv", "tables/likelihood.csv", "figures/figure5.png"):
        root = tmp_path / name
        shutil.copytree(results, root)
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:20] if name.endswith("png") else b"a,b\n1,2\n")
        with pytest.raises(UserError, match=name):
            page(plan_from(load(results.parents[1] / "params.yaml"), "mini"), root, root / "index.html")


@pytest.mark.parametrize("how", ["zeros", "random", "empty", "folder", b"[]", b"stages: 3", b"stages: {a: {outs: 3}}"])
def test_a_damaged_dvc_lock_is_named_and_not_taken_for_none(tmp_path, how):
    path = tmp_path / "dvc.lock"
    path.write_bytes(how if isinstance(how, bytes) else b"stages:\n  a:\n    outs:\n    - {path: x, md5: y}\n")
    if isinstance(how, str):
        assert recorded_stages(tmp_path) == {"a": {"x": "y"}}
        damage(path, how)
    for read in (recorded_stages, clean_stages):
        with pytest.raises(UserError, match=r"dvc\.lock: (not what DVC wrote|cannot be read)"):
            read(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"read": {"x"', b"\xff"])
def test_a_list_of_readers_that_a_killed_dvc_cut_short_is_taken_away(tmp_path, content):
    readers = tmp_path / dvc_module.READERS
    readers.parent.mkdir(parents=True)
    readers.write_bytes(content)
    with Path(f"{readers}.lock").open("ab") as guard:  # as DVC holds it while it writes
        fcntl.flock(guard, fcntl.LOCK_EX)
        dvc_module.dvc("--version", root=tmp_path)
        assert readers.exists()
    dvc_module.dvc("--version", root=tmp_path)
    assert not readers.exists()
    readers.write_text("{}")
    dvc_module.dvc("--version", root=tmp_path)
    assert readers.exists()


def test_a_header_that_fits_no_network_is_named(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", {"weight": torch.ones(2)}, {"kind": "prior"})
    with pytest.raises(UserError, match=r"a\.safetensors: its header describes no network of this version"):
        load_sampler(tmp_path / "a.safetensors")
