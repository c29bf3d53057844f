"""chromium - a headless Chromium for the tests of pages."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def require() -> None:
    """Skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")


def command(profile: Path, address: str, *flags: str) -> list[str]:
    """What to run to see `address`; skips where there is no Chromium."""
    require()
    fixed = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    return [CHROMIUM, *fixed, f"--user-data-dir={profile}", *flags, address]
