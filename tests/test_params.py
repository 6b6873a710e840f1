"""params.yaml, its typed form, its schema, and files written aside."""

from __future__ import annotations

import copy
import errno
import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqddm import params
from vqddm.artifacts import UserError, read_array, read_json, replacing, write_array, write_json
from vqddm.first_stages import codebook_size, sampled_features
from vqddm.paper.plan import plan_from
from vqddm.settings import TrainingParams, parse, to_json


@pytest.fixture
def values(root):
    """The project's params.yaml with its presets merged into its datasets."""
    return copy.deepcopy(params.with_presets(written(root)))


def written(root):
    return yaml.safe_load((root / "params.yaml").read_text())


def test_the_file_is_valid_and_its_schema_is_committed(root):
    assert params.load(root / "params.yaml").suite == "mini"
    committed = json.loads((root / "workflow/params.schema.json").read_text())
    assert committed == json.loads(json.dumps(params.schema())), "run `make schema`"


def test_a_wrong_key_is_named_with_what_is_allowed(values):
    values["datasets"]["faces"]["prior"]["unet"]["widht"] = 3
    with pytest.raises(UserError, match=r"faces\.prior\.unet\.widht: .*allowed here: width, multipliers"):
        parse(params.Params, values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(suite="huge"), "'huge' is not one of"),
        (lambda v: v["datasets"]["faces"].update(priors=["refit_k9_p9"]), "not among first_stages"),
        (lambda v: v["datasets"]["faces"]["data"].update(source="folder"), "needs `path`"),
        (
            lambda v: v["datasets"]["faces"]["data"].update(resolution=64),
            "autoencoder.resolution .*; give one for both",
        ),
        (lambda v: v["datasets"]["faces"]["vqgan"]["autoencoder"].update(width=33), "multiple of 4,"),
        (lambda v: v["datasets"]["faces"]["vqgan"]["autoencoder"].update(groups=24), "multiple of 24, the groups"),
        (
            lambda v: v["datasets"]["celebahq"]["vqgan"]["autoencoder"].update(groups=16),
            "official checkpoints need autoencoder.groups: 32",
        ),
        (lambda v: v["datasets"]["faces"]["vqgan"]["optimizer"].update(betas=[0.5, 1]), "less than 1"),
        (lambda v: v["datasets"]["faces"]["vqgan"]["optimizer"].update(betas=[0.5]), "betas"),
        (lambda v: v["datasets"]["faces"]["refit"]["optimizer"].update(schedule="linear"), "'constant' or 'cosine'"),
        (lambda v: v["datasets"]["faces"]["vqvae2"]["optimizer"].update(warmup_steps=-1), "greater than or equal to 0"),
        (lambda v: v["datasets"]["faces"]["vqgan"]["loss"].update(squared_weight=-1), "greater than or equal to 0"),
        (lambda v: v["datasets"]["faces"]["data"].update(validation=-1), "greater than or equal to 0"),
        (lambda v: v["datasets"]["faces"]["vqgan"]["autoencoder"].update(patch=5), "not a multiple of f = 10"),
        (
            lambda v: v["datasets"]["faces"]["data"].update(resolution=36),
            r"data.resolution is 36, vqgan.autoencoder.resolution 32; give one for both",
        ),
        (lambda v: v["datasets"]["faces"].update(first_stages=["vqgan-256"]), "is no first stage; there are"),
        (lambda v: v["datasets"]["faces"].update(priors=["refit"]), r"1 wrong setting(?s:.*)'refit' is no first stage"),
        (
            lambda v: v["datasets"]["faces"].update(first_stages=["vqgan_k256"] * 2),
            "first_stages: vqgan_k256 stands twice",
        ),
        (lambda v: v["suites"].update(bench=v["suites"]["mini"]), "'bench' means something else in paths"),
        (lambda v: v["suites"].update(prior=v["suites"]["mini"]), "'prior' means something else in paths"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(reference=10), "reference is smaller"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(step_sweep=[500]), "more than the timesteps of faces"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(nll_images=5000), "nll_images: 5000, but faces has 2000"),
        (lambda v: v["datasets"]["faces"]["refit"].update(source="refit_k2_p3"), "should match pattern"),
        (lambda v: v["datasets"]["faces"]["prior"].update(ema_decay=1.0), "less than 1"),
        (
            lambda v: v["datasets"]["faces"].update(first_stages=["vqgan_k70000"], priors=["vqgan_k70000"]),
            "65536 codes",
        ),
        (
            lambda v: v["datasets"]["faces"].update(first_stages=["refit_k20_p5"], priors=["refit_k20_p5"]),
            "fewer features",
        ),
        (lambda v: v["datasets"]["faces"]["prior"]["unet"].update(multipliers=[1, 1, 1, 1, 1]), "cannot be halved"),
        (lambda v: v["datasets"]["faces"]["refit"]["loss"].update(discriminator_width=8), "goes on training"),
        (lambda v: v["datasets"]["faces"]["prior"]["training"].update(batch_size=9000), "more than the 8000 images"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(temperature=float("inf")), "finite number"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(samples=7), "samples: .* greater than or equal to 8"),
        (
            lambda v: v["datasets"]["faces"]["prior"]["diffusion"].update(transition="absorbing", residual=False),
            "diffusion.transition must be uniform",
        ),
        (
            lambda v: v["datasets"]["faces"].update(absorbing=v["datasets"]["faces"]["prior"]),
            "diffusion.transition must be absorbing",
        ),
        (lambda v: v["datasets"]["faces"]["data"].update(test=7), "at least 8 images of each split|has 7"),
        (
            lambda v: (
                v["datasets"]["faces"]["data"].update(test=23),
                v["suites"]["mini"]["evaluate"].update(nll_images=20),
            ),
            "each of 3 draws needs at least 8 images of each split",
        ),
        (lambda v: v["suites"]["mini"]["evaluate"].update(neighbour_samples=1051), "more than the 1050 samples"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(neighbours=8001), "more than the training images of faces"),
        (lambda v: v["suites"]["mini"]["evaluate"].update(inpaintings=5), "each of 3 draws needs 2 inpaintings"),
    ],
)
def test_what_does_not_fit_together_is_said(values, change, words):
    change(values)
    with pytest.raises(UserError, match=words):
        parse(params.Params, values)


