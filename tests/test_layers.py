"""Who may import whom: top to bottom, never upward, never in a circle; `paper` without torch."""

from __future__ import annotations

import ast
import subprocess
import sys

LAYERS = [
    {"__main__"},
    {"cli"},
    {"evaluate", "paper", "ledger"},
    {"baselines"},
    {"refit", "prior"},
    {"vqgan"},
    {"training", "data"},
    {"state"},
    {"slurm"},
    {"params", "artifacts"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vqddm."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "vqddm":
            yield from (alias.name for alias in node.names)


def test_imports_go_downward(root):
    seen = set()
    for path in (root / "vqddm").rglob("*.py"):
        part = path.relative_to(root / "vqddm").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for imported in imports(path):
            seen.add((part, imported))
            same_level_is_fine = part == imported or (part, imported) == ("params", "artifacts")
            assert same_level_is_fine or LEVEL[part] < LEVEL[imported], f"{path} imports vqddm.{imported}"
            assert part != "paper" or imported in {"paper", "params", "artifacts"}, f"{path} imports vqddm.{imported}"
    assert ("vqgan", "training") in seen, "the walk saw the imports"


def test_the_command_line_starts_without_torch():
    script = "import sys, vqddm.cli, vqddm.params, vqddm.artifacts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
