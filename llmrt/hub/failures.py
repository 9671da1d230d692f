"""What went wrong at the hub, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llmrt.errors import DownloadError, LlmrtError, ModelNotFoundError


def hub_host() -> str:
    """The host that HF_ENDPOINT names, huggingface.co unless it is set."""
    return urlsplit(constants.ENDPOINT).netloc


@contextmanager
def hub_errors(repository: str, revision: str) -> Generator[None]:
    """Turn whatever a conversation with the hub raises into an LlmrtError of one line."""
    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.TransportError) as error:
        raise explain(error, repository, revision) from error


def not_a_hub(error: Exception) -> DownloadError:
    """The error for an answer that the hub's client cannot read."""
    return DownloadError(
        f"{hub_host()} does not answer as a Hugging Face hub does ({reason(error)}); check HF_ENDPOINT"
    )


def explain(error: Exception, repository: str, revision: str) -> LlmrtError:
    """The LlmrtError for an error of the hub's client."""
    page = f"https://huggingface.co/{repository}"
    token = "set HF_TOKEN to a token of that account (https://huggingface.co/settings/tokens)"
    match error:
        case GatedRepoError():
            return DownloadError(f"{repository} is gated: accept its licence at {page}, then {token}")
        case RepositoryNotFoundError():
            return ModelNotFoundError(
                f"{hub_host()} shows no repository {repository}: check the name; if it is private or gated,"
                f" get access at {page} and {token}"
            )
        case RevisionNotFoundError():
            return ModelNotFoundError(f"{repository} has no revision {revision!r}; check --revision")
        case RemoteEntryNotFoundError():
            return DownloadError(f"{repository} lists a file that {hub_host()} does not have: {reason(error)}")
        case HfHubHTTPError():
            return _http_error(error, repository, page)
        case _:
            return DownloadError(
                f"the connection to {hub_host()} broke while fetching {repository} ({reason(error)}); "
                "run the command again to resume"
            )


def reason(error: Exception) -> str:
    """The cause of a failure in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _http_error(error: HfHubHTTPError, repository: str, page: str) -> LlmrtError:
    status = error.response.status_code
    if status == 401:
        return DownloadError(f"{hub_host()} refuses the token in HF_TOKEN; set a valid one or unset it")
    if status == 403:
        return DownloadError(f"HF_TOKEN may not read {repository}; get access at {page} or use another token")
    if status == 429:
        return DownloadError(f"{hub_host()} limits the rate of requests; wait a few minutes or set HF_TOKEN")
    return DownloadError(f"{hub_host()} answered {status} for {repository}; run the command again later to resume")
