"""What a trial found, and how a command's end is judged."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from torture.processes import Ended

TRACED = "a traceback"  # how what was lost by one is told


class Lost(Exception):
    """Something wrong got in, or something was lost; the message says what."""


class Found(NamedTuple):
    """A trial's outcome.

    Args:
        tried: faults in it.
        refused: ended with a sentence.
        accepted: taken, with the right result.
        skipped: why nothing was tried.
    """

    tried: int = 1
    refused: int = 0
    accepted: int = 0
    skipped: str = ""


def check_words(ended: Ended) -> None:
    """A command ended by itself, without a traceback.

    Raises:
        Lost: it hung, a signal ended it, or it told of an error as Python does.
    """
    if ended.code is None:
        raise Lost(f"no end after {ended.seconds:.0f} s: {ended.said[-500:]}")
    if ended.code < 0:
        raise Lost(f"ended by signal {-ended.code}: {ended.said[-500:]}")
    if re.search(r"^Traceback|^Fatal Python error|^Exception ignored", ended.said, re.MULTILINE):
        raise Lost(f"{TRACED}: {ended.said[-1500:]}")


def check_whole(ended: Ended) -> None:
    """A command did its work.

    Raises:
        Lost: it did not.
    """
    check_words(ended)
    if ended.code:
        raise Lost(f"ended with {ended.code}: {ended.said[-1000:]}")


def check_refusal(ended: Ended, named: Collection[str]) -> None:
    """A command ended with exit code 1 (2 for wrong usage) and one message of ours that names one of these.

    Raises:
        Lost: it ended otherwise.
    """
    check_words(ended)
    if ended.code not in (1, 2):
        raise Lost(f"ended with {ended.code}: {ended.said[-1000:]}")
    # It may stand behind a progress bar.
    message = re.search(r"(?<![\w/])vqddm(?: [\w -]+)?: .*", ended.said, re.DOTALL)
    if message is None:
        raise Lost(f"no sentence of ours: {ended.said[-1000:]}")
    if named and not any(name in message[0] for name in named):
        raise Lost(f"the message names none of {', '.join(sorted(named)[:5])}: {message[0][-1000:]}")
