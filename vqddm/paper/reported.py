"""What the paper reports, and the captions: two YAML files that lie beside this module."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vqddm.artifacts import UserError

HERE = Path(__file__).parent
SECTIONS = {  # the paper's own, in its order
    "1": "Introduction",
    "3": "Methods",
    "4.2": "Codebook quality",
    "4.3": "Generation quality",
    "4.4": "Image inpainting",
    "A": "Appendix",
}


@cache
def _read(name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 8 times as fast, where PyYAML was built with it
    return yaml.load((HERE / name).read_text(encoding="utf-8"), loader)


def reported() -> dict[str, Any]:
    """Every number of the paper with its place. Callers must not change it."""
    return _read("reported.yaml")


def captions() -> dict[str, dict[str, str]]:
    """Title, caption and, for figures, the alternative text. Callers must not change it."""
    return _read("captions.yaml")


def must_be_shown(name: str, section: str) -> None:
    """Refuse a table or a figure that the page would leave out.

    Raises:
        UserError: it has no caption, or the page has no such section.
    """
    if name not in captions():
        raise UserError(f"{name} has no caption in vqddm/paper/captions.yaml")
    if section not in SECTIONS:
        raise UserError(f"{name}: the page has no section '{section}'; there are {', '.join(SECTIONS)}")


def told(**cells: dict[str, Any] | None) -> dict[str, Any]:
    """Columns `reported_{name}`, the number (None for a dash), and `reported_{name}_text`, as the paper prints it."""
    columns: dict[str, Any] = {}
    for name, cell in cells.items():
        columns[f"reported_{name}"] = None if cell is None else cell["value"]
        columns[f"reported_{name}_text"] = "–" if cell is None else str(cell["text"])
    return columns
