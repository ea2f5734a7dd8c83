"""The certificate that a program shows: read from files, checked, and read again when the files change."""

import ssl
import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from cryptography import x509

log = structlog.get_logger()

_READ_BY_OTHERS = 0o007
# Bytes; the authorities that a system trusts are a quarter of it.
_MOST = 1024 * 1024
_SOON = timedelta(days=14)
# Seconds for which a handshake waits for the files, and no other behind it.
_PATIENCE = 1.0


class InvalidCertificate(Exception):
    """Says in one sentence why a certificate cannot be used."""


@dataclass(frozen=True)
class CertificateFiles:
    """Where a certificate, its key, and the authorities of client certificates are."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def paths(self) -> list[Path]:
        """Return the files that are used."""
        return [path for path in (self.certificate, self.key, self.client_ca) if path]


@dataclass(frozen=True)
class Certificate:
    """What the files held when they were read, in PEM, and as a context of Python's own TLS."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    begins: datetime
    expires: datetime
    context: ssl.SSLContext


class Certificates:
    """The current certificate. Each handshake asks for it, so that new files count from the next connection on.

    Files that do not fit together, as while they are replaced one by one, leave the former certificate in use. So do
    files that hang, as on a network share that stalls: one handshake waits for them, and that not for long.
    """

    def __init__(self, files: CertificateFiles) -> None:
        """Raises InvalidCertificate."""
        self._files = files
        self._lock = threading.Lock()
        # It is not set while the files are looked at.
        self._looked = threading.Event()
        self._looked.set()
        self._seen = _signature(files)
        self._current = read_certificate(files)
        _warn(files, self._current)

    def current(self) -> Certificate:
        """Return the certificate for a handshake that begins now. Any thread may ask."""
        with self._lock:
            if self._looked.is_set():
                self._begin_to_look()
                self._looked.wait(_PATIENCE)
            return self._current

    def _begin_to_look(self) -> None:
        self._looked.clear()
        try:
            threading.Thread(target=self._look, name="certificates", daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self._looked.set()

    def _look(self) -> None:
        try:
            signature = _signature(self._files)
            if signature != self._seen:
                self._seen = signature
                self._read_again()
        finally:
            self._looked.set()

    def _read_again(self) -> None:
        try:
            self._current = read_certificate(self._files)
        except InvalidCertificate as problem:
            log.warning("tls.not_reloaded", problem=str(problem), in_use_until=_text(self._current.expires))
        else:
            log.info("tls.reloaded", certificate=str(self._files.certificate), expires=_text(self._current.expires))
            _warn(self._files, self._current)


def read_certificate(files: CertificateFiles) -> Certificate:
    """Return what the files hold. Raises InvalidCertificate."""
    chain = _read(files.certificate, "certificate")
    key = _read(files.key, "key")
    client_ca = _read(files.client_ca, "authority of client certificates") if files.client_ca else None
    leaf = _certificates(files.certificate, chain)[0]
    _check_key(files, leaf, key)
    if files.client_ca and client_ca is not None:
        _certificates(files.client_ca, client_ca)
    context = _context(files, client_ca)
    return Certificate(chain, key, client_ca, leaf.not_valid_before_utc, leaf.not_valid_after_utc, context)


def _read(path: Path, what: str) -> bytes:
    """Return what a file holds. A pipe is refused: it would be read for ever, and no later file would count."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidCertificate(f"The {what} {path} is no regular file.")
        if found.st_size > _MOST:
            raise InvalidCertificate(f"The {what} {path} has {found.st_size} bytes: at most {_MOST} are read.")
        return path.read_bytes()
    except OSError as problem:
        raise InvalidCertificate(f"The {what} {path} cannot be read: {problem.strerror}.") from problem


def _certificates(path: Path, content: bytes) -> "list[x509.Certificate]":
    # Loaded where there is TLS, because it takes a tenth of a start.
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise InvalidCertificate(f"{path} holds no certificate in PEM.") from None


def _check_key(files: CertificateFiles, leaf: "x509.Certificate", content: bytes) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        key = load_pem_private_key(content, password=None)
        belongs = key.public_key().public_bytes(*form) == leaf.public_key().public_bytes(*form)
    except TypeError:
        raise InvalidCertificate(f"The key {files.key} has a password: thumbq needs one without.") from None
    except ValueError:
        raise InvalidCertificate(f"{files.key} holds no private key in PEM.") from None
    except UnsupportedAlgorithm:
        raise InvalidCertificate(f"The key {files.key} is of a kind that thumbq cannot use.") from None
    if not belongs:
        raise InvalidCertificate(f"The key {files.key} does not belong to the certificate {files.certificate}.")


def _context(files: CertificateFiles, client_ca: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key)
        if client_ca is not None:
            # Lists of authorities name them in between, in any language.
            context.load_verify_locations(cadata=client_ca.decode("ascii", "ignore"))
            # Pages have none.
            context.verify_mode = ssl.CERT_OPTIONAL
            # A resumed session would not ask for the certificate again.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
    except (OSError, ValueError) as problem:  # they changed between two reads, or the system's policy refuses them
        raise InvalidCertificate(f"The certificate {files.certificate} cannot be used: {problem}.") from problem
    return context


def _signature(files: CertificateFiles) -> list[tuple[int, ...] | None]:
    """Return what changes with the content of the files."""
    found: list[tuple[int, ...] | None] = []
    for path in files.paths():
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return found


def _warn(files: CertificateFiles, certificate: Certificate) -> None:
    now = datetime.now(UTC)
    left = certificate.expires - now
    if now < certificate.begins:
        log.warning("tls.not_yet_valid", certificate=str(files.certificate), begins=_text(certificate.begins))
    if left <= timedelta():
        log.warning("tls.expired", certificate=str(files.certificate), expired=_text(certificate.expires))
    elif left < _SOON:
        log.warning("tls.expires_soon", certificate=str(files.certificate), expires=_text(certificate.expires))
    if _mode(files.key) & _READ_BY_OTHERS:
        log.warning("tls.key_exposed", key=str(files.key), hint="other users of the machine can read it: chmod 600")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:  # it is replaced right now
        return 0


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
