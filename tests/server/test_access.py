"""Keys, web pages of other sites, and what a person who opens a server to others is told."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme
from serving import PATIENCE, content, error_of, serving
from typer.testing import CliRunner

from llmrt.cli.main import app
from llmrt.config import EngineConfig, ServerSettings
from llmrt.errors import ConfigError
from llmrt.server import health_check, runner
from llmrt.server.tls import tls_context

HELLO = {"messages": [{"role": "user", "content": "hi"}]}
KEYS = ("first-key", "sk-second!")
PAGE = "https://chat.example.org"


@pytest.fixture(scope="module")
def guarded(model_path: Path) -> Iterator[httpx.Client]:
    settings = ServerSettings(api_keys=KEYS, cors_origins=(PAGE,))
    with serving(model_path, settings) as served, served.http() as http:
        yield http


def test_c20_each_key_opens_the_server_in_either_header(guarded: httpx.Client) -> None:
    for key in KEYS:
        for headers in ({"authorization": f"Bearer {key}"}, {"authorization": f"bearer  {key}"}, {"x-api-key": key}):
            assert guarded.get("/v1/models", headers=headers).status_code == 200
        both = {"authorization": "Bearer none", "x-api-key": key}  # some clients always send the first
        assert content(guarded.post("/v1/chat/completions", json=HELLO, headers=both)) == "hi"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer first-keyx"},
        {"authorization": "Bearer first-key sk-second!"},
        {"authorization": "first-key"},
        {"authorization": "Basic first-key"},
        {"x-api-key": "first-ke"},
        {"x-api-key": ""},
        {"authorization": b"Bearer \xff\xe4"},
        {"cookie": "key=first-key"},
    ],
)
def test_c9_c20_without_a_key_nothing_is_answered(guarded: httpx.Client, headers: dict[str, Any]) -> None:
    paths = ["/v1/models", "/tokenize", "/v1/unknown", "/uix", "/health/x", "/ui", "/v1/models?x=/health"]
    responses = [guarded.get(path, headers=headers) for path in paths]
    for response in [*responses, guarded.post("/v1/chat/completions", json=HELLO, headers=headers)]:
        error = error_of(response, 401)
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer" and response.headers["x-request-id"]


def test_c20_health_and_the_page_stay_open(guarded: httpx.Client) -> None:
    for path in ("/health", "/ready", "/", "/ui/app.js"):
        assert guarded.get(path).status_code == 200, path
    for path in ("/ui/../v1/models", "/ui/%2e%2e/v1/models"):
        assert guarded.send(httpx.Request("GET", str(guarded.base_url) + path)).status_code in (401, 404)


def test_c9_the_openai_client_raises_its_error(guarded: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{guarded.base_url}/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="none of this server's"):
            client.models.list()
        assert client.with_options(api_key=KEYS[1]).models.list().data


def test_a_changed_file_of_keys_is_read_again(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmrt.server.changed_files._LOOK_SECONDS", 0)
    file = tmp_path / "keys"
    file.write_text("old\n")
    settings = ServerSettings(api_keys=("given",), api_key_file=file, admin_keys=("admin",))
    with serving(model_path, settings) as served, served.http() as http:

        def valid() -> set[str]:
            tried = ("old", "new", "given", "admin")
            return {key for key in tried if http.get("/v1/models", headers={"x-api-key": key}).status_code == 200}

        assert valid() == {"old", "given", "admin"}
        file.write_text("# rotated\nnew\n")
        assert valid() == {"new", "given", "admin"}
        for broken in ("", "two words\n"):  # half written, or a mistake: nobody is locked out, and the log says so
            file.write_text(broken)
            assert valid() == {"new", "given", "admin"}
        file.unlink()
        assert valid() == {"new", "given", "admin"}
    assert caplog.text.count("stay valid") == 3


def test_keys_are_in_no_representation() -> None:
    assert "first-key" not in repr(ServerSettings(api_keys=KEYS))


# Pages of other sites


def preflight(http: httpx.Client, origin: str) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    return http.options("/v1/chat/completions", headers={"origin": origin, **asked})


def test_an_allowed_page_uses_the_server_with_a_key(guarded: httpx.Client) -> None:
    allowed = preflight(guarded, PAGE)
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == PAGE
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    headers = {"origin": PAGE, "authorization": f"Bearer {KEYS[0]}"}
    answered = guarded.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert answered.headers["access-control-allow-origin"] == PAGE
    assert "x-request-id" in answered.headers["access-control-expose-headers"]
    refused = guarded.get("/v1/models", headers={"origin": PAGE})
    assert error_of(refused, 401) and refused.headers["access-control-allow-origin"] == PAGE  # or it could not say why


def test_other_pages_are_not_told_anything(guarded: httpx.Client, http: httpx.Client) -> None:
    for client in (guarded, http):
        response = preflight(client, "https://evil.example")
        assert response.status_code >= 400 and "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1.evil.example:80"])
def test_a_page_of_another_site_cannot_use_a_server_without_keys(http: httpx.Client, origin: str) -> None:
    """Such a request needs no preflight: a body without a content type."""
    request = http.build_request("POST", "/v1/completions", content=b'{"prompt": "hi"}', headers={"origin": origin})
    assert "content-type" not in request.headers
    error = error_of(http.send(request), 403)
    assert error["code"] == "foreign_page" and f"--cors-origin {origin}" in error["message"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_another_name_for_this_machine_is_refused(http: httpx.Client, host: str) -> None:
    """DNS rebinding: the page is of the same origin as what it asks for."""
    for path in ("/v1/models", "/"):
        error = error_of(http.get(path, headers={"host": host, "origin": f"http://{host}"}), 403)
        assert "--cors-origin" in error["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8000"},
        {"host": "LOCALHOST", "origin": "http://localhost:3000"},
        {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
        {"host": "192.168.1.5"},
        {"host": "llmrt:8000"},
        {"host": "box.local", "origin": "http://box.local"},
        {"host": "host.docker.internal:8000"},
    ],
)
def test_pages_and_programs_of_this_machine_are_served(http: httpx.Client, headers: dict[str, str]) -> None:
    assert http.get("/v1/models", headers=headers).status_code == 200


def test_a_proxy_is_allowed_by_the_origin_of_its_pages(model_path: Path) -> None:
    with serving(model_path, ServerSettings(cors_origins=(PAGE,))) as served, served.http() as http:
        named = {"host": "chat.example.org"}
        assert http.get("/v1/models", headers=named).status_code == 200
        assert http.get("/v1/models", headers={**named, "origin": PAGE}).status_code == 200
        assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    with serving(model_path, ServerSettings(cors_origins=("*",))) as served, served.http() as http:
        headers = {"host": "any.example", "origin": "https://other.example"}
        assert http.get("/v1/models", headers=headers).headers["access-control-allow-origin"] == "*"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The authority's certificate, the server's, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    authority, paths = trustme.CA(), (folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(paths[0]))
    issued.cert_chain_pems[0].write_to_path(str(paths[1]))
    issued.private_key_pem.write_to_path(str(paths[2]))
    return paths


def is_healthy(url: str) -> bool:
    """What the images' health check says however busy this machine is, with a proxy around that cannot reach them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMRT_PORT", url.rpartition(":")[2])
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        patch.setattr(health_check, "_SECONDS", 60)
        return health_check.main() == 0


