"""The tiny end-to-end run: the whole DAG on a few small pictures, then what must hold of it."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from tiny import BIN, ENVIRONMENT, copy_of, snakemake

from vqddm.params import with_presets
from vqddm.settings import to_json
from vqddm.vqgan.codec import decode_codes, load_codec

pytestmark = pytest.mark.slow


def jobs(dry_run: str) -> set[str]:
    """The rules in a dry run's job table."""
    table = dry_run.split("Job stats:")[-1].split("\n\n")[0]
    return {line.split()[0] for line in table.splitlines()[3:] if line.strip() and not line.startswith("total")}


def test_every_artefact_is_there(built: Path) -> None:
    results = built / "results/tiny"
    for name in ("table1", "table2", "table3", "likelihood", "speed", "inpainting"):
        assert all((results / f"tables/{name}.{kind}").stat().st_size for kind in ("csv", "md", "tex"))
    for number in range(1, 13):
        assert (results / f"figures/figure{number}.png").read_bytes().startswith(b"\x89PNG")
        assert (results / f"figures/figure{number}.pdf").read_bytes().startswith(b"%PDF")
    page = (results / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    assert len(links) > 40
    assert not [link for link in links if not link.startswith("data:") and not (results / link).exists()]
    assert not list((built / "state").rglob("step-*")), "finished trainings leave no state"
    assert not list(built.rglob("*.partial*")), "no half-written file is left"


def test_the_papers_suite_is_planned_and_says_what_is_absent(tmp_path: Path) -> None:
    folder = copy_of(Path(__file__).parent.parent, tmp_path)
    command = [str(BIN / "snakemake"), "--cores", "1", "--config", "suite=paper"]
    planned = subprocess.run([*command, "-n"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr[-2000:]
    assert {"import_vqgan", "fetch_weights", "train_first_stage", "train_on_codes", "page"} <= jobs(planned.stdout)
    stopped = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert stopped.returncode != 0
    for place, title in (("celebahq", "CelebA-HQ"), ("lsun_church", "LSUN-Church"), ("imagenet", "ImageNet")):
        assert f"vqddm: data/originals/{place}: {title} is not here (nothing was started)" in stopped.stderr
    assert stopped.stderr.count("the official VQ-GAN of") == 3
    assert "Traceback" not in stopped.stderr
    assert not (folder / "data/celebahq").exists()


def test_a_second_run_has_nothing_to_do(built: Path) -> None:
    again = snakemake(built, "--cores", "2")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_samples_are_the_same_in_any_number_of_shards(built: Path, tmp_path: Path) -> None:
    """600 images are three batches; and whoever changes the number of shards has nothing to do."""
    folder = Path(shutil.copytree(built, tmp_path / "clone", symlinks=True))
    config = folder / "tests/tiny.yaml"
    config.write_text(config.read_text().replace("samples: 24", "samples: 600"))
    drawn = ("vqgan_k16/prior_samples_10.npy", "refit_k16_p100/renoise_samples_2.npy", "pixels/ddpm_samples_2.npy")
    for samples in drawn:
        path, found = f"evaluation/tiny/tinyfaces/{samples}", set()
        for shards in (1, 3, 4):
            done = snakemake(folder, "--cores", "2", "--set-scatter", f"samples={shards}", "-f", path)
            assert done.returncode == 0, done.stderr[-2000:]
            assert ("draw_shard" in jobs(done.stderr)) == (shards > 1)
            found.add((folder / path).read_bytes())
            for other in (1, 2, 3):
                again = snakemake(folder, "-n", "--set-scatter", f"samples={other}", "--", path)
                assert "Nothing to be done" in again.stdout + again.stderr
        assert len(found) == 1
    assert not [path.name for path in (folder / "state/tiny").rglob("*") if path.is_file() and path.name != "lock"]


def test_codes_and_features_are_the_same_in_any_number_of_shards(built: Path, tmp_path: Path) -> None:
    """As above; the few pictures make one batch, and the shards without one have nothing to do."""
    folder = Path(shutil.copytree(built, tmp_path / "clone", symlinks=True))
    for work, path in (
        ("codes", "models/tinyfaces/vqgan_k16/codes_train.npy"),
        ("features", "evaluation/tiny/tinyfaces/features_train.npy"),
    ):
        before = (folder / path).read_bytes()
        for shards in (1, 3):
            done = snakemake(folder, "--cores", "2", "--set-scatter", f"{work}={shards}", "-f", path)
            assert done.returncode == 0, done.stderr[-2000:]
            shared = {"codes": "encode_shard", "features": "extract_shard"}[work]
            assert (shared in jobs(done.stderr)) == (shards > 1)
            assert (folder / path).read_bytes() == before
            again = snakemake(folder, "-n", "--set-scatter", f"{work}=2", "--", path)
            assert "Nothing to be done" in again.stdout + again.stderr


def test_unlock_and_report_work_as_the_readme_says(built: Path) -> None:
    assert snakemake(built, "--unlock").returncode == 0
    reported = snakemake(built, "--report", "report.html")
    assert reported.returncode == 0, reported.stderr[-2000:]
    page = (built / "report.html").read_text()
    assert "How much of the codebook is used" in page, "the captions are in the report"


def test_the_profile_shows_the_sentence_of_a_failed_step(built: Path) -> None:
    """`show-failed-logs` and `rerun-incomplete` stand in the profile that Snakemake loads on its own."""
    checkpoint = built / "models/tinyfaces/dvae_k16/first_stage.safetensors"
    before, times = checkpoint.read_bytes(), checkpoint.stat()
    try:
        checkpoint.write_bytes(before[:1000])
        metric = "results/tiny/metrics/tinyfaces/dvae_k16/reconstruction.json"
        failed = snakemake(built, "--cores", "1", "-f", metric, "--rerun-triggers", "params")
        assert failed.returncode != 0
        assert "not a whole safetensors file" in failed.stdout + failed.stderr
    finally:
        checkpoint.write_bytes(before)
        os.utime(checkpoint, ns=(times.st_atime_ns, times.st_mtime_ns))  # else all that was made from it is made again
        again = snakemake(built, "--cores", "2")
        assert again.returncode == 0, again.stderr[-2000:]


def test_a_changed_parameter_makes_what_depends_on_it_and_nothing_else(built: Path) -> None:
    config = built / "tests/tiny.yaml"
    before = config.read_text()
    try:
        config.write_text(before.replace("prior: {learning_rate: 0.002}", "prior: {learning_rate: 0.003}"))
        assert config.read_text() != before
        planned = jobs(snakemake(built, "-n").stdout)
        assert {"train_on_codes", "sample_codes", "measure_samples", "measure_likelihood", "page"} <= planned
        assert not planned & {
            "prepare_data",
            "train_first_stage",
            "finetune_first_stage",
            "encode_codes",
            "measure_floor",
        }
    finally:
        config.write_text(before)
    assert not jobs(snakemake(built, "-n").stdout), "put back, nothing is to be done"


def test_a_run_on_one_core_gives_the_same_likelihoods(built: Path, tmp_path: Path) -> None:
    """That of the likelihoods needs a VQ-GAN, its rebuilt codebook, its ReFiT, the prior, the transformer and the
    absorbing transition."""
    again = copy_of(Path(__file__).parent.parent, tmp_path)
    done = snakemake(again, "--cores", "1", "likelihood")
    assert done.returncode == 0, done.stderr[-3000:]
    for kind in ("csv", "md", "tex"):
        path = f"results/tiny/tables/likelihood.{kind}"
        assert (built / path).read_bytes() == (again / path).read_bytes(), path
    checkpoints = [path.relative_to(again) for path in (again / "models").rglob("*.safetensors")]
    assert len(checkpoints) == 6
    for path in checkpoints:
        one, two = load_file(built / path), load_file(again / path)
        assert one.keys() == two.keys()
        assert all(one[name].tobytes() == two[name].tobytes() for name in one), path


def training_commands(dataset: dict, folder: Path) -> dict[str, list[str]]:
    """Each training step's command line, as its rule calls it, but for the outputs."""
    model = folder / "models/tinyfaces"
    data = str(folder / "data/tinyfaces/train.npy")
    return {
        "vqgan_k16/first_stage": ["vqgan", "train", "--data", data, "--params", to_json(dataset["vqgan"]),
                                  "--codebook-size", "16"],
        "refit_k8_p100/first_stage": ["refit", "finetune", "--data", data, "--params", to_json(dataset["refit"]),
                                      "--source", str(model / "rebuilt_k8_p100/first_stage.safetensors")],
        "refit_k8_p100/prior": ["prior", "train", "--params", to_json(dataset["prior"]), "--codebook-size", "8",
                                "--codes", str(model / "refit_k8_p100/codes_train.npy")],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["vqgan_k16/first_stage", "refit_k8_p100/first_stage", "refit_k8_p100/prior"])
def test_killed_in_each_training_and_started_again_the_checkpoint_is_the_same(
    built: Path, tmp_path: Path, name: str
) -> None:
    dataset = with_presets(yaml.safe_load((built / "tests/tiny.yaml").read_text()))["datasets"]["tinyfaces"]
    environment = ENVIRONMENT | {"PYTHONPATH": str(built)}
    out, state = tmp_path / "out.safetensors", tmp_path / "state"
    command = [str(BIN / "vqddm"), *training_commands(dataset, built)[name], "--threads", "1", "--save-seconds", "0",
               "--state", str(state), "--out", str(out), "--curve", str(tmp_path / "curve.csv")]  # fmt: skip
    started = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(state.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL, "it was still training"
    saved = list(state.glob("step-*"))
    assert saved
    assert not out.exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "resuming after step" in again.stderr
    assert out.read_bytes() == (built / f"models/tinyfaces/{name}.safetensors").read_bytes()


def test_samples_are_pictures_of_the_decoder(built: Path) -> None:
    first_stage, _ = load_codec(built / "models/tinyfaces/refit_k16_p100/first_stage.safetensors")
    folder = built / "evaluation/tiny/tinyfaces/refit_k16_p100"
    drawn = []
    for method in ("prior_{}_10", "renoise_{}_10", "transformer_{}_16", "absorbing_{}_10"):
        images, codes = (np.load(folder / f"{method.format(kind)}.npy") for kind in ("samples", "sampled_codes"))
        assert codes.shape == (24, 4, 4)
        assert codes.max() < 16
        np.testing.assert_array_equal(images, decode_codes(first_stage, codes))
        drawn.append(codes)
    assert (drawn[0] != drawn[1]).any(), "the same prior and seed, but another sampler"
    about = json.loads((built / "results/tiny/metrics/tinyfaces/refit_k16_p100/prior_samples_10.json").read_text())
    assert about["samples"] == 24


def test_two_suites_on_one_dataset_do_not_overwrite_each_other(built: Path, tmp_path: Path) -> None:
    """A second suite with other seeds samples for itself; what the first one measured stays to the byte."""
    folder = Path(shutil.copytree(built, tmp_path / "two", symlinks=True))
    config = yaml.safe_load((folder / "tests/tiny.yaml").read_text())
    config["suites"]["other"] = copy.deepcopy(config["suites"]["tiny"])
    config["suites"]["other"]["evaluate"]["seed"] = 1
    (folder / "tests/tiny.yaml").write_text(yaml.safe_dump(config))
    path = "tinyfaces/refit_k16_p100/prior_samples_10"
    before = (folder / f"evaluation/tiny/{path}.npy").read_bytes()
    done = snakemake(folder, "--config", "suite=other", "--cores", "2", "--", f"results/other/metrics/{path}.json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / f"evaluation/tiny/{path}.npy").read_bytes() == before
    assert (folder / f"evaluation/other/{path}.npy").read_bytes() != before
    again = snakemake(folder, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("commitment: 0.25", "comitment: 0.25", "presets.tiny.vqgan.loss.comitment"),
        ("timesteps: 10,", "timesteps: ten,", "prior.diffusion.timesteps"),
        ("celebahq: tinyfaces", "celebahq: nobody", "'nobody' is not one of"),
        ("schedule: cosine", "schedule: linear", "'linear' is no noise schedule; there are cosine, sqrt_cosine"),
    ],
)
def test_a_wrong_setting_ends_with_its_key_and_what_is_allowed(built: Path, old: str, new: str, words: str) -> None:
    config = built / "tests/tiny.yaml"
    before = config.read_text()
    try:
        config.write_text(before.replace(old, new))
        failed = snakemake(built, "-n")
        assert failed.returncode != 0
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr
    finally:
        config.write_text(before)
