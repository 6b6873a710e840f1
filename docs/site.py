"""What MkDocs does here besides its own: two pages of reference, formulas, and files that lie outside `docs/`.

`mkdocs.yml` names this file as a hook. The pages of reference say where the generated part stands (`<!-- parameters -->`).
"""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from vqddm import cli
from vqddm.registry import imported
from vqddm.settings import Section

ROOT = Path(__file__).parents[1]
# A link that climbs: `](../` once or more often, and the path behind it.
CLIMBS = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside `docs/`; an `index.html` comes with the files that it shows."""
    for page in [file for file in files if file.is_documentation_page()]:
        for climbs, path in CLIMBS.findall(page.content_string):
            if _leaves(page.src_uri, climbs):
                for name in _with_shown(path):
                    if (ROOT / name).is_file() and files.get_file_from_path(name) is None:
                        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated; let links that leave `docs/` lead to the copies in the site."""
    generated = {"<!-- parameters -->": parameters, "<!-- commands -->": commands, "<!-- targets -->": targets}
    for mark, write in generated.items():
        if mark in markdown:
            markdown = markdown.replace(mark, write())

    def inside(found: re.Match[str]) -> str:
        climbs, path = found.groups()
        return f"]({climbs[3:] if _leaves(page.file.src_uri, climbs) else climbs}{path}"

    return CLIMBS.sub(inside, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers show by themselves."""

    def mathml(found: re.Match[str]) -> str:
        kind, tex = found.groups()
        return str(convert(html.unescape(tex).strip(), display="block" if kind == "div" else "inline"))

    return FORMULA.sub(mathml, content)


def _leaves(page: str, climbs: str) -> bool:
    """Whether a link of a page climbs out of `docs/`."""
    return climbs.count("../") > page.count("/")


def _with_shown(path: str) -> list[str]:
    """A file; with an `index.html` the files that it names."""
    if Path(path).name != "index.html":
        return [path]
    named = re.findall(r'(?:src|href)="([\w./-]+)"', (ROOT / path).read_text())
    return [path, *(str(Path(path).parent / name) for name in named)]


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
    parts = [_section("params.yaml", schema, ["the file itself"])]
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
    places = ", ".join(f"`{place}`" if "." in place or place.islower() else place for place in where)
    described = schema.get("description", "")
    anchor = title.lower().replace(".", "-")
    head = f"## {title} {{#{anchor}}}\n\n{described}\n\nPlace: {places}.\n\n"
    return head + table(["setting", "value", "default", "meaning"], rows)


def _kind(value: dict[str, Any]) -> str:
    """What a setting may be, in words."""
    if "anyOf" in value:
        return " or ".join(_kind(part) for part in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
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
                rows = [_option(argument) for argument in cli.command(name).assemble_argument_collection()]
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
    shown = "required" if argument.required else "" if default in (None, (), False) else f"`{default}`"
    shown += "".join(f" (or `{variable}`)" for variable in argument.parameter.env_var)
    return [", ".join(f"`{name}`" for name in argument.names), value, shown, argument.parameter.help or ""]


def targets() -> str:
    """The Makefile's targets."""
    found = re.findall(r"^([a-z.-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return table(["target", "what it does"], [[f"`make {name}`", told] for name, told in found])
