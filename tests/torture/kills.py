"""Kills with -9 at random moments, one to three in a row; then the command is left to its end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from pathlib import Path

from torture.outcome import Found, Lost, check_whole
from torture.processes import HALF, Running, differing, halves, start, tree
from torture.steps import SAVING, Reference, Step, set_up

LONGEST = 300  # seconds for what takes few
MISSES = 3  # kills that may come too late


def kill_step(step: Step, reference: Reference, project: Path, folder: Path, rng: random.Random) -> Found:
    """Kill a step, let it end, and compare all that lies there with what an undisturbed one leaves.

    Between the tries its outputs are deleted, as Snakemake does, or not, as by hand.

    Raises:
        Lost: there is a difference.
    """
    set_up(step, project, folder)
    real = rng.random() < 0.1
    words = step.words if real else step.forked()
    # A program of its own imports torch first.
    seconds = reference.seconds + (6 if real else 0)
    kills, wanted = 0, rng.choice([1, 2, 2, 3])
    for _ in range(wanted + MISSES):
        if kills == wanted:
            break
        if not kills:  # from the beginning: what has ended once has less to do
            shutil.rmtree(folder)
            set_up(step, project, folder)
        kills += struck(start(words, folder, real=real, more=SAVING), folder, seconds, rng)
        if rng.random() < 0.5:
            for name in step.outputs:
                (folder / name).unlink(missing_ok=True)
    check_whole(start(words, folder, real=real, more=SAVING).wait(LONGEST))
    if words := [*differing(tree(folder), reference.tree), *halves(folder)]:
        raise Lost(f"after {kills} kills: {'; '.join(words[:5])}")
    return Found(kills, accepted=kills)


def struck(running: Running, folder: Path, seconds: float, rng: random.Random) -> bool:
    """Kill a command at a random moment; whether it was still at work.

    Half of the kills come at any moment of the time that it takes, some of them near the end; half come right after
    something half-written is seen (where nothing is, at any moment too).
    """
    share = rng.choice([rng.random(), rng.random(), rng.uniform(0.8, 1.02)])
    at = running.began + share * seconds
    sighted, later = rng.random() < 0.5, rng.expovariate(1 / 0.003)
    skip = rng.choice([0, 0, 1, 3, 10])  # sights before the one that counts
    seen = ""
    while time.monotonic() < at or (sighted and time.monotonic() < running.began + seconds * 3):
        if (code := running.ended()) is not None:
            if code:
                raise Lost(f"ended with {code} before the kill: {running.told.read_text(errors='replace')[-1000:]}")
            return False
        if sighted and (half := half_written(folder)) and half != seen:
            seen = half
            if skip <= 0:
                time.sleep(later)
                break
            skip -= 1
        time.sleep(0.0005)
    return running.kill()


def half_written(folder: Path) -> str:
    """Something half-written that lies there, or nothing."""
    for place, folders, files in os.walk(folder):
        for name in [*files, *folders]:
            if ".partial" in name or name.startswith(HALF):
                with contextlib.suppress(OSError):
                    return f"{place}/{name} {(Path(place) / name).stat().st_ino}"
    return ""
