"""Freed memory that a process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource
from vqddm.memory import keep_freed
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
if {keeps}:
    keep_freed()
def fill():
    for _ in range(10):
        pieces = [library.malloc(2**24) for _ in range(4)]
        for piece in pieces:
            library.memset(piece, 1, 2**24)
        for piece in pieces:
            library.free(piece)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_what_was_freed_is_used_again_without_the_system() -> None:
    faults = {
        keeps: int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keeps=keeps)], text=True))
        for keeps in (False, True)
    }
    assert faults[True] < 1000 < 20_000 < faults[False]
