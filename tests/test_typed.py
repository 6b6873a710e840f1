"""What README and docs say to type: typed here as it stands there, or run by the test that is named here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.models import random_pair
from PIL import Image
from test_cli import said
from test_docs import PAGES, lines
from tiny import BIN, ENVIRONMENT, copy_of, snakemake

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
OF_A_RUN = {"snakemake --cores all table1", "snakemake --cores all figure8", "snakemake --cores all claims"}

# Run by another test: its name, or the part of it that is the same for several.
ELSEWHERE = {
    "snakemake --configfile tests/tiny.yaml --cores 2 table1": "test_end_to_end::every_artefact",  # all targets at once
    "make reproduce": "test_end_to_end::every_artefact",
    "snakemake --report report.html": "test_end_to_end::unlock_and_report",
    "snakemake --unlock": "test_end_to_end::unlock_and_report",
    "snakemake --cores all --config suite=holidays": "test_contributing::what_the_examples_add",
    "snakemake --cores all --config suite=holidays -R prepare_data": "test_data::",
    "snakemake --cores all --profile slurm": "test_slurm::the_tiny_suite",
    "snakemake --cores all --profile slurm --set-scatter samples=8 codes=4 features=4": "test_slurm::samples_drawn_by",
    "snakemake --cores all --profile slurm --config suite=paper": "test_end_to_end::the_papers_suite",
    "cp slurm/site.example.yaml slurm/site.yaml": "test_cluster::the_example_is_valid",
    "make record": "test_ledger::record_leaves",
    "make restore": "test_ledger::a_fresh_clone_restores",
    "make accept": "test_ledger::an_edit_that_changes_no_result",
    "dvc repro": "test_ledger::dvc_repro_after",
    "dvc repro table1": "test_ledger::record_leaves",
    "dvc exp run -S presets.laptop32.prior.learning_rate=0.002 likelihood": "test_ledger::an_experiment",
    "dvc exp run -S datasets.fashion.vqgan.loss.perceptual_weight=0.3 table1": "test_ledger::an_experiment",
    "dvc metrics show": "test_ledger::dvc_answers",
    "dvc dag --md table1": "test_ledger::dvc_answers",
    "dvc remote add --default storage /mnt/vqddm": "test_ledger::a_fresh_clone_restores",
    "dvc cache dir --local /mnt/cache": "test_storage::",
    "dvc push": "test_storage::",
    "dvc pull": "test_storage::",
    "vqddm vqgan import": "test_official::",
    "vqddm describe": "test_paper::",
    "vqddm tensorboard models -o runs": "test_export::",
    "vqddm demo": "test_demo::",
    "make demo": "test_demo::",
    "make demo 'DEMO=faces --port 8000'": "test_demo::",
    "make torture": "test_torture::",
    "make search": "test_search::",
    "make bench": "test_bench::",
    "make cost SUITE=paper": "test_cost::",
    ". .venv/bin/activate": "test_export::",  # a wheel in an environment of its own
}
BY_CI = {"make environment", "make test", "make lint", "make docs", "make test-slurm"}  # `.ci/run`, and what that needs
PARTS = {
    "make test-fast",
    "python -m pytest tests/test_diffusion.py",
    "python -m pytest tests/test_diffusion.py -k posterior",
}
NOT_RUN = {
    "make lock": "asks the package index",
    "make rehearse": "takes half an hour",
    "make checkpoints": "needs the trained models of mini",
    "make test-browser": "needs Chromium",
    "make gpu-kit": "downloads wheels",
    "gpu-kit/run.sh --minutes 10": "needs a GPU",
    "gpu-kit/run.sh --rehearse --minutes 25": "needs the kit",
    "gpu/collect.sh FOLDER": "needs what came back",
    "snakemake --cores all --resources on_gpu=1": "needs a GPU",
    "snakemake --cores all --resources on_gpu=1 --config suite=gpu": "needs a GPU",
}


def typed() -> set[str]:
    """Every command line of README and docs, without its comment."""
    return {shlex.join(shlex.split(line, comments=True)) for page in PAGES for line in lines(page)}


def test_every_command_is_typed_by_a_test_or_said_to_be_by_none() -> None:
    known = [AT_ONCE, OF_MAKE, PLANNED, OF_A_RUN, set(ELSEWHERE), BY_CI, PARTS, set(NOT_RUN)]
    assert typed() == set().union(*known)
    assert len(typed()) == sum(map(len, known)), "none is in two places"
    ci = (ROOT / ".ci/run").read_text()
    assert all(line in ci for line in BY_CI - {"make environment"})
    for place in ELSEWHERE.values():
        module, _, test = place.partition("::")
        assert f"def test_{test}" in (ROOT / f"tests/{module}.py").read_text(), place


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
    guide = (ROOT / "docs/how-to/own-pictures.md").read_text()
    dataset, suite = (part.split("```")[0] for part in guide.split("```yaml\n")[1:3])
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("\ndatasets:\n", f"\ndatasets:\n{dataset}").replace("\npresets:\n", f"{suite}\npresets:\n")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", sorted(AT_ONCE))
def test_what_takes_seconds_works(line: str, at_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(at_work.iterdir())
    code, told, words = said(capsys, *shlex.split(line)[1:])
    assert code == 0 and told, words
    made = set(at_work.iterdir()) - before
    assert bool(made) == bool(re.match("vqddm (sample|reconstruct|inpaint|export)", line))


@pytest.mark.parametrize("line", sorted(OF_MAKE))
def test_what_make_writes_is_what_is_committed(line: str, tmp_path: Path) -> None:
    """In a copy, with this environment: tables and pages, schema, stages, and the format of the code."""
    copy_of(ROOT, tmp_path)
    if line == "make tables":
        shutil.copytree(ROOT / "results", tmp_path / "results")
        for made in ("tables", "index.html", "README.md", "claims.csv"):
            path = tmp_path / "results/mini" / made
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = ["make", "--old-file=environment", f"BIN={BIN}", *shlex.split(line)[1:]]
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        name = path.relative_to(tmp_path)
        if not {".snakemake", "logs", ".mypy_cache", ".ruff_cache", "__pycache__"} & set(name.parts):
            assert path.read_bytes() == (ROOT / name).read_bytes(), name


def test_what_is_only_planned_works(tmp_path: Path) -> None:
    copy_of(ROOT, tmp_path)
    for line in sorted(PLANNED):
        command = [BIN / "snakemake", *shlex.split(line)[1:]]
        environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "results/paper/so_far/index.html").exists()


@pytest.mark.slow
def test_targets_of_a_run_work(built: Path) -> None:
    for line in sorted(OF_A_RUN):
        done = snakemake(built, *shlex.split(line)[1:])
        assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr, line
