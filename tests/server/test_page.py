"""The web chat at ``/``: whole, from this server alone, and nothing beside its own files can be asked for."""

from __future__ import annotations

import posixpath
import re

import httpx
import pytest

from llmrt.server.routes.page import FOLDER

# What an index, a script and a stylesheet name: href, src, import ... from, import, url().
_REFERENCE = re.compile(r"""(?:href|src)="([^"#]+)"|(?:from|import)\s+"([^"]+)"|url\(["']?([^"')]+)["']?\)""")
_INLINED = re.compile(r'url\("data:[^"]*"\)')


def references(path: str, text: str) -> list[str]:
    """The addresses that a file of the page at ``path`` asks for."""
    found = ["".join(groups) for groups in _REFERENCE.findall(_INLINED.sub("", text))]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in found]


def test_every_file_that_the_page_names_is_served(http: httpx.Client) -> None:
    seen, waiting = set[str](), ["/", "/docs"]
    while waiting:
        path = waiting.pop()
        response = http.get(path)
        assert response.status_code == 200, path
        seen.add(path)
        waiting += [name for name in references(path, response.text) if name not in seen]
    served = {f"/ui/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*.*")}
    assert served - {"/ui/index.html"} == seen - {"/", "/docs", "/openapi.json"}


def test_the_page_can_load_from_this_server_alone(http: httpx.Client) -> None:
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|//|\*", policy)
    for path in FOLDER.rglob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()), path


def test_a_file_that_the_browser_has_is_not_sent_again(http: httpx.Client) -> None:
    first = http.get("/ui/app.js")
    again = http.get("/ui/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/ui/app.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", ""])
def test_nothing_else_can_be_asked_for(http: httpx.Client, name: str) -> None:
    response = http.get(f"/ui/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["message"]
