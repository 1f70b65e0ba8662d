"""The API's application: which of fal's addresses leads where, and the document that describes them all."""

import json
import uuid
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge import __version__
from bridge.errors import UnflattenError
from bridge.server.auth import Auth, Reason
from bridge.server.fal.errors import FalError, flat, json_response, not_found, of_error
from bridge.server.fal.hosts import AS_FAL, ENDPOINT, JS_PROXY, PLACES, BaseURLs, accepted_hosts
from bridge.server.fal.keys import Keys
from bridge.server.fal.submission import checked_query

TARGET = "x-fal-target-url"
REQUEST_ID = "x-fal-request-id"
DOCUMENT = Path(__file__).with_name("openapi.json")
_ABOUT_KEYS = "The key is missing or wrong. “unflatten fal-env” tells it; send it as “Authorization: Key …”."
_REFUSALS: dict[Reason, Response] = {
    "wrong_host": flat(403, "fal's API answers only to its own address on this computer.", "wrong_host").response(),
    "wrong_origin": flat(403, "fal's API does not answer web pages.", "wrong_origin").response(),
    "unauthorized": flat(401, _ABOUT_KEYS, "unauthorized").response(),
}


class DocumentQuery(BaseModel):
    """Which endpoint's document is wanted."""

    endpoint_id: str


def make_fal_app(routes: list[BaseRoute], keys: Keys, *, port: int) -> ASGIApp:
    """The application with these routes and its document's, for whoever has the key."""
    documents = [
        Route("/openapi.json", _whole_document, methods=["GET"]),
        Route("/api/openapi/queue/openapi.json", _queue_document, methods=["GET"]),
    ]
    app = Starlette(
        routes=[*routes, *documents],
        exception_handlers=dict.fromkeys((FalError, UnflattenError, HTTPException, Exception), _answer),
    )
    app.router.redirect_slashes = False
    app.router.routes.append(Route(JS_PROXY, JavaScriptProxy(app.router)))
    return HostRouter(Auth(app, hosts=accepted_hosts(port), admits=keys.admits, refusals=_REFUSALS))


def mount(host: str, routes: list[Route]) -> Mount:
    """One of fal's hosts under its path. A slash too many is no address: a redirect would send the picture twice."""
    return Mount(PLACES[host], app=Router(routes=routes, redirect_slashes=False))


@cache
def _document() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(DOCUMENT.read_bytes())
    return {**told, "info": {**told["info"], "version": __version__}}


async def _whole_document(request: Request) -> Response:
    return json_response(_document())


async def _queue_document(request: Request) -> Response:
    """The endpoint's own document, as fal serves it for each: paths from queue.fal.run on."""
    if checked_query(DocumentQuery, request).endpoint_id != ENDPOINT:
        raise not_found("Endpoint")
    whole, place = _document(), PLACES["queue.fal.run"]
    info = {
        "title": f"Queue OpenAPI for {ENDPOINT}",
        "version": __version__,
        "x-fal-metadata": {"endpointId": ENDPOINT, "category": "image-to-image"},
    }
    paths = {path.removeprefix(place): about for path, about in whole["paths"].items() if path.startswith(place)}
    return json_response({**whole, "info": info, "paths": paths, "servers": [{"url": "https://queue.fal.run"}]})


class HostRouter:
    """ASGI middleware that leads what is asked of one of fal's hosts to that host's path here.

    It also gives every answer a request id, where it has none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = Headers(scope=scope).get("host", "")
        place = PLACES.get(host.removesuffix(":443"))
        urls = BaseURLs.at(f"{scope['scheme']}://{host}") if place is None else AS_FAL
        led = _led(scope, (place or "") + scope["path"], scope["query_string"])
        led["state"] = {**scope["state"], "urls": urls}

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(REQUEST_ID, str(uuid.uuid4()))
            await send(message)

        await self._app(led, receive, identified)


class JavaScriptProxy:
    """ASGI application: serves what fal's JavaScript client wanted of fal, itself. Nothing is ever passed on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            [target] = Headers(scope=scope).getlist(TARGET)
            parts = urlsplit(target)
            place = PLACES[parts.netloc.removesuffix(":443")]
            query = parts.query.encode("ascii")
            if parts.scheme != "https":
                raise ValueError
        except (ValueError, KeyError):
            must = f"{TARGET} must be an https address at {', '.join(PLACES)}."
            await flat(403, must, "wrong_target").response()(scope, receive, send)
        else:
            await self._app(_led(scope, place + unquote(parts.path), query), receive, send)


def _led(scope: Scope, path: str, query: bytes) -> dict[str, object]:
    """The request's scope as it is for another path."""
    return {**scope, "path": path, "raw_path": path.encode(), "query_string": query}


async def _answer(_: Request, error: Exception) -> Response:
    """What went wrong, as fal would tell it."""
    match error:
        case FalError():
            return error.response()
        case UnflattenError():
            return of_error(error).response()
        case HTTPException():
            kind = {404: "Path /… not found", 405: "Method not allowed"}.get(error.status_code, str(error.detail))
            return flat(error.status_code, kind).response(error.headers)
        case _:
            return of_error(UnflattenError("Something went wrong inside the bridge.", "Try again.")).response()
