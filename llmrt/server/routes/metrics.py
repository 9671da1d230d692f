"""``GET /metrics``: the server's counters and times, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from llmrt.server.dependencies import AllModels

router = APIRouter()


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(models: AllModels) -> Response:
    """All of them, in the form that every Prometheus reads."""
    return Response(generate_latest(models.metrics.registry), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
