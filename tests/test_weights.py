"""Weights of published networks: fetched once, checked always, found in the project's folder or in torch's cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loopback import serving

from vqddm.artifacts import UserError, sha256
from vqddm.data import weights
from vqddm.data.weights import FOLDER, WEIGHTS, Weights, fetch_weights, weights_at_hand

CONTENT = b"the true weights"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project and an empty cache of torch's; a server that has Inception's weights."""
    served, cache, project = (tmp_path / name for name in ("served", "cache", "project"))
    for folder in (served, cache / "checkpoints", project):
        folder.mkdir(parents=True)
    (served / "inception.pth").write_bytes(CONTENT)
    digest = sha256(served / "inception.pth")[:8]
    monkeypatch.chdir(project)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(cache))
    with serving(served, monkeypatch) as (address, handler):
        monkeypatch.setitem(weights.WEIGHTS, "inception", Weights(f"{address}inception.pth", digest))
        monkeypatch.setattr(weights, "asked", handler.asked, raising=False)
        monkeypatch.setattr(weights, "spoiled", handler.spoiled, raising=False)
        yield cache / "checkpoints/inception.pth"
    torch.hub.set_dir(before)


@pytest.mark.parametrize("spoiled", [[], ["cut"], ["other", "no length"]])
def test_a_broken_download_is_thrown_away_and_tried_again(place: Path, spoiled: list[str]) -> None:
    weights.spoiled.extend(spoiled)
    fetch_weights("inception")
    assert (FOLDER / "checkpoints/inception.pth").read_bytes() == CONTENT
    assert len(weights.asked) == 1 + len(spoiled)


def test_a_download_that_stays_broken_leaves_nothing_and_says_what_to_do(place: Path) -> None:
    weights.spoiled.extend(["other"] * 3)
    with pytest.raises(UserError, match=r"no whole file in 3 tries \(.*does not begin with.* put it at data/weights"):
        fetch_weights("inception")
    assert not list((FOLDER / "checkpoints").iterdir())


def test_a_busy_server_is_asked_again_and_its_status_told(place: Path) -> None:
    weights.spoiled.extend(["429", "503"])
    fetch_weights("inception")
    assert len(weights.asked) == 3
    (FOLDER / "checkpoints/inception.pth").unlink()
    weights.spoiled.extend(["503"] * 3)
    with pytest.raises(UserError, match=r"no whole file in 3 tries \(HTTP status 503, .*\); fetch http.* put it at"):
        fetch_weights("inception")


def test_torchs_cache_is_taken_if_it_is_whole(place: Path) -> None:
    place.write_bytes(CONTENT)
    fetch_weights("inception")
    assert not weights.asked
    place.write_bytes(b"damaged")
    (FOLDER / "checkpoints/inception.pth").unlink()
    fetch_weights("inception")
    assert len(weights.asked) == 1
    assert (FOLDER / "checkpoints/inception.pth").read_bytes() == CONTENT


def test_the_libraries_find_them_while_they_are_needed(place: Path) -> None:
    with (
        pytest.raises(UserError, match=r"FID needs inception.pth .*snakemake --cores 1 data/weights/checkpoints/in"),
        weights_at_hand("FID", ["inception"]),
    ):
        pass
    fetch_weights("inception")
    before = torch.hub.get_dir()
    with weights_at_hand("FID", ["inception"]):
        assert (Path(torch.hub.get_dir()) / "checkpoints/inception.pth").read_bytes() == CONTENT
    assert torch.hub.get_dir() == before
    (FOLDER / "checkpoints/inception.pth").write_bytes(b"damaged since")
    with pytest.raises(UserError, match=r"inception.pth: SHA-256 .* delete it"), weights_at_hand("FID", ["inception"]):
        pass


def test_the_addresses_are_those_that_the_libraries_load() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS
    from torchvision.models import VGG16_Weights

    found = {name: about.url for name, about in WEIGHTS.items()}
    assert found == {"inception": URL_INCEPTION_V3, "lpips": URL_VGG16_LPIPS, "vgg16": VGG16_Weights.IMAGENET1K_V1.url}
    assert all(WEIGHTS[name].digest in WEIGHTS[name].file for name in ("inception", "vgg16"))
    assert len(WEIGHTS["lpips"].digest) == 64  # no file's name holds the beginning of it
