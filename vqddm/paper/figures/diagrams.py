"""Figures 1, 2, 5 and 6 from a suite's files: what was measured, and the two stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, read_json
from vqddm.paper.figures.charts import (
    Blob,
    Speed,
    Sweep,
    Timed,
    draw_hours,
    draw_operations,
    draw_steps,
)
from vqddm.paper.figures.files import Files, first_stage_label, measured_distance, read_arrays
from vqddm.paper.figures.pipeline import Chain, draw_pipeline
from vqddm.paper.figures.style import BLUE, GREEN, ORANGE, PURPLE, save, styled
from vqddm.paper.plan import Plan
from vqddm.paper.recounted import recounted
from vqddm.paper.render import with_spread
from vqddm.paper.reported import reported


def figure1(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """FID against operations and parameters: the paper's rows, and each dataset's in their own units."""
    files = Files(plan, root, models)
    rows = reported()["table2"]["rows"]
    networks = read_json(files.paper_counts)
    drawn = [row for row in rows if row["flops"] and row["parameters"]]
    of_paper = [
        Blob(
            _short(row["method"]),
            row["flops"]["value"],
            row["fid"]["value"],
            row["parameters"]["value"],
            BLUE if row["source"] == "ours" else ORANGE,
            recounted(networks, row)["counted_macs_as_printed"],
        )
        for row in drawn
    ]
    measured: dict[str, list[Blob]] = {}
    names = set()
    for dataset in dict.fromkeys(dataset for dataset, _ in files.priors()):
        title = plan.datasets[dataset].title
        found = [*_priors(files, dataset), *_baselines(files, dataset)]
        measured[title] = [_blob(*one) for one in found]
        names |= {one[3]["name"] for one in found}
    if len(names) > 1:
        raise UserError(f"{root / 'metrics'}: distances of several kinds ({', '.join(sorted(names))}); measure again")
    left_out = [row["method"] for row in rows if row not in drawn]
    with styled():
        save(draw_operations(of_paper, measured, names.pop(), left_out), out_stem)


Costed = tuple[str, float, int, dict[str, Any], str]  # name, operations of an image, parameters, distance, colour


def _blob(name: str, operations: float, parameters: int, distance: dict[str, Any], colour: str) -> Blob:
    told = with_spread(distance["frechet"], distance.get("frechet_std"), 1)
    label = f"{name}: {told}, {parameters / 1e6:.3g} M parameters"
    return Blob(label, operations, distance["frechet"], parameters, colour)


def _priors(files: Files, dataset: str) -> list[Costed]:
    """The priors of a dataset with all T steps, then the absorbing chain with the network of the first."""
    about = files.plan.datasets[dataset]
    read = [(name, f"samples_{about.timesteps}", first_stage_label(name), BLUE) for name in about.priors]
    if stage := about.baseline("absorbing"):
        read.append((stage, "absorbing_samples", f"absorbing chain, {first_stage_label(stage)}", ORANGE))
    found = []
    for stage, samples, label, colour in read:
        counts = read_json(files.metric(dataset, stage, "counts"))
        distance = measured_distance(files.metric(dataset, stage, samples))
        found.append((label, counts["macs_per_image"], counts["prior"]["parameters"], distance, colour))
    return found


def _baselines(files: Files, dataset: str) -> list[Costed]:
    """The transformer and pixel diffusion of a dataset, where they are trained."""
    about = files.plan.datasets[dataset]
    found: list[Costed] = []
    if stage := about.baseline("transformer"):
        counts = read_json(files.metric(dataset, stage, "transformer_counts"))
        distance = measured_distance(files.metric(dataset, stage, "transformer_samples"))
        found.append(("transformer", counts["macs_per_image"], counts["prior"]["parameters"], distance, ORANGE))
    if about.ddim_steps:
        steps = max(about.ddim_steps)
        counts = read_json(files.metric(dataset, None, "ddpm_counts"))
        distance = measured_distance(files.metric(dataset, None, f"ddim_samples_{steps}"))
        found.append((f"DDIM, {steps} steps", steps * counts["macs_per_step"], counts["parameters"], distance, ORANGE))
    return found


def _short(method: str) -> str:
    """A method of Table 2 as short as a label must be."""
    ours = method.replace("ours (", "").replace(" w/o ReFiT)", "\nwithout ReFiT").replace(" w/ ReFiT)", "")
    return ours.replace(" + ", " +\n")


def figure2(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """The two stages of VQ-DDM, drawn from a real picture's codes."""
    path = Files(plan, root, models).of_prior("celebahq", "chain.npz")
    chain = Chain(**read_arrays(path, *(field.name for field in fields(Chain))))  # type: ignore[arg-type]
    with styled():
        save(draw_pipeline(chain), out_stem)


