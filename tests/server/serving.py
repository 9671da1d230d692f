"""A tiny model directory, and the real server on it in a thread or in a process."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from llmrt.config import EngineConfig, ServerSettings
from llmrt.hub.artifact import ModelArtifact
from llmrt.server import runner
from llmrt.server.served_model import ModelSpec
from llmrt.text.token_spelling import byte_level_bytes

T = TypeVar("T")
WORKER = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
PATIENCE = 60.0  # seconds: a machine may be busy
SPECIALS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")
MERGES = ("h e", "l l", "he ll", "hell o", "t h", "th e", "Ġ the", "Ġ w", "s p", "a m", "S T")

CHATML = """\
{%- for message in messages -%}
  {%- if message.role not in ('system', 'user', 'assistant', 'tool') or message.content == '@refused' -%}
    {{- raise_exception('No message of: ' + message.role) -}}
  {%- endif -%}
  {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' + (opening | default('')) -}}{%- endif -%}
"""


def write_model(
    directory: Path, *, chat: bool = True, template: str = CHATML, specials: Sequence[str] = SPECIALS
) -> Path:
    """Byte-level BPE in which token ``i`` below 256 is byte ``i``, ChatML, and defaults of its own."""
    directory.mkdir(parents=True)
    characters = {byte_level_bytes(c): c for c in pre_tokenizers.ByteLevel.alphabet()}
    vocab = {characters[bytes([i])]: i for i in range(256)}
    merges = [tuple(merge.split()) for merge in MERGES]
    for merge in merges:
        vocab.setdefault("".join(merge), len(vocab))
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in specials])
    backend.save(str(directory / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>"} | ({"chat_template": template} if chat else {})
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    defaults = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    (directory / "generation_config.json").write_text(json.dumps(defaults))
    return directory


def artifact_of(path: Path) -> ModelArtifact:
    return ModelArtifact("tiny-alias", path, "wheel", "made by a test")


@dataclass
class Served:
    url: str
    reports: list[str]

    def http(self) -> httpx.Client:
        """A client that shows bytes and headers."""
        return client_of(self.url)


def client_of(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=PATIENCE)


@contextmanager
def serving(
    path: Path,
    settings: ServerSettings,
    config: EngineConfig | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Served]:
    """The server in a thread, once it has its model (at once for one that never gets it)."""
    with serving_all([ModelSpec(artifact_of(path), config or EngineConfig())], settings, tls, host) as served:
        yield served


@contextmanager
def serving_all(
    specs: Sequence[ModelSpec], settings: ServerSettings, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Served]:
    """The server of several models, once it has the first."""
    sock = runner.bind(host, 0)
    served = Served(f"http{'s' if tls else ''}://127.0.0.1:{sock.getsockname()[1]}", [])
    announced = threading.Event()
    loop = runner.new_event_loop()

    def report(line: str) -> None:
        served.reports.append(line)
        if "://" in line:
            announced.set()

    serve = runner.serve(specs, sock, settings=settings, report=report, tls=tls, command=WORKER)
    task = loop.create_task(serve)
    thread = threading.Thread(target=_run, args=(loop, task), daemon=True)
    thread.start()
    if specs[0].config.device not in ("broken", "slow"):
        while not announced.wait(0.1):
            assert thread.is_alive()
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        sock.close()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


SCRIPT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from serving import WORKER, artifact_of
from llmrt.config import EngineConfig
from llmrt.server import runner
from llmrt.config import ServerSettings
from llmrt.server.served_model import ModelSpec
serve = runner.serve(
    [ModelSpec(artifact_of(Path({path!r})), EngineConfig(device={device!r}))], runner.bind("127.0.0.1", 0),
    settings=ServerSettings(drain_seconds={drain!r}), command=WORKER,
    report=lambda line: print(line, flush=True),
)
with asyncio.Runner(loop_factory=runner.new_event_loop) as loop:
    loop.run(serve)
"""


def start_process(
    path: Path, *, device: str = "auto", drain: float = PATIENCE, prefix: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """The server as a process of its own, by way of the command ``prefix``; its lines are on stdout."""
    here = str(Path(__file__).parent)
    code = SCRIPT.format(here=here, path=str(path), device=device, drain=drain)
    command = [*prefix, sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            return line[line.index("http://") :].split()[0].removesuffix("/v1")
    raise AssertionError(process.communicate()[1])


def chat(http: httpx.Client, text: str, **fields: object) -> httpx.Response:
    """Ask for a chat answer whose request ends with ``text``."""
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return http.post("/v1/chat/completions", json=body)


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def records(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of every event of a whole stream, which must end as OpenAI's does."""
    assert response.status_code == 200, response.text
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events if event != ": ping"]


def streamed_text(response: httpx.Response, index: int = 0) -> str:
    choices = [choice for record in records(response) for choice in record["choices"]]
    return "".join(
        choice["text"] if "text" in choice else choice["delta"].get("content", "")
        for choice in choices
        if choice["index"] == index
    )


def grammar_of(http: httpx.Client, **fields: Any) -> str:
    """The grammar that the engine gets for a chat with ``fields``."""
    return content(chat(http, "@grammar", **fields))


def aborted(http: httpx.Client) -> list[str]:
    """The engine requests that were aborted last."""
    return json.loads(content(chat(http, "@aborted")))


def running(http: httpx.Client) -> list[str]:
    """The requests that the engine works on."""
    return json.loads(content(chat(http, "@running")))


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert "\n" not in error["message"] and "Traceback" not in error["message"]
    return error


def streamed_after(http: httpx.Client, path: str, body: dict[str, Any], sign: str) -> str:
    """The whole stream for ``body``, whose text begins with "@held", so that it goes on when ``sign`` has come."""
    with http.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200, response.read()
        pieces, text = response.iter_text(), ""
        while sign not in text:
            text += next(pieces)
        content(chat(http, "@release"))
        return text + "".join(pieces)


def eventually(condition: Callable[[], T]) -> T:
    """The first true value of ``condition``."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)
    return value


def engines_of(pid: int) -> list[int]:
    """The scripted workers that the process ``pid`` started."""
    return [child.pid for child in psutil.Process(pid).children() if b"scripted_worker" in _command(child.pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    """Whether the process lives; one that ended and was not collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
