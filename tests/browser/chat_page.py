"""The chat page in a browser, and what a person does there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

PATIENCE = 60_000  # milliseconds: a machine may be busy
expect.set_options(timeout=PATIENCE)


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int] = (1280, 860)) -> Iterator[Page]:
    """The page in a browser that has not been there before; it may not fail, nor ask for anything elsewhere."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith((url, "data:", "blob:")) or faults.append(asked.url))
    page.goto(url)
    yield page
    context.close()
    assert faults == []


def say(page: Page, text: str) -> None:
    page.fill("#input", text)
    page.click("#send")


def show_list(page: Page) -> None:
    """The list of conversations, which a phone shows when it is asked to."""
    if page.locator("#sidebar").get_attribute("class") != "sidebar" or not page.locator("#search").is_visible():
        page.click("#open-sidebar")


def answer(page: Page, index: int = -1) -> str:
    expect(page.locator(".assistant").nth(index).locator(".stats")).to_be_visible()
    body = page.locator(".assistant .body").nth(index)
    expect(body).not_to_have_text("", use_inner_text=True)  # until a frame shows it, a message has none
    return body.inner_text()
