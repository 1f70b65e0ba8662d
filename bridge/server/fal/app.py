"""The API's application: which of fal's addresses leads where, and the document that describes them all."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from bridge import __version__
from bridge.errors import UnflattenError
from bridge.jobs.files import JobFiles
from bridge.server.auth import Auth, Reason
from bridge.server.fal.errors import FalError, flat, json_response, not_found, of_error
from bridge.server.fal.files import Files
from bridge.server.fal.hosts import ENDPOINT, JS_PROXY, PLACES, HostRouter, JavaScriptProxy, accepted_hosts
from bridge.server.fal.keys import Keys
from bridge.server.fal.platform import Platform
from bridge.server.fal.queue import Queue
from bridge.server.fal.requests import Requests
from bridge.server.fal.run import Run
from bridge.server.fal.storage import Storage
from bridge.server.fal.submission import checked_query

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


def make_fal_app(requests: Requests, jobs: JobFiles, files: Files, keys: Keys, *, port: int) -> ASGIApp:
    """All of fal's places, each under its path, for whoever has the key."""
    run, storage = Run(requests, jobs), Storage(files, keys)
    routes: list[BaseRoute] = [
        *run.routes(),
        _mount(PLACES["fal.run"], run.routes()),
        _mount(PLACES["queue.fal.run"], Queue(requests, jobs).routes()),
        _mount(PLACES["rest.fal.ai"], storage.rest_routes()),
        _mount(PLACES["v3.fal.media"], storage.media_routes()),
        _mount(PLACES["api.fal.ai"], Platform(requests).routes()),
        Route("/openapi.json", _whole_document, methods=["GET"]),
        Route("/api/openapi/queue/openapi.json", _queue_document, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers=dict.fromkeys((FalError, UnflattenError, HTTPException, Exception), _answer),
    )
    app.router.redirect_slashes = False
    app.router.routes.append(Route(JS_PROXY, JavaScriptProxy(app.router)))
    return HostRouter(Auth(app, hosts=accepted_hosts(port), admits=keys.admits, refusals=_REFUSALS))


def _mount(path: str, routes: list[Route]) -> Mount:
    """A place under its path. A slash too many is no address: a redirect would send the picture twice."""
    return Mount(path, app=Router(routes=routes, redirect_slashes=False))


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
