"""Mutated settings: `params.yaml`, `slurm/site.yaml`, `--configfile` and `--config`, in the ways in which people and
editors spoil them."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from torture.inputs import Case

ODD = [
    *("yes", "no", "off", "~", "", "null", "12:30:00", "1e5", "1e-5", "0100", "0o10", "0x10", ".nan", ".inf", "-1"),
    *("0", "2024-01-01", '"32"', "'x", '"', "[", "{", "[1, 2", "{a: 1}", "*nothing", "&a", "!!python/none x"),
    *("!!binary aGk=", "!x y", "1" * 400, "1" + "0" * 40, "é", "\u202e", "%", "@", "`", "|", ">", "- a", "? a", "a: b"),
    *("../../etc", "a b", "$(touch x)", "; touch x", "{x}", "1_000", "+3", ".5", "5.", "true", "1.5", "-0", "#", "<<"),
]  # fmt: skip
LINE = re.compile(r"^(?P<key>[ \-]*[\w.\"']+:)(?P<gap> +)(?P<value>[^#\n]+?)(?P<end>( +#.*)?)$")


def on_a_line(change: Callable[[str, random.Random], str]) -> Callable[[str, random.Random], str]:
    """A mutation of one line of a text."""

    def mutate(text: str, rng: random.Random) -> str:
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        lines[at] = change(lines[at], rng)
        return "\n".join(lines)

    return mutate


def odd_value(line: str, rng: random.Random) -> str:
    """Another value behind a key, or in the place of any word in braces."""
    odd = rng.choice(ODD)
    if found := LINE.match(line):
        return f"{found['key']}{found['gap']}{odd}{found['end']}"
    return re.sub(r"(?<=: )[^,}\]]+", lambda _: odd, line, count=1)


def odd_key(line: str, rng: random.Random) -> str:
    """A key written otherwise: a letter less, twice or another, or a word that is no key."""
    found = re.search(r"[A-Za-z_]\w+(?=:)", line)
    if not found:
        return line
    word = found[0]
    at = rng.randrange(len(word))
    others = [word[:at] + word[at + 1 :], word[: at + 1] + word[at:], word.upper(), "on", "1", "<<", "?"]
    return line.replace(word, rng.choice(others), 1)


def odd_indent(line: str, rng: random.Random) -> str:
    """More or fewer spaces before a line, or a tab."""
    return rng.choice([" " + line, "  " + line, line.removeprefix(" "), line.removeprefix("  "), "\t" + line.lstrip()])


def odd_letters(line: str, rng: random.Random) -> str:
    """Letters put in, left out or exchanged."""
    at = rng.randint(0, len(line))
    odd = rng.choice("\t\0\x07\ufeff\x85\u2028\xa0\r:#'\"{}],*&!")
    return rng.choice([line[:at] + odd + line[at:], line[:at] + line[at + 1 :], line[at:] + line[:at]])


def moved_lines(text: str, rng: random.Random) -> str:
    """A line or several left out, doubled, or moved elsewhere."""
    lines = text.split("\n")
    start = rng.randrange(len(lines))
    part = lines[start : start + rng.choice([1, 1, 1, 4, 30])]
    rest = lines[:start] + lines[start + len(part) :]
    at = rng.randint(0, len(rest))
    return "\n".join(rng.choice([rest, lines[:start] + part + lines[start:], rest[:at] + part + rest[at:]]))


def more_text(text: str, rng: random.Random) -> str:
    """Something before or behind it, or its end missing."""
    documents = ["---\na: 1\n", "...\nx", "a: &a [*a]\n", "%YAML 9.9\n", "suite: x\n", "- a\n"]
    more = rng.choice([*documents, "[" * 3000, "{" * 3000, "\0"])
    return rng.choice([more + text, text + more, text[: rng.randrange(len(text))], text.replace("\n", "\r\n"), more])


MUTATIONS: list[Callable[[str, random.Random], str]] = [
    *[on_a_line(change) for change in (odd_value, odd_value, odd_value, odd_key, odd_indent, odd_letters)],
    *[moved_lines, more_text],
]


def mutated(text: str, rng: random.Random) -> bytes:
    """A text spoilt in one to three ways, in an encoding that mostly is UTF-8."""
    spoilt = text
    while spoilt == text:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            spoilt = rng.choice(MUTATIONS)(spoilt, rng)
    encodings = ["utf-8"] * 12 + ["latin-1", "utf-16", "utf-8-sig", "utf-32"]
    content = spoilt.encode(rng.choice(encodings), errors="replace")
    if rng.random() < 0.06:
        at = rng.randint(0, len(content))
        content = content[:at] + rng.randbytes(rng.randint(1, 8)) + content[at:]
    return content


def bad_params(root: Path) -> Callable[[Path, random.Random], Case]:
    """`vqddm check` of a mutated params.yaml."""

    def make(folder: Path, rng: random.Random) -> Case:
        (folder / "params.yaml").write_bytes(mutated((root / "params.yaml").read_text(), rng))
        return Case(["vqddm", "check", "params.yaml"], ["params.yaml"], [])

    return make


def bad_for_snakemake(root: Path) -> Callable[[Path, random.Random], Case]:
    """A dry run under a mutated site's file, --configfile or --config."""
    own = ("Snakefile", "params.yaml", "workflow", "profiles", "vqddm", "slurm")

    def make(folder: Path, rng: random.Random) -> Case:
        for name in own:
            copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
            copy(root / name, folder / name)
        # The target before --config, which takes all words that follow.
        words = ["snakemake", "--dry-run", "--quiet", "all", "--nolock", "--cores", "1"]
        what = rng.choice(["site", "configfile", "config"])
        if what == "site":
            text = (root / "slurm/site.example.yaml").read_text()
            (folder / "slurm/site.yaml").write_bytes(mutated(text, rng))
            return Case([*words, "--", "data/tinyfaces/train.npy"], ["slurm/site.yaml"], [])
        if what == "configfile":
            text = (root / "tests/tiny.yaml").read_text() if rng.random() < 0.7 else "datasets: {faces: {title: F}}\n"
            (folder / "more.yaml").write_bytes(mutated(text, rng))
            target = rng.choice([["--", "table1"], []])
            return Case(
                [*words, "--configfile", "more.yaml", *target], ["more.yaml", "params.yaml", "suite", "target"], []
            )
        value = mutated(rng.choice(["mini", "paper", "{mini: {title: x}}", "[a, b]"]), rng).decode(errors="replace")
        entry = f"{rng.choice(['suite', 'suites', 'datasets', 'suit', 'x-y', ''])}={value}".replace("\0", "")
        return Case([*words, "--config", entry], ["--config", "suite", "target"], [])

    return make