@pytest.mark.parametrize("few", [False, True])
def test_the_guides_own_pictures_fit(root, tmp_path, few):
    """The guide's entries, put where it says, are valid and ask no split for more than it has, of a small one too."""
    text, guide = (root / "params.yaml").read_text(), (root / "docs/how-to/own-pictures.md").read_text()
    dataset, *suites = (part.split("```")[0] for part in guide.split("```yaml\n")[1:])
    suite = suites[few]
    if few:
        dataset = dataset.replace("train: 2000", "train: 160").replace("test: 200", "test: 40")
    text = text.replace("\ndatasets:\n", f"\ndatasets:\n{dataset}").replace("\npresets:\n", f"{suite}\npresets:\n")
    (tmp_path / "params.yaml").write_text(text)
    found = params.load(tmp_path / "params.yaml")
    assert found.datasets["holidays"].data.source == "folder"
    wanted = found.suites["mini"].evaluate
    assert found.suites["holidays"].evaluate == (wanted.model_copy(update={"nll_images": 40}) if few else wanted)


def test_a_preset_is_laid_under_what_a_dataset_says(root):
    raw = written(root)
    raw["datasets"]["fashion"]["prior"] = {"training": {"steps": 77}}
    merged = params.resolve(raw).datasets
    assert merged["fashion"].prior.training.steps == 77 != merged["faces"].prior.training.steps
    assert merged["fashion"].prior.unet == merged["faces"].prior.unet
    own, inherited = merged["faces"].absorbing, merged["faces"].prior
    assert own.diffusion.transition == "absorbing" and not own.diffusion.residual
    assert own.unet == inherited.unet and own.training == inherited.training
    assert merged["celebahq"].refit.loss.discriminator_start == 0
    assert merged["faces"].refit.loss.perceptual_weight == merged["faces"].vqgan.loss.perceptual_weight


@given(st.recursive(st.integers(), lambda values: st.dictionaries(st.sampled_from("abc"), values, max_size=3)))
def test_nothing_laid_over_changes_nothing_and_all_laid_over_is_itself(tree):
    assert params.merged(tree, tree) == tree
    assert params.merged({}, tree) == tree
    if isinstance(tree, dict):
        assert params.merged(tree, {}) == tree


def test_dvc_watches_a_section_in_its_preset_and_its_own(root):
    raw = written(root)
    raw["datasets"]["fashion"]["prior"] = {"learning_rate": 0.1}
    assert params.sources(raw, "fashion", "prior") == ["presets.laptop32.prior", "datasets.fashion.prior"]
    assert params.sources(raw, "faces", "absorbing") == ["presets.laptop32.absorbing", "presets.laptop32.prior"]
    assert params.sources(raw, "faces", "refit") == [
        *("presets.laptop32.refit", "presets.laptop32.vqgan.loss", "presets.laptop32.vqgan.optimizer")
    ]
    assert params.sources(raw, "faces", "data.resolution") == ["datasets.faces.data.resolution"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["datasets"]["faces"].update(preset="huge"), "'huge' is no preset; there are laptop32, paper256"),
        (lambda v: v["presets"]["laptop32"]["prior"].update(stepz=1), r"presets\.laptop32\.prior\.stepz.*warmup_steps"),
        (lambda v: v["presets"]["paper256"]["ddpm"].update(groups=-1), r"presets\.paper256\.ddpm\.groups"),
        (
            lambda v: v["presets"]["laptop32"]["prior"]["diffusion"].update(schedule="cosin"),
            "'cosin' is no noise schedule; there are cosine, sqrt_cosine",
        ),
        (
            lambda v: v["datasets"]["faces"]["data"].update(source="face"),
            "no source of pictures; there are faces",
        ),
        (
            lambda v: v["datasets"]["faces"].update(baselines=["gpt"]),
            "'gpt' is no baseline; there are renoise, transf",
        ),
        (
            lambda v: v["datasets"]["lsun_church"].update(baselines=["absorbing"]),
            "absorbing needs the settings `abs",
        ),
        (
            lambda v: v["datasets"]["faces"].update(renoise={}),
            r"faces\.renoise: there is no such setting; allowed here: title",
        ),
    ],
)
def test_what_is_wrong_in_a_preset_or_a_name_is_said(root, change, words):
    values = written(root)
    change(values)
    with pytest.raises(UserError, match=words):
        params.resolve(values)


