"""A private authority for tests, and handshakes of strangers that tell what they saw."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509

from thumbq_runtime.tls.authority import Authority


class Certificates:
    """The files that `thumbq tls` makes, and the settings that name them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = Authority(folder)
        self.server()

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, *hosts: str, days: float = 30) -> int:
        """Make the server's certificate anew. Return its serial number."""
        return _serial(self._authority.server(hosts, days).read_bytes())

    def client(self, name: str, days: float = 30) -> Path:
        return self._authority.client(name, days)

    @property
    def settings(self) -> dict[str, Any]:
        return {"tls_cert_file": self.folder / "server.pem", "tls_key_file": self.folder / "server.key"}

    @property
    def mutual(self) -> dict[str, Any]:
        return {**self.settings, "tls_client_ca_file": self.ca}

    def context(self, client: str | None = None) -> ssl.SSLContext:
        """What a client trusts, and shows."""
        context = ssl.create_default_context(cafile=self.ca)
        if client:
            path = self.client(client)
            context.load_cert_chain(path, path.with_suffix(".key"))
        return context

    def of_server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context


async def shown_serial(port: int, context: ssl.SSLContext) -> int:
    """Return the serial number of the certificate that a listener shows in a new handshake."""
    return await asyncio.to_thread(_shown_serial, port, context)


async def answers_hello_of(port: int, version: bytes) -> bool:
    """Return whether a listener goes on with a client that knows no newer version: b"\3\3" is TLS 1.2."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_hello(version))
        # A record of the handshake; otherwise an alert, or nothing.
        return await asyncio.wait_for(reader.read(1), 30) == b"\x16"
    finally:
        writer.close()


def _hello(version: bytes) -> bytes:
    ciphers = bytes.fromhex("c02bc013c009002f")
    groups, formats, signatures = "000a00060004001d0017", "000b00020100", "000d000400020403"
    extensions = bytes.fromhex(groups + formats + signatures)
    body = version + bytes(range(32)) + b"\0" + _sized(2, ciphers) + b"\1\0" + _sized(2, extensions)
    return b"\x16\x03\x01" + _sized(2, b"\1" + _sized(3, body))


def _sized(length: int, content: bytes) -> bytes:
    return len(content).to_bytes(length, "big") + content


def _connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname="127.0.0.1")


def _shown_serial(port: int, context: ssl.SSLContext) -> int:
    with _connect(port, context) as connection:
        found = connection.getpeercert(binary_form=True)
        assert found
        return x509.load_der_x509_certificate(found).serial_number


def _serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number
