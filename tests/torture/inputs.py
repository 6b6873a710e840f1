"""Bad inputs: each ends in one sentence, or is taken rightly; no input is touched."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from torture.outcome import Found, Lost, check_refusal, check_whole
from torture.processes import differing, halves, run, tree

LONGEST = 90


class Case(NamedTuple):
    """A command on a bad input that lies in its folder.

    Args:
        words: the command.
        named: what the sentence may name, any of them: files mostly.
        outputs: what it would write.
        check: what is wrong with what it wrote, in words.
        more: variables of its environment.
        expected: what its outputs are where nothing is wrong; one that is so may lie there after a refusal too.
    """

    words: list[str]
    named: list[str]
    outputs: list[str]
    check: Callable[[Path], str] = lambda folder: ""
    more: Mapping[str, str] = {}
    expected: Mapping[str, str] = {}


def feed(make: Callable[[Path, random.Random], Case], folder: Path, rng: random.Random) -> Found:
    """Make a bad input and run its command.

    Raises:
        Lost: no sentence, a wrong result, half-written files, or an input that is other bytes now.
    """
    folder.mkdir(parents=True)
    case = make(folder, rng)
    before = tree(folder)
    ended = run(case.words, folder, LONGEST, more=case.more)
    after = tree(folder)
    if touched := [name for name, content in before.items() if after.get(name) != content]:
        raise Lost(f"touched: {', '.join(touched[:5])}; {ended.said[-500:]}")
    if ended.code != 0:
        check_refusal(ended, case.named)
        new = [name for name in case.outputs if name in after and name not in before]
        if left := [*halves(folder), *(name for name in new if after[name] != case.expected.get(name))]:
            raise Lost(f"refused, but left {', '.join(left[:5])}")
        return Found(refused=1)
    check_whole(ended)
    if wrong := case.check(folder):
        raise Lost(f"accepted, but {wrong}")
    return Found(accepted=1)


def same_outputs(outputs: list[str], expected: Mapping[str, str]) -> Callable[[Path], str]:
    """A check that these files are as expected."""

    def check(folder: Path) -> str:
        wanted = {name: expected[name] for name in outputs}
        found = {name: content for name, content in tree(folder).items() if name in wanted}
        return "; ".join(differing(found, wanted))

    return check


def copied(source: Path, folder: Path) -> None:
    """All that lies in `source`, in an existing folder."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
