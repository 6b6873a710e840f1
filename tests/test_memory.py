"""Freed memory that a process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from vqddm.memory import keep_freed
if {keeps}:
    keep_freed()
torch.set_num_threads(1)
def fill():
    for _ in range(10):
        kept = [torch.ones(2**22) for _ in range(4)]  # 64 MiB, page by page
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
