"""Fetches a picture from a public address: https only, and never from this computer or the network around it."""

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urljoin, urlsplit

import certifi
import httpcore

from bridge.errors import UnflattenError
from bridge.jobs.spool import full_disk_said, private, write_all
from bridge.server.fal_door.errors import MOST_SOURCE
from bridge.server.fal_door.files import TooLarge

MOST_REDIRECTS = 5
CONNECT = 10.0
STALL = 20.0
WHOLE = 60.0
"""Seconds: to connect, between two pieces, and for all of it."""
REDIRECTS = (301, 302, 303, 307, 308)


class NotFetched(UnflattenError):
    """The picture could not be had from its address."""

    code = "file_download_error"

    def __init__(self, message: str, hint: str = "Send the picture as a data URI, or upload it.") -> None:
        super().__init__(message, hint)


_NOT_PUBLIC = "The picture's address leads to this computer or a private network, which is not allowed."


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet's, itself and whatever other address it stands for."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ()), _nat64(ip)]
        if any(each is not None and not is_public(str(each)) for each in inner) or ip.is_site_local:
            return False
        if ip.ipv4_mapped is not None:  # then it is that IPv4 address, and Python calls the whole range private
            return True
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a NAT64 gateway would make of it (RFC 6052)."""
    return ipaddress.IPv4Address(ip.packed[12:]) if ip in ipaddress.IPv6Network("64:ff9b::/96") else None


def check_url(url: str) -> None:
    """Raise NotFetched where `url` must not be fetched, as far as can be told before its name is looked up."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except (ValueError, UnicodeError):
        raise NotFetched("The picture's address cannot be read.") from None
    if parts.scheme != "https" or not host:
        raise NotFetched("The picture's address must begin with https:// or data:.")
    if parts.username is not None or parts.password is not None:
        raise NotFetched("The picture's address must not hold a name and a password.")


class _PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses alone: to those that were looked at, not to what a second look-up would give."""

    def __init__(self) -> None:
        # by this type: where anyio is missing the class is another, without any of its methods
        self._inner: httpcore.AsyncNetworkBackend = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _look_up(host, port)
        if not all(map(is_public, addresses)):
            raise NotFetched(_NOT_PUBLIC)
        problem: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                stream = await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
                continue
            if not is_public(str(stream.get_extra_info("server_addr")[0])):
                await stream.aclose()
                raise NotFetched(_NOT_PUBLIC)
            return stream
        raise problem

    async def connect_unix_socket(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        raise NotFetched(_NOT_PUBLIC)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise NotFetched("The server that the picture's address names cannot be found.") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


async def fetch(url: str, target: Path) -> None:
    """Fetch what is at `url` into the file `target`; each redirect is checked as the first address.

    Raises NotFetched, TooLarge and OutOfSpace.
    """
    context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
    try:
        async with (
            asyncio.timeout(WHOLE),
            httpcore.AsyncConnectionPool(ssl_context=context, network_backend=_PublicOnly()) as pool,
        ):
            for _ in range(MOST_REDIRECTS + 1):
                check_url(url)
                async with pool.stream("GET", _ascii(url), headers=_HEADERS, extensions=_TIMEOUTS) as response:
                    if response.status not in REDIRECTS:
                        await _save(response, target)
                        return
                    url = urljoin(url, _header(response, b"location"))
            raise NotFetched("The picture's address leads from one address to the next without end.")
    except TimeoutError:
        raise NotFetched(f"The picture did not arrive within {WHOLE:.0f} seconds.") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol):
        raise NotFetched("The picture could not be fetched: its server does not answer as it should.") from None


async def _save(response: httpcore.Response, target: Path) -> None:
    if response.status != 200:
        raise NotFetched(f"The server answered {response.status} instead of the picture.")
    nbytes = 0
    with full_disk_said(), open(target, "wb", buffering=0, opener=private) as file:
        async for piece in response.aiter_stream():
            nbytes += len(piece)
            if nbytes > MOST_SOURCE:
                raise TooLarge()
            await asyncio.to_thread(write_all, file, piece)


_HEADERS = [(b"Accept", b"image/*"), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"unflatten")]
_TIMEOUTS = {"timeout": {"connect": CONNECT, "read": STALL, "write": STALL, "pool": CONNECT}}


def _ascii(url: str) -> str:
    """`url` with letters of other scripts as the wire has them."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    netloc = f"[{host}]" if ":" in host else host
    netloc = netloc if parts.port is None else f"{netloc}:{parts.port}"
    path, query = (quote(each, safe="%/:=&?~+!$,;'@()*[]") for each in (parts.path, parts.query))
    return parts._replace(netloc=netloc, path=path, query=query, fragment="").geturl()


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for each, value in response.headers if each.lower() == name), "")
