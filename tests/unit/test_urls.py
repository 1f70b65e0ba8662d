"""Where a URL that others gave may lead, and where not."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BadSettings
from bridge.urls import Origin, UnsafeURL, check_address, check_base_url, check_url, origin_of


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.png",
        "ftp://example.org/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//example.org/a.png",
        "https://",
        "https://user@example.org/",
        "https://user:word@example.org/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org\\@127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://a.localhost/",
        "https://10.0.0.1/",
        "https://172.16.9.9/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[ff02::1]/",
    ],
)
def test_it_leads_nowhere_private(url: str) -> None:
    with pytest.raises(UnsafeURL) as raised:
        check_url(url)
    assert raised.value.hint and "example" not in raised.value.message, "no part of it is told"


@pytest.mark.parametrize(
    "url",
    ["https://v3b.fal.media/files/b/a.png", "https://1.1.1.1/", "https://example.org:8443/", "https://[2606::1]/"],
)
def test_public_ones_pass(url: str) -> None:
    assert check_url(url).scheme == "https"


def test_what_the_user_has_configured_is_exempt_to_its_very_port() -> None:
    exempt = frozenset({Origin("http", "127.0.0.1", 8000)})
    assert check_url("http://127.0.0.1:8000/media/a.png", exempt) in exempt
    for url in ("http://127.0.0.1:8001/a", "https://127.0.0.1:8000/a", "http://localhost:8000/a", "http://127.0.0.1/a"):
        with pytest.raises(UnsafeURL):
            check_url(url, exempt)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://Example.org/x?y#z") == ("https", "example.org", 443)
    assert origin_of("http://[::1]:81/") == ("http", "::1", 81)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "not an address", ""),
    ],
)
def test_what_is_not_the_open_internet(address: str) -> None:
    with pytest.raises(UnsafeURL):
        check_address(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_what_is(address: str) -> None:
    check_address(address)


@given(st.ip_addresses())
def test_an_address_passes_only_where_it_is_everyones(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    try:
        check_address(str(address))
    except UnsafeURL:
        return
    assert address.is_global and not address.is_multicast and not address.is_private and not address.is_loopback


@given(st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_no_private_address_hides_in_an_ipv6_one(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for carrier in (0xFFFF << 32, 0x64FF9B << 96, (0x2002 << 112) | (number << 80)):
        with pytest.raises(UnsafeURL):
            check_address(str(ipaddress.IPv6Address(carrier | (number if carrier < 1 << 120 else 0))))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.org/fal/", "https://example.org/fal"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
    ],
)
def test_a_base_url_is_kept_without_its_slash(url: str, kept: str) -> None:
    assert check_base_url(url) == kept


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "http://10.0.0.1", "example.org", "https://u:p@example.org", "https://e.org/?a=b", "x"],
)
def test_a_base_url_that_would_give_the_key_away_is_refused(url: str) -> None:
    with pytest.raises(BadSettings) as raised:
        check_base_url(url)
    assert raised.value.hint
