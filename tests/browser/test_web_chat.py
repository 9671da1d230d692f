"""The web chat in Chromium, on a server whose engine echoes the last message: what a person sees and does.

``make ui`` runs this; it needs Debian's chromium, or the one that CHROMIUM names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from llmrt.config import EngineConfig, ServerSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from serving import artifact_of, serving, serving_all, write_model

from llmrt.server.served_model import Offer

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ATTACKS = r"""<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>
[link](javascript:window.harmed=1) ![](http://evil.example/x.png) <http://a.example/"onmouseover="harmed=1">
$\href{javascript:window.harmed=1}{a}$ $\includegraphics{http://evil.example/x.png}$ $\style{background:red}{a}$
```html
</code></pre><script>window.harmed=1</script>
```"""


# Transactions of other tabs wait for this one, which asks for nothing in a loop.
OCCUPY_DATABASE = """() => new Promise((resolve) => {
  window.occupied = true;
  indexedDB.open("llmrt").onsuccess = ({ target }) => {
    const objects = target.result.transaction("conversations", "readwrite").objectStore("conversations");
    const ask = () => { if (window.occupied) objects.get("").onsuccess = ask; };
    ask();
    resolve();
  };
})"""


COUNT_LINES = """(cells) => cells.map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return range.getClientRects().length;
})"""


# Whether the page took the event, so that the browser does not.
GIVE_PICTURE = """(element, [name, data]) => {
  const files = new DataTransfer();
  files.items.add(new File(["x"], "x.png", { type: "image/png" }));
  const kind = name === "paste" ? ClipboardEvent : DragEvent;
  return !element.dispatchEvent(new kind(name, { [data]: files, bubbles: true, cancelable: true }));
}"""


SELECT = "element => { getSelection().selectAllChildren(element); return getSelection().toString(); }"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = write_model(tmp_path_factory.mktemp("models") / "tiny-chat")
    with serving(path, ServerSettings(), EngineConfig(context_length=4096)) as served:
        yield served.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "no chromium was found; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 860), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, url, request.param) as page:
        page.wait_for_selector('[data-state="ready"]')
        yield page


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int] = (1280, 860)) -> Iterator[Page]:
    """The page in a browser that has not been there before; it may not fail, nor ask for anything elsewhere."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    context.set_default_timeout(10_000)
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


def test_an_answer_comes_with_its_figures_and_stays_after_a_reload(page: Page) -> None:
    say(page, "Hello **there**, 日本語 👋")
    assert answer(page) == "Hello there, 日本語 👋"
    assert page.locator(".assistant .body strong").inner_text() == "there"
    assert re.match(r"\d+ tokens?", page.locator(".stats").inner_text())
    page.reload()
    assert answer(page) == "Hello there, 日本語 👋"


def test_an_answer_is_stopped(page: Page) -> None:
    say(page, "@forever")
    expect(page.locator(".assistant .body")).to_contain_text("spam spam")
    page.keyboard.press("Escape")
    expect(page.locator(".ending")).to_have_text("stopped")
    page.wait_for_timeout(200)
    ended = answer(page)
    page.wait_for_timeout(300)
    assert answer(page) == ended


def test_an_edited_message_and_another_answer_are_versions_beside_the_old_ones(page: Page) -> None:
    say(page, "first")
    assert answer(page) == "first"
    page.locator(".user").hover()
    page.locator('.user [aria-label="Edit the message"]').click()
    page.locator(".editor").fill("second")
    page.locator(".editor-row .solid-button").click()
    expect(page.locator(".assistant .body")).to_have_text("second")
    page.locator('.user [aria-label="The version before"]').click()
    assert answer(page) == "first"
    page.locator('.assistant [aria-label="Answer again"]').click()
    expect(page.locator(".assistant .versions")).to_contain_text("2/2")


def test_a_message_that_is_edited_while_its_answer_comes_is_answered_instead(page: Page) -> None:
    say(page, "@forever")
    expect(page.locator(".assistant .body")).to_contain_text("spam")
    page.locator(".user").hover()
    page.locator('.user [aria-label="Edit the message"]').click()
    page.locator(".editor").fill("second")
    page.locator(".editor-row .solid-button").click()
    assert answer(page) == "second"
    page.locator('.user [aria-label="The version before"]').click()
    expect(page.locator(".ending")).to_have_text("stopped")


@pytest.mark.parametrize("event, data", [("paste", "clipboardData"), ("drop", "dataTransfer")])
def test_a_picture_is_refused_and_the_page_stays(page: Page, event: str, data: str) -> None:
    page.fill("#input", "half a message")
    assert page.locator("#input").evaluate(GIVE_PICTURE, [event, data])
    expect(page.locator(".toast")).to_contain_text("Pictures and files are not sent")
    assert page.locator("#input").input_value() == "half a message"


def test_a_long_conversation_is_shown_from_its_end(page: Page) -> None:
    for number in range(4):
        say(page, f"{number}\n\n" * 60)
        answer(page, number)
    page.reload()
    expect(page.locator(".stats").last).to_be_in_viewport()


