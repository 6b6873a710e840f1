"""Damage to a file's bytes, drawn from a generator."""

from __future__ import annotations

import random
from collections.abc import Callable

Way = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """One to eight bits turned over."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing: a little of it, or any part."""
    keep = rng.choice([len(content) - rng.randint(1, min(16, len(content))), rng.randrange(len(content))])
    return content[:keep]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    """A stretch of zeros, as after a power cut; sometimes all of it."""
    start = rng.choice([0, rng.randrange(len(content))])
    end = min(len(content), start + rng.choice([64, 4096, len(content)]))
    return content[:start] + bytes(end - start) + content[end:]


def overwritten(content: bytes, rng: random.Random) -> bytes:
    """A stretch of random bytes; sometimes all of it."""
    start = rng.choice([0, rng.randrange(len(content))])
    end = min(len(content), start + rng.choice([4, 64, len(content)]))
    return content[:start] + rng.randbytes(end - start) + content[end:]


def moved(content: bytes, rng: random.Random) -> bytes:
    """A stretch is missing in the middle, or stands twice."""
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.randint(1, 64))
    return content[:start] + content[end:] if rng.random() < 0.5 else content[:end] + content[start:]


def longer(content: bytes, rng: random.Random) -> bytes:
    """Something stands behind it."""
    return content + rng.randbytes(rng.randint(1, 100))


def emptied(content: bytes, rng: random.Random) -> bytes:
    """Nothing is left."""
    return b""


WAYS: list[Way] = [flipped, flipped, cut, zeroed, overwritten, moved, longer, emptied]


def damaged(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Bytes that are not `content` any more, and what was done to it."""
    while True:
        way = rng.choice(WAYS)
        changed = way(content, rng)
        if changed != content:
            return way.__name__, changed
