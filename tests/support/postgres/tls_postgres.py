"""A PostgreSQL with TLS on TCP. The wheels have none, so it is Debian's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.network.certificates import Certificates
from tests.support.network.ports import free_port
from thumbq_launcher.postgres import cluster, embedded
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_launcher.postgres.programs import PostgresPrograms, installed_programs

# The first line that fits decides.
_WHO_MAY = """
local   all all       trust
hostssl all certified all cert
hostssl all secret    all scram-sha-256
hostssl all encrypted all trust
host    all either    all trust
"""


class TlsPostgres:
    """It listens on 127.0.0.1, which its certificate is for, and on 127.0.0.2, which it is not for."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._postgres = EmbeddedPostgres(folder)
        self._certificates = certificates
        self.port = free_port()

    @property
    def dsn(self) -> str:
        """The address for a superuser, on the unix socket."""
        return self._postgres.dsn.replace("port=5432", f"port={self.port}")

    @contextmanager
    def running(self) -> Iterator[None]:
        self._start()
        try:
            yield
        finally:
            self._postgres.stop()

    def _start(self) -> None:
        # The changes end with the start: another PostgreSQL that starts meanwhile would take the same port.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster, "installed_programs", lambda: iter([_with_tls()]))
            self._postgres.start()
            self._postgres.stop()
            self._set_up()
            patch.setitem(embedded.SETTINGS, "listen_addresses", "127.0.0.1,127.0.0.2")
            patch.setitem(embedded.SETTINGS, "port", str(self.port))
            self._postgres.start()

    def _set_up(self) -> None:
        folder = self._postgres.cluster
        self.copy_certificate()
        self._place(self._certificates.ca, "ca.pem")
        with (folder / "postgresql.auto.conf").open("a") as settings:
            settings.write("ssl = on\nssl_cert_file = 'own.pem'\nssl_key_file = 'own.key'\nssl_ca_file = 'ca.pem'\n")
        (folder / "pg_hba.conf").write_text(_WHO_MAY)

    def copy_certificate(self) -> None:
        """Take the present certificate. It counts after the next pg_reload_conf()."""
        self._place(self._certificates.folder / "server.key", "own.key")
        self._place(self._certificates.folder / "server.pem", "own.pem")

    def _place(self, source: Path, name: str) -> None:
        target = self._postgres.cluster / name
        shutil.copy(source, target)
        os.chown(target, self._postgres.cluster.stat().st_uid, -1)


def _with_tls() -> PostgresPrograms:
    for programs in installed_programs():
        if b"libssl.so" in Path(programs.postgres).read_bytes():
            return programs
    pytest.skip("needs a PostgreSQL with TLS, such as Debian's package postgresql")
