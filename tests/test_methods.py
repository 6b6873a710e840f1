"""Every method through the functions that all share: samples, completions, likelihoods, speed; on a discrete VAE."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.recipes import PRIOR, TRANSFORMER, train_dvae_on, write_pictures
from PIL import Image

from vqddm import batches, samplers
from vqddm.artifacts import UserError, read_json, write_array
from vqddm.baselines.ddpm.network import add_noise, alpha_bars
from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.ddpm.train import train_ddpm
from vqddm.baselines.transformer.train import train_transformer
from vqddm.compute import step_generator
from vqddm.data.arrays import to_unit
from vqddm.data.grid import grid
from vqddm.evaluate import speed
from vqddm.evaluate.diffused import FRACTIONS, draw_diffused, predict
from vqddm.evaluate.film import COLUMNS, FRAMES, GAP, ROWS, SHOWN, SIDE, at_size, draw_film
from vqddm.evaluate.likelihood import measure_likelihood
from vqddm.prior import sample
from vqddm.prior.inpaint import inpaint_images
from vqddm.prior.masks import all_masks
from vqddm.prior.reverse import sample_codes
from vqddm.prior.sample import sample_images, sample_shard
from vqddm.prior.sampler import load_prior
from vqddm.prior.schedule import NoiseSchedule
from vqddm.prior.train import train_prior
from vqddm.refit import codes as codes_module
from vqddm.refit.codes import encode_shard, encode_splits
from vqddm.samplers import Process, Sampling, load_pair, load_sampler
from vqddm.settings import Section
from vqddm.vqgan.codec import decode_codes, encode_images, load_codec, mask_pixels

DDPM = DDPMParams(
    timesteps=20,
    patch=2,
    widths=(8, 16),
    blocks=1,
    attention=(4,),
    groups=4,
    learning_rate=0.004,
    warmup_steps=3,
    gradient_clip=1.0,
    ema_decay=0.8,
    training=PRIOR.training.model_copy(update={"batch_size": 16}),
)


def briefly(params: Section) -> Section:
    """The same settings, trained for five steps."""
    return params.model_copy(update={"training": params.training.model_copy(update={"steps": 5})})  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A discrete VAE of 16 codes in maps of 4 x 4, and a prior, an absorbing prior and a transformer on its codes."""
    folder = tmp_path_factory.mktemp("models")
    colours = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3), np.uint8)
    data = write_pictures(folder / "train.npy", colours.repeat(8, 1).repeat(8, 2))
    train_dvae_on(data, folder / "first_stage.safetensors")
    codes = folder / "codes.npy"
    stage = folder / "first_stage.safetensors"
    encode_splits(first_stage=stage, data=[data], state=folder / "encoding", out=[codes], threads=1)
    diffusion = PRIOR.diffusion.model_copy(update={"transition": "absorbing", "residual": False})
    absorbing = PRIOR.model_copy(update={"diffusion": diffusion})
    trainings: dict[str, tuple[Callable[..., None], Section]] = {
        "prior": (train_prior, PRIOR),
        "absorbing": (train_prior, absorbing),
        "transformer": (train_transformer, TRANSFORMER),
        "ddpm": (train_ddpm, DDPM),
    }
    for name, (train, params) in trainings.items():
        examples = {"data": data} if name == "ddpm" else {"codes": codes, "codebook_size": 16}
        made = {"out": folder / f"{name}.safetensors", "curve": folder / f"{name}.csv", "state": folder / name}
        validation = next(iter(examples.values()))
        train(params=briefly(params), validation=validation, threads=1, **examples, **made)
    return folder


