"""``GET /health`` and ``GET /ready``: whether the server lives, and whether it can answer requests."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from llmrt.server.state import State

router = APIRouter()


@router.get("/health")
async def health() -> JSONResponse:
    """Status 200: the HTTP process answers. An engine that died is no reason to restart it as well."""
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(state: State) -> JSONResponse:
    """Status 200 when requests can be answered, and 503 with the reason while a model is loaded."""
    _ = state.engine.info
    return JSONResponse({"status": "ready"})
