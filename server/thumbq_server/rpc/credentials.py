"""How the gRPC port proves who it is, and who its clients are."""

import grpc

from thumbq_runtime.tls.certificates import Certificate, Certificates


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
