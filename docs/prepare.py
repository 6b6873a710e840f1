"""Prepare the pages of `docs/` for the generator: `python docs/prepare.py FOLDER`, which `make docs` calls.

FOLDER gets the pages with the generated parts of the reference in place (`<!-- parameters -->`), formulas as MathML,
which browsers show by themselves, a page for each notebook, and copies of what pages link to outside `docs/`.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import notebook
from latex2mathml.converter import convert

from vqddm import cli
from vqddm.registry import imported
from vqddm.settings import Section

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([\w./-]+)")  # the path of a link
SHOWN = re.compile(r'(?:src|href)="([\w./-]+)"')  # the files that a page of HTML names
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)


def prepare(folder: Path) -> None:
    """Write all pages, and what they link to, into a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "docs/extra.css", folder)
    generated = {"parameters": parameters, "commands": commands, "targets": targets}
    for source in sorted((ROOT / "docs").rglob("*.md")):
        page = source.relative_to(ROOT / "docs")
        text = with_formulas(source.read_text())
        for name, write in generated.items():
            if f"<!-- {name} -->" in text:
                text = text.replace(f"<!-- {name} -->", write())
        put(folder, page, with_copies(text, source, page, folder))
    for source in sorted((ROOT / "docs").rglob("*.ipynb")):
        page = source.relative_to(ROOT / "docs").with_suffix(".md")
        text, pictures = notebook.as_markdown(notebook.read(source), page.stem)
        put(folder, page, with_copies(with_formulas(text), source, page, folder))
        for name, png in pictures.items():
            (folder / page.parent / name).write_bytes(png)


def put(folder: Path, page: Path, text: str) -> None:
    """Write a page."""
    (folder / page).parent.mkdir(parents=True, exist_ok=True)
    (folder / page).write_text(text)


def with_copies(text: str, source: Path, page: Path, folder: Path) -> str:
    """A page's text with its links to files outside `docs/` leading to copies of them, which are made.

    Links to notebooks lead to their pages.

    Args:
        source: the file that the text comes from.
        page: where it stands in `folder`.
    """

    def copied(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / found[0]))
        if target.is_relative_to(ROOT / "docs") or not target.is_file():
            return re.sub(r"\.ipynb$", ".md", found[0])
        copy(target, folder)
        return os.path.relpath(target.relative_to(ROOT), page.parent)

    return LINK.sub(copied, text)


def copy(file: Path, folder: Path) -> None:
    """A file outside `docs/` under its own path; with a page, what it links to."""
    path = file.relative_to(ROOT)
    if (folder / path).exists():
        return
    put(folder, path, "")
    if file.suffix == ".md":
        put(folder, path, with_copies(file.read_text(), file, path, folder))
        return
    if file.suffix == ".html":
        for name in SHOWN.findall(text := file.read_text()):
            if (file.parent / name).is_file():
                copy(file.parent / name, folder)
        put(folder, path, re.sub(r'(href="[\w./-]+)\.md"', r'\1.html"', text))
        return
    shutil.copyfile(file, folder / path)


def with_formulas(text: str) -> str:
    """Formulas between `$` and `$$` as MathML; code is left alone."""

    def mathml(found: re.Match[str]) -> str:
        block, inline = found.groups()
        made = str(convert((block or inline).strip(), display="block" if block else "inline"))
        return f"<div>{made}</div>" if block else f"<span>{made}</span>"  # a line that begins with <math> is no text

    parts = CODE.split(text)
    return "".join(part if at % 2 else FORMULA.sub(mathml, part) for at, part in enumerate(parts))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parameters() -> str:
    """All sections of `params.yaml`, from its JSON schema."""
    schema = json.loads((ROOT / "workflow/params.schema.json").read_text())
    places: dict[str, list[str]] = {}
    for name, path in _sections(schema["properties"], schema["$defs"], ""):
        if not path.startswith("presets."):
            places.setdefault(name, []).append(path)
    parts = [_section("params.yaml", schema, [])]
    parts += [_section(_short(name), schema["$defs"][name], where) for name, where in places.items()]
    return "\n\n".join(parts)


