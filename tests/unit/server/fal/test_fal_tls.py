"""One port that speaks HTTP, TLS and CONNECT, and the certificates that it shows."""

import contextlib
import datetime
import http.client
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.server.fal import certificates
from bridge.server.fal.certificates import Certificates
from bridge.server.fal.hosts import PLACES
from tests.unit.trial.fal_api import ENDPOINT, KEY, PLATFORM, Api, open_api
from tests.unit.trial.running import Starter, wait_for

FALS = tuple(PLACES)


def say(api: Api, words: bytes, patience: float = 5) -> bytes:
    """All that the server answers to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=patience) as connection:
        connection.sendall(words)
        heard = b""
        while piece := connection.recv(65_536):
            heard += piece
        return heard


def connect(api: Api, target: str) -> bytes:
    return say(api, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())


def through(api: Api, host: str, *, authority: str | None = None) -> http.client.HTTPSConnection:
    """A connection to `host` by way of the api, as a client of fal has it."""
    context = ssl.create_default_context(cafile=authority or api.told["authority"])
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, timeout=10, context=context)
    connection.set_tunnel(host, 443)
    return connection


# CONNECT


@pytest.mark.parametrize("host", FALS)
def test_a_tunnel_leads_to_each_of_fal_s_places(api: Api, host: str) -> None:
    paths = {
        "fal.run": ("POST", f"/{ENDPOINT}", 422),
        "queue.fal.run": ("GET", f"/{ENDPOINT}/requests/x", 404),
        "rest.fal.ai": ("POST", "/storage/auth/token", 200),
        "v3.fal.media": ("POST", "/files/upload", 200),
        "api.fal.ai": ("GET", f"/v1/models/requests/by-endpoint?endpoint_id={ENDPOINT}", 200),
    }
    method, path, status = paths[host]
    connection = through(api, host)
    for _ in range(2):  # the second over the same connection
        connection.request(method, path, headers={"Authorization": f"Key {KEY}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.request(method, path)
    assert connection.getresponse().status == 401, "a tunnel is no key"


def test_each_tunnel_leads_to_its_own_host_alone(api: Api) -> None:
    for host in ("queue.fal.run", f"127.0.0.1:{api.port}", "localhost"):
        connection = through(api, "fal.run")
        connection.request("POST", f"/{ENDPOINT}", headers={"Authorization": f"Key {KEY}", "Host": host})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error_type"]) == (403, "wrong_host")


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        "fal.ai:443",
        "fal.run:80",
        "fal.run:4430",
        "fal.run",
        ":443",
        "evil.fal.run:443",
        "fal.run.evil.example:443",
        "FAL.RUN.:443",
        "127.0.0.1:22",
        "localhost:443",
        "[::1]:443",
        "169.254.169.254:443",
        "https://fal.run:443",
        "fal.run:443:443",
        "v3b.fal.media:443",
    ],
)
def test_no_other_host_is_led_to(api: Api, target: str) -> None:
    assert connect(api, target).startswith(b"HTTP/1.1 403 ")


def test_what_is_no_proper_connect_is_refused(api: Api) -> None:
    assert say(api, b"CONNECT\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    assert say(api, b"COPY / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert say(api, b"CONNECT fal.run:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert say(api, b"C" * 8192).startswith(b"HTTP/1.1 400 ")


def test_a_tunnel_speaks_nothing_but_tls(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
        connection.sendall(b"CONNECT fal.run:443 HTTP/1.1\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(f"GET / HTTP/1.1\r\nHost: fal.run\r\nAuthorization: Key {KEY}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


def test_who_says_nothing_holds_no_connection_for_ever(start: Starter) -> None:
    patience = 2.0
    api = open_api(start, bounds={"bridge.server.visitors.FIRST_WORDS": patience})
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", api.port), timeout=20) as slow,
        socket.create_connection(("127.0.0.1", api.port), timeout=20) as half,
    ):
        slow.sendall(b"CONNECT fal.run")
        half.sendall(b"GET / HTTP/1.1\r\nHost: ")
        began = time.monotonic()
        assert silent.recv(1) == b"" and slow.recv(1000) == b"" and half.recv(1000) == b""
        assert time.monotonic() - began < patience + 3


def test_everyone_else_is_served_meanwhile(api: Api) -> None:
    waiting = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(50)]
    assert api.http.get(PLATFORM, params={"endpoint_id": ENDPOINT}).status_code == 200
    for each in waiting:
        each.close()


def test_broken_tls_harms_nobody(api: Api) -> None:
    for words in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16" * 500):
        with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
            connection.sendall(words)
    assert api.http.get(PLATFORM, params={"endpoint_id": ENDPOINT}).status_code == 200


# Certificates


def test_the_certificate_is_for_fal_s_hosts_and_this_computer(api: Api) -> None:
    context = ssl.create_default_context(cafile=api.told["bundle"])
    for name in (*FALS, "localhost", "127.0.0.1"):
        with (
            socket.create_connection(("127.0.0.1", api.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            assert secure.version() in ("TLSv1.2", "TLSv1.3")
    for name in ("example.com", "fal.ai", "evil.fal.run", "127.0.0.2"):
        with (
            socket.create_connection(("127.0.0.1", api.port), timeout=5) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname=name)


def test_nobody_trusts_it_who_was_not_told_to(api: Api) -> None:
    connection = through(api, "fal.run", authority=certifi.where())
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/")


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    here = Certificates(tmp_path / "fal-api")
    assert here.renew()
    return here


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_private_keys_are_the_users_own(made: Certificates) -> None:
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    private = [path for path in made.folder.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in private} == {"ca-key.pem", "server.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert b"PRIVATE KEY" not in made.bundle.read_bytes() + made.authority.read_bytes()


def test_the_bundle_is_certifi_s_and_ours(made: Certificates) -> None:
    bundle = made.bundle.read_bytes()
    assert bundle.startswith(Path(certifi.where()).read_bytes())
    assert made.authority.read_bytes() in bundle


def test_the_authority_can_sign_for_nobody_else(made: Certificates) -> None:
    """Its key, stolen, must not open other sites to whoever trusts the bundle: OpenSSL holds it to that."""
    authority = load(made.authority)
    key = serialization.load_pem_private_key((made.folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    stolen = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(stolen.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=True)
        .sign(key, certificates.hashes.SHA256())
    )
    pem = made.folder / "forged.pem"
    pem.write_bytes(certificates._key_pem(stolen) + certificates._pem(forged))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(made.bundle))
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    shaking = server.wrap_bio(ours, theirs, server_side=True)
    trusting = client.wrap_bio(theirs, ours, server_hostname="bank.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        for _ in range(4):
            for side in (trusting, shaking):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_what_is_whole_is_kept(made: Certificates) -> None:
    before = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    assert not made.renew()
    assert {path.name: path.read_bytes() for path in made.folder.iterdir()} == before


@pytest.mark.parametrize("days", [340, 3640])
def test_renewed_before_it_expires(made: Certificates, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    before = {name: (made.folder / name).read_bytes() for name in ("ca.pem", "server.pem")}
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    monkeypatch.setattr(certificates, "_now", lambda: later)
    assert made.renew()
    changed = {name for name in before if (made.folder / name).read_bytes() != before[name]}
    assert changed == ({"server.pem"} if days < 365 else {"ca.pem", "server.pem"})
    assert load(made.folder / "server.pem").not_valid_after_utc > later + datetime.timedelta(days=300)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem", "bundle.pem"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_what_is_damaged_is_made_anew(made: Certificates, name: str, content: bytes | None) -> None:
    path = made.folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    made.renew()
    made.context()
    load(made.folder / "server.pem").verify_directly_issued_by(load(made.authority))
    assert made.authority.read_bytes() in made.bundle.read_bytes()


def test_the_server_keeps_its_authority_through_a_restart(start: Starter) -> None:
    """Shells that were told of it go on."""
    first = open_api(start)
    before = Path(first.told["authority"]).read_bytes()
    first.bridge.stop()
    second = open_api(start, fal={"port": first.port})
    assert second.port == first.port
    assert Path(second.told["authority"]).read_bytes() == before
    assert through(second, "fal.run") is not None


def test_the_system_s_store_is_left_alone(api: Api) -> None:
    default = ssl.create_default_context()
    ours = load(Path(api.told["authority"])).public_bytes(serialization.Encoding.DER)
    assert ours not in default.get_ca_certs(binary_form=True)


def test_many_connections_at_once(api: Api) -> None:
    """Each in its own way, from a process of its own."""
    code = (
        "import httpx, sys, concurrent.futures as c\n"
        "def get(url, **o):\n"
        "    with httpx.Client(trust_env=False, **o) as h:\n"
        "        return h.get(url, headers={'Authorization': 'Key ' + sys.argv[3]}).status_code\n"
        "q = '/v1/models/requests/by-endpoint?endpoint_id=x'\n"
        "import ssl; t = ssl.create_default_context(cafile=sys.argv[2])\n"
        "ways = [lambda: get(sys.argv[1] + '/platform' + q), lambda: get('https://api.fal.ai' + q, proxy=sys.argv[1],"
        " verify=t), lambda: get(sys.argv[1].replace('http', 'https') + '/platform' + q, verify=t)]\n"
        "with c.ThreadPoolExecutor(20) as p:\n"
        "    print(set(f.result() for f in [p.submit(ways[i % 3]) for i in range(90)]))\n"
    )
    words = [sys.executable, "-c", code, api.url, api.told["authority"], KEY]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    assert done.stdout.strip() == "{200}", done.stderr
    wait_for(lambda: api.http.get(PLATFORM, params={"endpoint_id": ENDPOINT}).status_code == 200)
