"""The web chat in Chromium: what a person does, and what becomes of it.

``make ui`` runs this and what lies beside it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from llmrt.config import EngineConfig, ServerSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from serving import artifact_of, serving, serving_all, write_model

from llmrt.server.served_model import ModelSpec
from tests.browser.chat_page import answer, opened, say, show_list

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

# Whether the page took the event, so that the browser does not.
GIVE_PICTURE = """(element, [name, data]) => {
  const files = new DataTransfer();
  files.items.add(new File(["x"], "x.png", { type: "image/png" }));
  const kind = name === "paste" ? ClipboardEvent : DragEvent;
  return !element.dispatchEvent(new kind(name, { [data]: files, bubbles: true, cancelable: true }));
}"""


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
    specs = [
        ModelSpec(artifact_of(write_model(tmp_path / name)), EngineConfig(context_length=length), name)
        for name, length in (("small", 1000), ("large", 3000))
    ]
    with serving_all(specs, ServerSettings()) as served, opened(browser, served.url) as page:
        page.wait_for_selector('[data-state="ready"]')
        expect(page.locator("#context")).to_have_text("1,000 tokens")
        page.select_option("#model", "large")
        say(page, "hi")
        assert answer(page) == "hi"
        expect(page.locator("#context")).to_contain_text("/ 3,000 tokens")
        page.reload()
        expect(page.locator("#model")).to_have_value("large")
