"""Who may use fal's API: Host, Origin and key of every request, and which of fal's places it is for."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.server.fal.hosts import AS_FAL, PLACES, Way
from bridge.server.fal.keys import Keys

JS_PROXY = "/api/fal/proxy"
TARGET = b"x-fal-target-url"
REQUEST_ID = b"x-fal-request-id"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Turned:
    """Why a request was turned away."""

    status: int
    error_type: str
    detail: str


_WRONG_HOST = Turned(403, "wrong_host", "fal's API answers only to its own address on this computer.")
_FROM_A_PAGE = Turned(403, "wrong_origin", "fal's API does not answer web pages.")
_NO_KEY = Turned(
    401, "unauthorized", "The key is missing or wrong. “unflatten fal-env” tells it; send it as “Authorization: Key …”."
)
_NO_TARGET = Turned(403, "wrong_target", f"{TARGET.decode()} must be an https address at {', '.join(PLACES)}.")


class Entrance:
    """ASGI middleware in front of the API's application, one for each way in.

    port: the API's. tunnel: the one host that a client asked for with CONNECT; None where it came straight. secure:
    whether over TLS; then it may also have been led here under fal's own names (curl --connect-to).
    """

    def __init__(self, app: ASGIApp, keys: Keys, *, port: int, secure: bool, tunnel: str | None = None) -> None:
        self._app = app
        self._keys = keys
        local = {f"127.0.0.1:{port}", f"localhost:{port}"}
        fals = {tunnel} if tunnel else set(PLACES) if secure else set[str]()
        self._local = set[str]() if tunnel else local
        self._fals = {name: host for host in fals for name in (host, f"{host}:443")}
        self._scheme = "https" if secure else "http"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Identified(send)
        turned = self._admit(scope)
        if turned is None:
            await self._app(scope, receive, answer)
        else:
            await _turn_away(turned, answer)

    def _admit(self, scope: Scope) -> Turned | None:
        """None, and the scope led to its place; or why not."""
        headers: Headers = scope["headers"]
        hosts = [value.decode("latin-1") for value in _named(headers, b"host")]
        if len(hosts) != 1 or hosts[0] not in self._local | self._fals.keys():
            return _WRONG_HOST
        if _named(headers, b"origin"):
            return _FROM_A_PAGE
        place = ""
        if hosts[0] in self._fals:
            place = PLACES[self._fals[hosts[0]]]
            scope["fal_way"] = AS_FAL
        else:
            scope["fal_way"] = Way.by(f"{self._scheme}://{hosts[0]}")
        credentials = _named(headers, b"authorization")
        authorization = credentials[0] if len(credentials) == 1 else b""
        path = place + scope["path"]
        if not self._keys.admits(scope["method"], path, authorization):
            return _NO_KEY
        if path == JS_PROXY:
            return _lead_to_target(scope, _named(headers, TARGET))
        _lead(scope, path, scope["query_string"])
        return None


def _lead_to_target(scope: Scope, targets: list[bytes]) -> Turned | None:
    """Serve what the JavaScript client wanted of fal, itself: nothing is ever passed on."""
    try:
        [target] = targets
        parts = urlsplit(target.decode("ascii"))
        place = PLACES[parts.netloc.removesuffix(":443")]
    except (ValueError, KeyError, UnicodeDecodeError):
        return _NO_TARGET
    if parts.scheme != "https":
        return _NO_TARGET
    _lead(scope, place + unquote(parts.path), parts.query.encode("ascii"))
    return None


def _lead(scope: Scope, path: str, query: bytes) -> None:
    scope["path"] = path
    scope["raw_path"] = path.encode()
    scope["query_string"] = query


def _named(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


class _Identified:
    """Sends on, with a request id on every answer that has none."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Headers = list(message.get("headers", []))
            if not _named(headers, REQUEST_ID):
                headers.append((REQUEST_ID, str(uuid.uuid4()).encode()))
            message["headers"] = headers
        await self._send(message)


async def _turn_away(turned: Turned, send: Send) -> None:
    body = json.dumps({"detail": turned.detail, "error_type": turned.error_type}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-fal-error-type", turned.error_type.encode()),
        (b"x-fal-retryable", b"false"),
    ]
    await send({"type": "http.response.start", "status": turned.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
