"""One kind of progress bar: lively on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(what: str, total: int | None, unit: str = "picture", scale: bool = False) -> tqdm:
    """A bar on standard error. `total` is None where it is unknown; `scale` writes 1,000,000 as 1M."""
    interval = 0.5 if sys.stderr.isatty() else 20
    return tqdm(
        desc=what, total=total, unit=unit, unit_scale=scale, mininterval=interval, maxinterval=max(10, interval)
    )
