"""TLS for fal's names on this computer: an authority of our own that the system never learns of, and its certificate.

The authority may sign for fal's hosts and this computer alone (name constraints), so that its key, even stolen, opens
nothing else to whoever trusts it.
"""

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.own_files import claim
from bridge.server.fal.hosts import PLACES

AUTHORITY_LIFE = datetime.timedelta(days=3650)
LIFE = datetime.timedelta(days=365)
RENEWED_BEFORE = datetime.timedelta(days=30)
SLACK = datetime.timedelta(days=1)
"""A clock that is set back a little must not make a new certificate one of the future."""

DOMAINS = ("fal.run", "fal.ai", "fal.media", "localhost")
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class Certificates:
    """Where things lie. authority: what clients must trust; bundle: it, and all that they trusted before."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle.pem"

    @property
    def _authority_key(self) -> Path:
        return self.folder / "ca-key.pem"

    @property
    def _certificate(self) -> Path:
        """The certificate and its key in one file: renamed into place as one, they always fit."""
        return self.folder / "server.pem"

    def renew(self) -> bool:
        """Make what is missing, damaged or about to expire; whether the server's certificate is a new one."""
        claim(self.folder)
        authority = _read(self.authority)
        key = _read_key(self._authority_key)
        if authority is None or key is None or _expires_soon(authority) or authority.public_key() != key.public_key():
            key = ec.generate_private_key(ec.SECP256R1())
            authority = _sign_authority(key)
            _write(self._authority_key, _key_pem(key))
            _write(self.authority, _pem(authority))
        self._write_bundle(authority)
        ours = _read(self._certificate)
        if ours is not None and not _expires_soon(ours) and _is_signed_by(ours, authority):
            return False
        own = ec.generate_private_key(ec.SECP256R1())
        _write(self._certificate, _key_pem(own) + _pem(_sign(own, authority, key)) + _pem(authority))
        return True

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have `context` show the server's certificate, from the next handshake on."""
        context.load_cert_chain(self._certificate)

    def context(self) -> ssl.SSLContext:
        """A server's context with the server's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self.load_into(context)
        return context

    def _write_bundle(self, authority: x509.Certificate) -> None:
        """What SSL_CERT_FILE replaces, and our authority: the client must still know everyone else."""
        content = Path(certifi.where()).read_bytes() + b"\n" + _pem(authority)
        if not self.bundle.is_file() or self.bundle.read_bytes() != content:
            _write(self.bundle, content)


def _sign_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("Unflatten on this computer")
    # what it signs for is fixed in it, and so is that it signs no other authority
    allowed = [*(x509.DNSName(each) for each in DOMAINS), x509.IPAddress(ipaddress.IPv4Network(LOOPBACK))]
    return (
        _builder(name, name, key, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _sign(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    names = [*(x509.DNSName(each) for each in (*PLACES, "localhost")), x509.IPAddress(LOOPBACK)]
    signer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(_name("Unflatten's server for fal's clients"), authority.subject, key, LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _expires_soon(certificate: x509.Certificate) -> bool:
    now = _now()
    return not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWED_BEFORE


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # any of several: a bad signature, another kind of key, another name
        return False
    return True


def _read(path: Path) -> x509.Certificate | None:
    """The first certificate in `path`; None where there is none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Put it there in one step, readable by its owner alone."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with open(part, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
    os.replace(part, path)
