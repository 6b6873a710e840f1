"""The losses of trainings for TensorBoard."""

from __future__ import annotations

import csv
from math import isnan
from pathlib import Path

from vqddm.artifacts import UserError, reading


def tensorboard(folder: Path, *, out: Path = Path("runs")) -> str:
    """Write the losses of finished trainings as event files of TensorBoard, a run for each curve.

    Args:
        folder: is searched, at any depth, for curves (`prior.csv`, `first_stage.csv`, …), such as `models`.
        out: folder of the runs; those of the same curves there are replaced.

    Raises:
        UserError: TensorBoard is not installed, or there is no curve.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("TensorBoard is not installed; say `pip install tensorboard`, then this again") from None
    curves = {path: rows for path in sorted(folder.rglob("*.csv")) if (rows := read_curve(path))}
    if not curves:
        raise UserError(f"{folder}: holds no curve of a training (a CSV whose first column is `step`)")
    for path, rows in curves.items():
        run = out / path.relative_to(folder).with_suffix("")
        before = list(run.glob("events.out.tfevents.*"))
        with SummaryWriter(str(run)) as writer:
            for row in rows:
                for name, value in row.items():
                    if name != "step" and not isnan(value):
                        writer.add_scalar(name, value, int(row["step"]))
        for file in before:
            file.unlink()
    return f"{out}: {len(curves)} runs; `tensorboard --logdir {out}` shows them"


def read_curve(path: Path) -> list[dict[str, float]]:
    """The rows of a training's curve; none where the CSV is no curve."""
    with reading(path, "not a curve") as handle:
        lines = handle.read().decode("utf-8").splitlines()
        if not lines or not lines[0].startswith("step,"):
            return []
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
