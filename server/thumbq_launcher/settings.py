"""What `thumbq serve` is told by its environment."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DATABASE_VARIABLES = ("THUMBQ_DATABASE_URL", "DATABASE_URL")
# Settled here: a child shall not read a second opinion.
SETTLED = {"PORT", *_DATABASE_VARIABLES, *(f"{name}_FILE" for name in _DATABASE_VARIABLES)}


MOST_PROCESSES = 64


class Refused(Exception):
    """Says in one sentence why this configuration is not run."""


@dataclass(frozen=True)
class ServeSettings:
    """What the parent needs to know; port 0 is any free port, the grace is in seconds."""

    data_dir: Path
    database_url: str | None
    http_host: str
    http_port: int
    grpc_host: str
    grpc_port: int
    thumbnail_root: Path
    shutdown_grace: float
    insecure: bool
    # so many servers, and so many gateways
    processes: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "ServeSettings":
        """Take the settings from the environment; raises Refused."""
        data_dir = Path(environment.get("THUMBQ_DATA_DIR") or "thumbq-data").absolute()
        settings = cls(
            data_dir=data_dir,
            database_url=_database_url(environment),
            http_host=environment.get("THUMBQ_HTTP_HOST", "127.0.0.1"),
            http_port=_port(environment, "THUMBQ_HTTP_PORT", "PORT", default=5009),
            grpc_host=environment.get("THUMBQ_GRPC_HOST", "127.0.0.1"),
            grpc_port=_port(environment, "THUMBQ_GRPC_PORT", default=50051),
            thumbnail_root=Path(environment.get("THUMBQ_THUMBNAIL_ROOT") or data_dir / "thumbnails").absolute(),
            shutdown_grace=_seconds(environment, "THUMBQ_SHUTDOWN_GRACE", default=10.0),
            insecure=environment.get("THUMBQ_INSECURE", "").lower() in {"1", "true", "yes", "on"},
            processes=_processes(environment),
        )
        settings.refuse_strangers()
        try:
            settings.thumbnail_root.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise Refused(f"The folder for thumbnails cannot be made: {problem}.") from problem
        return settings

    def refuse_strangers(self) -> None:
        """Refuse to serve other machines without keys, unless told that this is meant."""
        for host in (self.http_host, self.grpc_host):
            if not self.insecure and not is_loopback(host):
                raise Refused(
                    f"{host or 'An empty host'} can be reached from other machines, and there are no API"
                    " keys: bind 127.0.0.1, or pass --insecure if all who can reach it may use the queue."
                )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def reachable_address(host: str, port: int) -> str:
    """Where a program on this machine connects to what is bound to the host: `host:port`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"{host or '127.0.0.1'}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _database_url(environment: Mapping[str, str]) -> str | None:
    for name in _DATABASE_VARIABLES:
        if value := environment.get(name):
            return value
        if path := environment.get(f"{name}_FILE"):
            try:
                return Path(path).read_text().strip()
            except OSError as problem:
                raise Refused(f"{name}_FILE cannot be read: {problem}.") from problem
    return None


def _port(environment: Mapping[str, str], *names: str, default: int) -> int:
    for name in names:
        if value := environment.get(name):
            if value.isdecimal() and int(value) < 65536:
                return int(value)
            raise Refused(f"{name} must be a port number from 0 to 65535, not {value!r}.")
    return default


def _processes(environment: Mapping[str, str]) -> int:
    value = environment.get("THUMBQ_PROCESSES") or "1"
    if value.isdecimal() and 1 <= int(value) <= MOST_PROCESSES:
        return int(value)
    raise Refused(f"THUMBQ_PROCESSES must be a number from 1 to {MOST_PROCESSES}, not {value!r}.")


def _seconds(environment: Mapping[str, str], name: str, *, default: float) -> float:
    value = environment.get(name) or default
    try:
        return float(value)
    except ValueError as problem:
        raise Refused(f"{name} must be a number of seconds, not {value!r}.") from problem
