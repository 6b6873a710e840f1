"""A cluster with Slurm: what it is called, whether it is there, how long a job still has, several processes.

Nothing here changes a result. Slurm is asked through its own commands.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from vqddm.artifacts import UserError
from vqddm.settings import Section, parse
from vqddm.yaml_file import read_file

EXAMPLE = "slurm/site.example.yaml"


def _taken(gpu_type: str) -> str:
    """Snakemake's executor refuses other types, though Slurm has them."""
    if not re.fullmatch(r"[A-Za-z0-9_.]+", gpu_type):
        raise ValueError(
            "Snakemake's Slurm executor takes letters, digits, `_` and `.` only; leave gpu_type out, and where a "
            "cluster has several types, choose the nodes by gpu_partition or constraint"
        )
    return gpu_type


# sbatch's arguments: the executor quotes them, but none may begin like an option or hold what ends a word.
Word = Annotated[str, Field(pattern=r"^[^\s'\"-][^\s'\"]*$")]


class Site(Section):
    """What a cluster's own names and limits are (`slurm/site.yaml`)."""

    account: Word | None = Field(default=None, description="account that the jobs are charged to")
    partition: Word | None = Field(default=None, description="partition of jobs without a GPU")
    gpu_partition: Word | None = Field(default=None, description="partition of jobs with GPUs")
    gpu_type: Annotated[str, AfterValidator(_taken)] | None = Field(
        default=None, description="as `sinfo -o %G` names it"
    )
    gpus: int = Field(default=1, gt=0, le=64, description="GPUs of one node that a training uses at most")
    nodes: int = Field(default=1, gt=0, le=10_000, description="nodes that a training uses at most")
    cpus_per_gpu: int = Field(default=4, gt=0, le=1024, description="CPU cores beside each GPU")
    hours: float = Field(
        default=24, gt=0, le=24 * 365, description="time limit of one job; a training goes on in the next try"
    )
    tries: int = Field(default=4, gt=0, le=1000, description="how often a training may be submitted in all")
    constraint: str | None = Field(default=None, description="sbatch's --constraint")
    qos: Word | None = Field(default=None, description="sbatch's --qos")

    def resources(self, partition: str, gpus: int = 0, nodes: int = 1) -> dict[str, Any]:
        """A rule's resources as Snakemake's Slurm executor names them.

        Args:
            partition: `partition` or `gpu_partition`, the setting that names it.
            gpus: GPUs of each node.
        """
        given = {
            "slurm_account": self.account,
            "slurm_partition": getattr(self, partition),
            "constraint": self.constraint,
            "qos": self.qos,
        }
        asked: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if gpus:
            asked["gres"] = f"gpu:{self.gpu_type}:{gpus}" if self.gpu_type else f"gpu:{gpus}"
        return {**asked, "cpus_per_task": max(1, gpus * self.cpus_per_gpu), "processes": max(1, gpus), "nodes": nodes}

    def share(self, batch_size: int) -> tuple[int, int]:
        """Nodes and GPUs of each that a training uses: as many of the site's as its batch can be split evenly over."""
        nodes = [n for n in range(1, self.nodes + 1) if batch_size % n == 0]
        even = [(n, g) for n in nodes for g in range(1, self.gpus + 1) if batch_size % (n * g) == 0]
        return max(even, key=lambda pair: (pair[0] * pair[1], pair[1]))


def load_site(path: Path) -> Site:
    """Read `slurm/site.yaml`; without the file every setting has its default.

    Raises:
        UserError: not YAML, a wrong key or a wrong value.
    """
    if not os.path.lexists(path):
        return Site()
    try:
        written = read_file(path)
    except UserError as error:
        raise UserError(f"{error}; compare it with {EXAMPLE}") from None
    return parse(Site, written.values, str(path), lambda keys: written.places.get(tuple(keys)))


