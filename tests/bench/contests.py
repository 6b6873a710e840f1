"""The table of contests: what is measured, against whom, and at what sizes. Adding a row: its record here.

A size's names: K codes, `positions` of a code map, `batch` code maps, T timesteps; P points in d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch

from bench import codebook, diffusion, networks
from bench.records import Contest, Item, Match, Sizes

LOG_ONE_HOT = "log-one-hot with Gumbel draws"
LOG_ONE_HOT_TIMES = "log-one-hot, timestep by timestep"
CDIST = "torch.cdist and argmin"
GREEDY = "scikit-learn's k-means++"
SEEDED = ({"P": 4000, "K": 256, "d": 64}, {"P": 20_000, "K": 512, "d": 256})
MULTINOMIAL, GUMBEL = "torch.multinomial", "Gumbel noise and argmax"

# The default run's code maps, the paper's, and the paper's with its largest codebook.
SMALL = {"batch": 32, "positions": 64, "K": 256, "T": 100}
PAPER = {"batch": 8, "positions": 256, "K": 1024, "T": 4000}
WIDE = {"batch": 1, "positions": 256, "K": 16384, "T": 4000}
EVERY = (SMALL, PAPER, WIDE)


def copying(sizes: Sizes, device: torch.device) -> Match:
    """Memory to other memory; what is read and what is written counts."""
    source = torch.ones(sizes["MiB"] * 2**18, device=device)
    target = torch.empty_like(source)
    return Match(lambda: target.copy_(source), None, bytes=2.0 * source.numel() * diffusion.FLOAT)


def multiplying(sizes: Sizes, device: torch.device) -> Match:
    """Two square matrices, float32."""
    one, other = (torch.randn(sizes["side"], sizes["side"], device=device) for _ in range(2))
    return Match(lambda: one @ other, None, flops=2.0 * sizes["side"] ** 3)


MEMORY, PRODUCT = "memory copy", "matrix product"
LIMITS = (
    Contest(MEMORY, "", ({"MiB": 256},), copying),
    Contest(PRODUCT, "", ({"side": 2048},), multiplying),
)

CONTESTS = (
    Contest("reverse_steps", LOG_ONE_HOT, EVERY, diffusion.reverse_steps, diffusion.check_reverse_steps),
    Contest(
        "reverse_steps",
        "diffusers' VQDiffusionScheduler",
        EVERY,
        diffusion.vq_diffusion_step,
        diffusion.check_vq_diffusion,
    ),
    Contest(
        "reverse_steps_with_network",
        LOG_ONE_HOT,
        (SMALL,),
        diffusion.reverse_steps_with_network,
        diffusion.check_reverse_steps,
    ),
    Contest("noising", LOG_ONE_HOT, EVERY, diffusion.noising, diffusion.check_noising),
    *(
        Contest("drawing", name, EVERY, partial(diffusion.drawing, way=way), partial(diffusion.check_drawing, way=way))
        for name, way in {MULTINOMIAL: diffusion.multinomial, GUMBEL: diffusion.gumbel}.items()
    ),
    Contest("kl_terms", LOG_ONE_HOT, EVERY, partial(diffusion.terms, gradient=False), diffusion.check_terms),
    Contest(
        "kl_terms_and_gradient", LOG_ONE_HOT, EVERY, partial(diffusion.terms, gradient=True), diffusion.check_terms
    ),
    *(
        Contest(
            "likelihood",
            name,
            (SMALL | {"batch": 2},),
            partial(diffusion.likelihood, at_once=at_once),
            diffusion.check_likelihood,
        )
        for name, at_once in {LOG_ONE_HOT: 256, LOG_ONE_HOT_TIMES: None}.items()
    ),
    Contest("sampling", LOG_ONE_HOT, (SMALL | {"batch": 4},), diffusion.sampling, diffusion.check_sampling),
    Contest("inpainting", LOG_ONE_HOT, (SMALL | {"batch": 4},), diffusion.inpainting, diffusion.check_inpainting),
    *(
        Contest(
            "quantising",
            name,
            ({"P": 1024, "K": 256, "d": 64}, {"P": 2048, "K": 1024, "d": 256}, {"P": 1024, "K": 16384, "d": 256}),
            partial(codebook.quantising, way=way),
            partial(codebook.check_quantising, way=way),
            package,
        )
        for name, way, package in (
            (CDIST, codebook.by_cdist, ""),
            ("vector-quantize-pytorch", codebook.by_package, "vector_quantize_pytorch"),
        )
    ),
    Contest(
        "seeding",
        GREEDY,
        SEEDED,
        partial(codebook.seeding, way=codebook.plusplus),
        on_gpu=False,
        quality="mean squared distance",
    ),
    Contest(
        "seeding",
        "scikit-learn's k-means++ with one trial",
        SEEDED,
        partial(codebook.seeding, way=partial(codebook.plusplus, trials=1)),
        partial(codebook.check_seeding, way=partial(codebook.plusplus, trials=1)),
        on_gpu=False,
        quality="mean squared distance",
    ),
    Contest(
        "seeding",
        "the package afkmc2",
        ({"P": 4000, "K": 32, "d": 64},),
        partial(codebook.seeding, way=codebook.package_seeds),
        partial(codebook.check_seeding, way=codebook.package_seeds),
        "afkmc2",
        on_gpu=False,
        quality="mean squared distance",
    ),
    Contest(
        "seeding_and_lloyd",
        "scikit-learn's KMeans",
        ({"P": 4000, "K": 256, "d": 64},),
        codebook.rebuilding,
        codebook.check_rebuilding,
        on_gpu=False,
        quality="mean squared distance",
    ),
    Contest(
        "transformer_sampling",
        "without cache",
        ({"batch": 8, "positions": 64, "K": 256},),
        networks.transformer_sampling,
        networks.check_transformer_sampling,
    ),
    Contest("step_of_an_image", "diffusers' DDPM step on pixels", (SMALL,), networks.step_of_an_image),
    Contest(
        "features",
        "efficientnet-lite-pytorch as it comes",
        ({"images": 64},),
        networks.features,
        networks.check_features,
        on_both=False,
    ),
)


class Growth(NamedTuple):
    """How a work grows with one of its sizes, the others fixed.

    Args:
        contest: of both sides; its own sizes are not used.
        axis: the size that grows.
        values: of it, from small to large.
        base: the other sizes.
    """

    contest: Contest
    axis: str
    values: Sequence[int]
    base: Sizes


CODES = [2**power for power in range(6, 15)]  # 64 to 16,384
POSITIONS = [side**2 for side in (4, 6, 8, 12, 16, 24, 32, 48, 64)]
BATCHES = [1, 2, 4, 8, 16, 32, 64]
STEPS = [10, 20, 50, 100, 200, 500, 1000]
AT_CODES = {"batch": 1, "positions": 256, "T": 100}
AT_POSITIONS = {"batch": 1, "K": 256, "T": 100}
AT_BATCHES = {"positions": 64, "K": 256, "T": 100}
AT_STEPS = {"batch": 4, "positions": 16, "K": 64}


def of(work: str, reference: str) -> Contest:
    """The contest of that name."""
    return next(contest for contest in CONTESTS if (contest.work, contest.reference) == (work, reference))


def without_network(work: str) -> Contest:
    """The reverse chain alone: the network's evaluations cost nothing."""
    make = {"sampling": diffusion.sampling, "likelihood": diffusion.likelihood}[work]
    return Contest(f"{work}_without_network", LOG_ONE_HOT, (), partial(make, network=False))


