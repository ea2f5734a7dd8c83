"""The ports of the gRPC API, and how they prove who they are."""

import grpc

from thumbq_runtime.addresses import LONGEST_SOCKET_PATH, CannotListen, fits_a_socket, joined
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.tls.certificates import Certificate, Certificates
from thumbq_server.settings import Settings


def check_socket(settings: Settings) -> None:
    """Raise InvalidSetting when the path of the Unix socket is too long: gRPC would tell no reason."""
    if settings.grpc_socket and not fits_a_socket(settings.grpc_socket):
        raise InvalidSetting(f"THUMBQ_GRPC_SOCKET is longer than {LONGEST_SOCKET_PATH} bytes: choose a shorter path.")


def open_ports(server: grpc.aio.Server, settings: Settings, certificates: Certificates | None) -> int:
    """Listen where the settings say. Return the port of the API. Raises CannotListen."""
    address = f"unix:{settings.grpc_socket}"
    try:
        if settings.grpc_socket:
            server.add_insecure_port(address)
        address = joined(settings.grpc_host, settings.grpc_port)
        if certificates is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, server_credentials(certificates))
    except RuntimeError:
        raise CannotListen(f"Nothing can listen on {address}: another program has it, or it may not be had.") from None


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials that show the current certificate in each handshake.

    With authorities for client certificates, every client must have one. gRPC takes TLS 1.2 and later.
    """
    first = shown = certificates.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        current = certificates.current()
        if current is shown:
            return None
        shown = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        changed,  # type: ignore[arg-type]  # None stands for no change
        require_client_authentication=first.client_ca is not None,
    )


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    pair = certificate.key, certificate.chain
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificate.client_ca)
