"""The table of a run: for each kind of fault what was tried and survived, as CSV, Markdown and on the screen."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

SUMS = ["tried", "survived", "refused", "accepted", "lost", "tracebacks", "seconds"]


def rows(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that a kill cut is left out."""
    found = []
    for line in log.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def table(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each kind and what it was about, one for each kind in all, and one for all."""
    frame = pd.DataFrame(lines).rename(columns={"traceback": "tracebacks"})
    frame["survived"] = frame["tried"].where(frame["lost"] == 0, 0)
    order = {kind: number for number, kind in enumerate(frame["kind"].unique())}
    frame = frame.sort_values("kind", key=lambda kinds: kinds.map(order), kind="stable")
    single = frame.groupby(["kind", "what"], sort=False)[SUMS].sum().reset_index()
    kinds = frame.groupby("kind", sort=False)[SUMS].sum().reset_index().assign(what="all")
    whole = pd.DataFrame([{"kind": "all", "what": "all", **frame[SUMS].sum()}])
    found = pd.concat([single, kinds, whole], ignore_index=True)
    return found.astype(dict.fromkeys(SUMS[:-1], int)).round({"seconds": 0}).astype({"seconds": int})


def about(seed: int, root: Path) -> dict[str, Any]:
    """What a table belongs to: seed, commit, date, and the kind of machine."""
    commit = revision(root, "vqddm", "tests/torture")
    return {"seed": seed, "commit": commit, "date": str(date.today()), "machine": processor()}


def revision(root: Path, *folders: str) -> str:
    """The commit, marked where these folders were edited since."""
    git = ["git", "-C", str(root)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    edited = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *folders], check=False).returncode
    return (commit.stdout.strip() or "unknown") + ("+edited" if edited else "")


def processor() -> str:
    """The model of the CPU, else its architecture."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.machine()


def markdown(found: pd.DataFrame, told: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """The table with what it belongs to, and why something was skipped or lost."""
    text = [
        "# Faults at scale",
        "",
        f"One whole run of `make torture` (seed {told['seed']}, code {told['commit']}, {told['date']}, "
        f"two processes side by side on {told['machine']}). *tried* counts kills, writers without room or without "
        "leave to write, and bad inputs; *survived* those after which all bytes were as without a fault (*accepted*), "
        "or which ended in one sentence with nothing touched (*refused*).",
        "",
        "| kind | what | " + " | ".join(SUMS) + " |",
        "| --- | --- |" + " ---: |" * len(SUMS),
    ]
    for row in found.to_dict("records"):
        mark = "**" if row["what"] == "all" else ""
        cells = [f"{mark}{row[name]}{mark}" for name in ("kind", "what", *SUMS)]
        text.append(f"| {' | '.join(cells)} |")
    if skipped := sorted({line["skipped"] for line in lines if line["skipped"]}):
        text += ["", f"Skipped: {'; '.join(skipped)}."]
    if lost := [line for line in lines if line["lost"]]:
        text += ["", "Lost:", ""]
        text += [f"- {line['kind']}, {line['what']}, number {line['number']}: {in_short(line['why'])}" for line in lost]
    return "\n".join([*text, ""])


def in_short(why: str) -> str:
    """The last line of what a trial found, which names no place of this machine, cut short."""
    last = why.strip().splitlines()[-1]
    return re.sub(r"(?<!\w)/[\w./-]+", "…", last)[:200]


def write(log: Path, out: Path, seed: int, root: Path) -> int:
    """Print the table, write it as `torture.csv` and `torture.md`; return how much was lost."""
    lines = rows(log)
    found, told = table(lines), about(seed, root)
    out.mkdir(parents=True, exist_ok=True)
    found.assign(**told).to_csv(out / "torture.csv", index=False)
    (out / "torture.md").write_text(markdown(found, told, lines))
    print(found.to_string(index=False))
    for line in lines:
        if line["lost"]:
            print(f"LOST {line['kind']}: {line['what']}, number {line['number']}: {line['why']}")
    return int(found["lost"].iloc[-1] + found["tracebacks"].iloc[-1])
