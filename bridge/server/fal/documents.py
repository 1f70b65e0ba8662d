"""What the served OpenAPI says of the API beside its routes: request bodies, errors, and fal's own document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from bridge import __version__
from bridge.server.fal.hosts import ENDPOINT, PLACES
from bridge.server.fal.schema import Initiation, Problems, QwenImageLayeredInput, Refusal

_REFS = "#/components/schemas/{model}"


def _body(name: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFS.format(model=name)}}}
    return {"requestBody": {"required": True, "content": content}}


BODY = _body(QwenImageLayeredInput.__name__)
INITIATION = _body(Initiation.__name__)
FILE = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
_EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
    "required": ["data"],
}
STREAM = {
    "description": "Server-sent events, each a line of JSON",
    "content": {"text/event-stream": {"schema": _EVENT}},
}

TURNED_AWAY: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "The key is missing or wrong"},
    403: {"model": Refusal, "description": "From another host, or from a web page"},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    **TURNED_AWAY,
    400: {"model": Refusal, "description": "The body did not arrive whole"},
    413: {"model": Refusal, "description": "The body is too large"},
    422: {"model": Problems, "description": "The input cannot be used"},
    429: {"model": Refusal, "description": "Too many requests wait already"},
    499: {"model": Refusal, "description": "The request was cancelled"},
    500: {"model": Problems | Refusal, "description": "Something went wrong here"},
    503: {"model": Refusal, "description": "The bridge is being stopped"},
    504: {"model": Refusal, "description": "The request did not begin in the time that was set"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such request"}}


def make_openapi(app: FastAPI) -> dict[str, Any]:
    """The whole API's OpenAPI document."""
    told = get_openapi(title="Unflatten: fal's API on this computer", version=__version__, routes=app.routes)
    _, extra = models_json_schema(
        [(QwenImageLayeredInput, "validation"), (Initiation, "validation")], ref_template=_REFS
    )
    schemas = told["components"]["schemas"]
    schemas.update(extra["$defs"])
    told["components"]["securitySchemes"] = {
        "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Key $FAL_KEY"}
    }
    told["security"] = [{"apiKeyAuth": []}]
    return told


def queue_openapi(whole: dict[str, Any]) -> dict[str, Any]:
    """The queue's part, as fal serves it for each endpoint: paths from queue.fal.run on."""
    place = PLACES["queue.fal.run"]
    paths = {path.removeprefix(place): about for path, about in whole["paths"].items() if path.startswith(place)}
    info = {
        "title": f"Queue OpenAPI for {ENDPOINT}",
        "version": whole["info"]["version"],
        "x-fal-metadata": {"endpointId": ENDPOINT, "category": "image-to-image"},
    }
    servers = [{"url": "https://queue.fal.run"}]
    return {**whole, "info": info, "paths": paths, "servers": servers}
