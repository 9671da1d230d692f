"""``POST /v1/load_lora_adapter`` and ``/v1/unload_lora_adapter``, as vLLM has them, for who has the admin key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from llmrt.server.body import json_body
from llmrt.server.dependencies import AllModels
from llmrt.server.guard import check_admin
from llmrt.server.json_response import json_response

router = APIRouter(dependencies=[Depends(check_admin)])


class LoadBody(BaseModel):
    """``lora_path`` is a folder on the server's machine; ``model`` the base, the first model unless it is sent."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    lora_name: str
    lora_path: str
    model: str | None = None


class UnloadBody(BaseModel):
    """vLLM's clients may send the number of an adapter beside its name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    lora_name: str
    lora_int_id: int | None = None


class AdapterChange(Struct, frozen=True):
    """What was done."""

    message: str


@router.post("/v1/load_lora_adapter")
async def load(models: AllModels, body: Annotated[LoadBody, Depends(json_body(LoadBody))]) -> Response:
    """Load an adapter; requests that name it as their model are answered with it from then on."""
    await models.load_adapter(body.lora_name, body.lora_path, body.model)
    return json_response(AdapterChange(f"The LoRA adapter {body.lora_name!r} is loaded."))


@router.post("/v1/unload_lora_adapter")
async def unload(models: AllModels, body: Annotated[UnloadBody, Depends(json_body(UnloadBody))]) -> Response:
    """Take no more requests for an adapter. Those under way go on to their end; then its memory is free."""
    await models.unload_adapter(body.lora_name)
    return json_response(AdapterChange(f"The LoRA adapter {body.lora_name!r} takes no more requests."))
