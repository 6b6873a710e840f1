"""The two ledgers: dvc.yaml against the DAG, then Snakemake and DVC on the built tiny suite."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import BIN, ENVIRONMENT

from vqddm.artifacts import UserError, describe_checkpoint
from vqddm.ledger.commands import accept, record, restore
from vqddm.ledger.dag import Job, read_dag, with_dependents
from vqddm.ledger.dvc import changes, dvc, recorded_checksums
from vqddm.ledger.stages import dvc_yaml, write_stages

ROOT = Path(__file__).parent.parent
PRIORS = {f"train_prior-tinyfaces-{name}" for name in ("refit_k16_p100", "refit_k8_p100", "vqgan_k16")}


def job(rule: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **wildcards: str) -> Job:
    return Job(rule, wildcards, inputs, outputs, keys=(), values={}, shell="0", outdated=False)


def test_names_of_stages() -> None:
    names = [
        job("table", (), (), table="table1").name,
        job("figure", (), (), number="10").name,
        job("judge_claims", (), ()).name,
        job("rebuild_codebook", (), (), dataset="faces", k="8", p="90").name,
        job("train_prior", (), (), dataset="faces", first_stage="refit_k8_p90").name,
    ]
    assert names == ["table1", "figure10", "claims", "rebuild_codebook-faces-k8-p90", "train_prior-faces-refit_k8_p90"]


def test_dependents_are_found_however_far() -> None:
    jobs = [job("a", (), ("1",)), job("b", ("1",), ("2", "3")), job("c", ("3",), ("4",)), job("d", ("0",), ("5",))]
    assert with_dependents(jobs, {"a"}) == {"a", "b", "c"}
    assert with_dependents(jobs, {"c", "d"}) == {"c", "d"}
    assert with_dependents(jobs, set()) == set()


@pytest.fixture(scope="module")
def planned() -> list[Job]:
    """All jobs of the default suite."""
    return read_dag(root=ROOT)


def test_dvc_yaml_is_what_the_dag_says(planned: list[Job]) -> None:
    assert (ROOT / "dvc.yaml").read_text() == dvc_yaml(planned, ROOT), "run `make dvc.yaml`"


def test_every_stage_has_the_inputs_outputs_and_parameters_of_its_job(planned: list[Job]) -> None:
    """Read back as DVC reads it, folders taken apart."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert stages.keys() == {job.name for job in planned}
    for job in planned:
        stage = stages[job.name]
        deps = []
        for path in stage["deps"]:
            folder = sorted((ROOT / path).rglob("*")) if (ROOT / path).is_dir() else []
            deps += [str(f.relative_to(ROOT)) for f in folder if f.suffix in {".py", ".yaml", ".j2"}] or [path]
        assert sorted(deps) == sorted(job.inputs)
        outs = [next(iter(o)) if isinstance(o, dict) else o for o in stage.get("outs", []) + stage.get("metrics", [])]
        assert sorted(outs) == sorted(job.outputs)
        cached = {o for o in stage.get("outs", []) if isinstance(o, str)}
        assert cached == {path for path in job.outputs if path.startswith(("data/", "models/"))}
        assert f"--allowed-rules {job.rule} -- {job.outputs[0]} #" in stage["cmd"]
        for key in stage.get("params", []):
            value: Any = params
            for part in key.split("."):
                value = value[part]


EDITS: dict[str, Any] = {
    "suites.mini.title": "another",
    "suites.mini.evaluate.seed": 5,
    "suites.mini.evaluate.reference": 1999,
    "suites.mini.evaluate.reconstructions": 999,
    "suites.mini.evaluate.samples": 999,
    "suites.mini.evaluate.draws": 2,
    "suites.mini.evaluate.temperature": 0.9,
    "suites.mini.evaluate.nll_images": 127,
    "suites.mini.evaluate.inpaintings": 31,
    "suites.mini.evaluate.inpainting_encodes": "other",
    "suites.mini.evaluate.features": "inception",
    "suites.mini.evaluate.neighbour_samples": 7,
    "suites.mini.evaluate.neighbours": 9,
    "datasets.faces.title": "another",
    "datasets.faces.data.seed": 5,
    "datasets.faces.data.test": 1999,
    "datasets.fashion.vqgan.training.seed": 5,
    "datasets.faces.refit.kmeans_seed": 5,
    "datasets.faces.prior.learning_rate": 0.5,
    "datasets.fashion.prior.training.steps": 5,
    "datasets.faces.vqgan.autoencoder.width": 32,
    "datasets.faces.vqvae2.learning_rate": 0.5,
    "datasets.fashion.dvae.kl_weight": 0.5,
    "datasets.faces.baselines.transformer.layers": 5,
    "datasets.faces.baselines.absorbing.learning_rate": 0.5,
    "datasets.faces.baselines.ddpm.learning_rate": 0.5,
}


