"""The application: routes, error bodies and the request log around the models."""

from __future__ import annotations

from fastapi import FastAPI

from llmrt.config import ServerSettings
from llmrt.server import error_forms
from llmrt.server.client_limits import ClientLimits
from llmrt.server.cors import allow_origins
from llmrt.server.dependencies import set_models
from llmrt.server.guard import Guard
from llmrt.server.middleware import RequestLog
from llmrt.server.models import Models
from llmrt.server.openapi import Api
from llmrt.server.routes import (
    adapters,
    chat,
    completions,
    embeddings,
    health,
    messages,
    metrics,
    ollama,
    ollama_models,
    page,
    reference,
    responses,
    tokens,
)
from llmrt.server.routes import models as model_list

_ROUTES = (
    *(chat, completions, embeddings, tokens, model_list, health, metrics, page, reference),
    *(responses, messages, adapters),
    *(ollama, ollama_models),
)


def create_app(models: Models, settings: ServerSettings) -> FastAPI:
    """The ASGI application over ``models``, which the caller starts and closes."""
    # A redirect would lead clients of a proxy with HTTPS to plain HTTP, their keys along.
    app = Api(title="llmrt", docs_url=None, redoc_url=None, redirect_slashes=False)
    set_models(app, models)
    error_forms.install(app, [route.path for module in _ROUTES for route in module.router.routes])
    app.add_middleware(ClientLimits, settings=settings)
    app.add_middleware(Guard, settings=settings)
    allow_origins(app, settings.cors_origins)
    app.add_middleware(RequestLog, metrics=models.metrics)
    for module in _ROUTES:
        app.include_router(module.router)
    return app
