"""The settings of `thumbq serve`, read from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thumbq_runtime.access.secret_files import read_secret_file
from thumbq_runtime.addresses import is_loopback, overlap
from thumbq_runtime.files.folders import absolute
from thumbq_runtime.files.private import make_data_folder, make_private_folder
from thumbq_runtime.settings.declaration import InvalidSetting, Setting
from thumbq_runtime.settings.shared import (
    DATA_DIR,
    DATABASE_CONNECTIONS,
    DATABASE_URL,
    DATABASE_URL_FILE,
    DATABASE_VARIABLES,
    GRPC_HOST,
    GRPC_PORT,
    HTTP_HOST,
    HTTP_PORT,
    METRICS_PORT,
    PROCESSES,
    SHUTDOWN_GRACE,
    THUMBNAIL_ROOT,
    THUMBNAIL_ROOTS,
    TLS_CERT_FILE,
)
from thumbq_runtime.text import printable

# The launcher decides these and sets them for its children, which must not read another value beside it.
DECIDED_HERE = {*HTTP_PORT.variables, *DATABASE_URL.variables, *DATABASE_URL_FILE.variables}


@dataclass(frozen=True)
class LauncherSettings:
    """Settings of the parent process; port 0 is any free port, the grace is in seconds."""

    data_dir: Path
    database_url: str | None
    http_host: str
    http_port: int
    grpc_host: str
    grpc_port: int
    thumbnail_root: Path
    # What servers read as THUMBQ_THUMBNAIL_ROOTS; empty when workers may report any path.
    thumbnail_roots: str
    shutdown_grace: float
    metrics_port: int | None
    # Whether the ports have TLS.
    tls: bool
    # The number of servers, and also of gateways.
    processes: int
    # What each server opens to PostgreSQL at most.
    database_connections: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "LauncherSettings":
        """Return the settings in the environment, and make the folder for thumbnails. Raises InvalidSetting."""
        data_dir = plain(absolute(DATA_DIR.read(environment)))
        thumbnail_root = plain(absolute(THUMBNAIL_ROOT.read(environment) or data_dir / "thumbnails"))
        settings = cls(
            data_dir=data_dir,
            database_url=_database_url(environment),
            http_host=_host(environment, HTTP_HOST),
            http_port=HTTP_PORT.read(environment),
            grpc_host=_host(environment, GRPC_HOST),
            grpc_port=GRPC_PORT.read(environment),
            thumbnail_root=thumbnail_root,
            thumbnail_roots=_roots(environment, thumbnail_root),
            shutdown_grace=SHUTDOWN_GRACE.read(environment),
            metrics_port=METRICS_PORT.read(environment),
            tls=TLS_CERT_FILE.read(environment) is not None,
            processes=PROCESSES.read(environment),
            database_connections=DATABASE_CONNECTIONS.read(environment),
        )
        settings.refuse_one_port_for_two()
        try:
            make_data_folder(settings.data_dir)
            make_private_folder(settings.thumbnail_root)
        except OSError as problem:
            raise InvalidSetting(f"The folder for thumbnails cannot be made: {problem}.") from problem
        return settings

    def refuse_one_port_for_two(self) -> None:
        """Refuse to serve two things at one address."""
        first = self.metrics_port or 0
        metrics = range(first, first + self.processes) if first else range(0)
        meet = overlap(self.http_host, self.grpc_host)
        if meet and self.http_port == self.grpc_port != 0:
            raise InvalidSetting(f"The page and the gRPC API cannot both have the port {self.http_port}.")
        if meet and self.http_port in metrics:
            raise InvalidSetting(f"The page and the metrics cannot both have the port {self.http_port}.")
        if self.grpc_port in metrics:
            raise InvalidSetting(f"The gRPC API and the metrics cannot both have the port {self.grpc_port}.")


def plain(path: Path) -> Path:
    """Return the path if it can be written in a message of the protocol and in a line of a file.

    Raises InvalidSetting.
    """
    resolved = os.path.realpath(path)
    try:
        resolved.encode()
    except UnicodeEncodeError:
        raise InvalidSetting(f"The path {resolved} is not UTF-8: choose or rename a folder.") from None
    if printable(resolved) != resolved:
        raise InvalidSetting(f"The path {resolved} has control characters in it: choose or rename a folder.")
    return path


def _host(environment: Mapping[str, str], setting: Setting[str]) -> str:
    if environment.get(setting.variable) == "":
        raise InvalidSetting(f"{setting.variable} is empty: write 0.0.0.0 or :: for every address of this machine.")
    return setting.read(environment)


def _roots(environment: Mapping[str, str], own: Path) -> str:
    """Return the roots that the operator has set, or our own folder when strangers may report thumbnails."""
    if roots := THUMBNAIL_ROOTS.read(environment):
        return roots
    if all(is_loopback(_host(environment, setting)) for setting in (HTTP_HOST, GRPC_HOST)):
        return ""
    # Uploads are reported under the real path, and workers may know the folder by a link.
    names = dict.fromkeys([str(own), os.path.realpath(own)])
    if any(":" in name for name in names):
        raise InvalidSetting(f"The folder of the thumbnails {own} has a colon in it: rename it, or choose another.")
    return ":".join(names)


def _database_url(environment: Mapping[str, str]) -> str | None:
    variable = next((name for name in DATABASE_VARIABLES if environment.get(name)), "")
    named = environment.get(variable)
    if not named or not variable.endswith("_FILE"):
        return named
    try:
        return read_secret_file(Path(named), variable)
    except ValueError as problem:
        raise InvalidSetting(str(problem)) from problem
