"""The page of a suite: pictures, claims, then the paper in its own order; as one static file and as Markdown."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from vqddm.artifacts import reading, replacing
from vqddm.data.sources import SOURCES
from vqddm.paper.claims.controls import HOLDS, HOLDS_NOT, PLACE
from vqddm.paper.claims.evidence import NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED, UNDECIDED, spreads_are_of
from vqddm.paper.figures import FIGURES
from vqddm.paper.plan import ROLE_TITLES, Plan
from vqddm.paper.render import DASH, markdown, read_table
from vqddm.paper.reported import HERE, SECTIONS, captions
from vqddm.paper.tables import TABLES

GLANCE = "figure0"  # it stands at the top
SIGNATURE = "written by Snakemake."  # by which a page's README is known
SIGNS = {
    REPRODUCED: ("yes", "✓"),
    NOT_REPRODUCED: ("no", "✗"),
    UNDECIDED: ("undecided", "≈"),
    NOT_TESTABLE: ("open", "○"),
}
# As a cell is printed, ours or the paper's: 97.07%, 2.04 ± 0.11, 1.06 G, ~10, about 1000.
NUMBER = re.compile(r"(about |around |~)?-?\d[\d,]*(\.\d+)?(%| [kMGT])?( ± \d+(\.\d+)?)?( \(draws of \d+\))?")
OF_CONTROLS = {HOLDS: SIGNS[REPRODUCED], HOLDS_NOT: SIGNS[NOT_REPRODUCED]}  # they are not counted among the paper's


@dataclass(frozen=True)
class Part:
    """A table or a figure as the templates show it; what was not made is empty."""

    name: str
    title: str
    caption: str
    alt: str
    links: list[tuple[str, str]]
    head: list[list[tuple[str, int, bool]]]
    rows: list[list[tuple[str, bool]]]
    markdown: str
    size: tuple[int, int] | None


def page(plan: Plan, root: Path, out: Path) -> None:
    """Write the page from finished claims, tables and figures, and beside it the same as README.md.

    What is not there yet is said to be missing.

    Args:
        root: the suite's results folder; the page's links are relative to it.
        out: the page, in `root`.

    Raises:
        UserError: a CSV is damaged, or there are no claims.
    """
    write_page(plan, root, out, root.parent.parent)


def write_page(plan: Plan, root: Path, out: Path, project: Path) -> None:
    """The same, in whatever folder of the `project` that `root` is."""
    claims = read_table(root / "claims.csv").to_dict("records")
    with reading(root / "claims.csv", "not the table of claims"):
        for claim in claims:
            claim["css"], claim["sign"] = (SIGNS | OF_CONTROLS)[claim["verdict"]]
            claim["files"] = claim["evidence"].split("; ") if isinstance(claim["evidence"], str) else []
            claim["alone"] = claim["alone"] if isinstance(claim["alone"], str) else ""
    papers, controls = ([c for c in claims if (c["place"] == PLACE) == ours] for ours in (False, True))
    shown = {
        "plan": plan,
        "signature": SIGNATURE,
        "up": os.path.relpath(project, out.parent),
        "claims": claims,
        "controls": controls,
        "counts": [(verdict, *SIGNS[verdict], sum(c["verdict"] == verdict for c in papers)) for verdict in SIGNS],
        "spread": spreads_are_of(plan) if _distance_names(root) else None,
        "notes": head_notes(plan, root),
        "film": _size(root / "figures/film.webp"),
        "timeline": _size(root / "timeline.png"),
        "glance": _part(GLANCE, root, plan),
        "roles": ROLE_TITLES,
        "sections": [
            (number, title, [_part(name, root, plan) for name in _shown_in(number)])
            for number, title in SECTIONS.items()
        ],
    }
    for path, template in ((out, "index.html.j2"), (out.with_name("README.md"), "README.md.j2")):
        with replacing(path) as aside:
            aside.write_text(environment().get_template(template).render(shown), encoding="utf-8")


def environment() -> Environment:
    """The templates; what one names and nobody gives is an error."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=lambda name: str(name).endswith("html.j2"),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def _shown_in(section: str) -> list[str]:
    """Tables and figures of a section, in the order of their captions."""
    shown = {name: table.section for name, table in TABLES.items()}
    shown |= {f"figure{number}": figure.section for number, figure in FIGURES.items()}
    return [name for name in captions() if shown[name] == section and name != GLANCE]


