"""A cluster's names and limits, and several processes, without a cluster."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import BIN, ENVIRONMENT

from vqddm import slurm
from vqddm.artifacts import UserError, read_checkpoint
from vqddm.data.prepare import prepare
from vqddm.data.settings import DataParams
from vqddm.params import with_presets
from vqddm.prior.settings import PriorParams
from vqddm.settings import to_json
from vqddm.vqgan.settings import VQGANParams

ROOT = Path(__file__).parent.parent
SINFO = "day*|gpu:a100:4(S:0-1),nvme:1|8\nday*|(null)|100\nnight|gpu:2|3\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What Slurm's commands answer."""
    answers: dict[str, str | None] = {"sinfo": SINFO, "squeue": ""}
    monkeypatch.setattr(slurm, "_ask", lambda command, *_: answers[command])
    return answers


@pytest.mark.parametrize(
    "site",
    [
        {},
        {"gpus": 4, "nodes": 8},
        {"gpu_type": "a100", "gpus": 4},
        {"gpu_partition": "night", "gpus": 2, "nodes": 3},
        {"gpu_partition": "day,night", "nodes": 11, "partition": "day"},
    ],
)
def test_what_the_cluster_has_is_accepted(asked, site):
    slurm.check_slurm(slurm.Site(**site))


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({"partition": "gpu"}, "slurm/site.yaml: partition: 'gpu' is not one of day, "),
        ({"gpu_partition": "day,gpu"}, "gpu_partition: 'day,gpu' is not one of"),
        ({"nodes": 9}, r"partition day has 8 node\(s\) with 1 GPU\(s\), 9 are needed"),
        ({"gpus": 5}, r"partition day has 0 node\(s\) with 5 GPU\(s\)"),
        ({"gpu_type": "v100"}, r"has 0 node\(s\) with 1 GPU\(s\) of type v100"),
        ({"gpu_partition": "night", "gpu_type": "a100"}, r"partition night has 0 node\(s\)"),
    ],
)
def test_what_the_cluster_has_not_is_named(asked, site, words):
    with pytest.raises(UserError, match=words):
        slurm.check_slurm(slurm.Site(**site))


def test_a_batch_is_shared_at_once_by_the_largest_site():
    site = slurm.Site(nodes=10_000, gpus=64)
    began = time.monotonic()
    nodes, gpus = site.share(720)
    assert nodes * gpus == 720
    assert time.monotonic() - began < 1


def test_without_slurm_one_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Slurm does not answer on this machine"):
        slurm.check_slurm(slurm.Site())
    assert slurm.deadline() is None


def test_the_example_is_valid_and_names_every_setting(root: Path):
    example = root / slurm.EXAMPLE
    slurm.load_site(example)
    assert all(f"{key}:" in example.read_text() for key in slurm.Site.model_fields)


def test_resources_are_named_as_the_executor_names_them():
    site = slurm.Site(account="me", gpu_partition="night", gpu_type="h100", cpus_per_gpu=3, qos="long")
    assert site.resources("partition") == {
        "slurm_account": "me", "qos": "long", "cpus_per_task": 1, "processes": 1, "nodes": 1,
    }  # fmt: skip
    assert site.resources("gpu_partition", gpus=4, nodes=2) == {
        "slurm_account": "me", "slurm_partition": "night", "qos": "long", "gres": "gpu:h100:4",
        "cpus_per_task": 12, "processes": 4, "nodes": 2,
    }  # fmt: skip


@pytest.mark.parametrize(("batch", "shared"), [(180, (2, 3)), (12, (2, 3)), (8, (2, 4)), (5, (1, 1)), (7, (1, 1))])
def test_a_batch_is_shared_by_as_many_gpus_as_divide_it(batch, shared):
    assert slurm.Site(gpus=4, nodes=2).share(batch) == shared


