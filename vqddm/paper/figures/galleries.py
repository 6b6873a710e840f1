"""Figures 3, 4 and 7 to 12 from a suite's files: which pictures are shown, and what is missing, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqddm.artifacts import UserError, read_array, read_json
from vqddm.paper.figures.files import Files, first_stage_label, read_arrays
from vqddm.paper.figures.pictures import fitted, hatched
from vqddm.paper.figures.sheets import Absent, Row, draw_neighbours, draw_rows
from vqddm.paper.figures.style import placeholder, save, styled
from vqddm.paper.plan import PaperRow, Plan, Role
from vqddm.paper.reported import captions

GIVEN = {
    "lower": "lower part given",
    "corner": "lower right corner given",
    "centre": "centre given",
    "left": "left half given",
    "right": "right half given",
    "top": "upper half given",
    "random": "scattered places given",
}
FIGURE3: tuple[PaperRow, ...] = ("vqgan_larger", "vqgan", "refit_larger_p", "refit", "refit_smaller_k")
FIGURE4: tuple[PaperRow, ...] = ("vqgan", "refit", "refit_smaller_k")  # its (b), (c) and (d)
PAPER_MASKS = ("lower", "corner", "centre")
INPAINTED = 2  # pictures for each mask of Figure 8


def _reconstructions(files: Files, role: Role, paths: dict[str, Path], out_stem: Path) -> None:
    originals: np.ndarray | None = None
    rows = []
    for name, path in paths.items():
        arrays = read_arrays(path, "originals", "reconstructions")
        shown = 6 if arrays["originals"].shape[2] < 128 else 4
        if originals is None:
            originals = arrays["originals"][:shown]
            rows.append(Row("(a)  original test pictures", list(originals)))
        elif not np.array_equal(originals, arrays["originals"][:shown]):
            raise UserError(f"{path}: shows other pictures than the other first stages; build all of them again")
        letter = "abcdefgh"[len(rows)]
        rows.append(Row(f"({letter})  {first_stage_label(name)}", list(arrays["reconstructions"][:shown])))
    dataset = files.plan.datasets[files.dataset(role)]
    footer = f"{dataset.title}, {dataset.resolution} × {dataset.resolution}: the first test pictures, not chosen."
    with styled():
        save(draw_rows(rows, footer), out_stem)


def figure3(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Reconstructions by VQ-GAN and ReFiT on the dataset that plays ImageNet."""
    if plan.role("imagenet") is None:
        placeholder(out_stem, captions()["figure3"]["title"], _no_role(plan, "imagenet"))
    else:
        files = Files(plan, root, models)
        _reconstructions(files, "imagenet", files.reconstructions("imagenet", FIGURE3), out_stem)