def _sections(properties: dict[str, Any], known: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Every section within these properties with its place in the file."""
    for key, value in properties.items():
        if name := _reference(value):
            path = f"{at}{key}" + (".NAME" if "$ref" not in value and "anyOf" not in value else "")
            yield name, path
            yield from _sections(known[name]["properties"], known, f"{path}.")


def _reference(value: dict[str, Any]) -> str | None:
    """The section that a property holds: itself, or null, or by names."""
    inner = [value, *value.get("anyOf", ()), *value.get("patternProperties", {}).values()]
    if isinstance(value.get("additionalProperties"), dict):
        inner.append(value["additionalProperties"])
    return next((part["$ref"].split("/")[-1] for part in inner if "$ref" in part), None)


def _short(name: str) -> str:
    return name.removesuffix("Params")


def _section(title: str, schema: dict[str, Any], where: list[str]) -> str:
    """A section's heading, place, description and settings."""
    rows = []
    for key, value in schema["properties"].items():
        name = _reference(value)
        default = "" if "default" not in value else f"`{json.dumps(value['default'])}`"
        default = "required" if key in schema.get("required", ()) else default
        kind = f"section [{_short(name)}](#{_short(name).lower()})" if name else _kind(value)
        rows.append([f"`{key}`", kind, default, value.get("description", "").replace("\n", " ")])
    place = f"Place: {', '.join(f'`{path}`' for path in where)}." if where else ""
    head = f"## {title} {{#{title.lower().replace('.', '-')}}}"
    listed = table(["setting", "value", "default", "meaning"], rows)
    return "\n\n".join([head, schema.get("description", ""), place, listed])


def _kind(value: dict[str, Any]) -> str:
    """What a setting may be, in words."""
    if "anyOf" in value:
        return " or ".join(_kind(part) for part in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    pattern = value.get("pattern", "").replace("[0-9]+", "N")
    if choices := re.fullmatch(r"\^\(([\w|]+)\)\$", pattern):
        return ", ".join(f"`{choice}`" for choice in choices[1].split("|"))
    if value.get("type") == "array":
        items = value.get("items") or value.get("prefixItems", [{}])[0]
        return f"list of: {_kind(items)}"
    words = {"integer": "whole number", "string": "text", "boolean": "`true`, `false`", "object": "names and values"}
    text = words.get(value.get("type", ""), value.get("type", "any"))
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    told = [f"{sign} {value[key]}" for key, sign in bounds.items() if key in value and abs(value[key]) < 2**62]
    return ", ".join([text, *told])


def commands() -> str:
    """Every command with its options, as `--help` tells them."""
    parts = []
    for step, title in cli.STEPS.items():
        parts.append(f"## {f'vqddm {step}' if step else 'vqddm'}\n\n{title}.")
        for name, command in cli.commands().items():
            if (name.split()[0] if " " in name else "") == step:
                doc = inspect.cleandoc(imported(command.reference).__doc__ or "")
                told = re.split(r"^(?:Args|Returns|Raises):", doc, flags=re.MULTILINE)[0].strip()
                options = cli.command(name).assemble_argument_collection(parse_docstring=True)
                rows = [_option(argument) for argument in options]
                parts.append(f"### vqddm {name}\n\n{told}")
                if rows:
                    parts.append(table(["option", "value", "default", "meaning"], rows))
    return "\n\n".join(parts)


def _option(argument: Any) -> list[str]:
    """An option's names, value, default and help."""
    kinds = [kind for kind in get_args(argument.hint) or (argument.hint,) if kind is not type(None)]
    if get_origin(argument.hint) is Literal:
        value = ", ".join(f"`{kind}`" for kind in kinds)
    elif issubclass(kinds[0], Section):
        value = "JSON"
    else:
        words = {bool: "", Path: "path", str: "text", int: "whole number", float: "number"}
        value = words[kinds[0]] + (", several" if get_origin(argument.hint) in (list, Sequence) else "")
    default = argument.field_info.default
    shown = "required" if argument.required else "" if default in (None, ()) or not value else f"`{default}`"
    shown += "".join(f" (or `{variable}`)" for variable in argument.parameter.env_var)
    return [", ".join(f"`{name}`" for name in argument.names), value, shown, argument.parameter.help or ""]


def targets() -> str:
    """The Makefile's targets."""
    found = re.findall(r"^([a-z.-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return table(["target", "what it does"], [[f"`make {name}`", told] for name, told in found])


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