def _machine(timed: dict[str, Any]) -> str:
    threads = timed["threads"]
    return f"{timed['device']}, {threads} thread{'s' if threads != 1 else ''}"


def _sweep(label: str, paths: Mapping[int, Path]) -> Sweep:
    found = [measured_distance(path) for path in paths.values()]
    deviations = tuple(one.get("frechet_std") for one in found)
    return Sweep(label, tuple(paths), tuple(one["frechet"] for one in found), deviations)


def figure5(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Distance against sampling steps, with hours to sample 50,000 code maps."""
    files = Files(plan, root, models)
    dataset = files.dataset("celebahq")
    about = plan.datasets[dataset]
    floor = measured_distance(files.metric(dataset, None, "floor"))
    sweep = _sweep(f"{about.title}, {first_stage_label(about.main_prior)}", files.sweep("celebahq"))
    of_ddim = files.ddim("celebahq")
    ddim = _sweep(f"{about.title}, pixels by DDIM", of_ddim) if of_ddim else None
    timed = read_json(files.metric(dataset, None, "speed"))
    speed = Speed(_machine(timed), timed["seconds_per_step"], timed["seconds_decode"])
    with styled():
        save(draw_steps(sweep, ddim, speed, floor["frechet"], floor["name"]), out_stem)


def figure6(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Hours for 50,000 code maps and pictures against sampling steps."""
    files = Files(plan, root, models)
    rows = reported()["speed"]["rows"]
    told = [(row["method"], row["steps"], float(row["hours"]["value"])) for row in rows]
    timed = read_json(files.metric(files.dataset("celebahq"), None, "speed"))
    machine, decode = _machine(timed), timed["seconds_decode"]
    speed = Speed(machine, timed["seconds_per_step"], decode)
    steps = list(files.sweep("celebahq"))
    images, maps = ({n: hours(n) for n in steps} for hours in (speed.hours_of_images, speed.hours_of_maps))
    measured = [
        Timed("50 000 images by VQ-DDM, here", images, "s--", ORANGE),
        Timed("50 000 code maps by VQ-DDM, here", maps, "o-", BLUE, "code maps here"),
    ]
    notes = ""
    if pixels := timed.get("ddpm"):
        speed = Speed(machine, pixels["seconds_per_step"], 0.0)  # pixels are not decoded
        at = sorted({*files.ddim("celebahq"), pixels["timesteps"]})
        by_steps = {n: speed.hours_of_images(n) for n in at}
        measured.append(Timed("50 000 images by pixel diffusion, here", by_steps, "^-", GREEN, "pixels here"))
        notes += "Pixel diffusion's last point is DDPM's T, those before it are DDIM. "
    if other := timed.get("transformer"):
        speed = Speed(machine, other["seconds_per_step"], decode)
        by_steps = {other["steps"]: speed.hours_of_images(other["steps"])}
        measured.append(Timed("50 000 images by the transformer, here", by_steps, "v", PURPLE, "transformer here"))
        notes += "The transformer takes a step for each code."
    with styled():
        save(draw_hours(machine, measured, told, notes), out_stem)
