"""Claims about the codebook (section 4.2, Table 1)."""

from __future__ import annotations

from vqddm.paper.evidence import NOT_TESTABLE, Evidence, Judgement, above, at_most, lower, on_every_dataset
from vqddm.paper.plan import PaperRow

CAPACITY_RATIO = 32
EQUIVALENT = 1.05  # times a distance that still counts as the same quality


def usage_ratio(evidence: Evidence) -> Judgement:
    """Usage with ReFiT over usage without, at the same K."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        without, refit = evidence.reconstruction(dataset, "vqgan"), evidence.reconstruction(dataset, "refit")
        if not without or not refit or without["codebook_size"] != refit["codebook_size"]:
            return None
        before, after = without["usage"]["train"]["seen"], refit["usage"]["train"]["seen"]
        return after >= 2 * before, f"{before:.2%} to {after:.2%}, {after / before:.2f} times"

    return on_every_dataset(evidence, check, "a VQ-GAN and a ReFiT of the same K")


def usage_second_best(evidence: Evidence) -> Judgement:
    """Usage with ReFiT over that of the second best method, where there are others than VQ-GAN."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool | None, str] | None:
        refit = evidence.reconstruction(dataset, "refit")
        names = [name for name in evidence.plan.datasets[dataset].first_stages if not name.startswith("refit")]
        if not refit or not names:
            return None
        if all(name.startswith("vqgan") for name in names):
            return None, "no other codebook than VQ-GAN's is trained, not counted"
        read = {name: evidence.read(dataset, name, "reconstruction") for name in names}
        used = {name: found["usage"]["train"]["seen"] for name, found in read.items() if found}
        if len(used) < len(names):
            return None
        ours, best = refit["usage"]["train"]["seen"], max(used.values())
        words = ", ".join(f"{name} {share:.2%}" for name, share in used.items())
        return ours >= 2 * best, f"{ours:.2%} against {words}: {ours / best:.2f} times the second best"

    return on_every_dataset(evidence, check, "a ReFiT and other codebooks")


def usage_near_full(evidence: Evidence) -> Judgement:
    """Usage of every ReFiT."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        names = [name for name in evidence.plan.datasets[dataset].first_stages if name.startswith("refit")]
        read = {name: evidence.read(dataset, name, "reconstruction") for name in names}
        used = {name: found["usage"]["train"]["seen"] for name, found in read.items() if found}
        if not used:
            return None
        return min(used.values()) >= 0.9, ", ".join(f"{name} {share:.2%}" for name, share in used.items())

    return on_every_dataset(evidence, check, "a ReFiT")


def _lower_row(evidence: Evidence, dataset: str, better: PaperRow, worse: PaperRow) -> tuple[bool, str] | None:
    first, second = evidence.reconstruction(dataset, better), evidence.reconstruction(dataset, worse)
    if not first or not second or first["codebook_size"] != second["codebook_size"]:
        return None
    return lower(first["distance"], second["distance"])


def reconstruction(evidence: Evidence) -> Judgement:
    """Distance of reconstructions with ReFiT against without, at the same K."""
    return on_every_dataset(
        evidence, lambda e, d: _lower_row(e, d, "refit", "vqgan"), "a VQ-GAN and a ReFiT of the same K"
    )


def larger_p(evidence: Evidence) -> Judgement:
    """Distance of reconstructions with a larger P against a smaller one, at the same K."""
    return on_every_dataset(
        evidence, lambda e, d: _lower_row(e, d, "refit_larger_p", "refit"), "two ReFiTs that differ in P only"
    )


def fewer_codes(evidence: Evidence) -> Judgement:
    """What a smaller codebook costs, against what ReFiT gains."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        rows: tuple[PaperRow, ...] = ("vqgan", "refit", "refit_smaller_k")
        found = [evidence.reconstruction(dataset, row) for row in rows]
        without, larger, smaller = (one["distance"] if one else None for one in found)
        if not without or not larger or not smaller:
            return None
        cost, gain = smaller["frechet"] - larger["frechet"], without["frechet"] - larger["frechet"]
        holds, where = above((0.5, without), (0.5, larger), (-1, smaller))  # half the gain less the cost
        _, words = lower(larger, smaller)
        return holds, f"costs {cost:.2f} where half of ReFiT's gain is {gain / 2:.2f}, {where} ({words})"

    return on_every_dataset(evidence, check, "a VQ-GAN and ReFiTs at two K")


def capacity(evidence: Evidence) -> Judgement:
    """The smallest ReFiT against a VQ-GAN with a codebook at least 32 times as large."""

    def check(evidence: Evidence, dataset: str) -> tuple[bool, str] | None:
        large = evidence.reconstruction(dataset, "vqgan_larger")
        small = evidence.reconstruction(dataset, "refit_smaller_k") or evidence.reconstruction(dataset, "refit")
        if not large or not small or large["codebook_size"] < CAPACITY_RATIO * small["codebook_size"]:
            return None
        holds, words = at_most(small["distance"], large["distance"], EQUIVALENT)
        return holds, f"K = {small['codebook_size']} against {large['codebook_size']}: {words}"

    found = on_every_dataset(evidence, check, "a VQ-GAN with 32 times the codes of a ReFiT")
    if found.verdict != NOT_TESTABLE:
        return found
    note = "The paper's own Table 1 gives 6.95 at K = 512 against 4.98 at K = 16384; the equal row is K = 1024, 16×"
    return Judgement(NOT_TESTABLE, f"{found.measured}. {note}.")
