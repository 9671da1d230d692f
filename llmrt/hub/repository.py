"""A model from the Hugging Face hub, through the cache that its own tools share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import filter_repo_objects
from rich.filesize import decimal

from llmrt.errors import CheckpointError, DownloadError
from llmrt.hub import store
from llmrt.hub.disk import disk_errors, require_space
from llmrt.hub.download import RemoteFile, fetch_blob, partial_path
from llmrt.hub.failures import hub_errors, not_a_hub
from llmrt.hub.layout import MISTRAL, PUBLISHED
from llmrt.hub.local import PICKLE_REFUSAL, PICKLE_SUFFIXES
from llmrt.hub.progress import Report, meter
from llmrt.hub.request import ModelRequest
from llmrt.text.gguf_parts import first_parts, part_names

NEVER = ("*/*", "*.bin", "*.pt", "*.pth")
CACHE_HINT = "free some, or set HF_HOME to a folder with room; a pull that is run again resumes"
METADATA_SECONDS = 10

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class CacheFolder:
    """Where huggingface_hub keeps a repository's blobs, locks and the commits that name the blobs."""

    repository: str

    def blob(self, file: RemoteFile) -> Path:
        """Where the bytes of ``file`` lie."""
        return Path(constants.HF_HUB_CACHE, self._name, "blobs", file.etag)

    def lock(self, file: RemoteFile) -> Path:
        """What whoever fetches ``file`` holds."""
        return Path(constants.HF_HUB_CACHE, ".locks", self._name, f"{file.etag}.lock")

    @property
    def ggufs(self) -> set[str]:
        """The names of the GGUF files of all commits."""
        snapshots = Path(constants.HF_HUB_CACHE, self._name, "snapshots")
        return {Path(*path.relative_to(snapshots).parts[1:]).as_posix() for path in snapshots.rglob("*.gguf")}

    @property
    def _name(self) -> str:
        return repo_folder_name(repo_id=self.repository, repo_type="model")


def pull_repository(request: ModelRequest, report: Report) -> store.Manifest:
    """Fetch what the request needs and record it in the store.

    Raises DownloadError (network, licence, disk, checksum), ModelNotFoundError (no such repository or
    revision) and CheckpointError (the repository holds nothing that llmrt loads).
    """
    cache = Path(constants.HF_HUB_CACHE)
    with hub_errors(request.repository, request.revision), disk_errors(cache, hint=CACHE_HINT):
        files = select(request, list_files(request))
        _fetch(request, files, report)
        paths = [_link(request, file) for file in files]
    return record(request, files[0].commit, paths)


def record(request: ModelRequest, commit: str, paths: list[Path]) -> store.Manifest:
    """Write down a model whose files lie at ``paths`` in one snapshot folder of the cache."""
    folder = next(parent for parent in paths[0].parents if parent.name == commit)
    is_file = paths[0].suffix == ".gguf"
    manifest = store.Manifest(
        name=request.name,
        source="hub",
        origin=request.repository,
        revision=request.revision,
        commit=commit,
        path=str(paths[0] if is_file else folder),
        folder=str(folder),
        files=tuple(_stored(path, folder) for path in paths),
        pulled_at=store.now(),
    )
    store.save(manifest)
    return manifest


def list_files(request: ModelRequest) -> list[RemoteFile]:
    """Every file of the repository at the revision that is asked for."""
    repository = request.repository
    try:
        info = HfApi().model_info(repository, revision=request.revision, files_metadata=True, timeout=METADATA_SECONDS)
        return [_remote_file(repository, info.sha, sibling) for sibling in info.siblings or ()]
    except (
        ValueError,
        KeyError,
        TypeError,
    ) as error:  # a login portal, a wrong HF_ENDPOINT
        raise not_a_hub(error) from error


def _remote_file(repository: str, commit: str | None, sibling: RepoSibling) -> RemoteFile:
    etag = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if commit is None or sibling.size is None or etag is None or not _ETAG.fullmatch(etag):
        raise ValueError(f"{sibling.rfilename} is listed without its commit, size or checksum")
    return RemoteFile(repository, commit, sibling.rfilename, sibling.size, etag)


