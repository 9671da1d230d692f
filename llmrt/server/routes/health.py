"""``GET /health`` and ``/ready``: whether the server lives, and whether it can answer requests; ``/version``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from llmrt import __version__
from llmrt.server.dependencies import AllModels

router = APIRouter()


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health() -> JSONResponse:
    """Status 200: the HTTP process answers. An engine that died is no reason to restart it as well."""
    return JSONResponse({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready")
async def ready(models: AllModels) -> JSONResponse:
    """Status 200 when requests can be answered, and 503 with the reason while they must wait for the engine."""
    models.check_ready()
    return JSONResponse({"status": "ready"})


@router.head("/version", include_in_schema=False)
@router.get("/version")
async def version() -> JSONResponse:
    """The version of llmrt."""
    return JSONResponse({"version": __version__})
