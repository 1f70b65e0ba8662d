"""fal's hosts: the path under which each is served here, and the addresses to tell a client by the way it came."""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.server.auth import local_hosts
from bridge.server.fal.errors import flat

ENDPOINT = "fal-ai/qwen-image-layered"
PLACES = {
    "fal.run": "/run",
    "queue.fal.run": "/queue",
    "rest.fal.ai": "/rest",
    "v3.fal.media": "/media",
    "api.fal.ai": "/platform",
}
"""The hosts that clients know by heart. No other is answered for, and none is ever called."""
JS_PROXY = "/api/fal/proxy"
TARGET = "x-fal-target-url"
TUNNEL = "tunnel"
"""In a connection's state: the one host that its client asked for with CONNECT."""
REQUEST_ID = "x-fal-request-id"


@dataclass(frozen=True)
class BaseURLs:
    """The addresses that a client can go on with: of its requests, and of files."""

    queue: str
    media: str

    @staticmethod
    def at(origin: str) -> "BaseURLs":
        """For a client that knows the API's own address, such as http://127.0.0.1:4000."""
        return BaseURLs(origin + PLACES["queue.fal.run"], origin + PLACES["v3.fal.media"])


AS_FAL = BaseURLs("https://queue.fal.run", "https://v3.fal.media")
"""For a client that believes it speaks with fal."""


def urls_of(request: Request) -> BaseURLs:
    """The addresses to tell this client."""
    return request.state.urls


def accepted_hosts(port: int) -> Callable[[Scope], Collection[str]]:
    """Tells whose requests may come by a request's connection.

    Through a tunnel the one that it leads to. Over TLS fal's as well as our own: clients may be led here under fal's
    names (curl --connect-to).
    """
    local = local_hosts(port)

    def accepted(scope: Scope) -> Collection[str]:
        tunnel = scope["state"].get(TUNNEL)
        fals = [tunnel] if tunnel else PLACES if scope["scheme"] == "https" else []
        names = {name for host in fals for name in (host, f"{host}:443")}
        return names if tunnel else names | local

    return accepted


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
