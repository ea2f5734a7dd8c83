"""A private certificate authority in a folder, for a test set-up or a small network.

It needs the extra `tls` (the library cryptography).
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from thumbq_runtime.files.private import make_private_folder, open_private

# A server is always made for these names, so that it can be tried on its own machine.
OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_CA_DAYS = 3650
# Clocks of other machines may be behind.
_BEFORE = timedelta(hours=1)
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Names of files that are not a client's.
_TAKEN = {"ca", "server"}


class Authority:
    """Signs certificates with the key in `ca.key`. The folder and its keys are for their owner alone."""

    def __init__(self, folder: Path) -> None:
        """Read the authority in the folder, or make one there. Raises OSError, ValueError."""
        make_private_folder(folder)
        self._folder = folder
        certificate, key = folder / "ca.pem", folder / "ca.key"
        if key.exists():
            self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
            found = serialization.load_pem_private_key(key.read_bytes(), password=None)
            if not isinstance(found, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{key} is not a key that thumbq made")
            self._key = found
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._of_authority()
            _write(certificate, self._certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
            # The key goes last: where it is, its certificate is too.
            _write(key, _pem_of(self._key))

    def server(self, hosts: Iterable[str], days: float) -> Path:
        """Make `server.pem` and `server.key` for these names and addresses. Return the certificate's path."""
        names = list(dict.fromkeys([*OWN_NAMES, *hosts]))
        return self._issue("server", "thumbq", [_name(host) for host in names], ExtendedKeyUsageOID.SERVER_AUTH, days)

    def client(self, name: str, days: float) -> Path:
        """Make `NAME.pem` and `NAME.key` for a client of that name. Raises ValueError for a name that is no file's."""
        if not _CLIENT_NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(f"{name!r} cannot be the name of a client: use letters, digits, and ._@- in between")
        return self._issue(name, name, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def _issue(
        self, file: str, name: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, days: float
    ) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _begun(name, days)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_authority_of(self._key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{file}.pem"
        # The key goes first: a server that looks in between keeps its former pair until both fit.
        _write(path.with_suffix(".key"), _pem_of(key))
        _write(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return path

    def _of_authority(self) -> x509.Certificate:
        public = self._key.public_key()
        name = f"thumbq private CA {datetime.now(UTC):%Y-%m-%d}"
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        return (
            _begun(name, _CA_DAYS)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _begun(name: str, days: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - _BEFORE)
        .not_valid_after(ends)
    )


def _authority_of(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode() if not host.startswith("*") else host)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in place whole: a program that reads it meanwhile sees the former one."""
    new = path.with_name(f".{path.name}.new")
    with os.fdopen(open_private(new, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    new.replace(path)