@pytest.mark.parametrize(("left", "kept"), [(60, 10), (3600, 180), (86400, 300)])
def test_the_deadline_leaves_time_to_save(asked, monkeypatch, left, kept):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    asked["squeue"] = datetime.fromtimestamp(time.time() + left).isoformat(timespec="seconds") + "\n"
    assert slurm.deadline() == pytest.approx(time.time() + left - kept, abs=2)


@pytest.mark.parametrize("answer", [None, "", "N/A\n", "Unknown\n"])
def test_a_job_without_an_end_has_no_deadline(asked, monkeypatch, answer):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    asked["squeue"] = answer
    assert slurm.deadline() is None


def test_orphans_of_this_folder_are_named(asked, capsys):
    here = Path.cwd()
    asked["squeue"] = f"12|rule_train_prior_wildcards_x|{here}\n13|rule_y|/elsewhere\n14|my own|{here}\n"
    slurm.tell_orphans()
    assert "1 Slurm job(s) of an earlier run" in (said := capsys.readouterr().err)
    assert "scancel 12\n" in said


def test_several_nodes_need_a_slurm_job(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="2 nodes, but this is no Slurm job"):
        slurm.launch(["prior", "train"], nodes=2)


def launch(folder: Path, processes: int, *arguments: str, save_seconds: float = 60) -> subprocess.Popen[str]:
    """Start a training in so many processes on the CPU."""
    out = [f"--out={folder / 'out.safetensors'}", f"--curve={folder / 'curve.csv'}", f"--state={folder / 'state'}"]
    start = [BIN / "vqddm", "launch", "--processes", str(processes), *arguments, *out, "--threads=1"]
    environment = {**ENVIRONMENT, "VQDDM_SAVE_SECONDS": str(save_seconds)}
    return subprocess.Popen(start, env=environment, stderr=subprocess.PIPE, text=True)


def launched(folder: Path, processes: int, *arguments: str) -> str:
    """Train in so many processes to the end; what was said."""
    started = launch(folder, processes, *arguments)
    said = started.communicate(timeout=180)[1]
    assert started.returncode == 0, said[-2000:]
    return said


def cut_short(folder: Path, *arguments: str) -> None:
    """Train in two processes and kill the one that saves, after its second state; torchrun ends the other."""
    started = launch(folder, 2, *arguments, save_seconds=0)
    while len(list(folder.glob("state/step-*"))) < 2:
        assert started.poll() is None
        time.sleep(0.01)
    os.kill(int((folder / "state/lock").read_text().split()[1]), signal.SIGKILL)
    assert started.wait(timeout=60) != 0


def curve(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "curve.csv", delimiter=",", skiprows=1, ndmin=2)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The commands that train a tiny prior and a tiny VQ-GAN.

    The VQ-GAN has all losses from the first step on, and a small learning rate: the first stage's argmin makes any
    rounding grow from step to step.
    """
    folder = tmp_path_factory.mktemp("inputs")
    tinyfaces = with_presets(yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()))["datasets"]["tinyfaces"]
    np.save(folder / "codes.npy", np.random.default_rng(0).integers(0, 8, (96, 4, 4), dtype=np.uint16))
    prior = to_json(PriorParams.model_validate(tinyfaces["prior"]).model_dump(mode="json"))
    prepare(DataParams.model_validate(tinyfaces["data"]), folder / "data", 1)
    vqgan = VQGANParams.model_validate(tinyfaces["vqgan"]).model_dump(mode="json")
    vqgan["learning_rate"] = vqgan["discriminator_learning_rate"] = 1e-6
    vqgan["loss"]["discriminator_start"] = 0
    vqgan["training"]["steps"] = 12
    codes, data = str(folder / "codes.npy"), str(folder / "data/train.npy")
    return {
        "prior": ["prior", "train", "--codes", codes, "--params", prior, "--codebook-size", "8"],
        "first stage": ["vqgan", "train", "--data", data, "--params", to_json(vqgan), "--codebook-size", "16"],
    }


@pytest.fixture(scope="module")
def whole(trainings: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Where a training in so many processes was left to end; each is made once."""

    @functools.cache
    def folder_of(kind: str, processes: int) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        said = launched(folder, processes, *trainings[kind])
        assert processes == 1 or f"{processes} processes share each batch" in said
        return folder

    return folder_of


