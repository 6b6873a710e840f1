"""Rows of Table 2 counted again: networks of the same size, built here, beside what the paper prints."""

from __future__ import annotations

from typing import Any

COUNTED = ("counted_parameters", "counted_macs_per_step", "counted_macs_per_image", "counted_macs_as_printed")


def recounted(networks: dict[str, Any], paper: dict[str, Any]) -> dict[str, Any]:
    """What the network of a row comes to, where its architecture is known here.

    Args:
        networks: `paper_counts.json`, by capacity or by a row's `id`.
        paper: a row of Table 2, as `reported.yaml` holds it.

    Returns:
        `counted_parameters` of the network that generates; multiply-accumulates `counted_macs_per_step`,
        `counted_macs_per_image` (all steps and the decoder) and `counted_macs_as_printed`, those of what the row's
        printed operations are of: one evaluation, or a whole code map for the transformer. All are counted in full,
        transposed convolutions too; all are None where nothing is known.
    """
    counts = networks.get(str(paper.get("capacity") or paper["id"]))
    if not counts:
        return dict.fromkeys(COUNTED)
    network = counts.get("prior", counts)
    per_step, steps = network["macs_per_step"], paper["steps"]
    per_image = counts["macs_per_image"] if "macs_per_image" in counts else steps * per_step
    printed = counts["timesteps"] * per_step if paper["id"] == "vqgan_transformer" else per_step
    return dict(zip(COUNTED, (network["parameters"], per_step, per_image, printed), strict=True))
