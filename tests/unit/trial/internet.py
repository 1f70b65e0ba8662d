"""Public servers that stand on this computer: the door's connections lead there, and all its rules hold."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

from bridge.server.fal_door import public

PUBLIC = "93.184.215.14"
"""Where every pretended name is said to be; any address that is public would do."""


class _Stream(httpcore.AsyncNetworkStream):
    """A connection to a server here that says it goes to `address`."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, address: str) -> None:
        self._inner = inner
        self._address = address

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(self, *given: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(*given, **named), self._address)

    def get_extra_info(self, info: str) -> Any:
        return (self._address, 443) if info == "server_addr" else self._inner.get_extra_info(info)


class Internet(httpcore.AsyncNetworkBackend):
    """Leads PUBLIC to the port of the name that was looked up last. connected: the address a connection says it has."""

    def __init__(self, connected: str = PUBLIC) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._connected = connected
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
        return _Stream(await self._inner.connect_tcp("127.0.0.1", self.port, timeout), self._connected)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def pretend(servers: Mapping[str, int], *, connected: str = PUBLIC) -> Internet:
    """Have each name in `servers` lead to that port here. Every other name is looked up as it would be."""
    internet = Internet(connected)
    look_up = public._look_up

    async def pretended(host: str, port: int) -> list[str]:
        if host not in servers:
            return await look_up(host, port)
        internet.port = servers[host]
        return [PUBLIC]

    def begin(backend: Any) -> None:
        backend._inner = internet

    public._look_up = pretended
    public._PublicOnly.__init__ = begin  # type: ignore[method-assign]
    return internet
