"""A small Hugging Face hub on 127.0.0.1, with the faults of a bad network at hand.

It speaks what huggingface_hub asks for: repository info with file metadata, the file tree, and HEAD and GET of files
with ETag, X-Repo-Commit, X-Linked-Etag, X-Linked-Size and Range. Large (LFS) files are answered, as on the real hub,
with a redirect to another host.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt")


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Faults:
    """What goes wrong; files are named without their repository."""

    gated: set[str] = field(default_factory=set)  # repositories whose files need TOKEN
    private: set[str] = field(default_factory=set)  # repositories that do not exist without TOKEN
    cut: dict[str, list[int]] = field(default_factory=dict)  # file -> bytes sent before each break in turn
    errors: dict[str, list[int]] = field(default_factory=dict)  # file -> statuses answered before its bytes
    corrupt: set[str] = field(default_factory=set)  # files sent with wrong bytes
    no_range: bool = False  # Range is ignored, as some caches do
    status: int | None = None  # every request is answered with this status
    silent: threading.Event | None = None  # no request is answered until this is set


class HubServer:
    """``with HubServer({"org/name": {"config.json": b"..."}}) as hub: ... hub.url``."""

    TOKEN = "hf_secret"

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        self.repos = repos
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.sent: Counter[str] = Counter()  # file -> bytes of it that went out
        self._server = _QuietServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.other_host = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.faults.silent is not None:
            self.faults.silent.set()
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repo: str) -> str:
        """The commit of a repository follows from its files."""
        digest = hashlib.sha1(repo.encode())
        for name, data in sorted(self.repos[repo].items()):
            digest.update(name.encode() + hashlib.sha256(data).digest())
        return digest.hexdigest()

    def downloads(self, name: str) -> list[Seen]:
        """The requests that carried bytes of a file."""
        return [seen for seen in self.seen if seen.method == "GET" and seen.path.endswith(f"/{name}")]


def blob_id(data: bytes) -> str:
    """Git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.seen.append(Seen(self.command, path, self.headers.get("Range"), token))
        faults = self.hub.faults
        if faults.silent is not None:
            faults.silent.wait()
            self.close_connection = True
            return
        if faults.status is not None:
            self._send(faults.status, b"")
            return
        self._route([part for part in path.split("/") if part], token == HubServer.TOKEN)

    def _route(self, parts: list[str], allowed: bool) -> None:
        match parts:
            case ["api", "models", org, name, *rest]:
                repo = f"{org}/{name}"
                if self._exists(repo, allowed) and self._has_revision(repo, rest[1] if len(rest) > 1 else "main"):
                    self._send_json(self._tree(repo) if rest[:1] == ["tree"] else self._info(repo))
            case ["cdn", org, name, *path]:
                self._send_file(f"{org}/{name}", "/".join(path), {})
            case [org, name, "resolve", revision, *path]:
                repo = f"{org}/{name}"
                if self._exists(repo, allowed) and self._has_revision(repo, revision):
                    self._resolve(repo, "/".join(path), allowed)
            case _:
                self._send(404, b"")

    def _exists(self, repo: str, allowed: bool) -> bool:
        if repo not in self.hub.repos or (repo in self.hub.faults.private and not allowed):
            self._send(404 if allowed else 401, b"", {"X-Error-Code": "RepoNotFound"})
            return False
        return True

    def _has_revision(self, repo: str, revision: str) -> bool:
        if revision in ("main", self.hub.commit(repo)):
            return True
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return False

    def _resolve(self, repo: str, name: str, allowed: bool) -> None:
        data = self.hub.repos[repo].get(name)
        if repo in self.hub.faults.gated and not allowed:
            self._send(403 if self.headers.get("Authorization") else 401, b"", {"X-Error-Code": "GatedRepo"})
        elif data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif name.endswith(LFS_SUFFIXES):
            linked = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
            location = {"Location": f"{self.hub.other_host}/cdn/{repo}/{name}"}
            self._send(302, b"", linked | location | {"X-Repo-Commit": self.hub.commit(repo)})
        else:
            commit = {"X-Repo-Commit": self.hub.commit(repo)}
            self._send_file(repo, name, commit | {"ETag": f'"{blob_id(data)}"'})

    def _send_file(self, repo: str, name: str, headers: dict[str, str]) -> None:
        faults, whole = self.hub.faults, self.hub.repos[repo][name]
        if self.command == "GET" and faults.errors.get(name):
            self._send(faults.errors[name].pop(0), b"")
            return
        data = bytes(byte ^ 0xFF for byte in whole[:64]) + whole[64:] if name in faults.corrupt else whole
        start, end = self._range(len(data))
        headers = headers | {"Accept-Ranges": "bytes"}
        if end - start < len(data) and not faults.no_range:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            self._send(206, data[start:end], headers, name)
        else:
            self._send(200, data, headers, name)

    def _range(self, size: int) -> tuple[int, int]:
        first, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), min(size, int(last) + 1) if last else size

    def _info(self, repo: str) -> dict[str, object]:
        files = self.hub.repos[repo].items()
        siblings = [{"rfilename": name} | self._metadata(name, data, "blobId", "sha256") for name, data in files]
        return {"id": repo, "modelId": repo, "sha": self.hub.commit(repo), "private": False, "siblings": siblings}

    def _tree(self, repo: str) -> list[dict[str, object]]:
        files = self.hub.repos[repo].items()
        return [{"type": "file", "path": name} | self._metadata(name, data, "oid", "oid") for name, data in files]

    @staticmethod
    def _metadata(name: str, data: bytes, blob_key: str, sha_key: str) -> dict[str, object]:
        known: dict[str, object] = {"size": len(data), blob_key: blob_id(data)}
        if name.endswith(LFS_SUFFIXES):
            known["lfs"] = {sha_key: hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return known

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, name: str = "") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.sent[name] += len(body)
        breaks = self.hub.faults.cut.get(name)
        if breaks:
            self.wfile.write(body[: breaks.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)
