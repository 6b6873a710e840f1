"""A rehearsal of the paper's suite (`make rehearse`): whole DAG, true networks and file formats, few of everything.

Runs in `rehearsal/`, a copy of the project's own files, and ends with the time and the memory that it took.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import torch
import yaml
from PIL import Image
from tiny import BIN, copy_of

from vqddm.params import AutoencoderParams
from vqddm.vqgan.model import Discriminator, FirstStage

ROOT = Path(__file__).parent.parent
PICTURES = 24


def picture(number: int) -> Image.Image:
    """A seeded picture, a little larger than 256 px and not square."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((360, 270), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_originals(folder: Path) -> None:
    """The three datasets in the forms that their makers give them out in."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "celebahq", "w") as archive:
        for number in range(PICTURES):
            archive.writestr(f"CelebA-HQ-img/{number}.jpg", encoded(picture(number), "jpeg"))
    with (
        lmdb.open(str(folder / "lsun_church"), map_size=1 << 26) as database,
        database.begin(write=True) as transaction,
    ):
        for number in range(PICTURES):
            key = hashlib.sha1(str(number).encode()).hexdigest().encode()
            transaction.put(key, encoded(picture(100 + number), "webp"))
    for number in range(PICTURES):
        path = folder / f"imagenet/n{number % 4:08d}/n{number % 4:08d}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(200 + number), "jpeg"))


def write_checkpoints(folder: Path, datasets: dict) -> None:
    """Official checkpoints in Lightning's format, untrained; CelebA-HQ's inside a transformer's."""
    for name in ("celebahq", "imagenet"):
        vqgan = datasets[name]["vqgan"]
        for first_stage, path in vqgan["pretrained"].items():
            torch.manual_seed(0)
            codes = int(first_stage.removeprefix("vqgan_k"))
            tensors = dict(FirstStage(AutoencoderParams.model_validate(vqgan["autoencoder"]), codes).state_dict())
            if name == "celebahq":
                tensors = {f"first_stage_model.{key}": value for key, value in tensors.items()}
            else:
                loss = vqgan["loss"]
                discriminator = Discriminator(loss["discriminator_width"], loss["discriminator_layers"])
                tensors |= {f"loss.discriminator.{key}": value for key, value in discriminator.state_dict().items()}
            torch.save({"state_dict": tensors, "epoch": 0}, folder / Path(path).name)


class Memory(threading.Thread):
    """Watches the resident memory of a process and all that it started; `peak` is in bytes."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peak = root, 0

    def run(self) -> None:
        import psutil

        while psutil.pid_exists(self.root):
            total = 0
            try:
                for process in [psutil.Process(self.root), *psutil.Process(self.root).children(recursive=True)]:
                    total += process.memory_info().rss
            except psutil.Error:  # one has just ended
                continue
            self.peak = max(self.peak, total)
            time.sleep(0.5)


def main() -> None:
    folder = ROOT / "rehearsal"
    if not (folder / "params.yaml").exists():
        copy_of(ROOT, folder)
        write_originals(folder / "data/originals")
        write_checkpoints(folder / "data/originals", yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"])
    began = time.monotonic()
    command = [BIN / "snakemake", "--cores", "all", "--configfile", "tests/rehearsal.yaml", *sys.argv[1:]]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    snakemake = subprocess.Popen(command, cwd=folder, env=environment)
    memory = Memory(snakemake.pid)
    memory.start()
    if snakemake.wait():
        sys.exit(
            f"the rehearsal failed after {(time.monotonic() - began) / 60:.0f} min; `make rehearse` goes on with it"
        )
    print(f"the rehearsal is whole: {(time.monotonic() - began) / 60:.0f} min, at most {memory.peak / 2**30:.1f} GiB")
    print(f"its page is {folder.relative_to(Path.cwd())}/results/paper/index.html; `rm -r rehearsal` deletes it")


if __name__ == "__main__":
    main()
