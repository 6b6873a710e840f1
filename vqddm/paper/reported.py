"""What the paper reports, and the captions: two YAML files that lie beside this module."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@cache
def reported() -> dict[str, Any]:
    """`reported.yaml`: every number of the paper with its place. Callers must not change it."""
    found: dict[str, Any] = yaml.safe_load((HERE / "reported.yaml").read_text(encoding="utf-8"))
    return found


@cache
def captions() -> dict[str, dict[str, str]]:
    """`captions.yaml`: title, caption and, for figures, the alternative text. Callers must not change it."""
    found: dict[str, dict[str, str]] = yaml.safe_load((HERE / "captions.yaml").read_text(encoding="utf-8"))
    return found


def value(cell: dict[str, Any] | None) -> float | None:
    """The number of a reported cell, None where the paper prints a dash."""
    return None if cell is None else cell["value"]


def text(cell: dict[str, Any] | None) -> str:
    """A reported cell as the paper prints it; a dash where it prints one."""
    return "–" if cell is None else str(cell["text"])
