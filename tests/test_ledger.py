"""The two ledgers: dvc.yaml against the DAG, then Snakemake and DVC on the built tiny suite."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from clones import clone, edit, git, run, to_make

from vqddm.artifacts import UserError, describe_checkpoint
from vqddm.ledger.commands import STORED, accept, record, restore
from vqddm.ledger.dag import Job, read_dag, with_dependents
from vqddm.ledger.dvc import changes, commit, recorded_stages
from vqddm.ledger.guard import require_originals
from vqddm.ledger.stages import dvc_yaml
from vqddm.params import resolve
from vqddm.yaml_file import merged

ROOT = Path(__file__).parent.parent
PRIORS = {f"train_on_codes-tinyfaces-{name}-prior" for name in ("refit_k16_p100", "refit_k8_p100", "vqgan_k16")}


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
            deps += [
                str(f.relative_to(ROOT)) for f in folder if f.suffix in {".py", ".yaml", ".j2", ".css", ".js"}
            ] or [path]
        assert sorted(deps) == sorted(job.inputs)
        outs = [next(iter(o)) if isinstance(o, dict) else o for o in stage.get("outs", []) + stage.get("metrics", [])]
        assert sorted(outs) == sorted(job.outputs)
        cached = {o for o in stage.get("outs", []) if isinstance(o, str)}
        assert cached == {path for path in job.outputs if path.startswith(STORED)}
        rules = " ".join([job.rule, *job.helpers])
        assert f"--allowed-rules {rules} -- {job.outputs[0]} #" in stage["cmd"]
        for key in stage.get("params", []):
            value: Any = params
            for part in key.split("."):
                value = value[part]


def test_the_committed_results_are_what_the_dag_makes(planned: list[Job]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "results/mini", "results/README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    made = {path for job in planned for path in job.outputs if path.startswith("results/")}
    assert set(listed.stdout.splitlines()) == made


EDITS: dict[str, Any] = {
    "suites.mini.title": "another",
    "suites.mini.more": "README.md",
    "suites.mini.training_spread": 0.05,
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
    "presets.laptop32.vqgan.training.seed": 5,
    "presets.laptop32.refit.kmeans_seed": 5,
    "presets.laptop32.prior.learning_rate": 0.5,
    "datasets.fashion.vqgan.loss.perceptual_weight": 0.5,
    "presets.laptop32.vqgan.autoencoder.width": 64,
    "presets.laptop32.vqvae2.commitment": 0.5,
    "presets.laptop32.dvae.kl_weight": 0.5,
    "presets.laptop32.transformer.layers": 5,
    "presets.laptop32.ddpm.learning_rate": 0.5,
    "presets.laptop32.vqgan.loss.commitment": 0.5,
    "presets.laptop32.vqgan.optimizer.schedule": "constant",
    "presets.paper256.prior.unet.width": 64,
    "presets.paper256.ddpm.widths": [32],
    "presets.paper256.transformer.layers": 2,
    "presets.paper256.vqgan.autoencoder.width": 64,
    "presets.paper256.prior.diffusion.schedule": "sqrt_cosine",
    "presets.laptop32.no_residual.diffusion": {"residual": False, "schedule": "sqrt_cosine"},
    "presets.laptop32.absorbing.diffusion": {"transition": "absorbing", "residual": False, "schedule": "sqrt_cosine"},
}


def key_of_any(key: str) -> str:
    """A key without the name of its dataset or suite: `prior.residual` of `presets.laptop32.prior.residual`."""
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
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
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
    shaping = {"datasets", "step_sweep", "ddim_steps", "source", "resolution", "first_stages", "priors", "baselines"}
    keys = {key for job in planned for key in job.keys}
    tried = {key_of_any(edit) for edit in EDITS}
    untried = {k for k in map(key_of_any, keys) if not any(f"{edit}.".startswith(f"{k}.") for edit in tried)}
    assert {key.split(".")[-1] for key in untried} <= shaping


def test_own_pictures_that_are_not_there_are_told_before_the_first_job() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    own = values["datasets"]["faces"] | {"data": {**values["datasets"]["faces"]["data"], "source": "folder"}}
    values["datasets"]["faces"] = merged(own, {"data": {"path": "pictures/holidays"}})
    asking = SimpleNamespace(rule=SimpleNamespace(name="prepare_data"), wildcards=SimpleNamespace(dataset="faces"))
    params = resolve(values)
    with pytest.raises(UserError, match=r"^pictures/holidays: "):
        require_originals([asking], params.suites["mini"].trained(params.datasets))
    asking.wildcards.dataset = "faces_T3"  # of the third training: its pictures are prepared too
    with pytest.raises(UserError, match=r"^pictures/holidays: "):
        require_originals([asking], params.suites["mini3"].trained(params.datasets))


# On the built tiny suite


@pytest.mark.slow
def test_record_leaves_both_ledgers_clean(project: Path) -> None:
    assert changes(project) == {}
    planned = run(project, "snakemake", "-n", "--max-checksum-file-size", "0")  # by times alone, as for large files
    assert "Nothing to be done" in planned
    assert "up to date" in run(project, "dvc", "repro", "table1")
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert lock.keys() == {job.name for job in read_dag(root=project)}
    about = lock["train_on_codes-tinyfaces-refit_k8_p100-prior"]
    recorded = about["params"]["params.yaml"]
    assert recorded.keys() == {"presets.tiny.prior", "datasets.tinyfaces.prior"}
    assert recorded["datasets.tinyfaces.prior"] == {"learning_rate": 0.002}


@pytest.mark.slow
def test_recording_leaves_files_their_times(restored: Path, tmp_path: Path) -> None:
    """A record that is killed half way through would else have Snakemake train again whatever is large."""
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    (fresh / "dvc.lock").unlink()
    data = fresh / "data/tinyfaces/train.npy"
    before = data.stat().st_mtime_ns
    commit(["prepare_data-tinyfaces"], fresh)
    assert data.stat().st_mtime_ns == before and not to_make(fresh)
    assert recorded_stages(fresh).keys() == {"prepare_data-tinyfaces"}


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
    changed = {"find_neighbours-tinyfaces-refit_k16_p100", "figure12", "timeline", "page", "overview"}
    assert to_make(fresh) == changed
    assert not (fresh / "evaluation/tiny/tinyfaces/refit_k16_p100/neighbours.npz").exists()
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
    measures = {
        f"measure_likelihood-tinyfaces-refit_k16_p100-{method}" for method in ("prior", "transformer", "absorbing")
    }
    assert ran == {*measures, "likelihood"}
    measured = json.loads((fresh / "results/tiny/metrics/tinyfaces/refit_k16_p100/prior_likelihood.json").read_text())
    assert measured["test"]["images"] == 3
    params.write_text(before)
    again = run(fresh, "dvc", "repro", "likelihood")
    assert {
        line.split("'")[1] for line in again.splitlines() if "tage '" in line and "didn't change" not in line
    } <= ran
    path = "results/tiny/tables/likelihood.csv"
    assert (fresh / path).read_bytes() == (project / path).read_bytes()


@pytest.mark.slow
def test_an_experiment_reaches_any_key_and_leaves_a_readable_params_yaml(restored: Path, tmp_path: Path) -> None:
    """With `-S`, a suite's, a preset's and a dataset's own key: just what is given a changed one is to be made.

    DVC writes `precision: "no"` without its quotes, which YAML 1.1 reads as False.
    """
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    git(fresh, "config", "user.name", "test")
    git(fresh, "config", "user.email", "test@example.org")
    own = {"presets.tiny.transformer.training.steps": 3, "datasets.tinyfaces.prior.learning_rate": 0.003}
    jobs = [job for job in read_dag(root=fresh) if job.rule.startswith("train_")]
    given = {key: {job.name for job in jobs if any(f"{key}.".startswith(f"{k}.") for k in job.keys)} for key in own}
    stages = [min(names) for names in given.values()]
    changing = [f"{key}={value}" for key, value in {**own, "suites.tiny.evaluate.nll_images": 3}.items()]
    options = [word for change in changing for word in ("-S", change)]
    measure = "measure_likelihood-tinyfaces-refit_k16_p100-prior"
    run(fresh, "dvc", "exp", "run", "--single-item", *options, *stages, measure)
    shown = run(fresh, "dvc", "params", "diff")
    assert all(change.split("=")[0] in shown for change in changing)
    for (key, value), stage in zip(own.items(), stages, strict=True):
        (checkpoint,) = [job.outputs[0] for job in jobs if job.name == stage]
        settings = describe_checkpoint(fresh / checkpoint)["params"]
        for part in key.split(".")[3:]:
            settings = settings[part]
        assert settings == value
    measured = json.loads((fresh / "results/tiny/metrics/tinyfaces/refit_k16_p100/prior_likelihood.json").read_text())
    assert measured["test"]["images"] == 3
    assert "bits_per_code" in run(fresh, "dvc", "metrics", "diff")
    changed = set().union(*given.values())
    assert changes(fresh).keys() & {job.name for job in jobs} == changed - {*stages}
    assert "precision: no\n" in (fresh / "params.yaml").read_text(), "DVC writes it as expected here"
    run(fresh, "vqddm", "check")
    assert to_make(fresh) & {job.name for job in jobs} == changed - {*stages}


@pytest.mark.slow
def test_a_checkpoint_that_dvc_put_back_is_not_trained_over(restored: Path, tmp_path: Path) -> None:
    """Changed, put back and changed again with `dvc repro`: DVC has the checkpoint in its cache, Snakemake trained
    another one last.
    """
    fresh = Path(shutil.copytree(restored, tmp_path / "clone"))
    stage, path = "train_on_codes-tinyfaces-refit_k8_p100-prior", "models/tinyfaces/refit_k8_p100/prior.safetensors"
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
        accept(say=told.append, agree=lambda question: False, root=fresh)
    assert to_make(fresh) == before
    accept(say=told.append, agree=lambda question: True, root=fresh)
    assert any(
        line.startswith("to accept: train_on_codes-tinyfaces-refit_k8_p100-prior (deps vqddm/prior/unet.py")
        for line in told
    )
    assert any(line.startswith("not accepted: find_neighbours") for line in told)
    left = {"find_neighbours-tinyfaces-refit_k16_p100", "figure12", "timeline", "page", "overview"}
    assert to_make(fresh) == left
    assert changes(fresh).keys() == {"find_neighbours-tinyfaces-refit_k16_p100"}


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
        (("plots", "show"), "index.html"),
        (("dag", "table1"), "train_first_stage-tinyfaces-vqgan_k16"),
    ],
)
def test_dvc_answers(project: Path, command: tuple[str, ...], words: str) -> None:
    assert words in run(project, "dvc", *command)
