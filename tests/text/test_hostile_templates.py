"""Templates that would take all of the processor or of the memory: each is refused, and the next one is rendered."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from llmrt.errors import LlmrtError, TemplateError
from llmrt.text.template_process import TemplateProcess
from llmrt.text.template_worker import MAX_CHARS

TIME = r"takes more than 0\.3 seconds of the processor"
MEMORY = "needs more than 1 GiB of memory"


@pytest.fixture(scope="module")
def templates() -> Iterator[TemplateProcess]:
    yield TemplateProcess(seconds=0.3)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", TIME),
        ("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", TIME),
        ("{{ 10 ** (10 ** 8 + x | length) % 7 }}", TIME),  # one instruction, which no Python could interrupt
        ("{{ 10 ** (10 ** 8) % 7 }}", TIME),  # while it is compiled
        ("{{ 'a' * 10 ** 10 }}", MEMORY),
        ("{{ 'a'.ljust(10 ** 10) }}", MEMORY),
        ("{{ '%10000000000d' % 1 }}", MEMORY),
        (
            "{% set s = namespace(x=x) %}{% for i in range(40) %}{% set s.x = s.x ~ s.x %}{% endfor %}",
            f"{TIME}|{MEMORY}",
        ),
        ("{% for i in range(99999) %}{{ x }}{% endfor %}", f"makes 99999000 characters; {MAX_CHARS} are possible"),
        ("{{ raise_exception('x' * 10 ** 6) }}", r"refuses these messages: x{500,} \.\.\. x{500,}$"),
        ("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}", "nested too deeply"),
    ],
    ids=lambda value: value[:40],
)
def test_what_takes_too_much_is_refused(templates: TemplateProcess, source: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason) as caught:
        templates.render(source, {"x": "a" * 1000})
    assert len(str(caught.value)) <= 2000
    assert templates.render("{{ x }}", {"x": "the next"}) == "the next"


def test_time_is_counted_anew_for_each_request(templates: TemplateProcess) -> None:
    slow = "{% for i in range(300) %}{% for j in range(1000) %}{% endfor %}{% endfor %}"
    for _ in range(30):
        templates.render(slow, {})


def test_a_process_that_dies_is_followed_by_another(templates: TemplateProcess) -> None:
    assert templates.render("a", {}) == "a"
    process = templates._process
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)  # a service manager's, for the whole group: it is the server that ends it
    assert templates.render("b", {}) == "b" and templates._process is process
    process.kill()
    process.wait()
    assert templates.render("c", {}) == "c"
    assert templates._process is not process


def test_the_process_ends_with_its_input(templates: TemplateProcess) -> None:
    process = TemplateProcess()._living_process()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def test_any_text_arrives_as_it_is(templates: TemplateProcess) -> None:
    text = "\ud800 é 日本 \u2028 \x00 \n\r\n 👋"
    assert templates.render("{{ x }}|{{ n }}", {"x": text, "n": 2**70}) == f"{text}|{2**70}"


def test_a_fault_of_the_process_is_no_fault_of_the_client(templates: TemplateProcess) -> None:
    with pytest.raises(LlmrtError, match="ended with status 1") as caught:
        templates._ask({"ask": "nothing"})
    assert not isinstance(caught.value, TemplateError)