@pytest.mark.parametrize("name", ["prior", "absorbing", "transformer", "ddpm"])
def test_samples_are_drawn_to_files_by_any_method(models: Path, tmp_path: Path, name: str) -> None:
    on_codes = name != "ddpm"
    stage = models / "first_stage.safetensors"

    def sample(again: str, seed: int = 1) -> np.ndarray:
        given = {"first_stage": stage, "codes": tmp_path / f"{again}_codes.npy"} if on_codes else {}
        out, checkpoint = tmp_path / f"{again}.npy", models / f"{name}.safetensors"
        sample_images(checkpoint=checkpoint, count=7, seed=seed, state=tmp_path / "s", out=out, threads=1, **given)
        return np.load(out)

    images = sample("one")
    assert images.shape == (7, 16, 16, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(sample("two"), images)
    assert (sample("three", seed=2) != images).any()
    assert not list((tmp_path / "s").glob("batches-*"))
    if on_codes:
        codes = np.load(tmp_path / "one_codes.npy")
        assert codes.shape == (7, 4, 4) and codes.dtype == np.uint16 and codes.max() < 16
        np.testing.assert_array_equal(decode_codes(load_codec(stage)[0], codes), images)


def test_the_other_sampler_draws_what_its_function_draws(models: Path, tmp_path: Path) -> None:
    """By name, in files, from the same checkpoint; one batch, so the same generator."""
    stage, checkpoint = models / "first_stage.safetensors", models / "prior.safetensors"
    drawn = {}
    for sampler in ("ancestral", "renoise"):
        made = {"codes": tmp_path / f"{sampler}_codes.npy", "out": tmp_path / f"{sampler}.npy", "state": tmp_path / "s"}
        given = {"checkpoint": checkpoint, "first_stage": stage, "count": 7, "steps": 3, "seed": 1, "threads": 1}
        sample_images(**given, **made, sampler=sampler)  # type: ignore[arg-type]
        generator = step_generator(1, 0, "cpu")
        drawn[sampler] = sample_codes(load_prior(checkpoint).network, (7, 4, 4), 3, 1.0, generator, sampler=sampler)  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.load(made["codes"]), drawn[sampler].numpy())
    assert (drawn["ancestral"] != drawn["renoise"]).any()


def test_codes_are_the_same_in_any_number_of_shards(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes_module, "KEPT", 1)
    monkeypatch.setattr(codes_module, "images_at_once", lambda *_: 16)
    pictures = np.load(models / "train.npy")
    none = write_pictures(tmp_path / "validation.npy", pictures[:0])
    given = {"first_stage": models / "first_stage.safetensors", "data": [models / "train.npy", none], "threads": 1}
    given["state"] = tmp_path / "state"
    whole, shared = ([tmp_path / f"{name}_{split}.npy" for split in "ab"] for name in ("whole", "shared"))
    encode_splits(out=whole, **given)
    for shard in ("3-of-3", "1-of-3"):
        encode_shard(shard=shard, **given)
    seen = []
    monkeypatch.setattr(codes_module, "encode_images", lambda *a: seen.append(len(a[1])) or encode_images(*a))
    encode_splits(out=shared, **given)
    assert seen == [16], "the second of three batches was left"
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in shared]
    np.testing.assert_array_equal(np.load(whole[0]), np.load(models / "codes.npy"))
    assert np.load(whole[1]).shape == (0, 4, 4)
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.parametrize("name", ["prior", "transformer", "ddpm"])
def test_samples_are_the_same_in_any_number_of_shards(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sample, "BATCH", 3)
    stage = {} if name == "ddpm" else {"first_stage": models / "first_stage.safetensors"}
    given = {"checkpoint": models / f"{name}.safetensors", "count": 7, "seed": 1, "threads": 1}

    def sampled(state: Path) -> bytes:
        sample_images(**given, **stage, state=state, out=tmp_path / "out.npy")
        return (tmp_path / "out.npy").read_bytes()

    whole = sampled(tmp_path / "alone")
    for shard in ("3-of-4", "1-of-4", "4-of-4", "2-of-4"):
        sample_shard(**given, shard=shard, state=tmp_path / "shared")
    drawn = sorted(path.name for path in (tmp_path / "shared").glob("batches-*/*"))
    assert drawn == ["00000.npy", "00001.npy", "00002.npy"]
    with monkeypatch.context() as patch:
        patch.setattr(batches, "write_array", lambda path, array: pytest.fail("drawn again") if path.parent != tmp_path
                      else write_array(path, array))  # fmt: skip
        assert sampled(tmp_path / "shared") == whole
    assert not list((tmp_path / "shared").glob("batches-*"))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("prior", {}, "give the first stage that decodes them"),
        ("prior", {"steps": 13}, "13 sampling steps: choose from 1 to T = 12"),
        ("transformer", {"steps": 10}, "10 sampling steps: choose from 16 to T = 16"),
        ("prior", {"temperature": 0.0}, "temperature 0.0: it must be above 0"),
        ("prior", {"count": 0}, "0 images"),
        ("ddpm", {"first_stage": "first_stage"}, "a ddpm fills pixels, not the codes of"),
        ("first_stage", {}, "holds a dvae; give the checkpoint of one of prior"),
    ],
)
def test_what_cannot_be_sampled_is_said(models: Path, tmp_path: Path, name: str, given: dict, words: str) -> None:
    if name in ("prior", "transformer") and given:
        given = {"first_stage": "first_stage", **given}
    given = {k: models / f"{v}.safetensors" if k == "first_stage" else v for k, v in given.items()}
    with pytest.raises(UserError, match=words):
        sample_images(checkpoint=models / f"{name}.safetensors", state=tmp_path, out=tmp_path / "x.npy", **given)