def check_slurm(site: Site) -> None:
    """Before the first job: is there a Slurm, has it these partitions, have their nodes enough GPUs?

    Raises:
        UserError: says what is missing and where to set it.
    """
    told = _ask("sinfo", "--noheader", "--format=%P|%G|%D")
    if told is None:
        raise UserError(
            "Slurm does not answer on this machine (`sinfo` failed): run this on the cluster's login node, "
            "or leave `--profile slurm` out to run here"
        )
    rows = [line.split("|") for line in told.splitlines()]
    default = sorted({name[:-1] for name, _, _ in rows if name.endswith("*")})
    rows = [[name.removesuffix("*"), *rest] for name, *rest in rows]
    partitions = sorted({name for name, _, _ in rows})
    for key in ("partition", "gpu_partition"):
        name = getattr(site, key)
        if name is not None and not set(name.split(",")) <= set(partitions):
            raise UserError(f"slurm/site.yaml: {key}: '{name}' is not one of {', '.join(partitions)}")
    wanted = site.gpu_partition.split(",") if site.gpu_partition else default
    nodes = sum(int(count) for name, gres, count in rows if name in wanted and _gpus(gres, site.gpu_type) >= site.gpus)
    if nodes < site.nodes:
        kind = f" of type {site.gpu_type}" if site.gpu_type else ""
        raise UserError(
            f"partition {','.join(wanted)} has {nodes} node(s) with {site.gpus} GPU(s){kind}, {site.nodes} are needed; "
            f"`sinfo -o '%R %G %D'` lists what there is, slurm/site.yaml (see {EXAMPLE}) says what is asked for"
        )


def _gpus(gres: str, kind: str | None) -> int:
    """GPUs of the given type in a node's gres, such as `gpu:a100:4(S:0-1),nvme:1`."""
    count = 0
    for part in gres.replace("(null)", "").split(","):
        words = part.split("(")[0].split(":")
        if words[0] == "gpu" and (kind is None or words[1:-1] == [kind]):
            count += int(words[-1]) if words[-1].isdigit() else 1
    return count


def tell_orphans() -> None:
    """Before the first job: name the Slurm jobs that an earlier, killed Snakemake left at work in this folder."""
    told = _ask("squeue", "--noheader", "--me", "--format=%i|%k|%Z") or ""
    rows = [line.split("|", 2) for line in told.splitlines()]
    jobs = [job for job, comment, folder in rows if folder == str(Path.cwd()) and comment.startswith("rule_")]
    if jobs:
        print(
            f"vqddm: {len(jobs)} Slurm job(s) of an earlier run are still at work in this folder. Trainings wait for "
            f"them and take over what they finish; if you would rather not wait: scancel {' '.join(jobs)}",
            file=sys.stderr,
        )


def deadline() -> float | None:
    """When a step should save and end because its Slurm job is about to be killed: a Unix time in seconds.

    5 % of what is left when it is asked, between 10 s and 5 min, before the job's end. None outside of Slurm.
    """
    job = os.environ.get("SLURM_JOB_ID")
    told = _ask("squeue", "--noheader", f"--job={job}", "--format=%e") if job else None
    try:
        end = datetime.fromisoformat((told or "").strip()).timestamp()
    except ValueError:  # no limit, or no answer
        return None
    return end - min(max(0.05 * (end - time.time()), 10), 300)


def launch(arguments: Sequence[str] = (), *, processes: int = 1, nodes: int = 1) -> None:
    """Run the vqddm command that follows, in several processes: `vqddm launch --processes 4 prior train …`.

    This process becomes it, and does not return. Several processes are torchrun's.

    Args:
        arguments: the command with its own options.
        processes: on each node, one for each GPU.
        nodes: nodes of the Slurm job that this runs in.

    Raises:
        UserError: no command, or several nodes but no Slurm job.
    """
    if not arguments:
        raise UserError("no command to launch: `vqddm launch --processes 4 prior train …`")
    vqddm = str(Path(sys.argv[0]).resolve())
    environment = dict(os.environ)
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--no-python"]
    torchrun.append("--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1")  # it passes them on
    if nodes > 1:
        job = os.environ.get("SLURM_JOB_ID")
        if job is None:
            raise UserError(f"{nodes} nodes, but this is no Slurm job; use `--profile slurm` or --nodes 1")
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}"]
        meeting += [f"--rdzv-endpoint={socket.gethostname()}:{port}"]
        srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
        command = [*srun, *torchrun, *meeting, vqddm, *arguments]
        # The step that this runs in has one node; what Slurm says of it must not bind the new one.
        kept = {"SLURM_JOB_ID", "SLURM_CONF"}
        environment = {k: v for k, v in environment.items() if not k.startswith("SLURM_") or k in kept}
    elif processes > 1:
        command = [*torchrun, "--standalone", vqddm, *arguments]
    else:
        command = [vqddm, *arguments]
    os.execvpe(command[0], command, environment)


def _ask(*command: str) -> str | None:
    """What a Slurm command prints, or None where it is not there, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