def _size(picture: Path) -> tuple[int, int] | None:
    """Width and height of a picture or film, None where there is none."""
    if not picture.exists():
        return None
    with reading(picture, "not a whole picture") as handle, Image.open(handle) as image:
        return image.size


def head_notes(plan: Plan, root: Path) -> list[str]:
    """What a reader must know before any number: how small the suite is, what spreads and distances mean."""
    notes = []
    names = _distance_names(root)
    if not names:
        notes.append("Nothing of this suite was measured here yet: what stands below is what the paper reports.")
    elif plan.suite != "paper":
        sizes = ", ".join(f"{dataset.title} at {dataset.resolution} px" for dataset in plan.datasets.values())
        notes.append(f"This is a small suite ({sizes}), not the paper's: it can show directions, not its levels.")
    notes += [
        f"{name} is not FID: it uses another network, so it stands in columns of its own and is never to be "
        "compared with a published FID. A Fréchet distance of few samples is biased upward; the floor beside it is "
        "what held-out real images get."
        for name in names
        if name != "FID"
    ]
    notes += [
        f"{dataset.title} {SOURCES[dataset.source].remark}."
        for dataset in plan.datasets.values()
        if SOURCES[dataset.source].remark
    ]
    return notes


def _distance_names(root: Path) -> list[str]:
    tables = [root / "tables" / f"{name}.csv" for name in ("table1", "table2")]
    names = []
    for path in filter(Path.exists, tables):
        with reading(path, f"not {path.stem}"):
            names.append(read_table(path)["distance_name"].dropna())
    return sorted(set(pd.concat(names))) if names else []


def _part(name: str, root: Path, plan: Plan) -> Part:
    words = captions()[name]
    is_table = name in TABLES
    if not is_table and not plan.role(FIGURES[int(name.removeprefix("figure"))].role):
        words = words | {
            "caption": "No dataset of this suite is in this place.",
            "alt": "A box that says what is missing.",
        }
    folder, suffixes = ("tables", ("csv", "md", "tex")) if is_table else ("figures", ("pdf", "png"))
    links = [
        (suffix.upper() if suffix != "tex" else "LaTeX", f"{folder}/{name}.{suffix}")
        for suffix in suffixes
        if (root / folder / f"{name}.{suffix}").exists()
    ]
    head: list[list[tuple[str, int, bool]]] = []
    rows: list[list[tuple[str, bool]]] = []
    text, size = "", None if is_table else _size(root / "figures" / f"{name}.png")
    if is_table and (path := root / "tables" / f"{name}.csv").exists():
        with reading(path, f"not {name}"):
            display = TABLES[name].display(read_table(path))
        text = markdown(display)
        numeric = [is_numeric(display.iloc[:, index]) for index in range(display.shape[1])]
        head = header_rows(display.columns, numeric)
        rows = [list(zip(row, numeric, strict=True)) for row in display.astype(str).to_numpy().tolist()]
    return Part(name, words["title"], words["caption"], words.get("alt", ""), links, head, rows, text, size)


def header_rows(columns: pd.Index, numeric: list[bool]) -> list[list[tuple[str, int, bool]]]:
    """The two lines of a table's head, groups then names: text, columns spanned, set to the right or not."""
    groups: list[tuple[str, int, bool]] = []
    for group, _ in columns:
        if groups and groups[-1][0] == group:
            groups[-1] = (group, groups[-1][1] + 1, False)
        else:
            groups.append((group, 1, False))
    return [groups, [(name, 1, number) for (_, name), number in zip(columns, numeric, strict=True)]]


def is_numeric(cells: pd.Series) -> bool:
    """Whether a column holds numbers (and dashes) only, and is set to the right."""
    return all(cell == DASH or NUMBER.fullmatch(cell) for cell in cells)