@pytest.mark.parametrize("name", ["prior", "absorbing", "transformer"])
@pytest.mark.parametrize("encode", ["masked", "full"])
def test_completions_keep_the_given_codes(models: Path, tmp_path: Path, name: str, encode: str) -> None:
    sampler: Process = "renoise" if encode == "full" else "ancestral"  # which the transformer passes over
    checkpoint, stage = models / f"{name}.safetensors", models / "first_stage.safetensors"
    inpaint_images(
        checkpoint=checkpoint,
        first_stage=stage,
        data=models / "train.npy",
        count=3,
        encode=encode,  # type: ignore[arg-type]
        seed=5,
        sampler=sampler,
        out=tmp_path / "found.npz",
        threads=1,
    )
    found, masks = np.load(tmp_path / "found.npz"), all_masks(4, 4, seed=5)
    assert list(found["names"]) == list(masks) and found["completed"].shape == (len(masks), 3, 16, 16, 3)
    originals = np.load(models / "train.npy")[:3]
    method, codec = load_pair(checkpoint, stage)
    how = Sampling(method.steps[-1], sampler=sampler)
    generator = torch.Generator().manual_seed(5)
    for mask, shown, completed in zip(masks.values(), found["masked"], found["completed"], strict=True):
        kept = mask.numpy().repeat(4, 0).repeat(4, 1)
        np.testing.assert_array_equal(shown[:, kept], originals[:, kept])
        assert (shown[:, ~kept] == 128).all()
        image = torch.from_numpy(originals).permute(0, 3, 1, 2) / 127.5 - 1
        codes = codec.encode(mask_pixels(image, mask) if encode == "masked" else image)
        if encode == "masked":  # exact grey, which no pixel in bytes has
            np.testing.assert_array_equal(encode_images(codec, originals, mask), codes)
        codes_found = method.complete(codes, mask, how, generator, lambda: None)
        assert torch.equal(codes_found[:, mask], codes[:, mask])
        np.testing.assert_array_equal(decode_codes(codec, codes_found.numpy()), completed)