def test_another_sampler_has_the_settings_of_what_it_samples(values):
    values["datasets"]["lsun_church"]["baselines"] = ["renoise"]
    found = parse(params.Params, values)
    evaluate = found.suites["paper"].evaluate
    assert found.datasets["lsun_church"].steps("renoise", evaluate) == (4000,)
    sweeps = plan_from(found, "paper").datasets["lsun_church"].methods
    assert sweeps["renoise"] == sweeps["prior"] == (*evaluate.step_sweep, 4000)


def test_a_dvae_can_have_a_prior_and_a_vqvae2_none(values):
    values["datasets"]["fashion"]["priors"] = ["dvae_k256"]
    assert parse(params.Params, values).datasets["fashion"].priors == ("dvae_k256",)
    values["datasets"]["fashion"]["priors"] = ["vqvae2_k256"]
    with pytest.raises(UserError, match="gives 2 code maps"):
        parse(params.Params, values)


@pytest.mark.parametrize(("kind", "most"), [("vqgan", 65536), ("vqvae2", 32768)])
def test_a_codebook_has_at_most_as_many_codes_as_two_bytes_count(values, kind, most):
    """Those of VQ-VAE-2's second map are counted on from the first's."""
    before = values["datasets"]["fashion"]["first_stages"]
    values["datasets"]["fashion"]["first_stages"] = [*before, f"{kind}_k{most}"]
    parse(params.Params, values)
    values["datasets"]["fashion"]["first_stages"] = [*before, f"{kind}_k{most + 1}"]
    with pytest.raises(UserError, match=f"{kind}_k{most + 1} must have from 2 to {most} codes"):
        parse(params.Params, values)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not YAML"):
        params.load(tmp_path / "params.yaml")


def test_names_hold_their_numbers():
    assert codebook_size("vqgan_k256") == 256
    assert codebook_size("refit_k128_p4000") == 128
    assert sampled_features("refit_k128_p4000") == 4000
    for wrong in ("vqgan_k256", "refit_k12"):
        with pytest.raises(UserError):
            sampled_features(wrong)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_json_of_a_section_does_not_depend_on_the_order(section):
    assert to_json(section) == to_json(dict(reversed(section.items())))
    assert json.loads(to_json(section)) == section


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(UserError, match=r"not written .*not JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="the disk is full"), replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_cut_files_are_named(tmp_path):
    array = tmp_path / "a.npy"
    write_array(array, np.arange(1000))
    array.write_bytes(array.read_bytes()[:500])
    with pytest.raises(UserError, match=r"a\.npy: not a whole \.npy file"):
        read_array(array)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match=r"b\.json: not JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "c.json")


def test_a_word_that_yaml_1_1_reads_as_false_is_still_the_word():
    section = {"steps": 1, "batch_size": 1, "precision": False, "seed": 0}
    assert TrainingParams.model_validate(section).precision == "no"
    with pytest.raises(ValidationError, match="precision"):
        TrainingParams.model_validate(section | {"precision": True})


def test_settings_of_before_these_were_there_mean_what_they_meant(root):
    """Adam at a fixed rate, no squared error, no average: as the paper's settings say in words."""
    for dataset in ("celebahq", "imagenet"):
        older = written(root)
        preset = older["presets"][older["datasets"][dataset]["preset"]]
        for section in ("vqgan", "refit", "vqvae2", "dvae"):
            preset.get(section, {}).pop("optimizer", None)
        del preset["vqgan"]["loss"]["squared_weight"], preset["vqgan"]["autoencoder"]["groups"]
        whole, again = (params.resolve(values).datasets[dataset] for values in (written(root), older))
        assert again.model_dump(mode="json") == whole.model_dump(mode="json")


def test_the_tiny_suite_stands_alone_with_the_papers_networks(root):
    alone, project = (yaml.safe_load((root / name).read_text()) for name in ("tests/tiny.yaml", "params.yaml"))
    assert params.resolve(alone).suite == "tiny"
    assert params.paper_networks(alone) == params.paper_networks(project)