def key_of_any(key: str) -> str:
    """A key without the name of its dataset or suite: `prior.learning_rate` of `datasets.faces.prior.learning_rate`."""
    return key.split(".", 2)[-1]


@pytest.mark.slow
def test_a_changed_parameter_changes_just_the_jobs_whose_stages_name_it(planned: list[Job], tmp_path: Path) -> None:
    """For each key: the jobs that get other parameters have stages that list that key, or one above it."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    shutil.copytree(ROOT / "vqddm", tmp_path / "vqddm")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    before = (ROOT / "params.yaml").read_text()

    def values_with(key: str, value: Any) -> dict[str, dict[str, str]]:
        params = yaml.safe_load(before)
        *above, last = key.split(".")
        section = params
        for part in above:
            section = section[part]
        assert section[last] != value
        if value == "other":
            value = "masked" if section[last] == "full" else "full"
        section[last] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        return {job.name: job.values for job in read_dag(root=tmp_path)}

    unchanged = {job.name: job.values for job in planned}
    for key, value in EDITS.items():
        found = values_with(key, value)
        # A published network asks for its weights: the one job that a value adds.
        added = found.keys() - unchanged.keys()
        assert unchanged.keys() <= found.keys() and all(name.startswith("fetch_weights-") for name in added), key
        named = {job.name for job in planned if any(f"{key}.".startswith(f"{k}.") for k in job.keys)}
        changed = {name for name in unchanged if found[name] != unchanged[name]}
        assert changed <= named, key
        # Only what is drawn from files may be made anew without need: that a dataset has a baseline is said to it by
        # the baseline's whole section.
        needless = named - with_dependents(planned, changed)
        assert {job.rule for job in planned if job.name in needless} <= {"table", "figure", "judge_claims", "page"}, key
    shaping = {"datasets", "step_sweep", "ddim_steps", "source", "resolution", "first_stages", "priors", "timesteps"}
    keys = {key for job in planned for key in job.keys}
    tried = {key_of_any(edit) for edit in EDITS}
    untried = {k for k in map(key_of_any, keys) if not any(f"{edit}.".startswith(f"{k}.") for edit in tried)}
    assert {key.split(".")[-1] for key in untried} <= shaping


# On the built tiny suite


def run(folder: Path, *command: str, check: bool = True) -> str:
    """A command of the environment in `folder`; both of its outputs."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    if check:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def edit(folder: Path, key: str, value: Any) -> None:
    """Change one value of the clone's params.yaml."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    *above, last = key.split(".")
    section = params
    for part in above:
        section = section[part]
    assert section[last] != value
    section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def to_make(folder: Path) -> set[str]:
    """The names of the jobs that Snakemake would run."""
    return {job.name for job in read_dag(root=folder) if job.outdated}


def clone(project: Path, target: Path) -> Path:
    """A fresh clone with the same remote storage."""
    subprocess.run(["git", "clone", "-q", str(project), str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def project(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built tiny suite as a git repository of its own, recorded and pushed to a folder."""
    home = tmp_path_factory.mktemp("ledger")
    folder = home / "project"
    shutil.copytree(built, folder, symlinks=True)
    tiny = yaml.safe_load((folder / "tests/tiny.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    (folder / "dvc.lock").unlink()  # of the default suite
    ignored = (folder / ".gitignore").read_text().replace("/results/tiny/\n", "")
    (folder / ".gitignore").write_text(ignored)
    write_stages(read_dag(root=folder), folder)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "the tiny suite")
    assert not to_make(folder)
    record([], print, folder)
    (home / "storage").mkdir()
    dvc("remote", "add", "--default", "storage", str(home / "storage"), root=folder)
    dvc("push", root=folder)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "recorded")
    return folder


