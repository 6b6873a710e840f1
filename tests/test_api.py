"""A model for use: the Python names and their examples, what they give and refuse, without the workflow."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from helpers.models import random_pair
from PIL import Image

import vqddm
from vqddm.api import folders, model, pictures
from vqddm.api.export import export
from vqddm.artifacts import UserError
from vqddm.data.arrays import to_bytes, to_unit
from vqddm.data.pictures import read_picture
from vqddm.data.walk import Picture
from vqddm.prior.reverse import inpaint_codes
from vqddm.prior.sample import sample_images
from vqddm.samplers import Process, load_pair
from vqddm.vqgan import codec as codecs
from vqddm.vqgan.codec import mask_pixels

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained pair's folder; nobody trained it."""
    return random_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def shipped(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the place of the checkpoints that come with the package, with one model, `faces`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    export(pair, out=folder / "faces")
    return folder


@pytest.fixture(autouse=True)
def at_home(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model is found by name, and files without a folder go into the test's own."""
    monkeypatch.setattr(folders, "CHECKPOINTS", shipped)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def loaded(pair: Path) -> vqddm.Model:
    return vqddm.load(pair, "cpu")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    colours = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    return colours.repeat(8, 1).repeat(8, 2)


def test_the_examples_of_the_documentation_are_true(tmp_path: Path) -> None:
    runner, names = doctest.DocTestRunner(), {}
    found = doctest.DocTestFinder().find(model, globs={})
    own = [name for name, value in vars(vqddm.Model).items() if not name.startswith("_") and callable(value)]
    examples = {test.name.split(".")[-1]: test for test in found if test.examples}
    assert examples.keys() == {"load", *own}, "every public function has an example"
    for test in (examples[name] for name in ("load", *own)):
        test.globs = names  # one session from top to bottom
        runner.run(test, clear_globs=False)
    assert runner.summarize().failed == 0
    assert (tmp_path / "faces.png").exists()


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/trained-model.md"])
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "one.jpg")
    exec(compile("".join(blocks), page, "exec"), {})
    assert (tmp_path / "faces.png").exists() and (tmp_path / "again.png").exists()


def test_all_pages_with_examples_are_run() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert sum("```python" in page.read_text() for page in pages) == 2, "name the page in the test above"


def test_the_package_is_light_and_its_names_are_there() -> None:
    script = "import sys, vqddm; vqddm.UserError; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert all(getattr(vqddm, name) for name in vqddm.__all__)
    assert dir(vqddm) == vqddm.__all__  # what a completion offers
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        vqddm.lod  # noqa: B018


WORKFLOW = """accelerate dicebear dicebear_core diffusers dvc efficientnet_lite_pytorch jinja2 lmdb matplotlib pandas
resvg_py scipy sklearn snakemake threadpoolctl torch_fidelity torchvision"""
ALONE = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {WORKFLOW.split()}:
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Refuse())
import vqddm, vqddm.cli
from PIL import Image
model = vqddm.load(sys.argv[1])
[found] = model.inpaint(model.sample(1, steps=2), Image.new("L", (8, 8), "white"))
print(model.bits_per_code(model.encode(found)).shape)
vqddm.cli.run(["sample", sys.argv[1], "-n", "2", "--steps", "2", "-o", "two.png"])
vqddm.cli.run(["--help"])
"""


def test_nothing_of_the_workflow_is_imported(pair: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(pair)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.Size([1])\ntwo.png: 2 pictures of 32 x 32\n")
    assert (tmp_path / "two.png").exists()


def test_samples_are_those_of_the_pipeline(loaded: vqddm.Model, pair: Path, tmp_path: Path) -> None:
    sample_images(
        checkpoint=pair / "prior.safetensors",
        first_stage=pair / "first_stage.safetensors",
        count=5,
        steps=7,
        seed=3,
        temperature=0.9,
        state=tmp_path / "state",
        out=tmp_path / "samples.npy",
    )
    ticks: list[int] = []
    made = loaded.sample(5, steps=7, seed=3, temperature=0.9, tick=lambda: ticks.append(1))
    np.testing.assert_array_equal(made.pixels.numpy(), np.load(tmp_path / "samples.npy"))
    side = f"{loaded.resolution} x {loaded.resolution}"
    assert repr(made) == f"<5 pictures of {side}>" and f"{side} pixels" in repr(loaded)
    codes = loaded.sample_codes(5, steps=7, seed=3, temperature=0.9)
    np.testing.assert_array_equal(codes.numpy(), np.load(tmp_path / "samples_codes.npy"))
    assert torch.equal(
        loaded.sample(np.int64(5), steps=7, seed=np.int64(3), temperature=np.float64(0.9)).pixels, made.pixels
    )
    assert len(ticks) == 7 and not torch.equal(codes, loaded.sample_codes(5, steps=7, seed=4, temperature=0.9))
    codes[0, 0, 0] = 0  # an ordinary tensor


def test_large_numbers_are_drawn_in_batches(loaded: vqddm.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "BATCH", 4)
    monkeypatch.setattr(codecs, "images_at_once", lambda params, device: 3)
    made = loaded.sample(6, steps=2)
    torch.testing.assert_close(made.pixels[:4], loaded.sample(4, steps=2).pixels)
    assert len(made) == 6 and len(loaded.reconstruct(made)) == 6
    completed = loaded.inpaint(made, np.ones((8, 8), bool), completions=2)
    assert [len(of_one) for of_one in completed] == [2] * 6


@pytest.mark.parametrize("sampler", get_args(Process))
def test_the_reverse_process_ends_with_the_sample(loaded: vqddm.Model, sampler: Process) -> None:
    maps = list(loaded.watch(3, steps=5, seed=8, sampler=sampler))
    assert len(maps) == 6 and torch.equal(maps[-1], loaded.sample_codes(3, steps=5, seed=8, sampler=sampler))
    assert torch.equal(maps[-1], loaded.sample_codes(3, steps=5, seed=8)) == (sampler == "ancestral")
    assert all(not torch.equal(before, maps[-1]) for before in maps[:-1])


def test_codes_and_reconstructions_are_the_first_stages(loaded: vqddm.Model, pair: Path, pixels: np.ndarray) -> None:
    _, codec = load_pair(pair / "prior.safetensors", pair / "first_stage.safetensors")
    with torch.no_grad():
        codes = codec.encode(to_unit(pixels).contiguous(memory_format=torch.channels_last))
        again = to_bytes(codec.decode(codes))
    assert torch.equal(loaded.encode(pixels), codes)
    np.testing.assert_array_equal(loaded.reconstruct(pixels).pixels.numpy(), again)
    generator = torch.Generator().manual_seed(4)
    bits = loaded.sampler.bits_per_code(codes, generator).each
    assert torch.equal(loaded.bits_per_code(loaded.encode(pixels), seed=np.int64(4)), bits)


@pytest.mark.parametrize(("encode", "sampler", "steps"), [("masked", "ancestral", None), ("full", "renoise", 9)])
def test_what_a_mask_leaves_stays(
    loaded: vqddm.Model, pixels: np.ndarray, encode: Any, sampler: Any, steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[torch.Tensor] = []
    monkeypatch.setattr(loaded, "decode", lambda codes: decoded.append(codes) or pictures.Pictures(codes))
    anew = np.zeros((8, 8), bool)
    anew[2:5, 1:] = True
    given, ticks = torch.from_numpy(~anew), list[int]()
    encoder, encoded = loaded.codec.encode, list[torch.Tensor]()
    monkeypatch.setattr(loaded.codec, "encode", lambda images: encoded.append(images) or encoder(images))
    loaded.inpaint(
        pixels[:2],
        anew,
        completions=3,
        steps=steps,
        seed=np.int64(6),
        temperature=0.8,
        sampler=sampler,
        encode=encode,
        tick=lambda: ticks.append(1),
    )
    images = to_unit(pixels[:2])
    seen = mask_pixels(images, given) if encode == "masked" else images  # grey is 0 here, as for the suites
    torch.testing.assert_close(encoded[0], seen, rtol=0, atol=0)
    known = encoder(seen).repeat_interleave(3, 0)
    assert torch.equal(decoded[0][:, given], known[:, given])
    wanted = inpaint_codes(
        loaded.sampler.network, known, given, steps or 100, 0.8, torch.Generator().manual_seed(6), sampler=sampler
    )
    assert torch.equal(decoded[0], wanted) and len(ticks) == (steps or 100)
    again = loaded.masked(pixels[:2], anew).pixels
    assert (again[:, 8:20, 4:] == 128).all()
    np.testing.assert_array_equal(again[:, :8], pixels[:2, :8])


def test_a_picture_is_the_same_however_it_is_given(loaded: vqddm.Model, pixels: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    Image.fromarray(pixels[0]).save(file)
    floats = torch.from_numpy(pixels[:1]).permute(0, 3, 1, 2) / 255
    forms = [file, str(file), [file], Image.open(file), [Image.open(file)], pixels[:1], torch.from_numpy(pixels[:1])]
    codes = [loaded.encode(form) for form in [*forms, floats, pictures.Pictures(torch.from_numpy(pixels[:1]))]]
    assert all(torch.equal(found, codes[0]) for found in codes)


def odd_pictures(folder: Path) -> list[Path]:
    """A picture that lies on its side, transparent ones, greys, a palette; none of them square."""
    rng = np.random.default_rng(5)
    colours = Image.fromarray(rng.integers(0, 256, (30, 50, 3), np.uint8)).resize((100, 60))
    turned = Image.Exif()
    turned[0x0112] = 6
    colours.save(folder / "turned.jpg", exif=turned)
    clear = colours.copy()
    clear.putalpha(Image.linear_gradient("L").resize(colours.size))
    clear.save(folder / "clear.png")
    colours.quantize(16).save(folder / "palette.png", transparency=3)
    colours.convert("L").save(folder / "grey.png", transparency=120)
    colours.convert("CMYK").save(folder / "ink.jpg")
    return sorted(folder.glob("*.*"))


def test_opened_pictures_are_read_as_data_preparation_reads_their_files(tmp_path: Path) -> None:
    for file in odd_pictures(tmp_path):
        wanted = read_picture(Picture(file), 32)
        for given in (file, Image.open(file)):
            found = pictures.to_pixels(pictures.upright(given), 32)
            np.testing.assert_array_equal(found[0].numpy(), wanted, err_msg=str(file))


def test_masks_may_be_of_the_pictures_size_the_models_or_the_maps() -> None:
    wide = [Image.new("RGB", (96, 64))]
    mask = np.zeros((64, 96), bool)
    mask[0, 16] = True  # the first pixel of the central square
    wanted = torch.ones(8, 8, dtype=torch.bool)
    wanted[0, 0] = False
    assert torch.equal(pictures.given_codes(mask, wide, 32, (8, 8)), wanted)
    small = Image.new("L", (32, 32))
    small.putpixel((3, 3), 255)
    assert torch.equal(pictures.given_codes(small, wide, 32, (8, 8)), wanted)
    assert torch.equal(pictures.given_codes(~wanted, wide, 32, (8, 8)), wanted)
    large, fine = [Image.new("RGB", (1024, 1024))], np.zeros((1024, 1024), bool)
    fine[40, 70] = True  # one pixel of the 1024 that become one
    assert torch.equal(pictures.given_codes(fine, large, 32, (8, 8)), wanted)
    outside = np.zeros((64, 96), bool)
    outside[:, :16] = True
    with pytest.raises(UserError, match="the mask marks nothing of the picture's central square"):
        pictures.given_codes(outside, wide, 32, (8, 8))
    outside[:, 16] = True
    assert not pictures.given_codes(outside, wide, 32, (8, 8))[:, 0].any()


def test_pictures_are_a_sequence(pixels: np.ndarray) -> None:
    made = pictures.Pictures(torch.from_numpy(pixels))
    assert [np.asarray(picture).sum() for picture in made] == [picture.sum() for picture in pixels]
    assert torch.equal(made[1:3].pixels, made.pixels[1:3]) and len(made) == 5
    assert made.sheet().size == (3 * 34 - 2, 2 * 34 - 2)
    assert made.sheet(columns=5).size == (5 * 34 - 2, 32)
    np.testing.assert_array_equal(np.asarray(made.sheet())[34:66, 34:66], pixels[4])


CODES = torch.zeros(1, 8, 8, dtype=torch.int64)
BLANK = np.zeros((1, 32, 32, 3), np.uint8)
WRONG: dict[str, tuple[Any, str]] = {
    "no samples": (lambda m: m.sample(0), "0 images: there must be at least one"),
    "too many steps": (lambda m: m.sample(1, steps=101), "101 sampling steps: choose from 1 to T = 100"),
    "no steps": (lambda m: m.watch(1, steps=0), "0 sampling steps"),
    "no warmth": (lambda m: m.sample(1, temperature=0), "temperature 0: it must be above 0"),
    "warmth in words": (lambda m: m.sample(1, temperature="warm"), "'warm' is no number"),
    "how many in words": (lambda m: m.sample("one"), "'one' images: that is no whole number"),
    "half a picture": (lambda m: m.sample(1.5), "1.5 images: that is no whole number"),
    "a seed in words": (lambda m: m.sample(1, seed="a"), "seed 'a': it must be a whole number"),
    "negative seed": (lambda m: m.sample(1, seed=-1), "seed -1: it must be from 0"),
    "negative seed of bits": (lambda m: m.bits_per_code(CODES, seed=-1), "seed -1"),
    "no picture": (lambda m: m.encode([]), "no picture was given"),
    "an empty array": (lambda m: m.encode(BLANK[:0]), "no picture was given"),
    "another array": (lambda m: m.encode(BLANK[0]), r"uint8 \(32, 32, 3\) are no pictures"),
    "floats of bytes": (lambda m: m.encode(np.full((1, 3, 8, 8), 255.0)), "floats .* from 0 to 1"),
    "not a number": (lambda m: m.encode(np.full((1, 3, 8, 8), np.nan)), "floats .* from 0 to 1"),
    "no file": (lambda m: m.encode("none.png"), r"none.png: cannot be read \(No such file"),
    "no image": (lambda m: m.encode([3]), "a int is no picture"),
    "too deep": (lambda m: m.encode(Image.new("I", (8, 8), 70000)), "greys from 70000 to 70000 where 0 to 65535"),
    "codes of another type": (lambda m: m.decode(CODES.int()), r"torch.int32 \(1, 8, 8\): no code maps"),
    "codes of another shape": (lambda m: m.decode(CODES[0]), r"give int64 \(n, 8, 8\)"),
    "no codes": (lambda m: m.decode(CODES[:0]), "no code maps"),
    "a large code": (lambda m: m.decode(CODES + 256), "code 256 is none of the codebook's 256"),
    "a negative code": (lambda m: m.bits_per_code(CODES - 1), "code -1 is none"),
    "an empty mask": (lambda m: m.inpaint(BLANK, np.zeros((8, 8), bool)), "the mask marks nothing"),
    "a mask beside the central square": (
        lambda m: m.inpaint(Image.new("RGB", (32, 64)), np.arange(64)[:, None].repeat(32, 1) < 4),
        "nothing of the picture's central square",
    ),
    "another mask": (lambda m: m.inpaint(BLANK, np.ones((9, 7), bool)), "the mask is 7 x 9, but must be .* 32 x 32"),
    "a mask of floats": (lambda m: m.inpaint(BLANK, np.ones((8, 8))), "float64 .* is no mask"),
    "no completions": (lambda m: m.inpaint(BLANK, np.ones((8, 8), bool), completions=0), "0 completions"),
    "words for completions": (lambda m: m.inpaint(BLANK, np.ones((8, 8), bool), completions="a"), "'a' completions"),
    "half a completion": (lambda m: m.inpaint(BLANK, np.ones((8, 8), bool), completions=1.5), "1.5 completions"),
    "no way to encode": (lambda m: m.inpaint(BLANK, np.ones((8, 8), bool), encode="x"), "encode 'x': choose from mas"),
    "words for steps": (lambda m: m.sample(1, steps="5"), "'5' sampling steps: choose from 1"),
    "steps that are no whole number": (lambda m: m.sample(1, steps=3.0), "3.0 sampling steps: choose from 1"),
    "nothing": (lambda m: m.encode(None), "a NoneType is no picture"),
    "a number": (lambda m: m.encode(5), "a int is no picture"),
    "none of some": (lambda m: m.encode(m.sample(1, steps=1)[:0]), "no picture was given"),
    "a sheet of none": (lambda m: m.sample(1, steps=1)[:0].sheet(), "0 pictures, None in a row"),
    "a sheet without columns": (lambda m: m.sample(1, steps=1).sheet(0), "1 pictures, 0 in a row"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said_in_one_sentence(loaded: vqddm.Model, name: str) -> None:
    ask, words = WRONG[name]
    with pytest.raises(UserError, match=words) as error:
        ask(loaded)
    assert "\n" not in str(error.value)


def test_a_deep_image_is_what_its_file_is(tmp_path: Path) -> None:
    levels = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024)
    levels.save(tmp_path / "deep.png")
    ours, theirs = (pictures.to_pixels(pictures.upright(image), 8) for image in (levels, tmp_path / "deep.png"))
    assert torch.equal(ours, theirs) and ours[0, :, :, 0].flatten().tolist() == list(range(0, 256, 4))


def test_what_cannot_be_loaded_is_said(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="~nobody-here/faces: there is no user ~nobody-here; write the whole path"):
        vqddm.load("~nobody-here/faces")
    assert vqddm.load(pair, torch.device("cpu")).device.type == "cpu"  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"cats: neither a folder nor a model .* \(there are: faces\)"):
        vqddm.load("cats")
    with pytest.raises(UserError, match=r"holds no first_stage.safetensors and no prior.safetensors, nor the config"):
        vqddm.load(tmp_path)
    for device in ("cuda:99", "tpu", "mps", "meta", "nonsense"):
        with pytest.raises(UserError, match=f"device {device}: not to be had here"):
            vqddm.load(pair, device)
    (tmp_path / "faces").mkdir()
    with pytest.raises(UserError, match="holds no first_stage"):
        vqddm.load("./faces")
    assert vqddm.load("faces").resolution == 32


def test_a_prior_of_other_maps_is_refused(pair: Path, tmp_path: Path) -> None:
    from helpers.models import AUTOENCODER

    random_pair(tmp_path, AUTOENCODER.model_copy(update={"resolution": 64}))
    (tmp_path / "prior.safetensors").write_bytes((pair / "prior.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"on 256 codes in maps of 8 x 8, .* makes 256 codes in maps of 16 x 16"):
        vqddm.load(tmp_path)