def test_the_health_check_of_the_images(guarded: httpx.Client, model_path: Path) -> None:
    assert is_healthy(str(guarded.base_url).rstrip("/"))
    with serving(model_path, ServerSettings(), EngineConfig(device="slow")) as loading:
        assert not is_healthy(loading.url)


def test_docker_runs_the_health_check() -> None:
    lines = (Path(__file__).parents[2] / "Dockerfile").read_text().splitlines()
    (command,) = {line.strip().removeprefix("CMD ") for line in lines if "health_check" in line}
    _, *arguments = json.loads(command)
    nobody = {"LLMRT_PORT": "9"}
    done = subprocess.run([sys.executable, *arguments], env=nobody, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_health_check_asks_port_8000_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(health_check, "is_ready", asked.append)
    monkeypatch.delenv("LLMRT_PORT", raising=False)
    health_check.main()
    monkeypatch.setenv("LLMRT_PORT", "")
    health_check.main()
    assert asked == [8000, 8000]


def test_the_health_check_asks_a_server_that_is_silent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_check, "_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not health_check.is_ready(silent.getsockname()[1])
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("in_one_file", [False, True])
def test_https_is_served_with_the_certificate(
    model_path: Path, certificate: tuple[Path, Path, Path], tmp_path: Path, in_one_file: bool
) -> None:
    authority, cert, key = certificate
    if in_one_file:
        (tmp_path / "both.pem").write_bytes(key.read_bytes() + cert.read_bytes())
        tls = tls_context(tmp_path / "both.pem", None)
    else:
        tls = tls_context(cert, key)
    trusted = ssl.create_default_context(cafile=str(authority))
    with serving(model_path, ServerSettings(api_keys=KEYS), tls=tls) as served:
        assert served.url.startswith("https://") and any(served.url in line for line in served.reports)
        with (
            httpx.Client(verify=trusted, timeout=PATIENCE) as http,
            openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEYS[0], http_client=http, max_retries=0) as client,
        ):
            stream = client.chat.completions.create(model="tiny-alias", **HELLO, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hi"
        with served.http() as stranger, pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            stranger.get("/health")
        assert is_healthy(served.url)
        with httpx.Client(timeout=PATIENCE) as plain, pytest.raises(httpx.TransportError):
            plain.get(f"{served.url.replace('https', 'http')}/health")


def test_a_renewed_certificate_is_shown_to_who_connects_next(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmrt.server.changed_files._LOOK_SECONDS", 0)
    authority, cert, key = trustme.CA(), tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue() -> str:
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(cert))
        return issued.cert_chain_pems[0].bytes().decode()

    first = issue()
    with serving(model_path, ServerSettings(), tls=tls_context(cert, key)) as served:
        address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        assert ssl.get_server_certificate(address).split() == first.split()
        second = issue()
        assert ssl.get_server_certificate(address).split() == second.split()
        key.write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())
        assert ssl.get_server_certificate(address).split() == second.split()
    assert "do not go together" in caplog.text and "still shown" in caplog.text


