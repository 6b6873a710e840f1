"""Which files a step's result depends on, found from the code: what its entry module imports within `vqddm`.

Snakemake takes them as a rule's inputs, and DVC, through the DAG, as a stage's `deps`.
"""

import ast
import re
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


class CodeFiles:
    """The files of a project's `vqddm/`, as they were when it was made; each is read once.

    Args:
        root: the project's root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        files = sorted((root / PACKAGE).rglob("*.py"), key=lambda file: file.name == "__init__.py")
        self._files = {_module_of(file.relative_to(root)): file for file in files}  # a folder hides a file of its name
        self._led_to: dict[str, list[str]] = {}
        self._read: dict[str, list[Path]] = {}

    def behind(self, *entries: str) -> list[str]:
        """The files behind entry modules: they, what they import, directly or not, and data that these read.

        Imports count wherever they stand, in functions too, and so do texts such as `vqddm.prior.diffusion` or
        `module:function`, by which records name code that is imported later. A data file or folder counts where a
        module names it in a text and it lies beside the module.

        Args:
            entries: modules, such as `vqddm.prior.train`; a reference `module:function` is its module.

        Returns:
            paths relative to the root, sorted.
        """
        wanted, found = [entry.split(":")[0] for entry in entries], set()
        while wanted:
            module = wanted.pop()
            if module not in found:
                found.add(module)
                wanted += self._next(module)
        files = {file for module in found for file in (self._files[module], *self._data(module))}
        return sorted(str(file.relative_to(self.root)) for file in files)

    def _next(self, module: str) -> list[str]:
        """The modules that one leads to: what it imports, and the packages around it, whose code Python runs."""
        if module not in self._led_to:
            if module not in self._files:
                raise FileNotFoundError(f"{module} is no module of {self.root / PACKAGE}")
            parts = module.split(".")
            named = [".".join(parts[:i]) for i in range(1, len(parts))] + _named_by(self._files[module])
            self._led_to[module] = [name for name in named if name in self._files and name not in EXEMPT]
        return self._led_to[module]

    def _data(self, module: str) -> list[Path]:
        """Files that a module names and that lie beside it; of a folder that it names, all in it."""
        if module not in self._read:
            folder = self._files[module].parent
            there = {path.name for path in folder.iterdir()}
            beside = [folder / text for text in _parsed(self._files[module])[1] if text.split("/")[0] in there]
            data = [path for path in beside if path.exists() and path.suffix != ".py"]
            named = [path for path in data if not (path / "__init__.py").exists()]
            inside = [f for path in named for f in ([path] if path.is_file() else path.rglob("*"))]
            self._read[module] = [f for f in inside if f.is_file() and "__pycache__" not in f.parts]
        return self._read[module]


def _module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _named_by(file: Path) -> list[str]:
    """What may be modules in a file's imports and texts."""
    imported, texts = _parsed(file)
    if file.name not in RECORDS:
        imported = imported | {text.split(":")[0] for text in texts if REFERENCE.fullmatch(text)}
    return sorted(imported)


def _parsed(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """What a file may import, and its texts."""
    return _parsed_as_of(file, file.stat().st_mtime_ns)


@cache
def _parsed_as_of(file: Path, _changed: int) -> tuple[frozenset[str], frozenset[str]]:
    imported, texts = set(), set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            texts.add(node.value)
    return frozenset(imported), frozenset(texts)
