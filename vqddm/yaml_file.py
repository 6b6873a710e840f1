"""Settings as they are written: the one reader of `params.yaml`, `slurm/site.yaml`, `--configfile` and `--config`.

Snakemake reads YAML 1.1, DVC YAML 1.2, and both let pass what its writer cannot have meant. What the two read
differently is refused here, and what one of them would silently drop or turn into something else. What a setting should
be, text or a number, is not known here: each value's place and its text are kept for those who know (`settings.py`).
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from vqddm.artifacts import UserError, shown
from vqddm.settings import invisible, nearest

Location = tuple[str | int, ...]
LARGEST = 100_000  # values of a file, what aliases repeat counted each time
BASE_60 = re.compile(r"[-+]?\d+(:\d+)+(\.\d*)?")
LEADING_ZERO = re.compile(r"[-+]?0\d+")
JSON = re.compile(r'("(?:[^"\\]|\\.)*")|(\s+):')  # a string, or space before a colon
ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # letters that JSON takes as they are and YAML does not
BREAKS = re.compile("[\x85\u2028\u2029]")  # lines end at them in YAML 1.1 alone
ENCODINGS = {
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark (BOM)",
    b"\xff\xfe": "UTF-16 or UTF-32",
    b"\xfe\xff": "UTF-16",
}
KINDS = {"bool": "a truth value", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


class Place(NamedTuple):
    """Where a value is written, and how: `text` is a scalar as it stands there, quoted if it is."""

    file: str
    line: int | None
    text: str | None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}, line {self.line}"


class Written(NamedTuple):
    """Settings with the place of each, by their keys: `("suites", "mini", "title")`."""

    values: dict[str, Any]
    places: dict[Location, Place]

    def under(self, other: "Written") -> "Written":
        """These with `other` laid over them."""
        return Written(merged(self.values, other.values), {**self.places, **other.places})


def merged(base: Any, own: Any) -> Any:
    """`own` laid over `base`: mappings key by key, however deep; anything else takes the place of what was there."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in own.items()}}


def read_file(path: Path) -> Written:
    """Read a file of settings, YAML or JSON; an empty one has none.

    Raises:
        UserError: not there, no UTF-8, not YAML, or something in it is not what its writer can have meant.
    """
    text = _text(path)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _Reading(shown(path), text).whole()
    # Between the tokens of JSON a tab is a space, and 1e5 is a number.
    return _Reading(shown(path), JSON.sub(_as_yaml, text.replace("\t", " ")), is_json=True).whole()


def _as_yaml(part: re.Match[str]) -> str:
    """A part of JSON as YAML has it, with as many lines: a colon stands right behind its key."""
    string, space = part.groups()
    return ODD.sub(lambda letter: f"\\u{ord(letter[0]):04x}", string) if string else f":{space}"


def read_entries(entries: Iterable[str], where: str = "--config") -> Written:
    """Settings given as `key=value`, the value being YAML.

    Raises:
        UserError: no such pair, a key twice, or a value that is refused in a file too.
    """
    found = Written({}, {})
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not (equals and re.fullmatch(r"[A-Za-z_]\w+", key)):
            raise UserError(f"{where} {entry}: `key=value` is meant, such as `suite=mini`; targets stand before it")
        if key in found.values:
            raise UserError(f"{where}: `{key}` stands twice; give it once")
        value, places = _Reading(where, text, above=(key,), lines=False).value()
        found = Written({**found.values, key: value}, {**found.places, **places})
    return found