def test_a_cut_answer_goes_on(page: Page) -> None:
    page.click("#settings")
    page.fill("#setting-max_tokens", "5")
    page.keyboard.press("Escape")
    say(page, "one two three four five six seven eight nine ten")
    expect(page.locator(".ending")).to_have_text("cut at its length limit")
    page.locator('.assistant [aria-label="Go on with this answer"]').click()
    expect(page.locator(".stats")).to_contain_text("continued by 5 tokens")


def test_the_system_prompt_and_settings_are_sent(page: Page) -> None:
    page.click("#system-chip")
    page.fill("#setting-system", "Be brief.")
    page.fill("#setting-temperature", "0.25")
    page.fill("#setting-seed", "7")
    page.keyboard.press("Escape")
    say(page, "@params")
    assert {"temperature": 0.25, "seed": 7}.items() <= json.loads(answer(page)).items()
    say(page, "@prompt")
    assert "Be brief." in answer(page)


def test_conversations_are_kept_apart_found_and_deleted(page: Page) -> None:
    for word in ("apples", "pears"):
        page.keyboard.press("Control+Shift+O")
        say(page, word)
        assert answer(page) == word
    show_list(page)
    page.fill("#search", "appl")
    expect(page.locator("#conversations .item")).to_have_count(1)
    page.locator("#conversations .item").get_by_text("apples").click()
    assert answer(page) == "apples"


def test_a_conversation_is_renamed_deleted_and_brought_back(page: Page) -> None:
    say(page, "apples")
    assert answer(page) == "apples"
    show_list(page)
    page.locator("#conversations .item").hover()
    page.locator('[aria-label="Rename apples"]').click()
    page.fill('[aria-label="Name of the conversation"]', "Fruit")
    page.keyboard.press("Enter")
    expect(page.locator("#conversations .item")).to_contain_text("Fruit")
    expect(page.locator("#conversations .open")).to_be_focused()
    page.locator("#conversations .item").hover()
    page.locator('[aria-label="Delete Fruit"]').click()
    expect(page.locator("#conversations .item")).to_have_count(0)
    page.locator(".toast button", has_text="Undo").click()
    page.reload()
    assert answer(page) == "apples" and page.title().startswith("Fruit")


def test_a_change_is_kept_though_the_page_is_loaded_again_before_the_database_has_it(page: Page, url: str) -> None:
    say(page, "apples")
    assert answer(page) == "apples"
    other = page.context.new_page()
    other.goto(url)
    other.evaluate(OCCUPY_DATABASE)
    show_list(page)
    page.locator("#conversations .item").hover()
    page.locator('[aria-label="Rename apples"]').click()
    page.fill('[aria-label="Name of the conversation"]', "Fruit")
    page.keyboard.press("Enter")
    page.reload()
    other.evaluate("occupied = false")
    assert answer(page) == "apples" and page.title().startswith("Fruit")


def test_conversations_are_saved_to_a_file(page: Page, tmp_path: Path) -> None:
    say(page, "apples")
    assert answer(page) == "apples"
    page.click("#settings")
    with page.expect_download() as download:
        page.get_by_text("Save all conversations to a file").click()
    download.value.save_as(tmp_path / "saved.json")
    (saved,) = json.loads((tmp_path / "saved.json").read_text())
    assert [node["content"] for node in saved["nodes"].values() if node.get("content")] == ["apples", "apples"]


def test_another_tab_shows_the_conversation(page: Page, url: str) -> None:
    other = page.context.new_page()
    other.goto(url)
    other.wait_for_selector('[data-state="ready"]')
    say(page, "apples")
    assert answer(page) == "apples"
    show_list(other)
    other.locator("#conversations .item").get_by_text("apples").click()
    assert answer(other) == "apples"


def test_c20_a_key_is_asked_for_and_kept(browser: Browser, tmp_path: Path) -> None:
    settings = ServerSettings(api_keys=("the key",))
    with serving(write_model(tmp_path / "m"), settings) as served, opened(browser, served.url) as page:
        expect(page.locator("#served-text")).to_have_text("API key needed")
        page.click("#settings")
        page.fill("#setting-key", "the key")
        page.keyboard.press("Escape")
        page.wait_for_selector('[data-state="ready"]')
        say(page, "hi")
        assert answer(page) == "hi"
        page.reload()
        page.wait_for_selector('[data-state="ready"]')


def test_one_of_several_models_is_chosen(browser: Browser, tmp_path: Path) -> None:
    offers = [
        Offer(artifact_of(write_model(tmp_path / name)), EngineConfig(context_length=length), name)
        for name, length in (("small", 1000), ("large", 3000))
    ]
    with serving_all(offers, ServerSettings()) as served, opened(browser, served.url) as page:
        page.wait_for_selector('[data-state="ready"]')
        expect(page.locator("#context")).to_have_text("1,000 tokens")
        page.select_option("#model", "large")
        say(page, "hi")
        assert answer(page) == "hi"
        expect(page.locator("#context")).to_contain_text("/ 3,000 tokens")
        page.reload()
        expect(page.locator("#model")).to_have_value("large")


