"""Exported folders: read by vqddm and by diffusers, refused when damaged; the commands; the wheel."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import types
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.models import AUTOENCODER, random_pair
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from test_cli import said
from tiny import copy_of

import vqddm
from vqddm.api import folders
from vqddm.api.commands import show
from vqddm.api.curves import tensorboard
from vqddm.api.export import OURS, export
from vqddm.api.folders import PRIOR
from vqddm.artifacts import PLACE, UserError, describe_checkpoint, read_json, write_checkpoint
from vqddm.paper.render import with_spread
from vqddm.vqgan.settings import AutoencoderParams

ROOT = Path(__file__).parent.parent
SHIPPED = folders.CHECKPOINTS
METRICS = ROOT / "results/mini/metrics/faces/refit_k256_p4000"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a folder go into the test's own, and nothing comes with the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "CHECKPOINTS", tmp_path / "shipped")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_gives_the_same_pictures(pair: Path, tmp_path: Path) -> None:
    export(pair, out=tmp_path / "full", precision="full")
    own, exported = vqddm.load(pair), vqddm.load(tmp_path / "full")
    drawn = own.sample(3, steps=9)
    assert torch.equal(exported.sample(3, steps=9).pixels, drawn.pixels)
    assert torch.equal(exported.encode(drawn), own.encode(drawn))
    assert torch.equal(exported.bits_per_code(own.encode(drawn)), own.bits_per_code(own.encode(drawn)))


def test_half_precision_takes_half_the_space_and_changes_hardly_anything(pair: Path, tmp_path: Path) -> None:
    for precision in ("full", "half"):
        export(pair, out=tmp_path / precision, precision=precision)  # type: ignore[arg-type]
    sizes = [sum((tmp_path / each / name).stat().st_size for name in OURS) for each in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    full, half = (vqddm.load(tmp_path / each) for each in ("full", "half"))
    codes = full.sample_codes(4, steps=9)
    difference = full.decode(codes).pixels.float() - half.decode(codes).pixels.float()
    assert difference.abs().mean() < 1
    assert (half.encode(full.decode(codes)) == full.encode(full.decode(codes))).float().mean() > 0.9


def test_an_export_can_be_repeated_byte_by_byte(pair: Path, tmp_path: Path) -> None:
    export(pair, out=tmp_path / "toy")
    before = files(tmp_path / "toy")
    assert set(before) == OURS
    export(pair, out=tmp_path / "toy")
    assert files(tmp_path / "toy") == before
    header = describe_checkpoint(tmp_path / "toy/prior/model.safetensors")
    assert (
        header["kind"] == "prior"
        and header["made_with"] == describe_checkpoint(pair / "prior.safetensors")["made_with"]
    )


def test_what_lies_there_already_is_not_lost(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays/beach.jpg").touch()
    with pytest.raises(UserError, match=r"holidays: holds beach\.jpg, which is no part of an export"):
        export(pair, out=tmp_path / "holidays")
    with pytest.raises(UserError, match=r"beach\.jpg: a file; name a folder"):
        export(pair, out=tmp_path / "holidays/beach.jpg")
    assert set(files(tmp_path / "holidays")) == {"beach.jpg"}


def test_a_killed_export_goes_on(pair: Path, tmp_path: Path) -> None:
    """What a dead process left half written of a file of an export is no foreign file."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    half = tmp_path / "toy" / Path(PRIOR).with_name(f".{Path(PRIOR).stem}.{PLACE}.{dead.pid}.partial.safetensors")
    half.parent.mkdir(parents=True)
    half.touch()
    export(pair, out=tmp_path / "toy")
    assert set(files(tmp_path / "toy")) == OURS


def test_a_folder_of_ones_own_is_told_from_a_shipped_model_of_its_name(pair: Path, tmp_path: Path, capsys: Any) -> None:
    export(pair, out=tmp_path / "shipped/toy")
    shutil.copytree(pair, tmp_path / "toy")
    (tmp_path / "toy/prior.safetensors").unlink()
    code, told, _ = said(capsys, "show", "toy")
    assert code == 0 and "prior" in told
    code, _, words = said(capsys, "show", "./toy")
    assert code == 1 and "holds no prior.safetensors" in words