def growths() -> list[Growth]:
    """What is measured over a range of sizes."""
    found = []
    for work in ("reverse_steps", "noising", "kl_terms", "kl_terms_and_gradient"):
        contest = of(work, LOG_ONE_HOT)
        found += [
            Growth(contest, "K", CODES, AT_CODES),
            Growth(contest, "positions", POSITIONS, AT_POSITIONS),
            Growth(contest, "batch", BATCHES, AT_BATCHES),
        ]
    network = of("reverse_steps_with_network", LOG_ONE_HOT)
    nearest, seeds = of("quantising", CDIST), of("seeding", GREEDY)
    return [
        *found,
        Growth(of("drawing", MULTINOMIAL), "K", CODES, AT_CODES),
        Growth(network, "K", CODES, AT_CODES | {"positions": 64}),
        Growth(network, "positions", POSITIONS, AT_POSITIONS),
        Growth(network, "batch", BATCHES, AT_BATCHES),
        Growth(nearest, "K", CODES, {"P": 1024, "d": 64}),
        Growth(nearest, "P", [2**power for power in range(6, 15)], {"K": 256, "d": 64}),
        Growth(seeds, "K", [32, 64, 128, 256, 512], {"P": 4000, "d": 32}),
        Growth(seeds, "P", [1000, 2000, 5000, 10_000, 20_000, 50_000], {"K": 64, "d": 32}),
        Growth(without_network("sampling"), "T", STEPS, AT_STEPS),
        Growth(without_network("likelihood"), "T", STEPS, AT_STEPS),
    ]


def settings(cores: int, gpu: bool) -> list[tuple[str, int]]:
    """Devices and threads of a run: one and two threads where there are two cores, and the GPU where there is one."""
    return [("cpu", threads) for threads in (1, 2) if threads <= cores] + ([("cuda", 1)] if gpu else [])


def plan(cores: int, gpu: bool, only: Sequence[str] = (), quick: bool = False) -> list[Item]:
    """All measurements of a run, in order.

    Args:
        only: works; none for all. The machine's limits are always measured.
        quick: the first sizes of every contest, fewer rounds, and of each growth only the first, a middle and the
            last point but two.
    """
    places = settings(cores, gpu)
    seconds = {"limits": 1.0, "contests": 0.4 if quick else 4.0, "growth": 0.1 if quick else 0.25}
    found = [
        Item("limits", contest, sizes, threads, device, seconds["limits"])
        for contest in LIMITS
        for sizes in contest.sizes
        for device, threads in places
    ]
    for contest in CONTESTS:
        if only and contest.work not in only:
            continue
        found += [
            Item("contests", contest, sizes, threads, device, seconds["contests"])
            for sizes in contest.sizes[: 1 if quick else None]
            for device, threads in places
            if contest.runs_on(device, gpu)
        ]
    for contest, axis, values, base in growths():
        if only and contest.work not in only:
            continue
        found += [
            Item("growth", contest, base | {axis: value}, 1, "cpu", seconds["growth"], axis)
            for value in (values[:-2:2] if quick else values)
        ]
    return found


def works() -> list[str]:
    """Names that `--only` can take."""
    return list(dict.fromkeys(contest.work for contest in (*CONTESTS, *(g.contest for g in growths()))))
