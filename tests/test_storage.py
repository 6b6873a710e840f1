"""Recorded files in DVC's cache and remote storage: fetched, interrupted, damaged, shared, and a disk that is full."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from clones import clone, edit, run, to_make
from tiny import BIN, ENVIRONMENT

from vqddm.artifacts import UserError
from vqddm.ledger.commands import STORED, restore
from vqddm.ledger.dvc import changes, dvc, recorded_stages


@pytest.mark.slow
def test_restore_says_where_the_files_could_not_be_had(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    away = tmp_path / ("a_long_way_" * 10) / "unmounted"  # `dvc remote list` would wrap it
    dvc("remote", "modify", "storage", "url", str(away), root=fresh)
    told = run(fresh, "vqddm", "ledger", "restore", check=False)
    assert f"the storage {away} could not be reached" in told
    dvc("remote", "remove", "storage", root=fresh)
    told = run(fresh, "vqddm", "ledger", "restore", check=False)
    assert "no storage is configured" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_after_plain_dvc_pull_nothing_is_trained_again_without_a_word(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    dvc("pull", root=fresh)
    checkpoint = fresh / "models/tinyfaces/vqgan_k16/first_stage.safetensors"
    before = checkpoint.read_bytes()
    os.utime(fresh / "data/tinyfaces/train.npy")  # newer than the checkpoint: Snakemake would train
    told = run(fresh, "snakemake", "--cores", "2", check=False)
    assert "make restore" in told
    assert "Traceback" not in told
    assert checkpoint.read_bytes() == before
    restore(print, fresh)
    assert not to_make(fresh)


@pytest.mark.slow
def test_plain_snakemake_in_a_fresh_clone_tells_of_the_recorded_checkpoints(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    told = run(fresh, "snakemake", "--cores", "2", "data/tinyfaces/train.npy")
    assert "make restore" not in told, "no checkpoint is asked for"
    told = run(fresh, "snakemake", "--cores", "2", "models/tinyfaces/vqgan_k16/first_stage.safetensors")
    assert "1 of the checkpoints that are trained now are in dvc.lock" in told


@pytest.mark.slow
def test_a_real_s3_server(project: Path, restored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushed over HTTP to an S3 server on loopback, and restored from it in a clone."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        import boto3

        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="vqddm")
        first = Path(shutil.copytree(restored, tmp_path / "first"))
        dvc("remote", "add", "--local", "--default", "bucket", "s3://vqddm/here", root=first)
        dvc("push", root=first)
        stored = boto3.client("s3", endpoint_url=endpoint).list_objects_v2(Bucket="vqddm")
        assert stored["KeyCount"] > 30
        second = clone(project, tmp_path / "second")
        dvc("remote", "add", "--local", "--default", "bucket", "s3://vqddm/here", root=second)
        restore(print, second)
        assert not to_make(second)
    finally:
        server.stop()


@pytest.mark.slow
def test_an_interrupted_push_and_pull_go_on(project: Path, restored: Path, tmp_path: Path) -> None:
    """Killed with -9 as soon as the first file has arrived, each goes on to the end."""
    storage = tmp_path / "storage"
    storage.mkdir()

    def killed(folder: Path, command: str, arrived: Path) -> None:
        started = subprocess.Popen(
            [BIN / "dvc", command, "--jobs", "1"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while (
            not [f for f in arrived.rglob("*") if f.is_file()]
            and time.monotonic() < deadline
            and started.poll() is None
        ):
            time.sleep(0.005)
        started.kill()
        started.wait()

    first = Path(shutil.copytree(restored, tmp_path / "first"))
    dvc("remote", "add", "--local", "--default", "folder", str(storage), root=first)
    killed(first, "push", storage)
    dvc("push", root=first)
    assert len([f for f in storage.rglob("*") if f.is_file()]) > 30
    second = clone(project, tmp_path / "second")
    dvc("remote", "add", "--local", "--default", "folder", str(storage), root=second)
    killed(second, "pull", second / ".dvc/cache")
    restore(print, second)
    assert changes(second) == {}
    assert not to_make(second)


@pytest.mark.slow
def test_a_damaged_cache_file_is_thrown_away_and_fetched_again(restored: Path, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    path = "models/tinyfaces/vqgan_k16/first_stage.safetensors"
    checksum = recorded_stages(fresh)["train_first_stage-tinyfaces-vqgan_k16"][path]
    cached = fresh / ".dvc/cache/files/md5" / checksum[:2] / checksum[2:]
    good = cached.read_bytes()
    cached.chmod(0o644)
    cached.write_bytes(good[:-8] + bytes(8))
    cached.chmod(0o444)  # else DVC itself takes a second look
    (fresh / path).unlink()
    told: list[str] = []
    restore(told.append, fresh)
    assert (fresh / path).read_bytes() == good
    assert any(line.startswith(f"{path}: its copy in DVC's cache is damaged") for line in told)
    assert not to_make(fresh)


def stored(folder: Path) -> dict[str, bytes]:
    """Data and checkpoints."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in STORED
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_without_its_cache_a_project_loses_nothing(restored: Path, tmp_path: Path) -> None:
    """Neither what is as recorded nor what is stale and is the only copy."""
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    dvc("remote", "remove", "storage", root=fresh)
    shutil.rmtree(fresh / ".dvc/cache")
    before, told = stored(fresh), list[str]()
    restore(told.append, fresh)
    assert stored(fresh) == before and told[-1].endswith("0 are to be made again")
    assert not to_make(fresh)
    edit(fresh, "datasets.tinyfaces.prior.learning_rate", 0.003)
    with pytest.raises(UserError, match=r"prior.*: stale, but DVC's cache has no copy"):
        restore(told.append, fresh)
    assert stored(fresh) == before


