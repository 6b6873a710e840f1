"""Figures 1, 2, 5 and 6 from a suite's files: what was measured, and the two stages."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, read_json
from vqddm.paper.figures.charts import (
    MAPS,
    SECONDS_PER_HOUR,
    Blob,
    Speed,
    Sweep,
    draw_hours,
    draw_operations,
    draw_steps,
)
from vqddm.paper.figures.files import Files, first_stage_label, measured_distance, read_arrays
from vqddm.paper.figures.pipeline import Chain, draw_pipeline
from vqddm.paper.figures.style import BLUE, GREEN, ORANGE, save, styled
from vqddm.paper.plan import Plan
from vqddm.paper.render import with_spread
from vqddm.paper.reported import reported


def figure1(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """FID against operations and parameters: the paper's rows, and this suite's in their own units."""
    files = Files(plan, root, models)
    rows = reported()["table2"]["rows"]
    drawn = [row for row in rows if row["flops"] and row["parameters"]]
    of_paper = [
        Blob(
            _short(row["method"]),
            row["flops"]["value"],
            row["fid"]["value"],
            row["parameters"]["value"],
            BLUE if row["source"] == "ours" else ORANGE,
        )
        for row in drawn
    ]
    colours = dict(zip(dict.fromkeys(dataset for dataset, _ in files.priors()), (BLUE, GREEN), strict=False))
    measured, names = [], set()
    for dataset, name in files.priors():
        about = plan.datasets[dataset]
        counts = read_json(files.metric(dataset, name, "counts"))
        distance = measured_distance(files.metric(dataset, name, f"samples_{about.timesteps}"))
        names.add(distance["name"])
        size = counts["prior"]["parameters"]
        label = _told(f"{about.title}, {first_stage_label(name)}", distance, size)
        measured.append(Blob(label, counts["macs_per_image"], distance["frechet"], size, colours[dataset]))
    for dataset, colour in colours.items():
        for blob, name in _baselines(files, dataset, colour):
            measured.append(blob)
            names.add(name)
    if len(names) > 1:
        raise UserError(f"{root / 'metrics'}: distances of several kinds ({', '.join(sorted(names))}); measure again")
    left_out = [row["method"] for row in rows if row not in drawn]
    with styled():
        save(draw_operations(of_paper, measured, names.pop(), left_out), out_stem)


def _told(name: str, distance: dict[str, Any], parameters: int) -> str:
    measured = with_spread(distance["frechet"], distance.get("frechet_std"), 1)
    return f"{name}: {measured}, {parameters / 1e6:.3g} M parameters"


def _baselines(files: Files, dataset: str, colour: str) -> list[tuple[Blob, str]]:
    """Blobs of the baselines on a dataset, each with the name of its distance."""
    about = files.plan.datasets[dataset]
    found = []
    if stage := about.baseline("transformer"):
        counts = read_json(files.metric(dataset, stage, "transformer_counts"))
        distance = measured_distance(files.metric(dataset, stage, "transformer_samples"))
        found.append(("transformer", counts["macs_per_image"], counts["prior"]["parameters"], distance))
    if about.ddim_steps:
        steps = max(about.ddim_steps)
        counts = read_json(files.metric(dataset, None, "ddpm_counts"))
        distance = measured_distance(files.metric(dataset, None, f"ddim_samples_{steps}"))
        found.append((f"DDIM, {steps} steps", steps * counts["macs_per_step"], counts["parameters"], distance))
    return [
        (
            Blob(
                _told(f"{about.title}, {name}", distance, size),
                operations,
                distance["frechet"],
                size,
                colour,
            ),
            distance["name"],
        )
        for name, operations, size, distance in found
    ]


def _short(method: str) -> str:
    """A method of Table 2 as short as a label must be."""
    ours = method.replace("ours (", "VQ-DDM, ").replace(" w/o ReFiT)", "\nwithout ReFiT").replace(" w/ ReFiT)", "")
    return ours.replace(" + ", " +\n")


def figure2(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """The two stages of VQ-DDM, drawn from a real picture's codes."""
    path = Files(plan, root, models).of_prior("celebahq", "chain.npz")
    chain = Chain(**read_arrays(path, *(field.name for field in fields(Chain))))  # type: ignore[arg-type]
    with styled():
        save(draw_pipeline(chain), out_stem)


def _speed(files: Files) -> Speed:
    path = files.metric(files.dataset("celebahq"), None, "speed")
    value = read_json(path)
    threads = value["threads"]
    machine = f"{value['device']}, {threads} thread{'s' if threads != 1 else ''}"
    return Speed(machine, value["seconds_per_step"], value["seconds_decode"])


def figure5(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Distance against sampling steps, with hours to sample 50,000 code maps."""
    files = Files(plan, root, models)
    dataset = files.dataset("celebahq")
    about = plan.datasets[dataset]
    found = {steps: measured_distance(path) for steps, path in files.sweep("celebahq").items()}
    floor = measured_distance(files.metric(dataset, None, "floor"))
    values = tuple(distance["frechet"] for distance in found.values())
    sweep = Sweep(f"{about.title}, {first_stage_label(about.main_prior)}", tuple(found), values)
    pixels = {steps: measured_distance(path)["frechet"] for steps, path in files.ddim("celebahq").items()}
    ddim = Sweep(f"{about.title}, pixels by DDIM", tuple(pixels), tuple(pixels.values())) if pixels else None
    with styled():
        save(draw_steps(sweep, ddim, _speed(files), floor["frechet"], floor["name"]), out_stem)


def figure6(plan: Plan, root: Path, models: Path, out_stem: Path) -> None:
    """Hours for 50,000 code maps and pictures against sampling steps."""
    files = Files(plan, root, models)
    rows = reported()["speed"]["rows"]
    told = [(row["method"], row["steps"], float(row["hours"]["value"])) for row in rows]
    timed = read_json(files.metric(files.dataset("celebahq"), None, "speed")).get("ddpm")
    pixels = None
    if timed:
        steps = sorted({*files.ddim("celebahq"), timed["timesteps"]})
        pixels = {n: MAPS * n * timed["seconds_per_step"] / SECONDS_PER_HOUR for n in steps}
    with styled():
        save(draw_hours(_speed(files), list(files.sweep("celebahq")), pixels, told), out_stem)