def test_likelihoods_are_the_samplers_own(models: Path, tmp_path: Path) -> None:
    codes = models / "codes.npy"
    for name in ("prior", "absorbing", "transformer"):
        checkpoint, out = models / f"{name}.safetensors", tmp_path / f"{name}.json"
        measure_likelihood(checkpoint=checkpoint, codes_train=codes, codes_test=codes, images=9, seed=3, out=out)
        found, maps = read_json(out), torch.from_numpy(np.load(codes)[:9].astype(np.int64))
        bits = load_sampler(checkpoint).bits_per_code(maps, torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
        assert found["ceiling"] == 4 and found["train"] == found["test"]
        assert found["train"]["bits_per_code"] == pytest.approx(float(bits.each.mean()), rel=1e-6)
        assert found["train"]["standard_error"] == pytest.approx(float(bits.each.std()) / 3, rel=1e-6)
        diffusion = name != "transformer"
        assert ("timesteps" in found, "first_term" in found["train"]) == (diffusion, diffusion)
        if diffusion:
            assert found["timesteps"] == len(bits.terms) == 12
            assert found["train"]["first_term"] == pytest.approx(float(bits.terms[0]), rel=1e-6)
    with pytest.raises(UserError, match="a ddpm fills pixels"):
        measure_likelihood(
            checkpoint=models / "ddpm.safetensors", codes_train=codes, codes_test=codes, images=9, out=tmp_path / "x"
        )
    with pytest.raises(UserError, match="40 images, but the suite's `evaluate` asks for 41"):
        measure_likelihood(checkpoint=checkpoint, codes_train=codes, codes_test=codes, images=41, out=tmp_path / "x")


@pytest.mark.parametrize("name", ["prior", "absorbing", "transformer", "ddpm"])
def test_a_curve_ends_with_the_loss_of_the_weights_that_are_kept(models: Path, name: str) -> None:
    """By other means: the exact bound over all T terms, and the mean over all timesteps with other noise."""
    curve = pd.read_csv(models / f"{name}.csv")
    sampler, generator = load_sampler(models / f"{name}.safetensors"), torch.Generator().manual_seed(7)
    if name == "ddpm":
        images = to_unit(np.load(models / "train.npy"))
        errors = []
        for t in range(DDPM.timesteps):
            noise = torch.randn(images.shape, generator=generator)
            noisy = add_noise(images, noise, alpha_bars(DDPM.timesteps, torch.device("cpu"))[[t + 1] * len(images)])
            with torch.no_grad():
                found = sampler.network(noisy, torch.full((len(images),), t))  # type: ignore[attr-defined]
            errors.append(float((found - noise).square().mean()))
        expected = float(np.mean(errors))
    else:
        maps = torch.from_numpy(np.load(models / "codes.npy").astype(np.int64))
        expected = float(sampler.bits_per_code(maps, generator).each.mean())  # type: ignore[attr-defined]
    tolerance = 1e-5 if name == "transformer" else 0.15  # the others draw noise, and few timesteps
    assert curve["validation"].iloc[-1] == pytest.approx(expected, rel=tolerance)


def test_speed_is_that_of_one_step_of_one_example(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that says 96 seconds for whatever is timed."""
    monkeypatch.setattr(speed, "BATCH", 3)
    evaluated: list[object] = []

    def timed(work: Callable[[], object], device: str) -> tuple[float, float]:
        evaluated.append(work())
        return 96.0, 12.0

    monkeypatch.setattr(speed, "seconds", timed)
    files = {name: models / f"{name}.safetensors" for name in ("prior", "first_stage", "transformer", "ddpm")}
    speed.measure_speed(**files, name="dvae_k16", out=tmp_path / "speed.json", threads=1)
    found = read_json(tmp_path / "speed.json")
    assert [len(made) for made in evaluated] == [3, 3, 3, 3]  # type: ignore[arg-type]
    assert (found["first_stage"], found["batch_size"], found["threads"]) == ("dvae_k16", 3, 1)
    assert (found["seconds_per_step"], found["seconds_per_step_std"]) == (96 / 30, 12 / 30)  # 10 of 12 steps
    assert (found["seconds_decode"], found["seconds_decode_std"], found["timesteps"]) == (32, 4, 12)
    assert found["prior_parameters"] == sum(p.numel() for p in load_sampler(files["prior"]).network.parameters())
    assert found["transformer"] == {"seconds_per_step": 2, "seconds_per_step_std": 0.25, "steps": 16}
    assert found["ddpm"] == {"seconds_per_step": 96 / 30, "seconds_per_step_std": 0.4, "timesteps": 20}
    speed.measure_speed(**{k: files[k] for k in ("prior", "first_stage")}, name="x", out=tmp_path / "speed.json")
    assert read_json(tmp_path / "speed.json").keys() & {"transformer", "ddpm"} == set()


def test_repeats_are_timed_after_one_that_is_not() -> None:
    calls: list[int] = []
    mean, spread = speed.seconds(lambda: calls.append(1), "cpu")
    assert len(calls) == 1 + speed.REPEATS and 0 <= mean < 1 and spread is not None


def test_figure_2_shows_what_is_lost_and_what_the_prior_makes_of_it(models: Path, tmp_path: Path) -> None:
    files = {name: models / f"{name}.safetensors" for name in ("prior", "first_stage")}
    draw_diffused(**files, data=models / "train.npy", image=4, seed=2, out=tmp_path / "diffused.npz", threads=1)
    found = np.load(tmp_path / "diffused.npz")
    image, codec = np.load(models / "train.npy")[4:5], load_codec(files["first_stage"])[0]
    codes = found["codes"].astype(np.int64)
    np.testing.assert_array_equal(found["image"], image[0])
    np.testing.assert_array_equal(codes[0], encode_images(codec, image)[0])
    np.testing.assert_array_equal(found["decoded"], decode_codes(codec, codes))
    np.testing.assert_array_equal(found["reconstruction"], found["decoded"][0])
    assert found["timesteps"].tolist() == [round(f * 12) for f in FRACTIONS]
    changed = [set(map(tuple, np.argwhere(z != codes[0]))) for z in codes]
    stays = [set(map(tuple, np.argwhere(z == codes[-1]))) for z in codes]
    assert not changed[0] and len(changed[-1]) >= 12, "nearly all codes are drawn anew at T"
    assert all(before <= after for before, after in pairwise(stays)), "what is lost stays lost"
    row, column = found["position"]
    keep = [float(NoiseSchedule(12, "cosine").interval(0, int(t), torch.float64).keep) for t in found["timesteps"]]
    bars = found["bar_codes"]
    expected = [(1 - k) / 16 + k * (bars == codes[0, row, column]) for k in keep]
    np.testing.assert_allclose(found["forward"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["predicted"][0], bars == codes[0, row, column])
    assert found["predicted"].shape == (5, 8) and (found["predicted"].sum(1) <= 1 + 1e-5).all()


def test_figure_2_and_the_film_take_only_what_belongs_together(models: Path, tmp_path: Path) -> None:
    files = {name: models / f"{name}.safetensors" for name in ("prior", "first_stage")}
    asked = {"data": models / "train.npy", "out": tmp_path / "diffused.npz"}
    with pytest.raises(UserError, match=r"train.npy: has pictures 0 to \d+; there is no 5000"):
        draw_diffused(**files, **asked, image=5000)
    absorbing = files | {"prior": models / "absorbing.safetensors"}
    transformer = files | {"prior": models / "transformer.safetensors"}
    for wrong in (absorbing, transformer):
        with pytest.raises(UserError, match="give a prior with the uniform transition"):
            draw_diffused(**wrong, **asked)
        with pytest.raises(UserError, match="give a prior with the uniform transition"):
            draw_film(**wrong, out=tmp_path / "film.webp", strip=tmp_path / "film.png")
    assert not list(tmp_path.iterdir())


def test_figure_2_forms_the_last_step_as_the_prior_does(models: Path) -> None:
    """At t = 1 and `as_printed` that is Cat(p0) itself (Eq. 22)."""
    prior: Any = load_sampler(models / "prior.safetensors").network
    z, one = torch.arange(16).view(1, 4, 4), torch.tensor([1])
    for last_step, same in (("as_printed", True), ("posterior", False)):
        prior.diffusion = prior.diffusion.model_copy(update={"last_step": last_step})
        with torch.no_grad():
            p0, found = prior(z, one).softmax(-1), predict(prior, z, 1)
        assert torch.equal(found, p0) == same


@pytest.mark.parametrize(("shape", "size"), [((8, 8), 16), ((4, 4), 17)])
def test_a_method_and_a_first_stage_with_other_codes_are_refused(
    models: Path, shape: tuple[int, int], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = models / "prior.safetensors", models / "first_stage.safetensors"
    sampler = SimpleNamespace(about={"kind": "prior"}, shape=shape, codebook_size=size)
    monkeypatch.setattr(samplers, "load_sampler", lambda *_: sampler)
    words = (
        rf"prior\.safetensors was trained on {size} codes in maps of {shape[0]} x .*first_stage\.safetensors makes 16 "
    )
    with pytest.raises(UserError, match=words):
        load_pair(*files)


@pytest.mark.parametrize("side", [8, 32])
def test_pictures_of_another_size_than_the_first_stages_are_refused(models: Path, side: int, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "train.npy", np.zeros((40, side, side, 3), np.uint8))
    stage, out = models / "first_stage.safetensors", tmp_path / "out"
    with pytest.raises(UserError, match=f"images of {side} pixels, but the first stage takes 16"):
        inpaint_images(checkpoint=models / "prior.safetensors", first_stage=stage, data=data, out=out)
    with pytest.raises(UserError, match=f"images of {side} pixels, but the first stage takes 16"):
        draw_diffused(prior=models / "prior.safetensors", first_stage=stage, data=data, out=out)
    with pytest.raises(UserError, match=f"images of {side} pixels, but the first stage takes 16"):
        train_dvae_on(data, tmp_path / "dvae.safetensors")
    assert not out.exists()


def test_each_split_to_be_encoded_needs_a_file(models: Path, tmp_path: Path) -> None:
    files = {"first_stage": models / "first_stage.safetensors", "data": [models / "train.npy"] * 2}
    with pytest.raises(UserError, match="2 splits are to be encoded into 1 files"):
        encode_splits(**files, state=tmp_path / "state", out=[tmp_path / "one.npy"])
    assert not list(tmp_path.iterdir())


def test_the_film_shows_the_whole_reverse_process(models: Path, tmp_path: Path) -> None:
    """It ends with what the same seed samples, and its strip has a column for each of a few timesteps."""
    film, strip = tmp_path / "film.webp", tmp_path / "film.png"
    files = {name: models / f"{name}.safetensors" for name in ("prior", "first_stage")}
    draw_film(**files, seed=3, out=film, strip=strip, threads=1)
    prior, (codec, _) = load_prior(files["prior"]), load_codec(files["first_stage"])
    count, generator = COLUMNS * ROWS, torch.Generator().manual_seed(3)
    codes = sample_codes(prior.network, (count, *prior.shape), prior.steps[-1], 1.0, generator)
    last = np.asarray(grid([at_size(image) for image in decode_codes(codec, codes.numpy())], COLUMNS, GAP), int)
    with Image.open(film) as animation, Image.open(strip) as columns:
        assert animation.n_frames == min(prior.steps[-1], FRAMES) + 1 and animation.size == last.shape[1::-1]
        animation.seek(animation.n_frames - 1)
        assert np.abs(np.asarray(animation.convert("RGB"), int) - last).mean() < 12  # WebP loses some
        animation.seek(0)
        assert np.abs(np.asarray(animation.convert("RGB"), int) - last).mean() > 20
        assert columns.width == SHOWN * (SIDE + GAP) - GAP
