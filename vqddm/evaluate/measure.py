"""Distances of Tables 1 and 2 and Figure 5: between feature arrays of images and of references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vqddm.artifacts import UserError, read_array, replacing, write_array, write_json
from vqddm.baselines.codebooks import codes_in_all, load_codec
from vqddm.data.arrays import load_split, to_unit
from vqddm.evaluate.distances import distances_of_draws
from vqddm.evaluate.draws import mean_and_spread, split_draws
from vqddm.evaluate.features import extract, feature_label
from vqddm.training import limit_threads
from vqddm.vqgan.codec import decode_codes, decoded
from vqddm.vqgan.perceptual import perceptual_distance

SHOWN = 64  # pictures kept for figures


def enough(images: np.ndarray, wanted: int, where: Path) -> np.ndarray:
    """The first `wanted` images.

    Raises:
        UserError: there are fewer.
    """
    if len(images) < wanted:
        raise UserError(f"{where}: {len(images)} images, but the suite's `evaluate` asks for {wanted}")
    return images[:wanted]


def usage(codes: np.ndarray, codebook_size: int, at_least: int = 1) -> float:
    """Section 4.2: the share of the codebook that appeared `at_least` times in the code maps, in [0, 1]."""
    counts = np.bincount(codes.ravel(), minlength=codebook_size)
    return float((counts >= at_least).mean())


def extract_features(data: Path, network: str, count: int, out: Path, threads: int | None = None) -> None:
    """Write the features of the first `count` images of a split, float32 (count, D)."""
    limit_threads(threads)
    write_array(out, extract(enough(load_split(data), count, data), network))


def measure_floor(train: Path, test: Path, network: str, draws: int, seed: int, out: Path) -> None:
    """What no model can be expected to beat: the distance of real held-out images to the training images.

    Args:
        train: features of training images.
        test: features of test images.
        network: name of the feature network.
        draws: equal parts of the images that are measured apart.
        seed: seed of KID's subsets.
        out: JSON with `distance`.
    """
    found = distances_of_draws(read_array(test), read_array(train), draws, seed, feature_label(network))
    write_json(out, {"distance": found})


def measure_reconstruction(
    first_stage: Path,
    codes_train: Path,
    codes_test: Path,
    test: Path,
    reference: Path,
    sampled_features: int | None,
    images: int,
    network: str,
    draws: int,
    seed: int,
    out: Path,
    pictures: Path,
    threads: int | None = None,
) -> None:
    """Table 1: codebook usage on both splits; distance of reconstructed training images to the training images.

    Args:
        first_stage: the checkpoint.
        codes_train: code maps of the training images; the first `images` of them are decoded.
        codes_test: code maps of the test images.
        test: `test.npy`, for PSNR and the perceptual distance.
        reference: features of the training images, those reconstructed first: at least `images`.
        sampled_features: the number P of a ReFiT; None for a VQ-GAN.
        images: number of training images to reconstruct, and at most as many test images.
        network: name of the feature network.
        draws: equal parts of the images that are measured apart.
        seed: seed of KID's subsets.
        out: JSON of the measured numbers.
        pictures: `.npz` of some test images and their reconstructions.
        threads: CPU threads.
    """
    limit_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, about = load_codec(first_stage, device)
    size = codes_in_all(model)
    train_codes, test_codes = read_array(codes_train), read_array(codes_test)
    reconstructed = decode_codes(model, enough(train_codes, images, codes_train))
    features = read_array(reference)
    enough(features, images, reference)
    originals = load_split(test)[:images]
    perceptual = perceptual_distance("efficientnet_lite0").to(device)
    errors, gaps, shown, start = [], [], [], 0
    for again in decoded(model, test_codes[:images]):
        pixels = np.array(originals[start : start + len(again)])
        errors.append(((pixels.astype(np.float64) - again) ** 2).mean(axis=(1, 2, 3)))
        with torch.no_grad():
            gaps.append(perceptual(to_unit(pixels).to(device), to_unit(again).to(device)).cpu())
        shown.append(again[: max(0, SHOWN - start)])
        start += len(again)
    psnr = 10 * np.log10(255**2 / np.maximum(np.concatenate(errors), 1e-9))
    (psnr_mean, psnr_spread), (gap, gap_spread) = (
        mean_and_spread([float(part.mean()) for part in split_draws(values, draws)])
        for values in (psnr, torch.cat(gaps).double().numpy())
    )
    write_json(
        out,
        {
            "codebook_size": about["codebook_size"],
            "sampled_features": sampled_features,
            "latent_size": list(train_codes.shape[1:]),
            "images": images,
            "usage": {
                split: {"seen": usage(codes, size), "seen10": usage(codes, size, at_least=10)}
                for split, codes in (("train", train_codes), ("test", test_codes))
            },
            "distance": distances_of_draws(
                extract(reconstructed, network), features, draws, seed, feature_label(network)
            ),
            "psnr": psnr_mean,
            "psnr_std": psnr_spread,
            "perceptual": {"name": perceptual.label, "value": gap, "std": gap_spread},
        },
    )
    with replacing(pictures) as aside:
        np.savez(aside, originals=originals[:SHOWN], reconstructions=np.concatenate(shown))


def measure_samples(
    samples: Path,
    reference: Path,
    steps: int | None,
    temperature: float,
    network: str,
    draws: int,
    seed: int,
    out: Path,
    threads: int | None = None,
) -> None:
    """Table 2 and Figure 5: distance between sampled images and the training images.

    Args:
        samples: sampled images, uint8 (n, H, W, 3).
        reference: features of training images.
        steps: number of sampling steps that made them; None where a method has no choice of it.
        temperature: temperature that they were sampled with.
        network: name of the feature network.
        draws: equal parts of the images that are measured apart.
        seed: seed of KID's subsets.
        out: JSON of the measured numbers.
        threads: CPU threads.
    """
    limit_threads(threads)
    images = read_array(samples)
    found = distances_of_draws(extract(images, network), read_array(reference), draws, seed, feature_label(network))
    write_json(
        out,
        {"steps": steps, "samples": len(images), "temperature": temperature, "distance": found},
    )
