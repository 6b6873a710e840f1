"""A rehearsal of the paper's suite (`make rehearse`): whole DAG, true networks and file formats, few of everything.

Runs in `rehearsal/`, a copy of the project's own files, and ends with the time and the memory that it took.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
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

from vqddm.artifacts import replacing
from vqddm.params import with_presets
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import AutoencoderParams

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


def refresh(folder: Path) -> None:
    """The project's own files as they are now, and none that it no longer has; what was made before stays."""
    aside = folder / ".refresh"
    shutil.rmtree(aside, ignore_errors=True)  # a killed run's
    for own in copy_of(ROOT, aside).iterdir():
        target = folder / own.name
        if target.is_dir():
            shutil.rmtree(target)
        own.replace(target)
    aside.rmdir()


def write_originals(folder: Path) -> None:
    """The three datasets in the forms that their makers give them out in; the folder gets its name once it is whole."""
    if folder.exists():
        return
    aside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)  # a killed run's
    aside.mkdir(parents=True)
    write_pictures(aside)
    aside.rename(folder)


def write_pictures(folder: Path) -> None:
    with zipfile.ZipFile(folder / "celebahq", "w") as archive:
        for number in range(PICTURES):
            archive.writestr(f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg", encoded(picture(number), "jpeg"))
            mask = encoded(picture(number).convert("L"), "png")
            archive.writestr(f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/{number:05d}_hair.png", mask)
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
    """Official checkpoints in Lightning's format, untrained, where they are not yet there.

    As in the release, CelebA-HQ's lies inside a transformer's, and the discriminator of ImageNet's K = 16384 has
    2 layers.
    """
    for name in ("celebahq", "imagenet"):
        vqgan = datasets[name]["vqgan"]
        for first_stage, path in vqgan["pretrained"].items():
            if (folder / Path(path).name).exists():
                continue
            torch.manual_seed(0)
            codes = int(first_stage.removeprefix("vqgan_k"))
            tensors = dict(FirstStage(AutoencoderParams.model_validate(vqgan["autoencoder"]), codes).state_dict())
            if name == "celebahq":
                tensors = {f"first_stage_model.{key}": value for key, value in tensors.items()}
            else:
                loss = vqgan["loss"]
                layers = 2 if codes == 16384 else loss["discriminator_layers"]
                discriminator = Discriminator(loss["discriminator_width"], layers)
                tensors |= {f"loss.discriminator.{key}": value for key, value in discriminator.state_dict().items()}
            with replacing(folder / Path(path).name) as aside:
                torch.save({"state_dict": tensors, "epoch": 0}, aside)


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
    refresh(folder)
    write_originals(folder / "data/originals")
    values = with_presets(yaml.safe_load((ROOT / "params.yaml").read_text()))
    write_checkpoints(folder / "data/originals", values["datasets"])
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