def test_a_certificate_that_cannot_be_used_is_one_line(certificate: tuple[Path, Path, Path], tmp_path: Path) -> None:
    authority, cert, key = certificate
    files = {"--tls-cert": cert, "--tls-key": key}

    def fault(**changed: Path) -> str:
        given = files | {f"--tls-{name}": path for name, path in changed.items()}
        return complaint(*(str(part) for pair in given.items() for part in pair))

    assert fault(cert=tmp_path / "no") == f"--tls-cert {tmp_path / 'no'} cannot be read: No such file or directory."
    assert fault(key=tmp_path / "no") == f"--tls-key {tmp_path / 'no'} cannot be read: No such file or directory."
    assert fault(cert=key) == f"--tls-cert {key} has no certificate in PEM form."
    assert fault(key=cert) == f"--tls-key {cert} has no private key in PEM form."
    assert "do not go together: key values mismatch" in fault(cert=authority)
    assert complaint("--tls-cert", str(cert)) == f"--tls-key {cert} has no private key in PEM form."
    assert "--tls-key needs --tls-cert" in complaint("--tls-key", str(key))
    locked = tmp_path / "locked.pem"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert "is encrypted" in fault(key=locked)


# What a person is told


def complaint(*arguments: str, **environment: str) -> str:
    result = CliRunner().invoke(app, ["serve", "no-such-model", *arguments], env=environment)
    assert isinstance(result.exception, ConfigError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_keys_that_would_not_be_asked_for_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    assert f"{file} cannot be read: No such file" in complaint("--api-key-file", str(file))
    file.write_text("# none yet\n\n")
    assert "has no key" in complaint("--api-key-file", str(file))
    file.write_bytes(b"\xff")
    assert "not UTF-8" in complaint("--api-key-file", str(file))
    file.write_text("good\nse cret\n")
    assert (text := complaint("--api-key-file", str(file))).startswith(f"{file}, line 2:") and "cret" not in text
    assert "--api-key: the key is empty" in complaint("--api-key", "")
    assert "--trusted-proxy nginx is no address" in complaint("--trusted-proxy", "nginx")
    for empty in ("", " "):
        assert "LLMRT_API_KEY is empty" in complaint(LLMRT_API_KEY=empty)


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ([], None),
        (["--host", "localhost"], None),
        (["--host", "::1"], None),
        (["--host", "0.0.0.0"], "whoever can reach 0.0.0.0 can use this server"),
        (["--host", "0.0.0.0", "--api-key-file", "{keys}"], "keys and prompts travel unencrypted"),
        (["--host", "0.0.0.0", "--api-key-file", "{keys}", "--tls-cert", "{cert}", "--tls-key", "{key}"], None),
        (["--api-key", "open"], "all users of this machine can read"),
    ],
)
def test_a_person_who_opens_the_server_is_warned(
    certificate: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    warning: str | None,
) -> None:
    (tmp_path / "keys").write_text("# mine\nsecret\n")
    files = {"keys": tmp_path / "keys", "cert": certificate[1], "key": certificate[2]}

    async def served(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(runner, "serve", served)
    monkeypatch.setattr("llmrt.hub.sources.resolve", lambda model, **_: model)
    result = CliRunner().invoke(app, ["serve", "m", "--port", "0", *(part.format(**files) for part in arguments)])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert lines == [] if warning is None else len(lines) == 1 and warning in lines[0]


@pytest.mark.parametrize("origin", ["chat.example.org", "https://a.example/path", "https://*.example", "", "https://"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    assert f"--cors-origin {origin} is no origin" in complaint("--cors-origin", origin)