@pytest.mark.slow
def test_what_another_suite_left_is_not_called_damaged(restored: Path, tmp_path: Path) -> None:
    """`dvc.lock` keeps stages that are no longer built; their files may be newer than it, their copies are whole."""
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    content, path = b"as recorded", fresh / "models/other/prior.safetensors"
    checksum = hashlib.md5(content).hexdigest()
    cached = fresh / ".dvc/cache/files/md5" / checksum[:2] / checksum[2:]
    for file, held in ((path, b"trained again"), (cached, content)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(held)
    lock = yaml.safe_load((fresh / "dvc.lock").read_text())
    out = {"path": "models/other/prior.safetensors", "md5": checksum, "hash": "md5", "size": len(content)}
    lock["stages"]["train_on_codes-other"] = {"cmd": "true", "outs": [out]}
    (fresh / "dvc.lock").write_text(yaml.safe_dump(lock))
    restore(print, fresh)
    assert (path.read_bytes(), cached.read_bytes()) == (b"trained again", content)


@pytest.mark.slow
def test_what_was_recorded_in_part_is_restored_in_part(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    lock = yaml.safe_load((fresh / "dvc.lock").read_text())
    lock["stages"] = {name: stage for name, stage in lock["stages"].items() if name.startswith("prepare_data")}
    (fresh / "dvc.lock").write_text(yaml.safe_dump(lock))
    told: list[str] = []
    restore(told.append, fresh)
    assert (fresh / "data/tinyfaces/train.npy").exists() and told[-1].startswith(f"{len(lock['stages'])} stages are as")
    assert "prepare_data-tinyfaces" not in to_make(fresh)


@pytest.mark.slow
def test_a_measure_that_only_lies_here_is_not_dropped(restored: Path, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    measure = next((fresh / "results/tiny/metrics").rglob("floor.json"))
    measure.write_text(measure.read_text() + " ")
    with pytest.raises(UserError, match=r"floor\.json: here, but not as dvc\.lock has it"):
        restore(print, fresh)
    assert measure.read_text().endswith(" ")


@pytest.mark.slow
def test_two_clones_share_a_cache(project: Path, tmp_path: Path) -> None:
    """The second has no remote: what the first fetched serves both."""
    clones = [clone(project, tmp_path / name) for name in ("first", "second")]
    for folder in clones:
        dvc("cache", "dir", "--local", str(tmp_path / "cache"), root=folder)
    restore(print, clones[0])
    shutil.rmtree(clones[1] / ".dvc/cache", ignore_errors=True)
    dvc("remote", "remove", "storage", root=clones[1])
    restore(print, clones[1])
    for folder in clones:
        assert changes(folder) == {}
        assert not to_make(folder)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_says_so(project: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        fresh = clone(project, tmp_path / "clone")
        dvc("cache", "dir", "--local", str(small / "cache"), root=fresh)
        told = run(fresh, "vqddm", "ledger", "restore", check=False)
        assert "No space left" in told
        assert "vqddm: dvc pull failed" in told
        dvc("cache", "dir", "--local", "--unset", root=fresh)
        restore(print, fresh)
        assert not to_make(fresh)
    finally:
        subprocess.run(["umount", str(small)], check=True)
