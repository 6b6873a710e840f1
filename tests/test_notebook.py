"""The notebook of the tutorial: its cells run, and show what is kept below them."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat  # Snakemake brings it
import pytest
from helpers.scripts import module_at

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\d+\.\d+")  # what is computed; whole numbers are what they are everywhere
KILOBYTES = 300


@pytest.fixture(scope="module")
def notebook() -> ModuleType:
    """The script `docs/notebook.py` as a module."""
    return module_at(ROOT / "docs/notebook.py")


@pytest.fixture(scope="module")
def cells(notebook: ModuleType) -> list[dict[str, Any]]:
    return notebook.read(notebook.NOTEBOOK)


def kinds(outputs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What sort of thing each output is."""
    return [(output["output_type"], sorted(output.get("data", ()))) for output in outputs]


def words(outputs: list[dict[str, Any]]) -> str:
    """The text of outputs, a picture's being its size."""
    return "".join("".join(output.get("text") or output["data"]["text/plain"]) for output in outputs)


def test_every_cell_gives_what_is_kept(notebook: ModuleType, cells: list[dict[str, Any]]) -> None:
    """Pictures only by their size. Numbers with a point may be 5 % off: networks round differently on other CPUs."""
    for cell, outputs in zip(notebook.code_cells(cells), notebook.execute(cells), strict=True):
        assert kinds(outputs) == kinds(cell["outputs"]), "".join(cell["source"])
        kept, now = words(cell["outputs"]), words(outputs)
        assert NUMBER.sub("#", now) == NUMBER.sub("#", kept)
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (now, kept)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.05)


def test_a_forge_can_show_it(notebook: ModuleType) -> None:
    nbformat.validate(nbformat.read(notebook.NOTEBOOK, as_version=4))
    assert notebook.NOTEBOOK.stat().st_size <= KILOBYTES * 1000


def test_its_page_has_all_cells_and_pictures(notebook: ModuleType, cells: list[dict[str, Any]]) -> None:
    text, pictures = notebook.as_markdown(cells, "page")
    assert all("".join(cell["source"]) in text for cell in cells)
    assert all(f"]({name})" in text for name in pictures)
    assert len(pictures) == sum("image/png" in kind for cell in cells for _, kind in kinds(cell.get("outputs", [])))
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())
