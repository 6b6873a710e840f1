"""README.md and the pages of `docs/`: their links lead somewhere, their commands exist, and the pages can be built."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from vqddm import cli

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *NOTEBOOKS]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TOOLS = ("zensical", "mkdocstrings", "latex2mathml")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def written(page: Path) -> str:
    """A page's Markdown; of a notebook, what stands between its code."""
    if page.suffix != ".ipynb":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", written(page))


def anchors(page: Path) -> set[str]:
    """What a link to a page may name behind `#`."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    if page.name == "commands.md":
        titles += [f"vqddm {name}" for name in cli.commands()]  # written when the pages are built
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower())) for title in titles}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


@each_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    for name in re.findall(r"`((?:vqddm|tests|workflow|slurm|search)/[\w/.]+)`", prose(page)):
        assert (ROOT / name).exists() or name == "slurm/site.yaml", name


def test_every_page_is_in_the_navigation() -> None:
    def files(entries: list[dict]) -> Iterator[str]:
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else files(value)

    listed = sorted(files(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert listed == sorted(
        str(page.relative_to(ROOT / "docs").with_suffix(".md")) for page in PAGES if page.is_relative_to(ROOT / "docs")
    )


def lines(page: Path) -> list[str]:
    """The command lines of a page: those of its `sh` blocks, and those within its prose.

    CONTRIBUTING.md's prose names what its examples add.
    """
    blocks = re.findall(r"^```sh\n(.*?)^```$", written(page), re.MULTILINE | re.DOTALL)
    known = "|".join(name for name in CHECKS if name.isalpha())
    within = re.findall(rf"`((?:{known}) [^`]+)`", prose(page)) if page.name != "CONTRIBUTING.md" else []
    return [line for line in [*"".join(blocks).splitlines(), *within] if line.strip()]


@cache
def targets() -> set[str]:
    """What `snakemake TARGET` and `-R RULE` may name."""
    from vqddm.paper.figures import FIGURES
    from vqddm.paper.tables import TABLES

    rules = "\n".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    return {*re.findall(r"^rule (\w+):", rules, re.MULTILINE), *TABLES, *(f"figure{number}" for number in FIGURES)}


@cache
def parser(program: str) -> ArgumentParser:
    """The parser of a program's command line; importing it takes seconds."""
    if program == "dvc":
        from dvc.cli.parser import get_main_parser

        return get_main_parser()
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def check_make(words: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z.-]+):", text, re.MULTILINE))
    settings = set(re.findall(r"\$\((\w+)\)", text))
    for word in words:
        name, is_setting, _ = word.partition("=")
        assert name in (settings if is_setting else known), word


def check_vqddm(words: list[str]) -> None:
    name = next((name for name in (" ".join(words[:2]), words[0]) if name in cli.commands()), None)
    if name is None:
        assert words in [[step] for step in cli.STEPS] or words == ["STEP", "COMMAND", "--help"], words
        return
    known = {option for argument in cli.command(name).assemble_argument_collection() for option in argument.names}
    for word in words:
        assert not re.match(r"--?[a-z]", word) or word in known, word


def check_snakemake(words: list[str]) -> None:
    found = parser("snakemake").parse_args(words)
    for name in {*found.targets, *(found.forcerun or ()), *(found.allowed_rules or ())}:
        assert name in targets() or name.startswith("results/"), name
    for profile in found.profile or []:
        assert (ROOT / profile / "config.yaml").exists()


def check_dvc(words: list[str]) -> None:
    found = parser("dvc").parse_args(words)
    if found.cmd in ("repro", "run"):
        stages = re.findall(r"^  ([\w-]+):$", (ROOT / "dvc.yaml").read_text(), re.MULTILINE)
        assert set(found.targets) <= set(stages), found.targets


def check_script(words: list[str]) -> None:
    """A script of `gpu/`, which the kit holds a copy of."""
    text = (ROOT / "gpu" / Path(words[0]).name).read_text()
    for option in [word for word in words if word.startswith("--")]:
        assert f"{option})" in text, option


def check_copied(words: list[str]) -> None:
    assert (ROOT / words[0]).exists(), words


def check_environment(words: list[str]) -> None:
    assert words == [".venv/bin/activate"]


def check_python(words: list[str]) -> None:
    assert words[:2] == ["-m", "pytest"]
    assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "vqddm": check_vqddm,
    "snakemake": check_snakemake,
    "dvc": check_dvc,
    "python": check_python,
    "gpu-kit/run.sh": lambda words: check_script(["run.sh", *words]),
    "gpu/collect.sh": lambda words: check_script(["collect.sh", *words]),
    "cp": check_copied,
    ".": check_environment,
}


@each_page
def test_every_command_exists(page: Path) -> None:
    for line in lines(page):
        first, *words = shlex.split(line, comments=True)
        assert first in CHECKS, line
        CHECKS[first](words)


def test_readme_names_the_targets_that_everybody_needs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert {"make reproduce", "make test", "make docs"} <= set(re.findall(r"make [a-z]+", readme))
    assert len(readme.splitlines()) <= 110


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    [paper] = cited["references"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert paper["title"] in readme and paper["url"] in readme


MISSING = [name for name in TOOLS if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages, as `make docs` makes them: no warning, no link that leads nowhere."""
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed: `make docs` installs what builds the pages")
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "vqddm").symlink_to(ROOT / "vqddm")  # docstrings
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for command in (str(ROOT / "docs/prepare.py"), "site-pages"), ("-m", "zensical", "build", "--clean", "--strict"):
        done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "site"


def test_the_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = re.sub(r"<a\s[^>]*>", "", page.read_text())
        loaded = re.findall(r"""(?:src|href|srcset|url\()\s*=?["']?((?:https?:)?//[^"'\s>)]+)""", text)
        assert not loaded, page


def test_every_link_of_the_built_pages_leads_to_a_file(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        if page.name != "404.html":  # it does not know where it will stand
            for link in re.findall(r"""(?:href|src)="?([^"\s>]+)""", page.read_text()):
                path = link.partition("#")[0].partition("?")[0]
                if not re.match(r"[a-z]+:", path) and path:
                    found = page.parent / unquote(path)
                    assert found.is_file() or (found / "index.html").is_file(), f"{page}: {link}"


def test_formulas_are_mathml_and_the_reference_is_there(site: Path) -> None:
    formulas = re.findall(r"<math.*?</math>", (site / "explanation/mathematics.html").read_text(), re.DOTALL)
    assert len(formulas) > 40 and not [formula for formula in formulas if "\\" in formula or "$" in formula]
    commands = (site / "reference/commands.html").read_text()
    assert all(f'id="vqddm-{name.replace(" ", "-")}"' in commands for name in cli.commands())
    parameters = (site / "reference/parameters.html").read_text()
    assert "datasets.NAME.prior.diffusion" in parameters and "<!--" not in parameters
    assert "bits_per_code" in (site / "reference/python.html").read_text()
