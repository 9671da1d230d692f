"""The application: routes, error bodies and the request log around one engine."""

from __future__ import annotations

from fastapi import FastAPI

from llmrt.server import error_forms
from llmrt.server.client_limits import ClientLimits
from llmrt.server.cors import allow_origins
from llmrt.server.guard import Guard
from llmrt.server.middleware import RequestLog
from llmrt.server.routes import chat, completions, embeddings, health, messages, models, page, responses, tokens
from llmrt.server.state import ServerState, set_state


def create_app(state: ServerState) -> FastAPI:
    """The ASGI application over ``state``, whose engine the caller starts and closes."""
    app = FastAPI(title="llmrt", docs_url=None, redoc_url=None, openapi_url=None)
    set_state(app, state)
    error_forms.install(app)
    app.add_middleware(ClientLimits, settings=state.settings)
    app.add_middleware(Guard, settings=state.settings)
    allow_origins(app, state.settings.cors_origins)
    app.add_middleware(RequestLog)
    for module in (chat, completions, embeddings, health, messages, models, page, responses, tokens):
        app.include_router(module.router)
    return app
