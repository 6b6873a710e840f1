"""A real Slurm on this machine (`make test-slurm` starts it): the same tables as a local run, whatever happens.

Each fault hits the same training, of about 15 s, in a copy of a finished run from which its checkpoint was taken away.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import BIN, ENVIRONMENT, copy_of, untimed_claims

from vqddm.paper.tables import TABLES
from vqddm.slurm import deadline

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

ROOT = Path(__file__).parent.parent
CLUSTER = "vqddm-test"  # tests/slurm/start.sh names it so
SITE = "gpu_partition: gpu\ngpu_type: pretended\n"
CHECKPOINT = "models/tinyfaces/vqgan_k16/prior.safetensors"
STATE = "state/tinyfaces/vqgan_k16_prior"
LOG = "logs/prior/tinyfaces_vqgan_k16_prior.log"
QUICKLY = {**ENVIRONMENT, "VQDDM_SAVE_SECONDS": "1"}


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    """The tests' own Slurm; a real cluster is never used. Where `VQDDM_SLURM=required`, its absence is a failure."""
    try:
        there = f"ClusterName             = {CLUSTER}" in slurm("scontrol", "show", "config")
    except (OSError, subprocess.SubprocessError):
        there = False
    if not there:
        say = pytest.fail if os.environ.get("VQDDM_SLURM") == "required" else pytest.skip
        say("the tests' own Slurm is not running: `make test-slurm` starts it (Debian, root)")


TINY = ("tests/tiny.yaml",)
LONG = ("tests/tiny.yaml", "tests/slurm/long.yaml")
MANY = (*LONG, "tests/slurm/many.yaml")
THROUGH_SLURM = ("--cores", "all", "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5")


def run(folder: Path, *arguments: str, config: tuple[str, ...] = LONG) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["timeout", "-k", "5", "1500", BIN / "snakemake", *arguments, "--configfile", *config],
        cwd=folder,
        env=QUICKLY,
        capture_output=True,
        text=True,
        check=False,
    )


def tables(folder: Path) -> dict[str, bytes]:
    """Every table's bytes, but for the measured speed."""
    found = sorted((folder / "results/tiny/tables").glob("*"))
    return {path.name: path.read_bytes() for path in found if path.stem != "speed"}