def select(request: ModelRequest, files: list[RemoteFile]) -> list[RemoteFile]:
    """Those of ``files`` that the request needs. Raises ``CheckpointError`` if there is nothing that llmrt loads."""
    by_name = {file.name: file for file in files}
    if request.gguf is not None:
        named = named_ggufs(request.gguf, by_name)
        if len(named) != 1:
            has = f"several files of type {request.gguf}" if named else f"no file {request.gguf}"
            raise CheckpointError(f"{request.repository} has {has}; {_ggufs(by_name)}")
        return _parts(request.repository, by_name, named[0])
    chosen = [by_name[name] for name in wanted_names(by_name, request.files)]
    if any(file.name.endswith(".safetensors") for file in chosen):
        return chosen
    return _only_gguf(request.repository, by_name)


def wanted_names(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Those that ``patterns`` ask for: of weights that are there in two layouts, Hugging Face's."""
    names = list(names)
    twice = [f"{MISTRAL.stem}*"] if PUBLISHED.config in names else []
    return list(filter_repo_objects(names, allow_patterns=list(patterns), ignore_patterns=[*NEVER, *twice]))


def named_ggufs(wanted: str, names: Collection[str]) -> list[str]:
    """The file ``wanted``, or the models that have the type ``wanted``, such as Q4_K_M, as a word in their names."""
    if wanted.endswith(".gguf"):
        return [wanted] if wanted in names else []
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(wanted)}(?![A-Za-z0-9_])", re.IGNORECASE)
    return first_parts(name for name in names if name.endswith(".gguf") and word.search(name))


def _parts(repository: str, by_name: dict[str, RemoteFile], gguf: str) -> list[RemoteFile]:
    names = part_names(gguf)
    if missing := [name for name in names if name not in by_name]:
        raise CheckpointError(f"{repository} lacks {missing[0]}, one of the {len(names)} parts of {gguf}")
    return [by_name[name] for name in names]


def _only_gguf(repository: str, by_name: dict[str, RemoteFile]) -> list[RemoteFile]:
    ggufs = first_parts(name for name in by_name if name.endswith(".gguf") and "/" not in name)
    if len(ggufs) == 1:
        return _parts(repository, by_name, ggufs[0])
    if ggufs:
        raise CheckpointError(f"{repository} holds several GGUF files; {_ggufs(by_name)}")
    pickled = any(name.endswith(PICKLE_SUFFIXES) for name in by_name)
    raise CheckpointError(f"{repository} has " + (PICKLE_REFUSAL if pickled else "no safetensors and no GGUF file"))


def _ggufs(by_name: dict[str, RemoteFile]) -> str:
    names = first_parts(name for name in by_name if name.endswith(".gguf"))
    return f"name one as org/name:FILE: {', '.join(names)}" if names else "it has no GGUF file"


def _fetch(request: ModelRequest, files: list[RemoteFile], report: Report) -> None:
    cache = CacheFolder(request.repository)
    missing = [file for file in files if not cache.blob(file).exists()]
    if not missing:
        return
    total = sum(file.size for file in missing)
    done = sum(part.stat().st_size for file in missing if (part := partial_path(cache.blob(file))).exists())
    require_space(Path(constants.HF_HUB_CACHE), total - done, hint=CACHE_HINT)
    with meter(f"{request.repository} ({len(missing)} files)", total - done, report) as progress:
        if done:
            progress.note(f"resuming, {decimal(done)} of {decimal(total)} are here already")
        for file in missing:
            fetch_blob(file, cache.blob(file), cache.lock(file), progress)


def _link(request: ModelRequest, file: RemoteFile) -> Path:
    """Let the library name the blob in its snapshot folder, and note which commit the revision stands for."""
    path = Path(hf_hub_download(request.repository, file.name, revision=request.revision))
    if file.commit not in path.parts:
        raise DownloadError(f"{request.repository} changed while it was pulled; run the command again")
    return path


def _stored(path: Path, folder: Path) -> store.StoredFile:
    blob = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        sha256 = blob.name
    else:
        with blob.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return store.StoredFile(name=path.relative_to(folder).as_posix(), size=blob.stat().st_size, sha256=sha256)
