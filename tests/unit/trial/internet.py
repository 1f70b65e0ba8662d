"""Public servers that stand on this computer: what is fetched by the careful client is led there, by all its rules."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from bridge import downloads

PUBLIC = "93.184.215.14"
"""Where every pretended name is said to be; any address that is public would do."""


class Internet(httpcore.AsyncNetworkBackend):
    """Leads PUBLIC to the port of the name that was looked up last."""

    def __init__(self) -> None:
        self._inner: Any = httpcore.AnyIOBackend()
        self.port = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        assert host == PUBLIC, host
        return await self._inner.connect_tcp("127.0.0.1", self.port, timeout)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def pretend(servers: Mapping[str, int]) -> Internet:
    """Have each name in `servers` lead to that port here. Every other name is looked up as it would be."""
    internet = Internet()
    look_up, begin = downloads._addresses, downloads._CarefulNetwork.__init__

    async def pretended(host: str, port: int, timeout: float | None) -> list[str]:
        if host not in servers:
            return await look_up(host, port, timeout)
        internet.port = servers[host]
        return [PUBLIC]

    def begun(network: Any, *given: Any) -> None:
        begin(network, *given)
        network._inner = internet

    downloads._addresses = pretended
    downloads._CarefulNetwork.__init__ = begun  # type: ignore[method-assign]
    return internet
