"""How the web chat shows what comes: text of every kind, failures, and what is said of an answer."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.browser.chat_page import answer, say

ATTACKS = r"""<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>
[link](javascript:window.harmed=1) ![](http://evil.example/x.png) <http://a.example/"onmouseover="harmed=1">
$\href{javascript:window.harmed=1}{a}$ $\includegraphics{http://evil.example/x.png}$ $\style{background:red}{a}$
```html
</code></pre><script>window.harmed=1</script>
```"""

COUNT_LINES = """(cells) => cells.map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return range.getClientRects().length;
})"""

SELECT = "element => { getSelection().selectAllChildren(element); return getSelection().toString(); }"


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
    assert page.evaluate("document.getAnimations().length") == 0  # less motion is none, not a first frame of it
    assert faults(page) == []


def faults(page: Page) -> list[str]:
    """What a person with a screen reader, or who sees contrasts badly, would stumble over, and where."""
    return [
        f"{violation['help']}: {node['html']}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]


def test_words_of_tables_are_not_broken(page: Page) -> None:
    say(page, "| Name | Value | Description |\n|---|---|---|\n" + f"| a | 1 | {'long ' * 20} {'x' * 60} |")
    answer(page)
    assert page.locator(".table th").evaluate_all(COUNT_LINES) == [1, 1, 1]