def figure4(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Reconstructions by VQ-GAN and ReFiT on the dataset that plays CelebA-HQ."""
    files = Files(plan, root, models)
    _reconstructions(files, "celebahq", files.reconstructions("celebahq", FIGURE4), out_stem)


def _no_role(plan: Plan, role: Role) -> str:
    return (
        f"The suite `{plan.suite}` has no dataset in this place, so nothing was trained for it.\n"
        f"To build it: name a dataset under suites.{plan.suite}.datasets.{role} in params.yaml, "
        "then run `snakemake --cores all`."
    )


def _sample_rows(files: Files, role: Role, lines: int, wanted: int, letter: str) -> tuple[list[Row], int, int]:
    """Rows of samples of a role's shown prior under one heading with their distance.

    They begin with sample number `wanted`, or earlier if too few would remain.

    Returns:
        the rows, the number of the first sample shown, the number of samples shown.
    """
    path, metric = files.samples(role)
    samples, measured = read_array(path), read_json(metric)
    columns = 8 if samples.shape[2] < 128 else 4
    lines = lines if columns == 8 else max(1, lines * 3 // 4)
    first = max(0, min(wanted, len(samples) - columns * lines))
    chosen = samples[first : first + columns * lines]
    distance = measured["distance"]
    title = files.plan.datasets[files.dataset(role)].title
    heading = f"{letter}{title}, T = {measured['steps']}:  {distance['name']} = {distance['frechet']:.1f}"
    rows = [
        Row("" if start else heading, list(chosen[start : start + columns])) for start in range(0, len(chosen), columns)
    ]
    return rows, first, len(chosen)


def figure7(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Samples of the priors that play CelebA-HQ (a) and LSUN-Church (b)."""
    files = Files(plan, root, models)
    rows, _, _ = _sample_rows(files, "celebahq", 4, 0, "(a)  ")
    footer = "The first samples, not chosen."
    if plan.role("lsun_church") is None:
        footer = f"{footer}\n(b)  LSUN-Church: {_no_role(plan, 'lsun_church')}"
    else:
        rows += _sample_rows(files, "lsun_church", 4, 0, "(b)  ")[0]
    with styled():
        save(draw_rows(rows, footer), out_stem)


def _more_samples(files: Files, role: Role, out_stem: Path) -> None:
    _, _, in_figure7 = _sample_rows(files, role, 4, 0, "")
    rows, first, count = _sample_rows(files, role, 8, in_figure7, "")
    footer = f"Samples {first + 1} to {first + count}, not chosen; Figure 7 shows 1 to {in_figure7}."
    with styled():
        save(draw_rows(rows, footer), out_stem)


def figure9(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """More samples of the prior that plays LSUN-Church."""
    if plan.role("lsun_church") is None:
        placeholder(out_stem, captions()["figure9"]["title"], _no_role(plan, "lsun_church"))
    else:
        _more_samples(Files(plan, root, models), "lsun_church", out_stem)


def figure10(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """More samples of the prior that plays CelebA-HQ."""
    _more_samples(Files(plan, root, models), "celebahq", out_stem)


@dataclass(frozen=True)
class _Inpainted:
    """One mask's pictures: what is given in words, and (original, masked with hatching, completed) for each."""

    words: str
    triples: list[list[np.ndarray]]


def _inpainted(path: Path, side: int) -> dict[str, _Inpainted]:
    """All masks of one `inpainting.npz`; pictures come enlarged to about `side`, so that hatching is fine."""
    arrays = read_arrays(path, "names", "masks", "originals", "masked", "completed")
    found = {}
    for i, name in enumerate(str(n) for n in arrays["names"]):
        given = arrays["masks"][i].astype(bool)
        words = f"{GIVEN.get(name, name)}: {int(given.sum())} of {given.size} codes"
        triples = []
        for original, masked, completed in zip(
            arrays["originals"][i], arrays["masked"][i], arrays["completed"][i], strict=True
        ):
            cover = hatched(fitted(masked, side), given)
            triples.append([fitted(original, side), cover, fitted(completed, side)])
        found[name] = _Inpainted(words, triples)
    return found


def figure8(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Completions with the three masks of section 4.4, and the transformer's where it is trained."""
    path, *others = Files(plan, root, models).inpaintings("celebahq")
    side = 192
    found = _inpainted(path, side)
    for other in others:
        for name, mask in _inpainted(other, side).items():
            if not np.array_equal([t[:2] for t in mask.triples], [t[:2] for t in found[name].triples]):
                raise UserError(f"{other}: completes other pictures than {path}; build both again")
            found[name] = _Inpainted(
                mask.words, [[*t, u[2]] for t, u in zip(found[name].triples, mask.triples, strict=True)]
            )
    lacking = [name for name in PAPER_MASKS if name not in found]
    if lacking:
        raise UserError(f"{path}: lacks the masks {', '.join(lacking)}; delete it and build it again")
    rows = []
    for name in PAPER_MASKS:
        for i, pictures in enumerate(found[name].triples[:INPAINTED]):
            rows.append(Row("" if i else found[name].words, pictures))
    titles = ("raw image", "masked input", "VQ-DDM", "Transformer")[: len(rows[0].pictures)]
    absent = Absent("VQ-GAN + Transformer", "It is not trained in this suite.")
    footer = "The first test pictures, not chosen. Hatched: not given. No training for this task."
    with styled():
        save(draw_rows(rows, footer, titles, side, None if others else absent), out_stem)


def figure11(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """More completions: all masks, two further pictures each."""
    found = _inpainted(Files(plan, root, models).of_prior("celebahq", "inpainting.npz"), 145)
    rows = []
    for mask in found.values():
        start = max(0, min(INPAINTED, len(mask.triples) - 2))
        rows.append(Row(mask.words, [p for triple in mask.triples[start : start + 2] for p in triple]))
    titles = ("raw image", "masked", "VQ-DDM") * (len(rows[0].pictures) // 3)
    with styled():
        save(
            draw_rows(rows, "Test pictures after those of Figure 8, not chosen. Hatched: not given.", titles), out_stem
        )


def figure12(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Samples with their nearest training pictures."""
    path = Files(plan, root, models).of_prior("celebahq", "neighbours.npz")
    arrays = read_arrays(path, "samples", "neighbours", "distances")
    shown = 8 if arrays["samples"].shape[2] < 128 else 4
    footer = "The first samples, not chosen; the nearest by perceptual distance among all training pictures."
    drawn = (arrays["samples"][:shown], arrays["neighbours"][:shown], arrays["distances"][:shown])
    with styled():
        save(draw_neighbours(*drawn, footer), out_stem)
