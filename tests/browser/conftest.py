"""A server whose engine echoes the last message, and Chromium: Debian's, or the one that CHROMIUM names."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from llmrt.config import EngineConfig, ServerSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from serving import serving, write_model

from tests.browser.chat_page import PATIENCE, opened

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = write_model(tmp_path_factory.mktemp("models") / "tiny-chat")
    with serving(path, ServerSettings(), EngineConfig(context_length=4096)) as served:
        yield served.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "no chromium was found; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 860), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, url, request.param) as page:
        page.wait_for_selector('[data-state="ready"]')
        yield page
