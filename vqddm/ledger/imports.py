"""Which files a step's result depends on, found from the code: what its entry module imports within `vqddm`.

Snakemake takes them as a rule's inputs, and DVC, through the DAG, as a stage's `deps`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "vqddm"
# Files of records whose `module:function` is not followed: the rule of what they name has it as its entry.
RECORDS = ("kind.py", "method.py", "sources.py")
REFERENCE = re.compile(r"vqddm(\.\w+)+(:\w+)?")
# Modules that no result depends on: they are neither counted nor followed, unless a rule names one as its entry.
EXEMPT = {
    "vqddm.cli": "parses options; what it calls is a rule's entry",
    "vqddm.options": "makes options from annotations and docstrings",
    "vqddm.api": "gives what is trained away, to people; nothing is measured through it",
    "vqddm.api.model": "the same; `vqddm/__init__.py` names it",
    "vqddm.slurm": "asks the cluster, starts processes",
    "vqddm.data.progress": "shows how far a step is",
    "vqddm.registry": "finds code by name; a rule names the module of what it finds",
    "vqddm.methods": "lists records",
    "vqddm.data.sources": "lists records",
    "vqddm.first_stages": "lists records; what names of first stages say is in the rule's parameters",
    "vqddm.params": "validates the whole params.yaml; a step gets its own sections",
}


def code_files(*entries: str, root: Path) -> list[str]:
    """The files of `vqddm/` behind entry modules: they, what they import, directly or not, and data that these read.

    Imports count wherever they stand, in functions too, and so do texts such as `vqddm.prior.diffusion` or
    `module:function`, by which records name code that is imported later. A data file or folder counts where a module
    names it in a text and it lies beside the module.

    Args:
        entries: modules, such as `vqddm.prior.train`; a reference `module:function` is its module.
        root: the project's root; the paths are relative to it, and sorted.
    """
    wanted, found = [entry.split(":")[0] for entry in entries], set()
    while wanted:
        module = wanted.pop()
        if module not in found:
            found.add(module)
            wanted += [name for name in (*_packages(module, root), *_imports(module, root)) if name not in EXEMPT]
    files = {file for module in found for file in (_file(module, root), *_data(module, root))}
    return sorted(str(file.relative_to(root)) for file in files)


def _file(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        raise FileNotFoundError(f"{module} is no module of {root / PACKAGE}")
    return file


def _imports(module: str, root: Path) -> list[str]:
    """The modules of `vqddm` that a module imports."""
    file = _file(module, root)
    return _imported_by(file, root, file.stat().st_mtime_ns)


@cache
def _imported_by(file: Path, root: Path, changed: int) -> list[str]:
    imported, texts = _parsed(file, changed)
    if file.name not in RECORDS:
        imported = imported | {text.split(":")[0] for text in texts if REFERENCE.fullmatch(text)}
    return sorted(name for name in imported if name.split(".")[0] == PACKAGE and _is_module(name, root))


def _is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def _packages(module: str, root: Path) -> Iterator[str]:
    """`a` and `a.b` of `a.b.c`, where they have an `__init__.py`: Python runs it."""
    parts = module.split(".")
    return (name for i in range(1, len(parts)) if _is_module(name := ".".join(parts[:i]), root))


def _data(module: str, root: Path) -> list[Path]:
    """Files that a module names and that lie beside it; of a folder that it names, all in it."""
    file = _file(module, root)
    _, texts = _parsed(file, file.stat().st_mtime_ns)
    there = {path.name for path in file.parent.iterdir()}
    beside = [file.parent / text for text in texts if text.split("/")[0] in there]
    named = [path for path in beside if path.exists() and path.suffix != ".py" and not (path / "__init__.py").exists()]
    inside = [f for path in named for f in ([path] if path.is_file() else path.rglob("*"))]
    return [f for f in inside if f.is_file() and "__pycache__" not in f.parts]


@cache
def _parsed(file: Path, _changed: int) -> tuple[frozenset[str], frozenset[str]]:
    """What a file may import, and its texts; `_changed` says when it was written."""
    imported, texts = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            texts.add(node.value)
    return frozenset(imported), frozenset(texts)
