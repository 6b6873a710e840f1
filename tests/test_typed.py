"""What README and docs say to type: typed here, as it stands or with less to do, or done by the test that is named."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.models import random_pair
from PIL import Image
from test_cli import said
from test_docs import PAGES, lines
from tiny import BIN, ENVIRONMENT, copy_of, snakemake

from vqddm import load

ROOT = Path(__file__).parent.parent
STEPS = ("data", "vqgan", "refit", "prior", "baselines", "evaluate", "paper")  # `vqddm STEP` lists its commands

# Typed by the tests below.
AT_ONCE = {
    "vqddm sample faces -n 16 -o faces.png",
    "vqddm sample faces --sampler renoise",
    "vqddm reconstruct one.jpg two.png --model faces",
    "vqddm inpaint one.jpg --mask mask.png --model faces",
    "vqddm sample models/holidays/refit_k256_p4000 -n 16 -o holidays.png",
    "vqddm export models/faces/refit_k256_p4000 -o exported",
    "vqddm show models/faces/refit_k256_p4000/prior.safetensors",
    "vqddm check",
    "vqddm check --resolved --dataset faces",
    "vqddm check --resolved --dataset holidays",
    "vqddm describe",
    *(f"vqddm {step}" for step in STEPS),
}
OF_MAKE = {"make tables", "make schema dvc.yaml", "make dvc.yaml", "make unlock", "make format"}
PLANNED = {
    "snakemake -n",
    "snakemake --list-target-rules",
    "snakemake -n --config suite=paper",
    "snakemake -n -p --config suite=paper",
    "snakemake --cores 1 so_far --config suite=paper",
}
PLANNED_ONLY = {  # what these build takes a GPU or a cluster, so `-n` stands before the line's own words
    "snakemake --cores all --resources on_gpu=1",
    "snakemake --cores all --resources on_gpu=1 --config suite=gpu",
    "snakemake --cores all --profile slurm --config suite=paper",
}
PLANNED_OWN = {
    "snakemake --cores all --config suite=holidays",
    "snakemake --cores all --config suite=holidays -R prepare_data",
}
OF_A_RUN = {"snakemake --cores all table1", "snakemake --cores all figure8", "snakemake --cores all claims"}

# What another test does on something smaller, or with other values or places: its name.
ALIKE = {
    "snakemake --configfile tests/tiny.yaml --cores 2 table1": "test_end_to_end::every_artefact_is_there",
    "snakemake --report report.html": "test_end_to_end::unlock_and_report_work_as_the_readme_says",
    "snakemake --unlock": "test_end_to_end::unlock_and_report_work_as_the_readme_says",
    "snakemake --cores all --profile slurm": "test_slurm::the_tiny_suite_gives_the_tables_of_a_local_run",
    "snakemake --cores all --profile slurm --set-scatter samples=8 codes=4 features=4": (
        "test_slurm::samples_drawn_by_three_jobs_are_those_of_one"
    ),
    "make torture": "test_torture::a_small_part_loses_nothing",
    "make search": "test_search::trials_are_measured_on_validation_pictures_and_never_made_twice",
    "make bench": "test_bench::a_killed_run_goes_on",
    "make cost SUITE=paper": "test_cost::hours_are_times_of_what_each_takes",
    "vqddm vqgan import": "test_official::a_first_stage_is_read",
    "make reproduce": "test_typed::make_reproduces_what_is_missing_and_exports_what_was_trained",
    "make reproduce SUITE=mini3": "test_repeats::each_further_training_has_jobs_of_its_own_and_the_rest_is_shared",
    "make checkpoints": "test_typed::make_reproduces_what_is_missing_and_exports_what_was_trained",
    "make rehearse": "test_typed::the_rehearsal_builds_what_it_is_asked_for",
    "make lock": "test_typed::versions_are_locked_with_hashes_and_no_index",
    "make gpu-kit": "test_typed::the_kit_is_packed_unpacked_and_brought_back",
    "gpu-kit/run.sh --rehearse --minutes 25": "test_typed::the_kit_is_packed_unpacked_and_brought_back",
    "gpu-kit/run.sh --minutes 9.5": "test_typed::the_kit_is_packed_unpacked_and_brought_back",
    "gpu/collect.sh FOLDER": "test_typed::the_kit_is_packed_unpacked_and_brought_back",
    ". .venv/bin/activate": "test_typed::the_environment_is_entered",
    "cp slurm/site.example.yaml slurm/site.yaml": "test_cluster::the_example_is_valid_and_names_every_setting",
    "make record": "test_ledger::record_leaves_both_ledgers_clean",
    "make restore": "test_ledger::a_fresh_clone_restores_and_has_nothing_to_do",
    "make accept": "test_ledger::an_edit_that_changes_no_result_is_accepted_and_nothing_else",
    "dvc repro": "test_ledger::dvc_repro_after_a_change_and_back_builds_what_depends_on_it",
    "dvc repro table1": "test_ledger::record_leaves_both_ledgers_clean",
    "dvc exp run -S presets.laptop32.prior.learning_rate=0.002 likelihood": (
        "test_ledger::an_experiment_reaches_any_key_and_leaves_a_readable_params_yaml"
    ),
    "dvc exp run -S datasets.fashion.vqgan.loss.perceptual_weight=0.3 table1": (
        "test_ledger::an_experiment_reaches_any_key_and_leaves_a_readable_params_yaml"
    ),
    "dvc metrics show": "test_ledger::dvc_answers",
    "dvc dag --md table1": "test_ledger::dvc_answers",
    "vqddm tensorboard models -o runs": "test_export::curves_become_runs",
    "vqddm demo": "test_demo::pictures_are_drawn_and_watched",  # where there is a browser
    "make demo": "test_demo::pictures_are_drawn_and_watched",
    "make demo 'DEMO=faces --port 8000'": "test_demo::pictures_are_drawn_and_watched",
    "dvc remote add --default storage /mnt/vqddm": "test_ledger::a_fresh_clone_restores_and_has_nothing_to_do",
    "dvc cache dir --local /mnt/cache": "test_storage::two_clones_share_a_cache",
    "dvc push": "test_storage::an_interrupted_push_and_pull_go_on",
    "dvc pull": "test_storage::an_interrupted_push_and_pull_go_on",
}
BY_CI = {"make environment", "make test", "make lint", "make docs", "make test-slurm"}  # `.ci/run`, and what that needs
PARTS = {  # of `make test`
    "make test-fast",
    "make test-browser",  # where there is a browser
    "python -m pytest tests/test_diffusion.py",
    "python -m pytest tests/test_diffusion.py -k posterior",
}


def typed() -> set[str]:
    """Every command line of README and docs, without its comment."""
    return {shlex.join(shlex.split(line, comments=True)) for page in PAGES for line in lines(page)}


def test_every_command_is_run_by_a_test() -> None:
    known = [AT_ONCE, OF_MAKE, PLANNED, PLANNED_ONLY, PLANNED_OWN, OF_A_RUN, set(ALIKE), BY_CI, PARTS]
    assert typed() == set().union(*known)
    assert len(typed()) == sum(map(len, known)), "none is in two places"
    ci = (ROOT / ".ci/run").read_text()
    assert all(line in ci for line in BY_CI - {"make environment"})
    for place in ALIKE.values():
        module, test = place.split("::")
        assert re.search(rf"^def test_{test}\(", (ROOT / f"tests/{module}.py").read_text(), re.MULTILINE), place


def name_holidays(folder: Path) -> None:
    """Write `params.yaml` with the entries of the guide to one's own pictures."""
    guide = (ROOT / "docs/how-to/own-pictures.md").read_text()
    dataset, suite = (part.split("```")[0] for part in guide.split("```yaml\n")[1:3])
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("\ndatasets:\n", f"\ndatasets:\n{dataset}").replace("\npresets:\n", f"{suite}\npresets:\n")
    (folder / "params.yaml").write_text(text)


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures, a mask, a pair of models under two names, and the guide's entries in params.yaml."""
    for name, side in (("one.jpg", 90), ("two.png", 40)):
        noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    mask = Image.new("L", (90, 90))
    mask.paste(255, (0, 0, 90, 45))
    mask.save(tmp_path / "mask.png")
    for dataset in ("faces", "holidays"):
        random_pair(tmp_path / "models" / dataset / "refit_k256_p4000")
    name_holidays(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", sorted(AT_ONCE))
def test_what_takes_seconds_works(line: str, at_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(at_work.iterdir())
    code, told, words = said(capsys, *shlex.split(line)[1:])
    assert code == 0 and told, words
    made = set(at_work.iterdir()) - before
    assert bool(made) == bool(re.match("vqddm (sample|reconstruct|inpaint|export)", line))


def make(folder: Path, *words: str, bin: Path = BIN, **variables: str) -> str:
    """`make` in a copy of the project, with this environment; what it said."""
    command = ["make", "--old-file=environment", f"BIN={bin}", *words]
    environment = ENVIRONMENT | {"PYTHONPATH": str(folder)} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("line", sorted(OF_MAKE))
def test_what_make_writes_is_what_is_committed(line: str, tmp_path: Path) -> None:
    """In a copy, with this environment: tables and pages, schema, stages, and the format of the code."""
    copy_of(ROOT, tmp_path)
    if line == "make tables":
        shutil.copytree(ROOT / "results", tmp_path / "results")
        for made in ("tables", "index.html", "README.md", "claims.csv"):
            path = tmp_path / "results/mini" / made
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(tmp_path, *shlex.split(line)[1:])
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        name = path.relative_to(tmp_path)
        if not {".snakemake", "logs", ".mypy_cache", ".ruff_cache", "__pycache__"} & set(name.parts):
            assert path.read_bytes() == (ROOT / name).read_bytes(), name


def test_make_clean_leaves_originals(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = ["data/originals/train.zip", "data/originals/test.jpg", "data/downloads/train.gz", "results/mini/x"]
    gone = ["data/faces/train.npy", "data/faces/test.json", "models/faces/x", "state/x"]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    make(tmp_path, "clean")
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {*kept, "Makefile"}


@pytest.mark.parametrize("minutes", ["ten", "1,5"])
def test_minutes_that_are_no_number_are_refused(minutes: str, tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"PYTHON": sys.executable}
    command = ["bash", str(ROOT / "gpu/run.sh"), "--minutes", minutes, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"--minutes {minutes}: a number is meant\n")
    assert not list(tmp_path.iterdir())


def answered(folder: Path, *words: str) -> str:
    """What Snakemake says in a copy of the project."""
    command = [BIN / "snakemake", *words]
    environment = ENVIRONMENT | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def test_what_is_only_planned_works(tmp_path: Path) -> None:
    copy_of(ROOT, tmp_path)
    for line in sorted(PLANNED):
        answered(tmp_path, *shlex.split(line)[1:])
    assert (tmp_path / "results/paper/so_far/index.html").exists()
    for line in sorted(PLANNED_ONLY):
        assert "This was a dry-run" in answered(tmp_path, "-n", *shlex.split(line)[1:]), line


def test_the_guides_suite_of_own_pictures_is_planned(tmp_path: Path) -> None:
    """Building it takes minutes, so `-n` stands before the line's own words."""
    copy_of(ROOT, tmp_path)
    name_holidays(tmp_path)
    (tmp_path / "pictures/holidays").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "pictures/holidays/one.png")
    for line in sorted(PLANNED_OWN):
        told = answered(tmp_path, "-n", *shlex.split(line)[1:])
        assert "dataset=holidays" in told and "results/holidays/index.html" in told


@pytest.mark.slow
def test_targets_of_a_run_work(built: Path) -> None:
    for line in sorted(OF_A_RUN):
        done = snakemake(built, *shlex.split(line)[1:])
        assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr, line


@pytest.mark.slow
def test_make_reproduces_what_is_missing_and_exports_what_was_trained(restored: Path, tmp_path: Path) -> None:
    """In a clone whose suite is the tiny one: its page, and its models under the names of those that are shipped."""
    folder = Path(shutil.copytree(restored, tmp_path / "clone", symlinks=True))
    page = folder / "results/tiny/index.html"
    before = page.read_bytes()
    page.unlink()
    make(folder, "reproduce", "SUITE=tiny", "CORES=2")
    assert page.read_bytes() == before
    for place in ("models", "results/{}/metrics"):
        target = folder / place.format("mini") / "faces/refit_k256_p4000"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / place.format("tiny") / "tinyfaces/refit_k16_p100", target)
    shutil.rmtree(folder / "vqddm/checkpoints/faces")
    make(folder, "checkpoints", "SHIPPED=faces")
    assert len(load(folder / "vqddm/checkpoints/faces").sample(2, steps=1)) == 2


@pytest.mark.slow
def test_the_rehearsal_builds_what_it_is_asked_for(tmp_path: Path) -> None:
    """`make rehearse` is this script without a target, which is the whole suite and half an hour."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    command = [BIN / "python", "tests/rehearse.py", "--", "data/celebahq/train.npy"]
    environment = ENVIRONMENT | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the rehearsal is whole" in done.stdout
    assert np.load(folder / "rehearsal/data/celebahq/train.npy").shape[1:] == (256, 256, 3)
    shutil.rmtree(folder)  # nearly a GiB of weights


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not here, with which `make lock` locks the versions")
def test_versions_are_locked_with_hashes_and_no_index(tmp_path: Path) -> None:
    folder = copy_of(ROOT, tmp_path / "clone")
    locks = sorted(folder.rglob("requirements.lock"))
    assert len(locks) == 5
    for lock in locks:
        lock.write_text("")
    command = ["make", "--old-file=environment", f"BIN={BIN}", "lock"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr:
        pytest.skip("the package index, which `make lock` asks, cannot be reached")
    assert done.returncode == 0, done.stderr[-2000:]
    for lock in locks:
        text = lock.read_text()
        assert "--hash=sha256:" in text and "index-url" not in text and "://" not in text
        assert all("==" in line for line in text.splitlines() if line and line[0].isalpha()), lock


def pretend_pip(folder: Path) -> Path:
    """A folder with a `python` whose pip finds an empty wheel of each package."""
    script = folder / "python"
    script.write_text(
        f"#!{BIN / 'python'}\n"
        "import sys, zipfile\n"
        "assert sys.argv[1:4] == ['-m', 'pip', 'download']\n"
        "name, version = sys.argv[-1].split('==')\n"
        "name = name.replace('-', '_')\n"
        "about = f'{name}-{version}.dist-info'\n"
        "wheels = sys.argv[sys.argv.index('-d') + 1]\n"
        "with zipfile.ZipFile(f'{wheels}/{name}-{version}-py3-none-any.whl', 'w') as out:\n"
        "    out.writestr(f'{about}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')\n"
        "    out.writestr(f'{about}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "    out.writestr(f'{about}/RECORD', '')\n"
    )
    script.chmod(0o755)
    return folder


@pytest.mark.slow
def test_the_kit_is_packed_unpacked_and_brought_back(tmp_path: Path) -> None:
    """From a fresh clone, all but the work itself and its packages, which take a GPU or half an hour and a network."""
    clone, away = tmp_path / "clone", tmp_path / "gpu machine"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    (tmp_path / "bin").mkdir()
    told = make(clone, "gpu-kit", bin=pretend_pip(tmp_path / "bin"))
    wanted = [line for line in (ROOT / "gpu/packages.txt").read_text().splitlines() if line and line[0] != "#"]
    assert f"{len(wanted)} wheels for Python 3.12" in told
    shutil.copytree(clone / "gpu-kit", away / "gpu-kit")
    for line in ("gpu-kit/run.sh --rehearse --minutes 25", "gpu-kit/run.sh --minutes 9.5"):
        command = [*shlex.split(line), "--skip", "tests benchmark kernels cost suite"]
        environment = ENVIRONMENT | {"PYTHON": str(BIN / "python"), "GIT_CEILING_DIRECTORIES": str(tmp_path)}
        done = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr
        assert re.search(r"page: done(.|\n)*packed: .* metrics: 0", done.stdout), done.stdout
    subprocess.run(["gpu/collect.sh", away / "gpu-out"], cwd=clone, check=True)
    results = clone / "results/gpu"
    assert (results / "index.html").exists() and "packed" in (results / "run.log").read_text()
    assert not (results / "metrics").exists(), "nothing was measured"
    assert (results / "fourth_run").exists()


def test_the_environment_is_entered(tmp_path: Path) -> None:
    """In a folder whose .venv is the tests' own."""
    if not (BIN / "activate").exists():
        pytest.skip("the tests do not run in a virtual environment")
    (tmp_path / ".venv").symlink_to(BIN.parent)
    line = ". .venv/bin/activate && command -v vqddm"
    how = {"cwd": tmp_path, "env": {"PATH": "/usr/bin:/bin"}, "check": True, "capture_output": True, "text": True}
    told = subprocess.run(["bash", "-c", line], **how).stdout  # type: ignore[call-overload]
    assert Path(told.strip()).resolve() == (BIN / "vqddm").resolve()
