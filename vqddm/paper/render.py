"""Tables to files: CSV with full precision, Markdown and LaTeX as they are read."""

from pathlib import Path
from typing import Any

import pandas as pd

from vqddm.artifacts import reading, replacing

DASH = "–"
LATEX = {"×": r"$\times$", "≥": r"$\geq$", "→": r"$\to$", "±": r"$\pm$", "³": r"$^3$", "–": "--"}
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(x: Any) -> str:
    """A fraction as per cent, e.g. 0.9707 as 97.07%."""
    return DASH if pd.isna(x) else f"{100 * x:.2f}%"


def fixed(x: Any, digits: int = 2) -> str:
    """A number with so many digits after the point."""
    return DASH if pd.isna(x) else f"{x:.{digits}f}"


def with_spread(mean: Any, deviation: Any, digits: int = 2) -> str:
    """A number and its spread, where there is one."""
    return fixed(mean, digits) if pd.isna(mean) or pd.isna(deviation) else f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def spreads(means: pd.Series, deviations: pd.Series, digits: int = 2) -> list[str]:
    """A column of numbers, each with its spread."""
    return [with_spread(*pair, digits) for pair in zip(means, deviations, strict=True)]


def size_of_draws(images: Any, beside: Any) -> str:
    """Words behind a floor whose draws have not as many images as those of the distance that it stands beside."""
    return "" if pd.isna(images) or images == beside else f" (draws of {images:.0f})"


def whole(x: Any) -> str:
    """An integer (a CSV column with blanks turns integers to floats)."""
    return DASH if pd.isna(x) else f"{int(x)}"


def short(x: Any) -> str:
    """A count with three significant digits and a prefix, e.g. 117586568 as 118 M."""
    if pd.isna(x):
        return DASH
    for size, letter in PREFIXES:
        if x >= 0.9995 * size:
            scaled = x / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {letter}"
    return f"{x:.0f}"


def known(x: Any) -> str:
    """Text, or a dash where there is none."""
    return DASH if pd.isna(x) else str(x)


def noted(x: Any) -> str:
    """A note, or nothing where there is none."""
    return "" if pd.isna(x) else str(x)


def flat(columns: pd.Index | pd.MultiIndex) -> list[str]:
    """Column titles on one line, the group before the name: `paper: FID`."""
    pairs = [column if isinstance(column, tuple) else ("", column) for column in columns]
    return [f"{group}: {name}" if group else str(name) for group, name in pairs]


def markdown(display: pd.DataFrame) -> str:
    """A table of text as GitHub's Markdown."""
    rows = [flat(display.columns), ["---"] * display.shape[1], *display.to_numpy().tolist()]
    lines = ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def latex(display: pd.DataFrame, caption: str, label: str) -> str:
    """A table of text as LaTeX with booktabs; group titles span their columns."""
    body = display.rename(columns=escape).map(escape)
    made = body.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="l" * display.shape[1],
        multicol_align="l",
        caption=escape(caption),
        label=f"tab:{label}",
        position="tbp",
    )
    fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # shrink a wide table, never widen
    made = made.replace(r"\begin{tabular}", fit + "\n" + r"\begin{tabular}")
    made = made.replace(r"\end{tabular}", r"\end{tabular}}")
    return "% needs \\usepackage{booktabs,graphicx}\n" + made


def escape(text: Any) -> str:
    """Text as LaTeX prints it, whatever it holds."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"} | LATEX
    return "".join(special.get(letter, letter) for letter in str(text))


def write_table(out: Path, tidy: pd.DataFrame, display: pd.DataFrame, caption: str) -> None:
    """Write `out`.csv (every number in full), `out`.md and `out`.tex (as read)."""
    write_texts(out, csv=full(tidy), md=markdown(display), tex=latex(display, caption, out.name))


def full(tidy: pd.DataFrame) -> str:
    """A table as CSV with every number in full."""
    return str(tidy.to_csv(index=False, lineterminator="\n"))


def write_texts(out: Path, **texts: str) -> None:
    """Write files `out`.{suffix}."""
    for suffix, content in texts.items():
        with replacing(out.with_name(f"{out.name}.{suffix}")) as aside:
            aside.write_text(content, encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV that `write_table` wrote: numbers bit for bit, columns named `…_text` as they are printed.

    Raises:
        UserError: the file is missing or is no table.
    """
    with reading(path, "not a table"):
        printed = {name: str for name in pd.read_csv(path, nrows=0).columns if name.endswith("_text")}
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=printed)
