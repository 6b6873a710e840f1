"""Distances of Tables 1 and 2 and Figure 5: between feature arrays of images and of references."""

from pathlib import Path

import numpy as np
import torch

from vqddm.artifacts import fingerprint, read_array, replacing, write_json
from vqddm.batches import Plan, forget_batches, join_batches, keep_parts, numbers_of, plan_batches
from vqddm.compute import device, limit_threads
from vqddm.data.arrays import load_split, to_unit
from vqddm.evaluate.distances import distances_of_draws
from vqddm.evaluate.draws import enough, mean_and_spread, split_draws
from vqddm.evaluate.features import LABELS, extract
from vqddm.state import alone_in
from vqddm.vqgan.codec import Codec, decode_codes, decoded, kind_in, load_codec, read_codes
from vqddm.vqgan.perceptual import FeatureDistance, perceptual_distance

SHOWN = 64  # pictures kept for figures
KEPT = 2048  # pictures whose features are kept together, in one file: whole batches of the network
FEATURES = "float32", 2  # as `extract` gives them: type and number of axes


def usage(codes: np.ndarray, codebook_size: int, at_least: int = 1) -> float:
    """Section 4.2: the share of the codebook that appeared `at_least` times in the code maps, in [0, 1]."""
    counts = np.bincount(codes.ravel(), minlength=codebook_size)
    return float((counts >= at_least).mean())


def extract_features(
    *,
    data: Path,
    count: int,
    state: Path,
    out: Path,
    network: str = "efficientnet_lite0",
    threads: int | None = None,
) -> None:
    """Write the features of a split's first images as `.npy`, float32 (count, D).

    Args:
        state: folder of finished batches, those of `extract_shard` too; they are deleted at the end.
    """
    limit_threads(threads)
    with alone_in(state):
        plan, images = _planned(data, count, network, state, threads)
        keep_parts(plan, images, lambda part: extract(part, network))
        join_batches(plan, out)
        forget_batches(state)


def extract_shard(
    *,
    data: Path,
    count: int,
    shard: str,
    state: Path,
    network: str = "efficientnet_lite0",
    threads: int | None = None,
) -> None:
    """Extract a part of the features, to share that among several processes, also on several machines.

    Whoever then extracts the same features with the same `state` finds them there.

    Args:
        shard: which part: 2-of-8 is the second of eight.
        state: folder of finished batches.

    Raises:
        UserError: there is no such shard.
    """
    limit_threads(threads)
    plan, images = _planned(data, count, network, state, threads)
    with alone_in(state / shard):
        keep_parts(plan, images, lambda part: extract(part, network), numbers=numbers_of(shard, plan))


def _planned(data: Path, count: int, network: str, state: Path, threads: int | None) -> tuple[Plan, np.ndarray]:
    """The batches of a split's first images, and these."""
    plan = plan_batches(
        count=count,
        batch_size=KEPT,
        seed=0,
        settings=[fingerprint(data), network, threads],
        state=state,
        device=device(),
    )
    return plan, enough(load_split(data), count, data)


def measure_floor(
    *, train: Path, test: Path, out: Path, network: str = "efficientnet_lite0", draws: int = 1, seed: int = 0
) -> None:
    """Measure the distance of real held-out images to the training images: no model can be expected to beat it.

    Args:
        train: features of training images.
        test: features of test images.
    """
    found = distances_of_draws(read_array(test, *FEATURES), read_array(train, *FEATURES), draws, seed, LABELS[network])
    write_json(out, {"distance": found})


def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each pair of images uint8 (N, H, W, 3): float64 (N,), at most 138."""
    errors = ((images.astype(np.float64) - others) ** 2).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-9))


def compare(
    model: Codec, codes: np.ndarray, originals: np.ndarray, metric: FeatureDistance
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PSNR and perceptual distance of each image, float64 (N,), and the first reconstructions.

    They are decoded from the codes of `originals`, uint8 (N, H, W, 3), all on the device of `metric`.
    """
    where = next(metric.parameters()).device
    ratios, gaps, shown, done = [], [], [], 0
    for again in decoded(model, codes):
        pixels = np.array(originals[done : done + len(again)])
        ratios.append(psnr(pixels, again))
        with torch.no_grad():
            gaps.append(metric(to_unit(pixels).to(where), to_unit(again).to(where)).cpu())
        shown.append(again[: max(0, SHOWN - done)])
        done += len(again)
    return np.concatenate(ratios), torch.cat(gaps).double().numpy(), np.concatenate(shown)


def measure_reconstruction(
    *,
    first_stage: Path,
    codes_train: Path,
    codes_test: Path,
    test: Path,
    reference: Path,
    images: int,
    out: Path,
    pictures: Path,
    sampled_features: int | None = None,
    network: str = "efficientnet_lite0",
    draws: int = 1,
    seed: int = 0,
    threads: int | None = None,
) -> None:
    """Measure usage and reconstruction (Table 1).

    Args:
        codes_train: code maps of the training images; the first `images` of them are decoded.
        test: test.npy, for PSNR and the perceptual distance.
        reference: features of the training images, those reconstructed first: at least `images`.
        images: images of each split to reconstruct; of the test images at most all.
        pictures: .npz of test images beside their reconstructions, to write.
        sampled_features: the number P of a ReFiT.
    """
    limit_threads(threads)
    model, about = load_codec(first_stage, device())
    in_all = model.codebook_size * kind_in(first_stage, about["kind"]).maps
    codes = {"train": read_codes(codes_train, in_all, axes=None), "test": read_codes(codes_test, in_all, axes=None)}
    reconstructed = decode_codes(model, enough(codes["train"], images, codes_train))
    features = read_array(reference, *FEATURES)
    enough(features, images, reference)
    originals = load_split(test, model.params.resolution)[:images]
    metric = perceptual_distance("efficientnet_lite0").to(device())
    ratios, gaps, shown = compare(model, enough(codes["test"], len(originals), codes_test), originals, metric)
    ratio, gap = (
        mean_and_spread([float(part.mean()) for part in split_draws(values, draws)]) for values in (ratios, gaps)
    )
    label = LABELS[network]
    write_json(
        out,
        {
            "codebook_size": about["codebook_size"],
            "sampled_features": sampled_features,
            "latent_size": list(codes["train"].shape[1:]),
            "images": images,
            "usage": {
                split: {"seen": usage(maps, in_all), "seen10": usage(maps, in_all, 10)} for split, maps in codes.items()
            },
            "distance": distances_of_draws(extract(reconstructed, network), features, draws, seed, label),
            "psnr": ratio[0],
            "psnr_std": ratio[1],
            "perceptual": {"name": metric.label, "value": gap[0], "std": gap[1]},
        },
    )
    with replacing(pictures) as aside:
        np.savez(aside, originals=originals[:SHOWN], reconstructions=shown)


def measure_samples(
    *,
    samples: Path,
    reference: Path,
    out: Path,
    steps: int | None = None,
    temperature: float = 1.0,
    network: str = "efficientnet_lite0",
    draws: int = 1,
    seed: int = 0,
    threads: int | None = None,
) -> None:
    """Measure sampled images, uint8 (n, H, W, 3): their distance to the training images (Table 2, Figure 5).

    Args:
        steps: sampling steps that made them, where there is a choice.
    """
    limit_threads(threads)
    images, label = read_array(samples, "uint8", 4), LABELS[network]
    found = distances_of_draws(extract(images, network), read_array(reference, *FEATURES), draws, seed, label)
    write_json(out, {"steps": steps, "samples": len(images), "temperature": temperature, "distance": found})
