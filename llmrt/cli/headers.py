"""Where ``fit`` and ``tune`` learn of a model: from this disk, from the heads of a repository's files, or its alias."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmrt.cli.describe import preset_config
from llmrt.errors import DownloadError
from llmrt.hub import store
from llmrt.hub.local import local_artifact
from llmrt.hub.request import read_request
from llmrt.model.checkpoints.headers import AssumedHeaders, Headers, PackedHeaders, open_headers
from llmrt.presets import find_preset

PUBLISHED_DTYPE = "bf16"


@dataclass(frozen=True)
class Known:
    """A model's headers, and one phrase about where they come from."""

    headers: Headers | PackedHeaders
    source: str


@contextmanager
def known_model(model: str, revision: str | None) -> Generator[Known]:
    """What is known of ``model``; no weights are fetched. Raises ``LlmrtError``.

    What it names on the disk is there inside the block alone.
    """
    artifact = local_artifact(model, revision)
    if artifact is not None:
        yield Known(open_headers(artifact.path), artifact.detail)
        return
    request, pulled = read_request(model, revision), store.load(model)
    if pulled is not None and pulled.is_at(revision) and not pulled.missing_file():
        yield Known(open_headers(Path(pulled.path)), f"pulled, {pulled.detail}")
        return

    from llmrt.hub.failures import hub_host
    from llmrt.hub.heads import model_heads
    from llmrt.hub.reach import unreachable_reason

    reason = unreachable_reason(request.repository)
    if reason is None:
        with model_heads(request) as path:
            yield Known(open_headers(path), f"the headers of {request.repository}, read from {hub_host()}")
        return
    yield _by_alias(model, revision, reason)


def _by_alias(model: str, revision: str | None, reason: str) -> Known:
    preset = find_preset(model) if revision is None else None
    if preset is None:
        raise DownloadError(
            f"nothing is known of {model}: the hub cannot be reached ({reason}); connect, set HF_ENDPOINT to a mirror,"
            " or name a local folder or GGUF file"
        )
    headers = AssumedHeaders(preset_config(preset), PUBLISHED_DTYPE)
    return Known(headers, f"what llmrt knows of the alias, for the hub cannot be reached ({reason})")
