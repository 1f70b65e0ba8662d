"""Who may enter: the token, the Host and the Origin of every request, checked before anything else reads it."""

import hmac
import json
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class Refusal:
    """Why a request was turned away, as an HTTP status and two sentences."""

    status: int
    code: str
    message: str
    hint: str


_WRONG_HOST = Refusal(
    403, "wrong_host", "The bridge answers only to its own address on this computer.", "Use the address in bridge.json."
)
_FROM_A_PAGE = Refusal(
    403, "wrong_origin", "The bridge does not answer web pages.", "Use Krita, or the command “unflatten”."
)
_NO_TOKEN = Refusal(
    401,
    "unauthorized",
    "The token is missing or wrong.",
    "Read bridge.json again: the bridge may have been started anew.",
)


class Guard:
    """ASGI middleware in front of every route and of the WebSocket handshake.

    A web page can reach 127.0.0.1 from the user's own browser. It cannot read the token; Host keeps out names that were
    made to resolve here (DNS rebinding), and Origin whatever a browser sends from a page, `null` included.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._authorization = f"Bearer {token}".encode("ascii")
        self._hosts = (f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name.lower() == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _WRONG_HOST
        if any(name.lower() == b"origin" for name, _ in headers):
            return _FROM_A_PAGE
        given = [value for name, value in headers if name.lower() == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], self._authorization):
            return _NO_TOKEN
        return None


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    body = json.dumps({"code": refusal.code, "message": refusal.message, "hint": refusal.hint}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    prefix = ""
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        prefix = "websocket."
    start: Message = {"type": f"{prefix}http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": f"{prefix}http.response.body", "body": body})