def in_words(keys: Iterable[str | int]) -> str:
    """A setting's keys as one: `datasets.faces.title`."""
    return ".".join(map(str, keys))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{shown(path)}: no such file{_beside(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{shown(path)}: this is a folder; a file of settings is meant") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    for mark, encoding in ENCODINGS.items():
        if data.startswith(mark):
            raise UserError(f"{shown(path)}, line 1: the file is {encoding}; save it as plain UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        bad = data.split(b"\n")[line - 1].decode("latin-1").strip()
        raise UserError(f"{shown(path)}, line {line}: `{bad}` is not UTF-8; save the file as UTF-8") from None


def _beside(path: Path) -> str:
    """What there is in the place of a file that is missing."""
    if not path.parent.is_dir():
        return f"; there is no folder {shown(path.parent)}"
    names = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
    listed = f"; {path.parent if path.parent != Path() else 'this folder'} has {', '.join(names) or 'no such files'}"
    return nearest(path.name, names) + listed


class _Reading:
    """One text, read: its nodes are checked once each, then made into values."""

    def __init__(
        self, file: str, text: str, *, above: Location = (), is_json: bool = False, lines: bool = True
    ) -> None:
        self.file, self.text, self.above, self.is_json, self.lines = file, text, above, is_json, lines
        self.sizes: dict[int, int | None] = {}  # of the nodes that were checked; None: at it
        self.places: dict[Location, Place] = {}

    def whole(self) -> Written:
        value, places = self.value()
        if not isinstance(value, dict | None):
            letter = invisible(self.text)
            odd = f"; the character {letter} stands in it, where a space may be meant" if letter else ""
            raise UserError(f"{self.file}: must be keys with values{odd}")
        return Written(value or {}, places)

    def value(self) -> tuple[Any, dict[Location, Place]]:
        if odd := BREAKS.search(self.text):
            line = self.text.count("\n", 0, odd.start()) + 1
            letter = invisible(odd[0])
            raise UserError(f"{self._at(line)}: the character {letter} ends a line for some readers only; take it out")
        try:
            self.loader = yaml.SafeLoader(self.text)
            node = self.loader.get_single_node()
            if node is None:
                self.places[self.above] = Place(self.file, None, "")
                return None, self.places
            if self._check(node, self.above) > LARGEST:
                raise UserError(f"{self.file}: more than {LARGEST} values, aliases counted each time")
            return self._made(node, self.above, node), self.places
        except yaml.MarkedYAMLError as error:
            raise UserError(self._syntax(error)) from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            character = f"U+{error.character:04X}"
            raise UserError(f"{self._at(line)}: not YAML: the character {character} cannot stand here") from None
        except RecursionError:
            raise UserError(f"{self.file}: nested too deeply") from None

    def _at(self, line: int) -> str:
        return str(Place(self.file, line if self.lines else None, None))

    def _syntax(self, error: yaml.MarkedYAMLError) -> str:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            return f"{self.file}: not YAML ({error.problem})"
        if error.context == "expected a single document in the stream":
            return f"{self._at(mark.line + 1)}: a second YAML document begins with `---`; one is meant"
        lines = self.text.splitlines() or [""]
        line = lines[min(mark.line, len(lines) - 1)].strip()
        for number in range(error.context_mark.line if error.context_mark else mark.line, mark.line + 1):
            if letter := invisible("".join(lines[number : number + 1])):
                what = f"not YAML: the character {letter} stands in `{lines[number].strip()}`; only spaces are allowed"
                return f"{self._at(number + 1)}: {what}"
        if self.text[mark.index : mark.index + 1] == "\t":
            return f"{self._at(mark.line + 1)}: not YAML: a tab stands in `{line}`; only spaces are allowed"
        return f"{self._at(mark.line + 1)}: not YAML: {error.problem}, in `{line}`"

    def _refuse(self, node: Node, keys: Location, what: str) -> UserError:
        return UserError(f"{self._at(node.start_mark.line + 1)}: {in_words(keys) or '(whole)'}: {what}")

    def _check(self, node: Node, keys: Location) -> int:
        """Refuse doubled keys, keys that are no text, and what contains itself; the number of values in all."""
        known = self.sizes.get(id(node), 0)
        if known is None:
            raise self._refuse(node, keys, "an alias stands within what it repeats")
        if known or not isinstance(node, MappingNode | SequenceNode):
            return known or 1
        self.sizes[id(node)] = None
        if isinstance(node, SequenceNode):
            size = 1 + sum(self._check(part, (*keys, place)) for place, part in enumerate(node.value))
        else:
            size = 1
            first: dict[str, int] = {}
            for key, value in node.value:
                name, line = self._key(key, keys), key.start_mark.line + 1
                if name in first:
                    lines = f", lines {first[name]} and {line}" if line > first[name] else f" in line {line}"
                    lines = lines if self.lines else ""
                    raise UserError(f"{self.file}: `{in_words((*keys, name))}` stands twice{lines}; keep one of them")
                first[name] = line
                size += self._check(value, (*keys, name))
        self.sizes[id(node)] = size
        return size

    def _key(self, node: Node, keys: Location) -> str:
        if not isinstance(node, ScalarNode):
            raise self._refuse(node, keys, "a key is a list or keys with values; a word is meant")
        kind = node.tag.rsplit(":", 1)[-1]
        if kind not in ("str", "merge"):
            what = f"is {KINDS[kind]} in YAML; write it in quotes" if kind in KINDS else "is no text"
            raise self._refuse(node, keys, f"the key `{node.value}` {what}")
        if letter := invisible(node.value):
            raise self._refuse(node, keys, f"the character {letter} stands in the key {node.value!r}; take it out")
        return str(node.value)

    def _made(self, node: Node, keys: Location, at: Node) -> Any:
        """The value of a node, and the places of all in it. `at` is the node that stands first in its line: its key."""
        text = None
        if isinstance(node, ScalarNode):
            text = node.value if node.style is None else f'"{node.value}"'
        self.places[keys] = Place(self.file, at.start_mark.line + 1 if self.lines else None, text)
        if isinstance(node, ScalarNode):
            return self._scalar(node, keys)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._refuse(node, keys, f"the tag `{node.tag}` means nothing here")
        if not isinstance(node, MappingNode):
            return [self._made(part, (*keys, place), part) for place, part in enumerate(node.value)]
        self.loader.flatten_mapping(node)  # `<<`
        return {key.value: self._made(value, (*keys, key.value), key) for key, value in node.value}

    def _scalar(self, node: ScalarNode, keys: Location) -> Any:
        text, kind = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
        quoted = f'write "{text}" in quotes if text is meant'
        if self.is_json:
            return json.loads(json.dumps(text) if node.style else text)
        if kind in ("int", "float") and BASE_60.fullmatch(text):
            raise self._refuse(
                node, keys, f"`{text}` is a number to base 60 in YAML; write a plain number, or {quoted}"
            )
        if kind == "int" and LEADING_ZERO.fullmatch(text):
            raise self._refuse(node, keys, f"`{text}` is a number to base 8 in YAML; write {int(text)}, or {quoted}")
        if kind == "timestamp":
            raise self._refuse(node, keys, f"`{text}` is a date in YAML; {quoted}")
        if kind == "str":
            # As Python and so DVC write a small number (1e-05); to YAML 1.1 it is text.
            return float(text) if node.style is None and _is_float_of_python(text) else text
        if kind not in KINDS:
            raise self._refuse(node, keys, f"the tag `{node.tag}` means nothing here")
        construct: Callable[[Node], Any] = self.loader.construct_object
        try:
            return construct(node)
        except (ValueError, KeyError):  # what a tag such as !!int does not fit, or more digits than Python reads
            start = text if len(text) < 50 else f"{text[:40]}…"
            raise self._refuse(node, keys, f"`{start}` cannot be read as {KINDS[kind]}") from None


def _is_float_of_python(text: str) -> bool:
    try:
        return "e" in text and repr(float(text)) == text
    except ValueError:
        return False


def shown_path(path: Path) -> Path:
    """A path as it is typed in the current folder."""
    relative = Path(os.path.relpath(path))
    return path if ".." in relative.parts else relative
