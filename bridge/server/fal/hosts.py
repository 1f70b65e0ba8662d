"""fal's hosts: the path under which each is served here, and the addresses to tell a client by the way it came."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

from bridge.server.auth import local_hosts

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
TUNNEL = "tunnel"
"""In a connection's state: the one host that its client asked for with CONNECT."""


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
