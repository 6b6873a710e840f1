"""What a process keeps of the memory that it has freed."""

import ctypes
import platform

# Of glibc's malloc.h: free memory at the heap's end that is kept, what the heap grows by, and the size from which a
# piece of memory is asked of the system by itself, at most 32 MiB.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26, MMAP_THRESHOLD: 2**25}


def keep_freed() -> None:
    """Let the C library keep freed memory for the next tensors; elsewhere than with glibc nothing is done.

    Else it gives large tensors back to the system, which fills the next ones with zeros, page by page: a tenth of the
    time of a prior's training step on a CPU. No result depends on it.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for option, value in KEPT.items():
            library.mallopt(option, value)
