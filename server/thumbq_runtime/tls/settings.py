"""The settings of TLS, for the programs that listen."""

from pathlib import Path
from typing import Self

import structlog
from pydantic import model_validator
from pydantic_settings import BaseSettings

from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.settings import shared
from thumbq_runtime.tls.certificates import CertificateFiles, Certificates
from thumbq_runtime.tls.roles import ClientRoles

log = structlog.get_logger()


class TlsSettings(BaseSettings):
    """The certificate of a program, and the authorities of its clients."""

    tls_cert_file: Path | None = shared.TLS_CERT_FILE.field()
    tls_key_file: Path | None = shared.TLS_KEY_FILE.field()
    tls_client_ca_file: Path | None = shared.TLS_CLIENT_CA_FILE.field()
    tls_client_roles: str = shared.TLS_CLIENT_ROLES.field()

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("THUMBQ_TLS_CERT_FILE and THUMBQ_TLS_KEY_FILE belong together: set both, or neither.")
        if self.tls_client_ca_file and not self.tls_cert_file:
            raise ValueError("THUMBQ_TLS_CLIENT_CA_FILE needs THUMBQ_TLS_CERT_FILE and THUMBQ_TLS_KEY_FILE as well.")
        if self.client_roles().rows and not self.tls_client_ca_file:
            raise ValueError("THUMBQ_TLS_CLIENT_ROLES needs THUMBQ_TLS_CLIENT_CA_FILE as well.")
        return self

    def client_roles(self) -> ClientRoles:
        """Return the roles of clients by their certificates. Raises ValueError."""
        return ClientRoles.parsed(self.tls_client_roles)

    def certificates(self) -> Certificates | None:
        """Return the certificate to show, or None without TLS. Raises InvalidCertificate."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return Certificates(CertificateFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file))


def warn_of_plain_text(certificates: Certificates | None, *hosts: str | None) -> None:
    """Log that what other machines send and get can be read on the way, if there is no TLS."""
    for host in hosts:
        if certificates is None and host is not None and not is_loopback(host):
            log.warning(
                "tls.off", host=host or "every address", hint="set THUMBQ_TLS_CERT_FILE and THUMBQ_TLS_KEY_FILE"
            )
