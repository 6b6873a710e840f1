"""One kind of progress bar: lively on a terminal, a line now and then in a log."""

import sys
from typing import Any

from tqdm import tqdm


def progress(what: str | None, total: int | None, unit: str = "picture", **more: Any) -> tqdm:
    """A bar on standard error; `total` is None where it is unknown. `more` is tqdm's own."""
    interval = 0.5 if sys.stderr.isatty() else 20
    return tqdm(desc=what, total=total, unit=unit, mininterval=interval, maxinterval=max(10, interval), **more)
