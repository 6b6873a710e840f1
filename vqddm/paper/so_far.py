"""A suite's page before everything is measured: the paper's numbers, and what there is beside them."""

import shutil
from collections.abc import Callable
from pathlib import Path

from vqddm.artifacts import UserError
from vqddm.paper.claims import claims
from vqddm.paper.figures import FIGURES
from vqddm.paper.page import SIGNATURE, write_page
from vqddm.paper.plan import Plan
from vqddm.paper.remake import tables
from vqddm.paper.tables import TABLES

README = "README.md"
# What is written into the page's folder; whatever else lies there is left alone.
MEASURED = ("metrics", "over_trainings")  # the page links to them
WRITTEN = (
    *(f"{folder}/**/*.json" for folder in MEASURED),
    *(f"tables/{name}.*" for name in TABLES),
    "figures/figure*.*",
    "claims.csv",
    "claims.md",
    "index.html",
    README,
)


def so_far(
    *, plan: Plan, root: Path, out: Path, evaluation: Path = Path("evaluation"), say: Callable[[str], object] = print
) -> None:
    """Write the page before everything is measured, with tables, claims, and each figure whose files are all there.

    Args:
        out: folder to write; what an earlier call wrote there goes away.
        say: is told what the page lacks.

    Raises:
        UserError: `out` is `root`, whose metrics would go away, or holds a README that no such page has.
    """
    if out.resolve() == root.resolve():
        raise UserError(f"{out}: the metrics are read from there; write the page into another folder")
    readme = out / README
    if readme.exists() and SIGNATURE not in readme.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{readme}: belongs to something else; write the page into a folder of its own")
    for file in [file for pattern in WRITTEN for file in out.glob(pattern)]:
        file.unlink()
    for folder in MEASURED:
        if (root / folder).exists():
            shutil.copytree(root / folder, out / folder, dirs_exist_ok=True)
    lacking = []
    for number, figure in FIGURES.items():
        if all(path.exists() for path in figure.inputs(plan, root, evaluation)):
            figure.draw(plan, root, evaluation, out / f"figures/figure{number}")
        else:
            lacking.append(f"figure {number}")
    tables(plan, out)
    claims(plan, out, out / "claims")
    write_page(plan, out, out / "index.html", root.parent.parent)
    say(f"{out / 'index.html'}: not measured yet: {', '.join(lacking) or 'nothing'}")