def test_what_a_model_writes_cannot_become_code(page: Page) -> None:
    say(page, ATTACKS)
    answer(page)
    page.wait_for_timeout(200)
    assert page.evaluate("window.harmed") is None
    assert page.locator(".body script, .body img, .body [onerror], .body [onmouseover]").count() == 0
    links = [link.get_attribute("href") or "" for link in page.locator(".assistant .body a").all()]
    assert all(re.match(r"https?:|mailto:", link) for link in links)


@pytest.mark.parametrize(
    ("status", "error", "title"),
    [
        (401, {"code": "invalid_api_key"}, "An API key is needed"),
        (400, {"code": "context_length_exceeded", "param": "messages"}, "The conversation is too long"),
        (429, {"code": "queue_full"}, "The server is busy"),
        (500, {}, "The server failed"),
    ],
)
def test_a_failure_says_what_to_do(page: Page, status: int, error: dict[str, str], title: str) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=status, json={"error": {"message": "The reason.", "type": "x", "param": None, **error}})

    page.route("**/v1/chat/completions", fail)
    say(page, "hi")
    expect(page.locator(".error strong")).to_have_text(title)
    expect(page.locator(".error:visible")).to_contain_text("The reason.")


def test_an_engine_that_fails_midway_leaves_what_it_said(page: Page) -> None:
    say(page, "@fail")
    expect(page.locator(".error:visible")).to_contain_text("the engine failed midway")
    expect(page.locator(".assistant .body")).to_contain_text("spam")


def test_what_the_server_did_otherwise_is_shown(page: Page) -> None:
    page.click("#settings")
    page.fill("#setting-max_tokens", "100000")
    page.keyboard.press("Escape")
    say(page, "hi")
    expect(page.locator(".stats")).to_contain_text("reduced: max_tokens=")


def test_nothing_is_wider_than_the_window(page: Page) -> None:
    say(page, "x" * 300 + "\n\n| a | b |\n|---|---|\n| " + "y" * 200 + " | z |\n\n```\n" + "z" * 300 + "\n```")
    answer(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#served-text").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_blocks_run_in_the_direction_of_their_words(page: Page) -> None:
    say(page, "# שלם\n\nשלם `a.b` English.\n\n1. שלם\n\nhello שלם\n\n```\n# שלם\n```")
    answer(page)
    directions = "blocks => blocks.map(block => getComputedStyle(block).direction)"
    assert page.locator(".assistant .body > *").evaluate_all(directions) == ["rtl", "rtl", "rtl", "ltr", "ltr"]
    assert page.locator(".assistant .body p > code").evaluate_all(directions) == ["ltr"]


def test_formulas_are_drawn_and_a_selection_has_them_as_they_were_written(page: Page) -> None:
    text = r"$\{x_1\}$, \(a*b*c\) and $$\frac{1}{2}$$ for the $n$th time"
    say(page, text)
    answer(page)
    assert "".join(page.locator(".assistant math :is(mi, mn, mo)").all_text_contents()) == "{x1}a\u2217b\u2217c12n"
    assert page.locator(".assistant mfrac").count() == 1
    assert page.locator(".assistant .body").evaluate(SELECT).split() == text.split()


def test_prices_and_variables_are_no_formulas(page: Page) -> None:
    text = "for $5 and $10\nUS$5 or A$6\n$5 or 6$\n$PATH:$HOME\n(a $ b $ c)"
    say(page, text)
    assert answer(page) == text
    assert page.locator(".body math").count() == 0


@pytest.mark.parametrize("begin, end", [(r"\[", r"\]"), ("$$", "$$"), (r"\begin{gather}", r"\end{gather}")])
def test_lines_of_a_formula_are_no_list_and_half_of_it_is_no_fault(page: Page, begin: str, end: str) -> None:
    lines = f"so\n{begin}\na_1 \\\\\n+ \\frac{{b*c*d}}\n- {{2}}"
    say(page, f"{lines}\n{end}\n\nand\n\n{lines}")
    answer(page)
    assert page.locator(".assistant .body > p").count() == 3
    assert page.locator(".assistant .body math").count() == 1
    assert page.locator(".assistant .body code.tex").inner_text() == lines.removeprefix("so\n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_what_is_shown(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert faults(page) == []
    say(page, "# A\n\n$$x$$\n\n- [x] b\n\n| c |\n|---|\n| d |\n\n```python\nx = 1  # y\n```\n\n> https://a.example `e`")
    answer(page)
    say(page, "@fail")
    expect(page.locator(".error:visible")).to_be_visible()
    assert faults(page) == []
    page.click("#settings")
    assert faults(page) == []


def faults(page: Page) -> list[str]:
    """What a person with a screen reader, or who sees contrasts badly, would stumble over."""
    return [violation["help"] for violation in Axe().run(page).response["violations"]]


def test_words_of_tables_are_not_broken(page: Page) -> None:
    say(page, "| Name | Value | Description |\n|---|---|---|\n" + f"| a | 1 | {'long ' * 20} {'x' * 60} |")
    answer(page)
    assert page.locator(".table th").evaluate_all(COUNT_LINES) == [1, 1, 1]
