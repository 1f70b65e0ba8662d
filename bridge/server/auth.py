"""Who may come in: Host, Origin and key of every request, checked before anything else reads it."""

import hmac
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.server.visitors import VISIT, Visit

Reason = Literal["wrong_host", "wrong_origin", "unauthorized"]
"""Why a request is refused: it is for another host, comes from a web page, or has no key that fits."""


class Auth:
    """ASGI middleware in front of every route and of the WebSocket handshake.

    A web page can reach 127.0.0.1 from the user's own browser. It cannot read the key; Host keeps out names that were
    made to resolve here (DNS rebinding), and Origin whatever a browser sends from a page, `null` included.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Callable[[Scope], Collection[str]],
        admits: Callable[[Scope, str], bool],
        refusals: Mapping[Reason, Response],
    ) -> None:
        """hosts: whose requests are answered, each with its port. admits: whether a request with that Authorization
        header, empty where there is none, may pass. refusals: what is answered instead."""
        self._app = app
        self._hosts = hosts
        self._admits = admits
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self.reason(scope) if scope["type"] in ("http", "websocket") else None
        visit: Visit | None = scope.get("state", {}).get(VISIT)
        if reason is None and visit is not None:
            visit.admit()
        answer = self._app if reason is None else self._refusals[reason]
        await answer(scope, receive, send)

    def reason(self, scope: Scope) -> Reason | None:
        """Why a request is refused; None where it is not."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts(scope):
            return "wrong_host"
        if "origin" in headers:
            return "wrong_origin"
        given = headers.getlist("authorization")
        return None if self._admits(scope, given[0] if len(given) == 1 else "") else "unauthorized"


def local_hosts(port: int) -> frozenset[str]:
    """This computer's own names, with a port."""
    return frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})


def same_secret(given: str, right: str) -> bool:
    """Whether a header's text is the secret, compared in constant time."""
    return hmac.compare_digest(given.encode("latin-1"), right.encode("latin-1"))


def with_token(app: ASGIApp, *, token: str, port: int) -> Auth:
    """Krita's side of the bridge: whoever has read the connection file comes in."""
    hosts = local_hosts(port)
    return Auth(
        app,
        hosts=lambda _: hosts,
        admits=lambda _, given: same_secret(given, f"Bearer {token}"),
        refusals={
            "wrong_host": _refusal(
                403,
                "wrong_host",
                "The bridge answers only to its own address on this computer.",
                "Use the address in bridge.json.",
            ),
            "wrong_origin": _refusal(
                403,
                "wrong_origin",
                "The bridge does not answer web pages.",
                "Use Krita, or the command “unflatten”.",
            ),
            "unauthorized": _refusal(
                401,
                "unauthorized",
                "The token is missing or wrong.",
                "Read bridge.json again: the bridge may have been started anew.",
            ),
        },
    )


def _refusal(status: int, code: Reason, message: str, hint: str) -> Response:
    return JSONResponse({"code": code, "message": message, "hint": hint}, status)
