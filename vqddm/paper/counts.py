"""Sizes and operations of networks, and rows of Table 2 counted again: networks of the same size, built here."""

from typing import Any


def network_of(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts of the network that generates, among those of a method; they stand alone where pixels are filled."""
    return counts.get("prior", counts)


def macs_per_image(counts: dict[str, Any], steps: int) -> int:
    """Multiply-accumulates of an image: all steps and the decoder; so many steps where there is none."""
    return int(counts["macs_per_image"] if "macs_per_image" in counts else steps * counts["macs_per_step"])


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
    counts = networks.get(str(paper.get("capacity") or paper["id"]), {})
    network = network_of(counts)
    per_step: Any = network.get("macs_per_step")
    evaluations = counts["timesteps"] if counts and paper["id"] == "vqgan_transformer" else 1
    return {
        "counted_parameters": network.get("parameters"),
        "counted_macs_per_step": per_step,
        "counted_macs_per_image": macs_per_image(counts, paper["steps"]) if counts else None,
        "counted_macs_as_printed": evaluations * per_step if counts else None,
    }
