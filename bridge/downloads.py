"""Fetching what others name: from public addresses alone, up to so many bytes, in so many seconds."""

import asyncio
import functools
import importlib.util
import socket
import ssl
import sys
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, cast

import httpcore
import httpx

from bridge.errors import UnflattenError
from bridge.urls import Exempt, check_address, check_url, unreadable

MOST_REDIRECTS = 5
CONNECT_PATIENCE = 10.0
STALL_PATIENCE = 30.0
"""Seconds without a byte."""
if importlib.util.find_spec("sniffio") is None:
    # httpcore tries to import it for each lock that it makes, some sixty times a job, and what is not there is looked
    # for in every folder anew: that was a fifth of a job's processor time.
    sys.modules.setdefault("sniffio", None)  # pyright: ignore[reportArgumentType]
TOO_MANY_REDIRECTS = 310
_REDIRECTS = (301, 302, 303, 307, 308)


class TooLarge(UnflattenError):
    """More bytes came than are taken; the rest was not read."""

    code = "too_large"


class NotServed(Exception):
    """The server answered with something else than the file. status: HTTP's, or TOO_MANY_REDIRECTS."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def fetch(client: httpx.AsyncClient, url: str, *, exempt: Exempt, most: int, seconds: float) -> bytes:
    """The bytes behind a URL that others gave, as `pieces`. seconds: in all. Raises the same and TimeoutError."""
    async with asyncio.timeout(seconds), aclosing(pieces(client, url, exempt=exempt, most=most)) as coming:
        return b"".join([piece async for piece in coming])


async def pieces(client: httpx.AsyncClient, url: str, *, exempt: Exempt, most: int) -> AsyncGenerator[bytes]:
    """What is behind a URL that others gave, as it comes, fetched with a `careful_client`; redirects are checked too.

    most: bytes taken, counted while they come, whatever the server says beforehand.
    Raises UnsafeURL, TooLarge, NotServed and httpx.TransportError.
    """
    for _ in range(MOST_REDIRECTS + 1):
        response = await _asked(client, url, exempt)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                url = _joined(response)
                continue
            if response.status_code != 200:
                raise NotServed(response.status_code)
            async for piece in counted(response, most):
                yield piece
            return
        finally:
            await response.aclose()
    raise NotServed(TOO_MANY_REDIRECTS)


async def _asked(client: httpx.AsyncClient, url: str, exempt: Exempt) -> httpx.Response:
    check_url(url, exempt)
    # identity: a small packed answer could unpack to gigabytes
    try:
        request = client.build_request("GET", url, headers={"Accept-Encoding": "identity"})
        return await client.send(request, stream=True, follow_redirects=False)
    except (httpx.InvalidURL, UnicodeError):  # such as a name that no rule of other scripts' names allows
        raise unreadable() from None


def _joined(response: httpx.Response) -> str:
    try:
        return str(response.url.join(response.headers["location"]))
    except (httpx.InvalidURL, UnicodeError):
        raise unreadable() from None


async def counted(response: httpx.Response, most: int) -> AsyncGenerator[bytes]:
    """A streamed response's body as it comes. Raises TooLarge as soon as there is more than `most` bytes of it."""
    nbytes = 0
    async for piece in response.aiter_raw():
        nbytes += len(piece)
        if nbytes > most:
            raise TooLarge(f"The other side sent more than {most // 2**20} MB.", "Try again.")
        yield piece


async def read(response: httpx.Response, most: int) -> bytes:
    """A streamed response's body, whole, as `counted`."""
    return b"".join([piece async for piece in counted(response, most)])


def careful_client(exempt: Exempt) -> httpx.AsyncClient:
    """A client for URLs that others gave: it connects to public addresses and to the `exempt` origins, to no others.

    Where the user's system sends everything through a proxy, that one makes the connections and is trusted to; there
    the URLs' own writing is all that can be judged.
    """
    timeout = httpx.Timeout(STALL_PATIENCE, connect=CONNECT_PATIENCE, pool=None)
    here = CarefulTransport(exempt)
    if "https" in urllib.request.getproxies():
        mounts = {f"all://{origin.host}": here for origin in exempt}
        return httpx.AsyncClient(timeout=timeout, mounts=mounts, verify=trusted())
    return httpx.AsyncClient(transport=here, timeout=timeout)


@functools.cache
def trusted() -> ssl.SSLContext:
    """What makes a server trusted. Reading it takes some 20 ms, so it is read once."""
    return httpx.create_ssl_context()


class CarefulTransport(httpx.AsyncBaseTransport):
    """httpx's own transport over a network that refuses private addresses: a name's answer of a moment ago proves
    nothing, so what is checked is what is connected to."""

    def __init__(self, exempt: Exempt) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted(), network_backend=_CarefulNetwork(exempt), max_connections=16, keepalive_expiry=5.0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        try:
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except Exception as error:
            raise _as_httpx(error) from error
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=dict(cast(Any, answer).extensions),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.aiter_stream():
                yield piece
        except Exception as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


class _CarefulNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, exempt: Exempt) -> None:
        self._inner = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())
        self._exempt = {(origin.host, origin.port) for origin in exempt}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if (host.lower(), port) in self._exempt:
            return await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        addresses = await _addresses(host, port, timeout)
        for address in addresses:
            check_address(address)
        failure: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


async def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """All addresses that a name leads to, each once, the system's favourite first."""
    asking = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(asking, timeout)
    except TimeoutError:
        raise httpcore.ConnectTimeout() from None
    except OSError:  # its text would quote the name
        raise httpcore.ConnectError() from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _as_httpx(error: Exception) -> Exception:
    """httpcore's errors have httpx's names. Without their texts: those quote headers and addresses."""
    kind = getattr(httpx, type(error).__name__, None) if type(error).__module__.startswith("httpcore") else None
    return kind("") if kind is not None else error
