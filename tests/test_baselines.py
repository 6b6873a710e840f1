"""What is compared with, in the numbers: seams, paired intervals, counts; and where they stand in tables and claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from test_paper import FD, judge, lay, make_metrics, make_plan, row
from test_transformer import PARAMS

from vqddm.artifacts import UserError, read_json, write_array
from vqddm.baselines.transformer import CodeTransformer
from vqddm.evaluate.counts import macs
from vqddm.evaluate.features import extract
from vqddm.evaluate.inpainting import interval, measure_inpainting, seam
from vqddm.evaluate.networks import PAPER_AUTOENCODER, PAPER_TRANSFORMER, count_transformer
from vqddm.paper.plan import Plan
from vqddm.paper.tables import TABLES

STAGE = "faces/refit_k256_p4000"


def test_a_seam_is_the_jump_across_the_border() -> None:
    given = torch.tensor([[True, False], [True, False]])
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, :, 2:] = 51  # all of the right half is 0.2 brighter
    images[:, :, 0] = 200  # a jump elsewhere does not count
    np.testing.assert_allclose(seam(images, given), [0, 0.2])
    assert seam(images, torch.ones(2, 2, dtype=torch.bool)).tolist() == [0, 0]


def test_an_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    np.testing.assert_allclose(interval(values), expected, rtol=1e-4)


def write_completions(path: Path, noise: float) -> None:
    """Twelve pictures of two colours, of which the lower half is given; the rest has so much noise."""
    rng = np.random.default_rng(7)
    originals = np.repeat(rng.integers(40, 200, (12, 1, 1, 3)), 16, 1).repeat(16, 2)
    completed = originals + rng.normal(0, noise, originals.shape) * (np.arange(16) < 8)[None, :, None, None]
    arrays = (np.clip(x, 0, 255).astype(np.uint8)[None] for x in (originals, completed))
    masks = (np.arange(4) >= 2)[None, :, None].repeat(4, 2)
    np.savez(path, names=np.array(["lower"]), masks=masks, **dict(zip(("originals", "completed"), arrays, strict=True)))


def test_completions_are_compared_picture_by_picture(tmp_path: Path) -> None:
    noises = {"near": 8.0, "far": 40.0}
    for name, noise in noises.items():
        write_completions(tmp_path / f"{name}.npz", noise)
    reference, network = tmp_path / "features.npy", "efficientnet_lite0"
    write_array(reference, extract(np.load(tmp_path / "near.npz")["originals"][0], network))
    for name in noises:
        measure_inpainting(
            tmp_path / f"{name}.npz", reference, network, tmp_path / f"{name}.json", tmp_path / "near.npz"
        )
    near, far = (read_json(tmp_path / f"{name}.json")["masks"]["lower"] for name in noises)
    assert near["agreement"] < far["agreement"] < far["chance"]
    assert near["seam_original"] == far["seam_original"] == 0
    assert near["frechet"] < far["frechet"]
    assert near["minus"] == {"agreement": [0, 0], "seam": [0, 0]}
    for key in ("agreement", "seam"):
        low, high = far["minus"][key]
        assert 0 < low < far[key] - near[key] < high
        assert far[f"{key}_interval"][0] < far[key] < far[f"{key}_interval"][1]
    arrays = dict(np.load(tmp_path / "far.npz"))
    np.savez(tmp_path / "other.npz", **(arrays | {"originals": arrays["originals"][:, ::-1]}))
    with pytest.raises(UserError, match="other pictures or masks"):
        measure_inpainting(tmp_path / "far.npz", reference, network, tmp_path / "x.json", tmp_path / "other.npz")


def test_a_transformers_cost_is_that_of_all_its_steps() -> None:
    """The mean of the first and the last step against every step counted, and the matrices of a whole map."""
    autoencoder = PAPER_AUTOENCODER.model_copy(update={"resolution": 64})  # 4 x 4 codes
    found = count_transformer(autoencoder, 32, PARAMS)
    with torch.device("meta"):
        network, codes = CodeTransformer(32, PARAMS), torch.zeros(1, 16, dtype=torch.int64)
    matrices = 12 * PARAMS.layers * PARAMS.width**2 + PARAMS.width * 32
    steps = [matrices + 2 * PARAMS.layers * PARAMS.width * (position + 1) for position in range(16)]
    assert found["prior"]["macs_per_step"] == sum(steps) // 16
    assert found["macs_per_image"] - found["autoencoder"]["decoder_macs"] == sum(steps)
    assert macs(network, codes) == 16 * matrices + 2 * PARAMS.layers * PARAMS.width * 16**2
    paper = count_transformer(PAPER_AUTOENCODER, 1024, PAPER_TRANSFORMER)
    assert paper["prior"]["parameters"] / 1e6 == pytest.approx(802, abs=0.5)


@pytest.fixture
def plan() -> Plan:
    made = make_plan()
    faces = made.datasets["faces"].model_copy(update={"baselines": ("transformer", "absorbing")})
    return made.model_copy(update={"datasets": made.datasets | {"faces": faces}})


def with_baselines() -> dict[str, Any]:
    metrics = make_metrics()
    sampled = metrics[f"{STAGE}/samples_100"]
    for name, frechet in (("transformer", 33.5), ("absorbing", 38.25)):
        distance = sampled["distance"] | {"frechet": frechet}
        metrics[f"{STAGE}/{name}_samples"] = {"steps": None, "samples": 1000, "temperature": 1.0, "distance": distance}
        splits = {s: {"bits_per_code": 2.5, "standard_error": 0.02, "images": 128} for s in ("train", "test")}
        metrics[f"{STAGE}/{name}_likelihood"] = splits | {"ceiling": 8.0}
    counts = metrics[f"{STAGE}/counts"]
    transformer = {"parameters": 870_000, "macs_per_step": 900_000, "macs_per_step_as_paper": None}
    metrics[f"{STAGE}/transformer_counts"] = counts | {"prior": transformer, "timesteps": 64}
    metrics["faces/speed"]["transformer"] = {"seconds_per_step": 0.003, "steps": 64}
    blocks = metrics[f"{STAGE}/inpainting"]["masks"]
    compared = {name: mask | {"minus": {"agreement": [0.01, 0.05]}} for name, mask in blocks.items()}
    metrics[f"{STAGE}/transformer_inpainting"] = {"metric": "perceptual", "masks": compared}
    return metrics


def test_baselines_stand_in_the_tables(plan: Plan, tmp_path: Path) -> None:
    root = lay(tmp_path, with_baselines())
    table2 = TABLES["table2"].rows(plan, root)
    transformer = row(table2, id="vqgan_transformer")
    assert (transformer["reported_fid"], transformer["distance"], transformer["distance_name"]) == (10.2, 33.5, FD)
    assert (transformer["prior_parameters"], transformer["macs_per_step"], transformer["timesteps"]) == (
        870e3,
        900e3,
        64,
    )
    assert row(table2, id="faces_absorbing")["distance"] == 38.25
    likelihood = TABLES["likelihood"].rows(plan, root)
    assert list(likelihood[likelihood["role"] == "celebahq"]["method"].unique()) == [
        "VQ-DDM",
        "transformer, exact",
        "VQ-DDM, absorbing transition",
    ]
    speed = row(TABLES["speed"].rows(plan, root), method="VQ-GAN + transformer")
    assert speed["seconds_per_image"] == pytest.approx(64 * 0.003 + 0.004)
    assert row(TABLES["table2"].rows(make_plan(), root), id="vqgan_transformer")["why"] == "not trained in this suite"


@pytest.mark.parametrize(
    ("mask", "low", "verdict"),
    [("top", -0.5, "reproduced"), ("corner", -0.001, "not reproduced"), ("corner", 0.001, "reproduced")],
)
def test_the_transformers_claim_is_about_the_papers_masks_and_their_intervals(
    plan: Plan, tmp_path: Path, mask: str, low: float, verdict: str
) -> None:
    metrics = with_baselines()
    metrics[f"{STAGE}/transformer_inpainting"]["masks"][mask]["minus"]["agreement"] = [low, 0.05]
    found = judge(plan, lay(tmp_path, metrics)).set_index("id").loc["inpainting_transformer"]
    assert found["verdict"] == verdict
    assert "transformer_inpainting.json" in found["evidence"]