@pytest.fixture(scope="module")
def cut(trainings: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], None]:
    """Puts into a folder what a training in two processes left that was killed; each is killed once."""

    @functools.cache
    def folder_of(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("cut")
        cut_short(folder, *trainings[kind])
        return folder

    return lambda kind, target: shutil.copytree(folder_of(kind), target, dirs_exist_ok=True)


def test_two_processes_train_the_prior_as_one_does(whole):
    np.testing.assert_allclose(curve(whole("prior", 1)), curve(whole("prior", 2)), rtol=1e-4)


@pytest.mark.parametrize("kind", ["prior", "first stage"])
def test_two_processes_killed_and_started_again_end_with_the_same_weights(kind, trainings, whole, cut, tmp_path):
    cut(kind, tmp_path)
    assert "resuming after step" in launched(tmp_path, 2, *trainings[kind])
    assert (whole(kind, 2) / "out.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "of an earlier version"])
def test_two_processes_go_on_from_the_state_before_a_damaged_one(sealed, trainings, whole, cut, tmp_path):
    cut("prior", tmp_path)
    before, last = sorted(tmp_path.glob("state/step-*"))
    if not sealed:  # without checksums each process finds the damage by itself
        for record in tmp_path.glob("state/step-*/identity.json"):
            record.write_text(json.dumps(json.loads(record.read_text())["belongs_to"]))
    (last / ("random_states_1.pkl" if sealed else "optimizer.bin")).write_bytes(bytes(1000))
    said = launched(tmp_path, 2, *trainings["prior"])
    assert f"resuming after step {int(before.name.removeprefix('step-'))} from" in said
    assert said.count("set aside as") == 1
    assert (whole("prior", 2) / "out.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


def test_a_signal_to_the_launcher_of_two_processes_saves(trainings, tmp_path):
    """SIGUSR1, which torchrun passes on only if it is told to."""
    started = launch(tmp_path, 2, *trainings["prior"], save_seconds=0)
    while not list(tmp_path.glob("state/step-*")):
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(signal.SIGUSR1)
    said = started.communicate(timeout=60)[1]
    assert started.returncode != 0
    assert f"signal {int(signal.SIGUSR1)}: state saved" in said


@pytest.mark.parametrize("kind", ["prior", "first stage"])
def test_a_compiled_training_is_kept_under_the_networks_own_names(trainings, tmp_path, monkeypatch, kind):
    """`aot_eager` needs no compiler, but runs what the other backends run before it."""
    monkeypatch.setitem(ENVIRONMENT, "ACCELERATE_DYNAMO_BACKEND", "AOT_EAGER")
    plain = [re.sub(r'"ema_decay":[0-9.]+', '"ema_decay":0.0', argument) for argument in trainings[kind]]
    launched(tmp_path, 1, *plain)
    tensors, _ = read_checkpoint(tmp_path / "out.safetensors", kind)
    assert not [name for name in tensors if "_orig_mod" in name]


def test_a_state_of_two_processes_goes_on_in_one(trainings, whole, cut, tmp_path):
    cut("prior", tmp_path)
    assert "resuming after step" in launched(tmp_path, 1, *trainings["prior"])
    np.testing.assert_allclose(curve(whole("prior", 1)), curve(tmp_path), rtol=1e-4)


def test_two_processes_train_the_first_stage_as_one_does(whole):
    one, two = (curve(whole("first stage", processes)) for processes in (1, 2))
    assert (one[:, 6:] != 0).all(), "the adversarial terms take part"
    np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-5)
