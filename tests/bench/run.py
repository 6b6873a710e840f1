"""Measurements one after the other, each kept in a file as it comes, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torture.report import processor

from bench.records import Differs, Item, Match, in_words
from bench.timing import race, threads
from vqddm.artifacts import read_json, write_json

Row = dict[str, Any]
SHOWS = ("tables", "report", "drawing")  # what they do with a measurement changes none


def code_of(root: Path) -> str:
    """A name for the code that is measured and that measures: a checksum of it."""
    bench = [file for file in root.glob("tests/bench/*.py") if file.stem not in SHOWS]
    files = sorted([*root.glob("vqddm/**/*.py"), *bench, root / "params.yaml"])
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return total.hexdigest()[:12]


def file_of(item: Item, folder: Path) -> Path:
    """Where a measurement is kept."""
    return folder / (re.sub(r"\W+", "-", item.words) + ".json")


def measured(items: Sequence[Item], folder: Path, tell: Callable[[str], object]) -> list[Row]:
    """The rows of all measurements; those whose file is there are not measured again."""
    missing = [item for item in items if not file_of(item, folder).exists()]
    if len(missing) < len(items):
        tell(f"{len(items) - len(missing)} of {len(items)} are measured already")
    left, spent, begun = sum(item.seconds for item in missing), 0.0, time.monotonic()
    agreements: dict[tuple[str, str], str] = {}
    kept: tuple[Any, Match] | None = None
    for number, item in enumerate(missing, len(items) - len(missing) + 1):
        if kept is None or kept[0] != (item.contest, item.sizes, item.device):
            kept = None  # before the next one is made, so that memory holds one
        row, match = one(item, kept[1] if kept else None, agreements)
        kept = ((item.contest, item.sizes, item.device), match) if match else None
        write_json(file_of(item, folder), row)
        spent += item.seconds
        minutes = (time.monotonic() - begun) / spent * (left - spent) / 60
        tell(f"[{number}/{len(items)}] {told(item, row)}; about {minutes:.0f} min left")
    return [read_json(file_of(item, folder)) for item in items]


def one(item: Item, match: Match | None, agreements: dict[tuple[str, str], str]) -> tuple[Row, Match | None]:
    """A row, and both sides as they were prepared; what cannot be measured has a note that says why.

    Args:
        match: both sides, where they are prepared already.
        agreements: what the checks of contests found, filled here.
    """
    row: Row = {
        "part": item.part,
        "work": item.contest.work,
        "reference": item.contest.reference,
        "sizes": in_words({name: size for name, size in item.sizes.items() if name != item.axis}),
        "axis": item.axis,
        "value": item.sizes.get(item.axis, 0),
        "threads": item.threads,
        "kind": "gpu" if item.device == "cuda" else "cpu",
        "device": torch.cuda.get_device_name() if item.device == "cuda" else processor(),
        "agree": "",
        "note": "",
    }
    if not item.contest.installed:
        return row | {"note": "not installed"}, None
    try:
        with threads(item.threads):
            match = match or item.contest.prepare(item.sizes, torch.device(item.device))
            if item.part == "contests" and item.contest.check is not None:
                key = (item.contest.name, item.device)
                if key not in agreements:
                    agreements[key] = item.contest.check(torch.device(item.device))
                row["agree"] = agreements[key]
            row |= {"bytes": match.bytes, "flops": match.flops, "quality": item.contest.quality}
            return row | race(match, item.device, item.seconds), match
    except (Differs, RuntimeError, MemoryError) as error:  # what torch cannot do is one row's matter
        return row | {"note": f"{type(error).__name__}: {error}".splitlines()[0][:200]}, None


def told(item: Item, row: Row) -> str:
    """A measurement in a line."""
    words = item.words.removeprefix(f"{item.part}, ")
    if row["note"]:
        return f"{words}: {row['note']}"
    if "ratio" not in row:
        return f"{words}: {row['ours_ms']:.3g} ms"
    return f"{words}: {row['ours_ms']:.3g} ms, {row['reference_ms']:.3g} ms, {row['ratio']:.2f} times as long"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