@pytest.mark.parametrize("name", ["faces", "fashion"])
def test_what_comes_with_the_package_is_small_and_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "CHECKPOINTS", SHIPPED)
    if name not in folders.names():
        pytest.skip(f"vqddm/checkpoints/{name} is not there; `make checkpoints` writes it once the suite is built")
    shipped = files(SHIPPED / name)
    assert set(shipped) == OURS and sum(map(len, shipped.values())) < 40e6
    assert b"kept in half precision" in shipped["README.md"] and b"Nothing." not in shipped["README.md"]
    model = vqddm.load(name, "cpu")
    drawn = model.sample(2, steps=5)
    assert drawn.pixels.float().std() > 10
    assert model.reconstruct(drawn).pixels.shape == drawn.pixels.shape


GEOMETRIES: dict[str, dict[str, Any]] = {
    "patches, one level": {},
    "the paper's, smaller": {
        "resolution": 64,
        "patch": 1,
        "multipliers": (1, 1, 2, 2, 4),
        "blocks": 2,
        "attention": (4,),
    },
    "attention at several sizes": {"patch": 2, "multipliers": (1, 2, 2), "attention": (16, 8), "z_channels": 8},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_card_says_how_diffusers_gives_the_same_pictures(name: str, tmp_path: Path) -> None:
    """The card's own code is run, on a picture of ours."""
    autoencoder = AutoencoderParams.model_validate(AUTOENCODER.model_dump() | GEOMETRIES[name])
    export(random_pair(tmp_path / "pair", autoencoder), out=tmp_path / "toy")
    model = vqddm.load("./toy")
    blocks = re.findall(r"```python\n(.*?)```", (tmp_path / "toy/README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("FOLDER", "./toy"), names)
    assert torch.equal(names["codes"], model.encode(names["drawn"])) and Path("samples.png").exists()
    ours = model.reconstruct((names["pictures"] + 1) / 2).pixels  # rounded to bytes before it is encoded
    rounded = (names["pictures"] + 1).mul(127.5).round() / 127.5 - 1
    again = re.sub(r"(?m)^pictures = .*$", "", blocks[1]).replace("FOLDER", "./toy")
    exec(again, names := {"pictures": rounded})
    theirs = ((names["again"].clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1)
    assert (ours.float() - theirs).abs().max() <= 1, "a byte may be rounded the other way"
    assert (ours == theirs).float().mean() > 0.999


def test_the_card_tells_what_made_the_model_and_what_was_measured(pair: Path, tmp_path: Path) -> None:
    export(pair, out=tmp_path / "toy", results=METRICS)
    measured = [read_json(METRICS / f"{name}.json")["distance"] for name in ("reconstruction", "prior_samples_100")]
    rebuilt, drawn = ((distance["frechet"], distance["frechet_std"]) for distance in measured)
    bits = read_json(METRICS / "prior_likelihood.json")["test"]["bits_per_code"]
    text = (tmp_path / "toy/README.md").read_text()
    assert text.startswith("---\nlicense: mit\n") and "{" not in text.split("```")[0]
    for words in (
        "# toy",
        "pictures of 32 x 32 pixels into maps of 8 x 8 codes out of 256",
        "- First stage: a VQ-GAN trained from scratch, 2,600 steps of 32, seed 0\n",
        "- First stage: its codebook rebuilt by k-means of features (ReFiT's first half), 4,000 of them\n"
        "- First stage: decoder and codebook fine-tuned, encoder frozen (ReFiT's second half), 400 steps of 32",
        "- Prior, 2,600 steps of 32, seed 0",
        f"| reconstructions, FD (EfficientNet-Lite0) | {with_spread(*rebuilt)}, 350 pictures a draw |",
        f"| samples of 100 steps, FD (EfficientNet-Lite0) | {with_spread(*drawn)}, 350 pictures a draw |",
        f"| bits per code, at most | {bits:.3f} of 8.00 |",
    ):
        assert words in text, words
    assert (tmp_path / "toy/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    (tmp_path / "mine.txt").write_text("Mine.")
    export(pair, out=tmp_path / "toy", licence=tmp_path / "mine.txt")
    text = (tmp_path / "toy/README.md").read_text()
    assert "license: other" in text and "measured\n\nNothing." in text
    assert (tmp_path / "toy/LICENSE").read_text() == "Mine."
    with pytest.raises(UserError, match=r"holds none of reconstruction\.json, prior_samples_100\.json"):
        export(pair, out=tmp_path / "toy", results=tmp_path)
    with pytest.raises(UserError, match=r"none\.txt: no text that can be read"):
        export(pair, out=tmp_path / "toy", licence=tmp_path / "none.txt")


def test_what_cannot_be_exported_is_said(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no first_stage\.safetensors and no prior\.safetensors; give"):
        export(tmp_path, out=tmp_path / "toy")
    random_pair(tmp_path / "pair")
    tensors, about = vqddm.api.folders.read_checkpoint(pair / "prior.safetensors", "prior")
    tensors["unet.time.mlp.0.weight"][0, 0] = 1e6
    write_checkpoint(tmp_path / "pair/prior.safetensors", tensors, about)
    export(pair, out=tmp_path / "toy")
    before = files(tmp_path / "toy")
    with pytest.raises(UserError, match=r"unet\.time\.mlp\.0\.weight holds numbers too large for half precision"):
        export(tmp_path / "pair", out=tmp_path / "toy")
    assert files(tmp_path / "toy") == before, "the earlier export stays"


def test_what_is_half_written_is_no_model(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(pair, out=tmp_path / "toy")

    def full(path: Path, *_: Any) -> None:
        raise UserError(f"{path}: the disk is full")

    monkeypatch.setattr("vqddm.api.export.write_tensors", full)
    with pytest.raises(UserError, match="the disk is full"):
        export(pair, out=tmp_path / "toy")
    with pytest.raises(UserError, match="nor the config"):
        vqddm.load("./toy")


def damage(folder: Path, what: str) -> None:
    config = folder / "config.json"
    if what == "another config":
        config.write_text('{"model_type": "bert"}')
    elif what == "no config":
        config.write_text("{")
    elif what == "a lost file":
        (folder / "prior/model.safetensors").unlink()
    elif what == "other weights":
        path = folder / "first_stage/diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif what == "an unknown network":
        about = json.loads(config.read_text())
        del about["sha256"]
        config.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("another config", r"config\.json: describes no model that `vqddm export` wrote"),
        ("no config", r"config\.json: not JSON"),
        ("a lost file", r"prior/model\.safetensors: is missing; export the model again"),
        ("other weights", r"diffusion_pytorch_model\.safetensors: is not what was exported"),
        ("an unknown network", r"config\.json: lacks `sha256`"),
    ],
)
def test_a_damaged_export_is_named(pair: Path, tmp_path: Path, what: str, words: str) -> None:
    export(pair, out=tmp_path / "toy")
    damage(tmp_path / "toy", what)
    if "config" in what:
        with pytest.raises(UserError, match=words):
            show("toy")
    with pytest.raises(UserError, match=words):
        vqddm.load("./toy")


def test_the_commands_write_pictures(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = str(pair)
    code, told, _ = said(capsys, "sample", given, "-n", "5", "--steps", "3", "--scale", "1", "-o", "faces.png")
    assert (code, told) == (0, "faces.png: 5 pictures of 32 x 32\n")
    with Image.open("faces.png") as sheet:
        assert sheet.size == (3 * 34 - 2, 2 * 34 - 2)
    model = vqddm.load(pair)
    model.sample(1, steps=3)[0].save("one.png")
    Image.new("L", (32, 32), "white").save("mask.png")
    assert said(capsys, "reconstruct", "one.png", "faces.png", "--model", given, "--scale", "1")[0] == 0
    with Image.open("reconstructed.png") as sheet:
        assert sheet.size == (66, 66)
        np.testing.assert_array_equal(np.asarray(sheet)[34:, :32], model.reconstruct("one.png").pixels[0])
    assert said(capsys, "inpaint", "one.png", "--mask", "mask.png", "--model", given, "-n", "2")[0] == 0
    with Image.open("inpainted.png") as sheet:
        assert sheet.size == (5 * 100, 5 * 32), "about 512 pixels wide"
    for number in ("0", "-1", "100"):
        code, _, words = said(capsys, "sample", given, "--scale", number)
        assert code == 1 and f"scale: {number} cannot be; give a whole number from 1 on that makes a sheet" in words
    code, told, _ = said(capsys, "export", given, "-o", "exported")
    assert code == 0 and told.startswith("exported: ") and told.endswith("MB; `vqddm sample exported` tries it\n")
    assert said(capsys, "sample", "exported", "-n", "1", "--steps", "1")[0] == 0 and Path("samples.png").exists()
    for model in (given, "exported"):
        code, told, words = said(capsys, "show", model)
        assert code == 0, words
        first, second = (yaml.safe_load(text.rpartition("tensors:")[0]) for text in told.split("\n\n"))
        assert first["kind"] == "first stage" and second["kind"] == "prior"


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["sample"], r"faces: neither a folder nor a model that comes with vqddm \(there are: none in this"),
        (["inpaint", "picture.png", "--mask", "mask.png"], "faces: neither a folder nor a model"),
        (["sample", "PAIR", "--steps", "200"], "200 sampling steps: choose from 1 to T = 100"),
        (["sample", "PAIR", "--device", "cuda:77"], "device cuda:77: not to be had here"),
        (["sample", "PAIR", "--device", "gpu"], r"device gpu: not to be had here \(give cpu or cuda\)"),
        (["export", "nope", "-o", "model"], "nope: there is no such folder; give that of a trained pair"),
        (["sample", "PAIR", "-o", "faces.txt"], "faces.txt: a picture's name ends with one of .png"),
        (["sample", "PAIR", "-o", "mask.png/faces.png"], "mask.png/faces.png: cannot be written; "),
        (["reconstruct", "--model", "PAIR"], "vqddm reconstruct: PICTURES is missing"),
        (["reconstruct", "none.png", "--model", "PAIR"], "none.png: cannot be read"),
        (["reconstruct", "text.png", "--model", "PAIR"], "text.png: not a whole picture"),
        (["inpaint", "picture.png", "--mask", "mask.png", "--model", "PAIR"], "the mask is 5 x 5, but must be"),
        (["inpaint", "picture.png", "--mask", "picture.png", "--model", "PAIR"], "the mask marks nothing"),
        (["inpaint", "picture.png", "--mask", "none.png", "--model", "PAIR"], "none.png: cannot be read"),
        (["reconstruct", "picture.png", "--model", "PAIR", "-o", "picture.png"], "one of the pictures that are read"),
        (["inpaint", "picture.png", "--mask", "mask.png", "--model", "PAIR", "-o", "./mask.png"], "that are read"),
    ],
)
def test_bad_inputs_end_with_one_sentence(
    pair: Path, tokens: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.png").write_text("text")
    Image.new("RGB", (20, 20)).save("picture.png")
    Image.new("L", (5, 5), "white").save("mask.png")
    code, told, error = said(capsys, *(str(pair) if token == "PAIR" else token for token in tokens))
    assert code in (1, 2) and told == "" and re.search(words, error) and "Traceback" not in error
    assert "step/s" not in error or "cannot be written" in error, "what cannot be drawn is refused before it begins"
    assert code == (2 if "is missing" in words else 1)
    assert not list(Path().glob("*ed.png")) and not Path("samples.png").exists()


CURVE = "step,reconstruction,codebook\n5,0.5,0.25\n10,0.25,0.125\n"


def test_curves_become_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a writer in the place of TensorBoard's, which the environment has not."""
    written: list[tuple[str, str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def __enter__(self) -> SummaryWriter:
            return self

        def __exit__(self, *_: object) -> None: ...

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((self.folder, name, value, step))

    stand_in = types.ModuleType("tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    curve = tmp_path / "models/toy/refit/first_stage.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text(CURVE)
    (curve.parent / "other.csv").write_text("a,b\n1,2\n")
    old = tmp_path / "runs/toy/refit/first_stage/events.out.tfevents.1"
    old.parent.mkdir(parents=True)
    old.touch()
    assert tensorboard(Path("models"), out=Path("runs")).startswith("runs: 1 runs; `tensorboard --logdir runs`")
    run = "runs/toy/refit/first_stage"
    assert written == [
        (run, "reconstruction", 0.5, 5),
        (run, "codebook", 0.25, 5),
        (run, "reconstruction", 0.25, 10),
        (run, "codebook", 0.125, 10),
    ]
    assert not old.exists()
    curve.write_text(CURVE + "15,x\n")
    with pytest.raises(UserError, match=r"first_stage\.csv: not a curve"):
        tensorboard(Path("models"))
    with pytest.raises(UserError, match="runs: holds no curve"):
        tensorboard(Path("runs"))


def test_a_missing_tensorboard_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="TensorBoard is not installed; say `pip install tensorboard`"):
        tensorboard(Path())


def needed(name: str, found: set[str]) -> set[str]:
    """What a distribution needs, without extras, directly or not."""
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        if requirement.name not in found and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            needed(requirement.name, found | {requirement.name} if found.add(requirement.name) else found)
    return found


def test_the_lock_pins_what_pyproject_asks_for() -> None:
    """What is installed with the project, for the workflow and for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in [*project["dependencies"], *extras["workflow"], *extras["dev"]]]
    pinned = dict(
        re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    for requirement in asked:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.slow
def test_the_wheel_works_with_nothing_but_what_it_asks_for(pair: Path, tmp_path: Path) -> None:
    """An environment of its own holds the wheel and, as links, the distributions that it names and theirs."""
    source = copy_of(ROOT, tmp_path / "source")
    export(pair, out=source / "vqddm/checkpoints/faces")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(wheel, check=True, capture_output=True)
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    [file] = tmp_path.glob("vqddm-*.whl")
    subprocess.run(
        [*pip, "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(file)], check=True
    )
    [site] = (tmp_path / "venv/lib").glob("python*/site-packages")
    [about] = site.glob("vqddm-*.dist-info")
    asked = {Requirement(text) for text in importlib.metadata.Distribution.at(about).requires or []}
    names = {requirement.name for requirement in asked if not requirement.marker}
    assert {"torch", "cyclopts", "safetensors"} <= names and not names & {"snakemake", "dvc", "diffusers", "accelerate"}
    for name in set().union(names, *(needed(name, set()) for name in names)):
        for part in {path.parts[0] for path in importlib.metadata.files(name) or [] if path.parts[0] != ".."}:
            if not (site / part).exists():
                (site / part).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(part))))
    script = "import vqddm; print(vqddm.__file__); vqddm.load('faces').sample(2, steps=2)[0].save('one.png')"
    commands = [[python, "-c", script], [python.with_name("vqddm"), "--help"]]
    commands += [[python.with_name("vqddm"), "sample", "faces", "-n", "4", "--steps", "2", "-o", "four.png"]]
    commands += [[python.with_name("vqddm"), "prior", "train", "--help"]]
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    told = [
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        for command in commands
    ]
    assert [done.returncode for done in told] == [0, 0, 0, 1], "\n".join(done.stderr for done in told)
    assert told[3].stderr == "vqddm: accelerate is not installed; this needs `pip install 'vqddm[workflow]'`\n"
    assert told[0].stdout.startswith(str(site)) and (tmp_path / "four.png").exists()


@pytest.mark.slow
def test_what_the_pipeline_trained_is_loaded_exported_and_described(built: Path, tmp_path: Path) -> None:
    trained = built / "models/tinyfaces/refit_k16_p100"
    model = vqddm.load(trained, "cpu")
    drawn = model.sample(3)
    assert drawn.pixels.shape == (3, 16, 16, 3) and model.shape == (4, 4)
    export(trained, out=tmp_path / "tiny", results=built / "results/tiny/metrics/tinyfaces/refit_k16_p100")
    assert vqddm.load("./tiny").sample(3).pixels.shape == drawn.pixels.shape
    text = (tmp_path / "tiny/README.md").read_text()
    assert "(ReFiT's first half), 100 of them\n" in text
    assert "(ReFiT's second half), 20 steps of 16, seed 1\n- Prior, 60 steps of 32, seed 0\n" in text
    assert "samples of 10 steps, FD (EfficientNet-Lite0)" in text and "of 4.00" in text
