"""Files from the network: checked, and a broken one thrown away and tried again."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vqddm.artifacts import UserError, replacing
from vqddm.data.progress import progress

TIMEOUT = 5.0  # seconds without a byte
TRIES = 3
BLOCK = 1 << 18


def download(url: str, path: Path, check: Callable[[Path], object]) -> None:
    """Fetch `url` to `path`; it gets its name once it is whole and `check` did not raise.

    Args:
        url: where it lies.
        path: the file to write.
        check: raises a UserError for a file that is not the wanted one.

    Raises:
        UserError: no connection, or no right file in `TRIES` tries.
    """
    for remaining in reversed(range(TRIES)):
        try:
            with replacing(path) as aside:
                _fetch(url, aside)
                check(aside)
            return
        except urllib.error.URLError as error:  # no connection, no such file: trying again takes long
            raise UserError(f"{url}: {error.reason}") from None
        except (OSError, http.client.HTTPException, UserError) as error:
            if not remaining:
                raise UserError(f"{url}: no whole file in {TRIES} tries ({error})") from None


def _fetch(url: str, path: Path) -> None:
    """Raises urllib.error.URLError without a connection, another OSError if it breaks or ends too soon."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        with progress(Path(url).name, total, "B", scale=True) as bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            if total is not None and bar.n != total:
                raise ConnectionError(f"ended after {bar.n} of {total} bytes")
