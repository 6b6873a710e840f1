"""Files from the network: checked, and a broken one thrown away and tried again."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vqddm.artifacts import UserError, replacing
from vqddm.data.progress import progress

TIMEOUT = 5.0  # seconds without a byte
TRIES = 3
PAUSE = 1.0  # seconds before the second try, twice as many before the third
BUSY = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses of a server that may answer a moment later
BLOCK = 1 << 18


def download(url: str, path: Path, check: Callable[[Path], object]) -> None:
    """Fetch `url` to `path`; it gets its name once it is whole and `check` raised no UserError.

    Raises:
        UserError: no connection, no such file, or no right one in `TRIES` tries.
    """
    for attempt in range(TRIES):
        try:
            with replacing(path) as aside:
                _fetch(url, aside)
                check(aside)
            return
        except (OSError, http.client.HTTPException, UserError) as error:
            why = _reason(error)
            if not _may_pass(error):
                raise UserError(f"{url}: {why}") from None
        if attempt + 1 < TRIES:
            time.sleep(PAUSE * 2**attempt)
    raise UserError(f"{url}: no whole file in {TRIES} tries ({why})")


def _reason(error: Exception) -> str:
    """What went wrong, with the status if a server answered."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}, {error.reason}"
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)


def _may_pass(error: Exception) -> bool:
    """Whether another try may help: not without a network, and not where there is no such file."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in BUSY
    reason = error.reason if isinstance(error, urllib.error.URLError) else None
    return reason is None or isinstance(reason, TimeoutError | ConnectionResetError)


def _fetch(url: str, path: Path) -> None:
    """Raises urllib.error.URLError without a connection or for an HTTP error, else OSError if it breaks or is cut."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        with progress(Path(url).name, total, "B", unit_scale=True) as bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            if total is not None and bar.n != total:
                raise ConnectionError(f"ended after {bar.n} of {total} bytes")
