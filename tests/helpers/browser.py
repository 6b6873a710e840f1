"""A real browser for the tests of pages: Playwright, with a Chromium that the machine has."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def needs_browser(*modules: str) -> None:
    """Skip where the browser or one of these modules is missing. Where `VQDDM_BROWSER=required`, that is a failure."""
    lacking = [name for name in (*modules, "playwright") if importlib.util.find_spec(name) is None]
    if lacking := ", ".join([*lacking, *([] if CHROMIUM else ["chromium"])]):
        say = pytest.fail if os.environ.get("VQDDM_BROWSER") == "required" else pytest.skip
        say(f"not installed: {lacking}; `make test-browser` installs what is on PyPI")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, started (Playwright's `Browser`)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser:
        yield browser