@pytest.fixture(scope="module")
def restored(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after `restore`; tests work on copies of it."""
    folder = clone(project, tmp_path_factory.mktemp("restored") / "clone")
    restore(print, folder)
    return folder


@pytest.mark.slow
def test_record_leaves_both_ledgers_clean(project: Path) -> None:
    assert changes(project) == {}
    planned = run(project, "snakemake", "-n", "--max-checksum-file-size", "0")  # by times alone, as for large files
    assert "Nothing to be done" in planned
    assert "up to date" in run(project, "dvc", "repro", "table1")
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert lock.keys() == {job.name for job in read_dag(root=project)}
    about = lock["train_prior-tinyfaces-refit_k8_p100"]
    assert about["params"]["params.yaml"]["datasets.tinyfaces.prior"]["learning_rate"] == 0.002


@pytest.mark.slow
def test_a_fresh_clone_restores_and_has_nothing_to_do(project: Path, restored: Path) -> None:
    assert changes(restored) == {}
    assert not to_make(restored)
    checkpoint = "models/tinyfaces/refit_k8_p100/prior.safetensors"
    assert (restored / checkpoint).read_bytes() == (project / checkpoint).read_bytes()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=restored, capture_output=True, text=True, check=True)
    assert not status.stdout


@pytest.mark.slow
def test_restored_with_one_parameter_changed_just_its_dependents_are_made(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    params = fresh / "params.yaml"
    before = params.read_text()
    edit(fresh, "suites.tiny.evaluate.neighbours", 9)
    restore(print, fresh)
    changed = {"find_neighbours-tinyfaces-refit_k16_p100", "figure12", "page"}
    assert to_make(fresh) == changed
    assert not (fresh / "models/tinyfaces/refit_k16_p100/neighbours.npz").exists()
    run(fresh, "snakemake", "--cores", "2")
    record([], print, fresh)
    assert changes(fresh) == {}
    params.write_text(before)  # put back: again just these, in both tools
    assert to_make(fresh) == changed
    assert changes(fresh).keys() >= {"find_neighbours-tinyfaces-refit_k16_p100"}
    restore(print, fresh)
    assert to_make(fresh) == changed


@pytest.mark.slow
def test_dvc_repro_after_a_change_and_back_builds_what_depends_on_it(
    project: Path, restored: Path, tmp_path: Path
) -> None:
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    params = fresh / "params.yaml"
    before = params.read_text()
    edit(fresh, "suites.tiny.evaluate.nll_images", 3)
    told = run(fresh, "dvc", "repro", "likelihood")
    ran = {line.split("'")[1] for line in told.splitlines() if line.startswith("Running stage")}
    measures = {f"measure_{kind}likelihood-tinyfaces-refit_k16_p100" for kind in ("", "transformer_", "absorbing_")}
    assert ran == {*measures, "likelihood"}
    measured = json.loads((fresh / "results/tiny/metrics/tinyfaces/refit_k16_p100/likelihood.json").read_text())
    assert measured["test"]["images"] == 3
    params.write_text(before)
    again = run(fresh, "dvc", "repro", "likelihood")
    assert {
        line.split("'")[1] for line in again.splitlines() if "tage '" in line and "didn't change" not in line
    } <= ran
    path = "results/tiny/tables/likelihood.csv"
    assert (fresh / path).read_bytes() == (project / path).read_bytes()


@pytest.mark.slow
def test_an_experiment_with_another_parameter_leaves_a_readable_params_yaml(restored: Path, tmp_path: Path) -> None:
    """DVC writes `precision: "no"` without its quotes, which YAML 1.1 reads as False."""
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    git(fresh, "config", "user.name", "test")
    git(fresh, "config", "user.email", "test@example.org")
    run(fresh, "dvc", "exp", "run", "-S", "suites.tiny.evaluate.nll_images=3", "likelihood")
    measured = json.loads((fresh / "results/tiny/metrics/tinyfaces/refit_k16_p100/likelihood.json").read_text())
    assert measured["test"]["images"] == 3
    assert "precision: no\n" in (fresh / "params.yaml").read_text(), "DVC writes it as expected here"
    run(fresh, "vqddm", "check")
    assert not to_make(fresh) & PRIORS
    assert "bits_per_code" in run(fresh, "dvc", "metrics", "diff")


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
def test_a_checkpoint_that_dvc_put_back_is_not_trained_over(restored: Path, tmp_path: Path) -> None:
    """Changed, put back and changed again with `dvc repro`: DVC has the checkpoint in its cache, Snakemake trained
    another one last.
    """
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    stage, path = "train_prior-tinyfaces-refit_k8_p100", "models/tinyfaces/refit_k8_p100/prior.safetensors"
    before, params = (fresh / path).read_bytes(), (fresh / "params.yaml").read_text()
    edit(fresh, "datasets.tinyfaces.prior.learning_rate", 0.003)
    edited = (fresh / "params.yaml").read_text()
    run(fresh, "dvc", "repro", "--single-item", stage)
    changed = (fresh / path).read_bytes()
    assert changed != before
    (fresh / "params.yaml").write_text(params)
    run(fresh, "dvc", "repro", "--single-item", stage)
    (fresh / "params.yaml").write_text(edited)
    assert "is cached - skipping run" in run(fresh, "dvc", "repro", "--single-item", stage)
    assert (fresh / path).read_bytes() == changed
    assert stage in to_make(fresh)
    told = run(fresh, "snakemake", "--cores", "1", path, check=False)
    assert "make restore" in told
    assert (fresh / path).read_bytes() == changed


@pytest.mark.slow
def test_an_edit_that_changes_no_result_is_accepted_and_nothing_else(restored: Path, tmp_path: Path) -> None:
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    code = fresh / "vqddm/prior/unet.py"
    code.write_text(code.read_text() + "# a remark\n")
    edit(fresh, "suites.tiny.evaluate.neighbours", 9)
    before = to_make(fresh)
    assert before >= PRIORS
    told: list[str] = []
    with pytest.raises(UserError, match="nothing was accepted"):
        accept(told.append, lambda question: False, fresh)
    assert to_make(fresh) == before
    accept(told.append, lambda question: True, fresh)
    assert any(
        line.startswith("to accept: train_prior-tinyfaces-refit_k8_p100 (deps vqddm/prior/unet.py") for line in told
    )
    assert any(line.startswith("not accepted: find_neighbours") for line in told)
    assert to_make(fresh) == {"find_neighbours-tinyfaces-refit_k16_p100", "figure12", "page"}
    assert changes(fresh).keys() == {"find_neighbours-tinyfaces-refit_k16_p100"}


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
def test_record_and_restore_refuse_what_they_must(project: Path, tmp_path: Path) -> None:
    fresh = clone(project, tmp_path / "clone")
    with pytest.raises(UserError, match=r"not recorded: Snakemake has still to make prepare_data-tinyfaces"):
        record(["table1"], print, fresh)
    edit(fresh, "suites.tiny.evaluate.step_sweep", [3])
    for command in (lambda: restore(print, fresh), lambda: record([], print, fresh)):
        with pytest.raises(UserError, match=r"dvc.yaml is not what"):
            command()


@pytest.mark.slow
def test_an_unrecorded_checkpoint_is_never_dropped(restored: Path, tmp_path: Path) -> None:
    """Trained here under other parameters, not recorded: `restore` must not take it."""
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    edit(fresh, "datasets.tinyfaces.prior.learning_rate", 0.003)
    checkpoint = fresh / "models/tinyfaces/refit_k8_p100/prior.safetensors"
    run(fresh, "snakemake", "--cores", "2", str(checkpoint.relative_to(fresh)))
    before = checkpoint.read_bytes()
    with pytest.raises(UserError, match="make record"):
        restore(print, fresh)
    assert checkpoint.read_bytes() == before


@pytest.mark.slow
def test_a_checkpoint_says_what_made_it(built: Path) -> None:
    about = describe_checkpoint(built / "models/tinyfaces/refit_k8_p100/prior.safetensors")
    assert about["params"]["training"]["seed"] == 0
    assert set(about["inputs"]) == {"codes"}
    assert {"revision", "python", "torch", "numpy"} <= about["made_with"].keys()
    told = run(built, "vqddm", "show", "models/tinyfaces/refit_k8_p100/prior.safetensors")
    assert "learning_rate: 0.002" in told
    assert "numbers" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("metrics", "show"), "bits_per_code"),
        (("params", "diff", "HEAD~1"), ""),
        (("plots", "show"), "index.html"),
        (("dag", "table1"), "train_vqgan-tinyfaces-k16"),
    ],
)
def test_dvc_answers(project: Path, command: tuple[str, ...], words: str) -> None:
    assert words in run(project, "dvc", *command)


# Remote storage and the cache


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
    checksum = recorded_checksums(fresh)[path]
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
