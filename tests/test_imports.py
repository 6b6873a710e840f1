"""Who may import whom: top to bottom, never upward, never in a circle; records and `paper` without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LAYERS = [
    {"__main__"},
    {"cli"},
    {"options"},
    {"demo"},
    {"evaluate", "paper", "ledger", "api"},
    {"asked", "baselines"},
    {"refit", "prior"},
    {"samplers"},
    {"vqgan"},
    {"training", "batches"},
    {"data"},
    {"recipe", "state"},
    {"recorded"},
    {"layers"},
    {"fused_norm"},
    {"compute", "slurm"},
    {"artifacts", "memory"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Settings and records (`vqddm/registry.py`) lie with their steps, but import only each other: all may read them.
RECORDS = {"settings", "kind", "method", "schedules", "sources", "transitions"}
# Those at the top of the package.
COLLECTED = {"settings", "yaml_file", "registry", "params", "first_stages", "methods", "repeats"}


def is_record(module: str) -> bool:
    """Whether `vqddm.prior.settings` or the like is one of settings and records."""
    parts = module.split(".")[1:]
    return parts[0] in COLLECTED if len(parts) == 1 else parts[-1] in RECORDS


def imports(path: Path) -> Iterator[str]:
    """The modules within `vqddm` that a file imports, wherever in it; not what only a type checker sees."""
    tree = ast.parse(path.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    passed_over = {inner for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in passed_over:
            if node.module.startswith("vqddm."):
                yield node.module
            elif node.module == "vqddm":
                yield from (f"vqddm.{alias.name}" for alias in node.names)


def test_imports_go_downward(root):
    seen = set()
    for path in sorted((root / "vqddm").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if module == "vqddm":
            continue
        part = module.split(".")[1]
        for imported in imports(path):
            below = imported.split(".")[1]
            seen.add((part, below))
            if is_record(module):
                assert is_record(imported) or below == "artifacts", f"{path} imports {imported}"
            elif part == "paper":
                assert is_record(imported) or below in {"paper", "artifacts"}, f"{path} imports {imported}"
            elif not is_record(imported) and part != below:
                assert LEVEL[part] < LEVEL[below], f"{path} imports {imported}"
    assert ("vqgan", "training") in seen, "the walk saw the imports"


def test_the_command_line_and_the_records_start_without_torch():
    modules = "vqddm.cli, vqddm.params, vqddm.artifacts, vqddm.methods, vqddm.first_stages"
    script = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_snakemake_plans_without_what_trains_and_draws(root):
    """Its start is what one waits for most often; torch takes a second and a half of it, matplotlib half a one."""
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "-n"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    timed = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.split("|")[-1].strip().split(".")[0] for line in timed}
    assert "vqddm" in imported, "the list was read"
    assert not imported & {"torch", "matplotlib", "scipy", "sklearn"}
