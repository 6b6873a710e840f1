"""Damaged files of ours: states, finished trainings, checkpoints, arrays, JSON and tables."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from torture.damage import damaged
from torture.inputs import Case, copied, same_outputs
from torture.outcome import Found, Lost, check_refusal, check_whole
from torture.processes import differing, halves, run, start, tree
from torture.steps import SAVING, Reference, Step, set_up
from vqddm.artifacts import BUILT

CHECKED = (".safetensors", ".npy", ".npz")  # what has a checksum, so that no damage gets through


def bad_input(
    steps: list[Step], suffixes: tuple[str, ...], references: Mapping[str, Reference], project: Path
) -> Callable[[Path, random.Random], Case]:
    """A step one of whose inputs is damaged, or another file of the same kind."""

    def make(folder: Path, rng: random.Random) -> Case:
        usable = [step for step in steps if any(name.endswith(suffixes) for name in step.files())]
        step = rng.choice(usable)
        set_up(step, project, folder)
        name = rng.choice([name for name in step.files() if name.endswith(suffixes)])
        expected = references[step.name].tree
        # Whichever of the files that do not belong together may be named.
        of_step, own = [Path(file).name for file in step.files()], [Path(name).name]
        if name.startswith("data/"):  # pictures and their manifest are held against each other
            own.append(f"{Path(name).stem}.npy")
        if rng.random() < 0.25:
            exchanged(folder / name, project, rng)
            return Case(step.forked(), of_step, step.outputs, more=SAVING, expected=expected)
        (folder / name).write_bytes(damaged((folder / name).read_bytes(), rng)[1])
        case = Case(step.forked(), own, step.outputs, more=SAVING, expected=expected)
        summed = name.endswith(CHECKED) or name.startswith("data/")
        return case._replace(check=same_outputs(step.outputs, expected)) if summed else case

    return make


def exchanged(path: Path, project: Path, rng: random.Random) -> None:
    """Put another file of the kind in its place, an array of another type or shape, or another kind's content."""
    if path.suffix == ".npy" and rng.random() < 0.5:
        array = np.load(path)
        others = [array.astype(np.float64), array.astype(np.int32), array.astype(">f4"), np.array([{}], dtype=object)]
        others += [
            array[..., None],
            array[:0],
            array[:1],
            array.ravel(),
            (array.astype(np.int64) + 1).astype(array.dtype),
        ]
        np.save(path, rng.choice(others), allow_pickle=True)
        return
    suffix = path.suffix if rng.random() < 0.8 else rng.choice([".npy", ".npz", ".json", ".safetensors"])
    folders = [project / part for part in BUILT]
    others = sorted(other for folder in folders for other in folder.rglob(f"*{suffix}") if other.name != path.name)
    shutil.copyfile(rng.choice(others), path)


def half_trained(step: Step, reference: Reference, project: Path, folder: Path) -> None:
    """A folder in which a training was killed after some steps, with two states."""
    set_up(step, project, folder)
    running = start(step.forked(), folder, more=SAVING)
    while (code := running.ended()) is None:
        # Not by `glob`, which raises where a folder goes away meanwhile.
        states = sorted(name for _, names, _ in os.walk(folder) for name in names if name.startswith("step-"))
        if len(states) >= 2 and int(states[-1].removeprefix("step-")) >= 8:
            break
        time.sleep(0.002)
    if code is not None or not running.kill():
        raise RuntimeError(f"{step.name}: it was not caught at work ({code}): {running.told.read_text()[-500:]}")
    for half in [path for path in folder.rglob("*") if path.name.startswith(("saving", "dropped-"))]:
        shutil.rmtree(half)
    if len(list(folder.glob("state/**/step-*"))) < 2:
        raise RuntimeError(f"{step.name}: fewer than two states were kept")


def bad_state(step: Step, reference: Reference, half: Path, folder: Path, rng: random.Random) -> Found:
    """Damage the last state, the one before, or both, and go on.

    The one before must take the last one's place, and the last be kept; where both are damaged nothing may be touched.

    Raises:
        Lost: other final bytes, or a damaged file is gone.
    """
    copied(half, folder)
    states = sorted(folder.glob("state/**/step-*"))[-2:]
    which = rng.choice(["last", "last", "last", "both", "before"])
    spoilt = {"last": states[-1:], "both": states, "before": states[:1]}[which]
    for state in spoilt:
        spoil(state, rng)
    before = tree(folder)
    ended = run(step.forked(), folder, 200, more=SAVING)
    after = tree(folder)
    if which == "both":
        check_refusal(ended, ["state/"])
        if before.items() - after.items():
            raise Lost(f"touched: {sorted(before.items() - after.items())[:5]}")
        return Found(refused=1)
    check_whole(ended)
    aside = {name: content for name, content in after.items() if "/damaged-" in name}
    if words := differing({name: content for name, content in after.items() if name not in aside}, reference.tree):
        raise Lost(f"the {which} state spoilt: {'; '.join(words[:5])}")
    if which == "last":
        told = "set aside as damaged-" in ended.said
        kept = {content for name, content in before.items() if f"/{spoilt[0].name}/" in f"/{name}"}
        if not told or not kept <= set(aside.values()):
            raise Lost(f"the damaged state is not kept, or nobody was told: {ended.said[-500:]}")
    return Found(accepted=1)


def spoil(state: Path, rng: random.Random) -> None:
    """Damage one of a state's files, take it away, or put another in its place."""
    files = sorted(file for file in state.iterdir() if file.is_file())
    file = rng.choice(files)
    how = rng.random()
    if how < 0.1:
        file.unlink()
    elif how < 0.2:
        other = rng.choice([f for f in files if f.read_bytes() != file.read_bytes()])
        shutil.copyfile(other, file)
    else:
        file.write_bytes(damaged(file.read_bytes(), rng)[1])


def bad_finished(step: Step, reference: Reference, whole: Path, folder: Path, rng: random.Random) -> Found:
    """Damage what a finished training keeps, with its outputs deleted: it is refused, or put back as it was.

    Raises:
        Lost: other bytes were put back, or the damaged copy is gone.
    """
    copied(whole, folder)
    for name in step.outputs:
        (folder / name).unlink()
    (finished,) = folder.glob("state/**/finished")
    spoil(finished, rng)
    before = tree(folder)
    ended = run(step.forked(), folder, 200, more=SAVING)
    after = tree(folder)
    if ended.code:
        check_refusal(ended, ["finished"])
        if before != after or halves(folder):
            raise Lost(f"touched: {'; '.join(differing(after, before)[:5])}")
        return Found(refused=1)
    check_whole(ended)
    if words := [name for name in step.outputs if after.get(name) != reference.tree[name]]:
        raise Lost(f"other bytes were put back: {', '.join(words)}")
    return Found(accepted=1)
