"""Which addresses a name or a URL that others gave may lead to: a leaf that every part of the bridge may import.

Promise 7 of the guard: https only, and nothing but public addresses, checked on the address that is really connected to
(see downloads.py) and again after each redirect. A host that the user has configured is exempt.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from bridge.errors import BadSettings, UnflattenError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
LONGEST_LABEL = 63  # of a name's parts between its dots
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


class UnsafeURL(UnflattenError):
    """A URL that leads where none from outside may lead. The text names no part of it: it may hold a secret."""

    code = "unsafe_url"


class Origin(NamedTuple):
    """Where a URL leads: scheme, host in lower case without brackets, and port."""

    scheme: str
    host: str
    port: int


Exempt = frozenset[Origin]


def origin_of(url: str) -> Origin:
    """The origin of an http or https URL. Raises UnsafeURL for all else, and for a URL with a user’s name in it."""
    parts = _split(url)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise unreadable()
    return Origin(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])


def unreadable() -> UnsafeURL:
    """What is raised where a URL is no web address at all."""
    return _unsafe("is not a web address")


def check_url(url: str, exempt: Exempt = frozenset()) -> Origin:
    """The origin of a URL that others gave. Raises UnsafeURL unless it is https and no private address by its writing.

    A name is not looked up here: what it leads to is checked when it is connected to, with `check_address`.
    """
    origin = origin_of(url)
    if origin in exempt:
        return origin
    if origin.scheme != "https":
        raise _unsafe("is not https")
    if max(len(label) for label in origin.host.split(".")) > LONGEST_LABEL:
        raise unreadable()
    if origin.host == "localhost" or origin.host.endswith(".localhost"):
        raise _unsafe("leads into this computer")
    if re.fullmatch(r"[0-9a-fx.]*[0-9]|.*:.*", origin.host):  # as resolvers read numbers: also “127.1” and “0x7f000001”
        check_address(origin.host)
    return origin


def check_address(address: str) -> None:
    """Raise UnsafeURL unless `address`, in numbers, is a public one that a server can have."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise _unsafe("is an unusual way of writing an address") from None
    for each in _meant(found):
        site_local = isinstance(each, ipaddress.IPv6Address) and each.is_site_local
        if not each.is_global or each.is_multicast or each.is_reserved or each.is_unspecified or site_local:
            raise _unsafe("leads into this computer or its own network")


def _meant(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address, or what lies in it: IPv6 has four ways to carry an IPv4 one, and each leads to that."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    inside = [address.sixtofour, *(address.teredo or ())]
    return [address, *(each for each in inside if each is not None)]


def check_base_url(url: str) -> str:
    """A base URL that the user sets, without a slash at its end. Raises BadSettings.

    http is taken for this computer alone: elsewhere it would show the key to everyone on the way.
    """
    parts = _split(url)
    plain = parts is not None and parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc
    if parts is None or not plain or parts.query or parts.fragment:
        raise BadSettings(
            "That is not a web address that can be used.", "Write it like https://example.org or http://127.0.0.1:8000."
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_NAMES:
        raise BadSettings(
            "An address that begins with http:// would send your key and your picture for everyone to read.",
            "Use https://; http:// is only for this computer (127.0.0.1 or localhost).",
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult | None:
    if _CONTROL.search(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # each raises where the text is nonsense
    except ValueError:
        return None
    return parts


def _unsafe(why: str) -> UnsafeURL:
    return UnsafeURL(
        f"An address that the other side gave {why}: nothing was fetched from it.",
        "Check which service the bridge is set to use: “unflatten set” shows it.",
    )
