"""Execute the notebook without Jupyter and keep its outputs: `python docs/notebook.py`, which `make notebook` calls.

Of what Jupyter shows below a cell this knows what the notebook has: printed lines, pictures, and the value of a last
line. `docs/prepare.py` makes a page of the notebook, and `tests/test_notebook.py` executes it.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib
import matplotlib.pyplot as plt
from PIL import Image

NOTEBOOK = Path(__file__).parent / "tutorial/ten-minutes.ipynb"
COLOURS = 128  # of a picture: enough for the eye, and half as large as all of them


def read(notebook: Path) -> list[dict[str, Any]]:
    """A notebook's cells."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text())["cells"]
    return cells


def code_cells(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that can be executed."""
    return [cell for cell in cells if cell["cell_type"] == "code"]


def execute(cells: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The outputs of one code cell after the other, as a notebook keeps them."""
    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(cells), start=1):
        yield _outputs("".join(cell["source"]), names, number)


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Execute a cell in a namespace."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, mock.patch.object(plt, "show", lambda: None):
        value = _run(source, names, f"cell {number}")
    found: list[dict[str, Any]] = []
    if text := printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    for figure in map(plt.figure, plt.get_fignums()):
        found.append({"data": _figure(figure), "metadata": {}, "output_type": "display_data"})
        plt.close(figure)
    if value is not None:
        result = {"data": _data(value), "execution_count": number, "metadata": {}, "output_type": "execute_result"}
        found.append(result)
    return found


def _run(source: str, names: dict[str, Any], where: str) -> object:
    """Execute a cell; the value of its last line where that is an expression."""
    *body, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(compile(source, where, "exec"), names)
        return None
    exec(compile(ast.Module(body, []), where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def _figure(figure: plt.Figure) -> dict[str, Any]:
    """What is kept of a figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return _data(Image.open(drawn).convert("RGB"))


def _data(value: object) -> dict[str, Any]:
    """What is kept of a value: a PNG of a picture, and else what `repr` says."""
    if not isinstance(value, Image.Image):
        return {"text/plain": repr(value).splitlines(keepends=True)}
    png = io.BytesIO()
    value.quantize(COLOURS, dither=Image.Dither.NONE).save(png, "PNG", optimize=True)
    size = f"<picture of {value.width} x {value.height}>"
    return {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": [size]}


def as_markdown(cells: list[dict[str, Any]], name: str) -> tuple[str, dict[str, bytes]]:
    """A page of Markdown with cells and outputs, and its pictures, PNG by the name that the page has for each."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", ())})
            if "image/png" in data:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![What the cell shows]({file})")
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def main() -> None:
    """Execute all cells and write the notebook with their outputs."""
    whole = json.loads(NOTEBOOK.read_text())
    executed = zip(code_cells(whole["cells"]), execute(whole["cells"]), strict=True)
    for number, (cell, outputs) in enumerate(executed, start=1):
        cell |= {"execution_count": number, "outputs": outputs}
    NOTEBOOK.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