def test_the_tiny_suite_gives_the_tables_of_a_local_run(built: Path, tmp_path: Path) -> None:
    folder = copy_of(ROOT, tmp_path)
    (folder / "slurm/site.yaml").write_text(SITE)
    done = run(folder, *THROUGH_SLURM, *TABLES, "claims", config=TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    submitted = len(re.findall(r"submitted with SLURM jobid", done.stdout + done.stderr))
    assert submitted > 25, "the steps ran in Slurm's jobs, not here"
    assert tables(folder) == tables(built)
    assert untimed_claims(folder) == untimed_claims(built)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local, undisturbed run to two tables."""
    folder = copy_of(ROOT, tmp_path_factory.mktemp("undisturbed"))
    done = run(folder, "--cores", "2", "table2", "likelihood")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


class Trial:
    """A copy of the undisturbed run whose prior is trained again, through Slurm."""

    def __init__(self, undisturbed: Path, folder: Path, site: str = SITE) -> None:
        self.undisturbed, self.folder = undisturbed, folder
        shutil.copytree(undisturbed, folder, dirs_exist_ok=True)
        shutil.rmtree(folder / "state")
        shutil.rmtree(folder / "results/tiny/tables")
        (folder / CHECKPOINT).unlink()
        (folder / "slurm/site.yaml").write_text(site)

    def start(self) -> None:
        """Snakemake, as `docs/how-to/cluster.md` says, up to the training's checkpoint."""
        self.said = (self.folder / "said.txt").open("w+")
        self.snakemake = subprocess.Popen(
            [BIN / "snakemake", *THROUGH_SLURM, CHECKPOINT, "--configfile", *LONG],
            cwd=self.folder,
            env=QUICKLY,
            stdout=self.said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def until(self, happened: Callable[[], object], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, f"waited {seconds} s in vain\n{self.text()}"
            time.sleep(0.05)

    def trained_a_little(self) -> int:
        """Wait for a saved state; its step."""
        self.until(lambda: list((self.folder / STATE).glob("step-*")))
        return max(int(path.name.removeprefix("step-")) for path in (self.folder / STATE).glob("step-*"))

    def job(self) -> str:
        """The id of this folder's Slurm job."""
        rows = [line.split("|") for line in slurm("squeue", "-h", "-o", "%i|%Z").splitlines()]
        (job,) = [number for number, where in rows if where == str(self.folder)]
        return job

    def training(self) -> int:
        """The process id of the training, from the lock that it holds."""
        return int((self.folder / STATE / "lock").read_text().split()[1])

    def text(self) -> str:
        return (self.folder / "said.txt").read_text()

    def log(self) -> str:
        """What the job's log says; nothing while the last try's is taken away and the next has said nothing yet."""
        file = self.folder / LOG
        try:
            return file.read_text()
        except FileNotFoundError:
            return ""

    def ends_well(self) -> str:
        """The run ends with the undisturbed one's tables; what the last try's log says."""
        assert self.snakemake.wait(timeout=240) == 0, self.text()[-3000:]
        assert (self.folder / CHECKPOINT).read_bytes() == (self.undisturbed / CHECKPOINT).read_bytes()
        done = run(self.folder, "--cores", "2", "table2", "likelihood")
        assert done.returncode == 0, done.stderr[-3000:]
        assert tables(self.folder) == tables(self.undisturbed)
        return self.log()


@pytest.fixture
def trial(undisturbed: Path, tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(undisturbed, tmp_path)
    yield trial
    if trial.snakemake.poll() is None:
        os.killpg(trial.snakemake.pid, signal.SIGKILL)
    subprocess.run(["scancel", "--full", f"--user={os.getuid()}"], check=False, timeout=30)


def resumed_after(log: str) -> int:
    match = re.search(r"resuming after step (\d+)", log)
    assert match, f"it began anew:\n{log}"
    return int(match[1])


def test_a_cancelled_job_goes_on(trial: Trial) -> None:
    trial.start()
    step = trial.trained_a_little()
    slurm("scancel", trial.job())
    assert resumed_after(trial.ends_well()) >= step


def test_a_requeued_job_goes_on(trial: Trial) -> None:
    trial.start()
    step = trial.trained_a_little()
    job = trial.job()
    slurm("scontrol", "requeue", job)
    trial.until(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
    assert resumed_after(trial.ends_well()) >= step


def test_before_its_time_limit_a_job_saves_and_the_next_goes_on(trial: Trial) -> None:
    (trial.folder / "slurm/site.yaml").write_text(SITE + "hours: 0.01\n")  # one minute, Slurm's smallest
    trial.start()
    trial.trained_a_little()
    os.kill(trial.training(), signal.SIGSTOP)  # stands in for work that takes longer
    limit = slurm("squeue", "-h", "-j", trial.job(), "-o", "%L")
    minutes, seconds = map(int, limit.split(":"))
    time.sleep(60 * minutes + seconds - 8)  # `deadline` leaves 10 s
    os.kill(trial.training(), signal.SIGCONT)
    log = trial.ends_well()
    assert "the job's time is nearly over" in trial.text(), "the first try's log is shown"
    assert resumed_after(log) > 0


def test_a_job_that_slurm_kills_at_its_time_limit_goes_on(trial: Trial) -> None:
    (trial.folder / "slurm/site.yaml").write_text(SITE + "hours: 0.01\n")
    trial.start()
    step = trial.trained_a_little()
    job = trial.job()
    os.kill(trial.training(), signal.SIGSTOP)  # so it cannot save
    trial.until(lambda: "JobState=TIMEOUT" in slurm("scontrol", "show", "job", job), 180)
    assert resumed_after(trial.ends_well()) >= step


def kill_all_of(job: str) -> None:
    """Kill every process of a Slurm job at once, as a node's power does. A Snakemake left alive would try again."""
    subprocess.run(["pkill", "-KILL", "-f", f"slurmstepd: \\[{job}\\."], check=False)
    mark = f"SLURM_JOB_ID={job}".encode()
    for _ in range(2):  # twice, for what the last to die had just begun
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is a stranger's
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def test_a_lost_node_costs_little_and_comes_back(trial: Trial) -> None:
    trial.start()
    step = trial.trained_a_little()
    job = trial.job()
    node = slurm("squeue", "-h", "-j", job, "-o", "%N")
    home = Path(os.environ.get("VQDDM_SLURM_HOME", "/tmp/vqddm-slurm"))
    os.kill(int((home / f"run/slurmd.{node}.pid").read_text()), signal.SIGKILL)
    kill_all_of(job)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")  # what Slurm finds out in minutes
    trial.until(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    subprocess.run([ROOT / "tests/slurm/start.sh"], capture_output=True, check=True, timeout=60)  # waits for the node
    assert resumed_after(trial.ends_well()) >= step
    assert node in slurm("sinfo", "-h", "-N", "-t", "idle,mixed,allocated", "-o", "%N").split()


def test_snakemake_killed_and_started_while_its_job_trains(trial: Trial) -> None:
    trial.start()
    trial.trained_a_little()
    orphan = trial.job()
    os.kill(trial.training(), signal.SIGSTOP)  # until the second has come
    os.killpg(trial.snakemake.pid, signal.SIGKILL)
    assert run(trial.folder, "--unlock").returncode == 0
    trial.start()
    trial.until(lambda: "waiting for its end" in trial.log())
    os.kill(trial.training(), signal.SIGCONT)
    assert "taken from" in trial.ends_well(), "the second takes what the first finished"
    assert f"scancel {orphan}" in trial.text()


def test_snakemake_killed_and_started_after_its_job_has_ended(trial: Trial) -> None:
    trial.start()
    trial.trained_a_little()
    job = trial.job()
    os.killpg(trial.snakemake.pid, signal.SIGKILL)
    trial.until(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", job))
    assert run(trial.folder, "--unlock").returncode == 0
    trial.start()
    log = trial.ends_well()
    # Whether Snakemake still calls the files incomplete depends on when it was killed; neither way trains again.
    assert "taken from" in log or "Nothing to be done" in trial.text()


def test_samples_drawn_by_three_jobs_are_those_of_one(undisturbed: Path, tmp_path: Path) -> None:
    """600 images are three batches."""
    folder = Path(shutil.copytree(undisturbed, tmp_path / "clone"))
    (folder / "slurm/site.yaml").write_text(SITE)
    samples = "evaluation/tiny/tinyfaces/vqgan_k16/prior_samples_2.npy"
    done = run(folder, "--cores", "2", samples, config=MANY)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = (folder / samples).read_bytes()
    done = run(folder, *THROUGH_SLURM, "--set-scatter", "samples=3", "-f", samples, config=MANY)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"submitted with SLURM jobid", done.stdout + done.stderr)) == 4
    assert (folder / samples).read_bytes() == alone


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 2), (2, 1)])
def test_a_training_on_several_gpus_and_nodes(built: Path, tmp_path: Path, nodes: int, gpus: int) -> None:
    """Pretended GPUs: the processes compute on the CPU and talk through gloo."""
    folder = tmp_path / "clone"
    shutil.copytree(built, folder)
    shutil.rmtree(folder / "state")
    (folder / CHECKPOINT).unlink()
    (folder / "slurm/site.yaml").write_text(f"{SITE}gpus: {gpus}\nnodes: {nodes}\n")
    done = run(folder, *THROUGH_SLURM, CHECKPOINT, config=TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes share each batch" in (folder / LOG).read_text()
    curve, alone = ((place / CHECKPOINT).with_suffix(".csv").read_text().split() for place in (folder, built))
    last, last_alone = (float(lines[-1].split(",")[1]) for lines in (curve, alone))
    assert last == pytest.approx(last_alone, rel=1e-3), "the same loss as that of one process"


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("partition: night\n", "partition: 'night' is not one of cpu, gpu"),
        ("gpu_partition: cpus\n", "gpu_partition: 'cpus' is not one of cpu, gpu"),
        (
            "gpu_partition: gpu\ngpu_type: a100\n",
            "partition gpu has 0 node(s) with 1 GPU(s) of type a100, 1 are needed",
        ),
        ("gpus: 3\n", "0 node(s) with 3 GPU(s)"),
        ("nodes: 3\n", "2 node(s) with 1 GPU(s), 3 are needed"),
        ("gpu: 3\n", "slurm/site.yaml: 1 wrong setting(s)"),
    ],
)
def test_what_the_cluster_has_not_is_said_before_the_first_job(undisturbed: Path, site: str, words: str) -> None:
    place = undisturbed / "slurm/site.yaml"
    try:
        place.write_text(site)
        done = run(undisturbed, *THROUGH_SLURM, "-f", CHECKPOINT)
        assert done.returncode != 0
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not slurm("squeue", "-h")
    finally:
        place.unlink()


def test_the_deadline_is_shortly_before_the_end_that_slurm_names(monkeypatch: pytest.MonkeyPatch) -> None:
    job = slurm("sbatch", "--parsable", "--output=/dev/null", "--time=10", "--wrap", "sleep 30")
    try:
        for _ in range(100):
            if slurm("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING":
                break
            time.sleep(0.1)
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert deadline() == pytest.approx(time.time() + 570, abs=5)
    finally:
        slurm("scancel", job)
    monkeypatch.delenv("SLURM_JOB_ID")
    assert deadline() is None
