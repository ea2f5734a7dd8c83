"""What an operator can set: environment variables with the prefix THUMBQ_, plus DATABASE_URL."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from thumbq_runtime.access.secret_files import read_secret, read_secret_file
from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.files.objects import Objects
from thumbq_runtime.limits.callers import Network, read_networks
from thumbq_runtime.limits.rates import Kind
from thumbq_runtime.settings import shared
from thumbq_runtime.settings.numbers import Count, LeaseSeconds, Seconds
from thumbq_runtime.tls.settings import TlsSettings
from thumbq_server.domain.paths import plain_roots


class Settings(TlsSettings):
    """Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="THUMBQ_", env_ignore_empty=True, populate_by_name=True)

    database_url: str = shared.DATABASE_URL.field()
    database_url_file: Path | None = shared.DATABASE_URL_FILE.field()
    database_connections: int = shared.DATABASE_CONNECTIONS.field()
    database_folder: Path | None = shared.DATABASE_FOLDER.field()
    listen_url: str = Field(
        default="",
        description="Address of PostgreSQL without a pooler in between, over which a server hears of what others have"
        " committed. Without one it listens at DATABASE_URL; behind a pooler in transaction mode it polls every second"
        " instead.",
    )
    listen_url_file: Path | None = Field(
        default=None, description="File that holds this address, as container platforms pass secrets."
    )
    grpc_host: str = shared.GRPC_HOST.field()
    grpc_port: int = shared.GRPC_PORT.field()
    grpc_socket: Path | None = shared.GRPC_SOCKET.field()
    reuse_port: bool = shared.REUSE_PORT.field()
    # How many servers use the same database.
    processes: int = shared.PROCESSES.field()
    insecure: bool = shared.INSECURE.field()
    gateway_secret: str | None = shared.GATEWAY_SECRET.field()
    gateway_secret_file: Path | None = shared.GATEWAY_SECRET_FILE.field()
    ready_fd: int | None = shared.READY_FD.field()
    metrics_port: int | None = shared.METRICS_PORT.field()
    shutdown_grace: float = shared.SHUTDOWN_GRACE.field()
    thumbnail_root: Path | None = shared.THUMBNAIL_ROOT.field()
    thumbnail_store: str | None = shared.THUMBNAIL_STORE.field()
    thumbnail_roots: str = shared.THUMBNAIL_ROOTS.field()

    rate_of_worker_polls: float = shared.RATE_OF_WORKER_POLLS.field()
    rate_of_polls: float = shared.RATE_OF_POLLS.field()
    rate_of_enqueues: float = shared.RATE_OF_ENQUEUES.field()
    rate_of_reads: float = shared.RATE_OF_READS.field()

    gateways: str = Field(
        default="127.0.0.1,::1",
        description='Addresses of gateways, as "10.0.0.5,192.168.0.0/16". They count their callers themselves, so the'
        " server refuses them nothing. The default is this machine.",
    )
    streams_of_address: Count = Field(
        default=10_000, description="Streams of every sort that one key or address may have on a server."
    )
    work_streams_of_address: Count = Field(
        default=8_000, description="Streams of workers that one key or address may have on a server."
    )
    enqueue_streams_of_address: Count = Field(
        default=5_000, description="Streams of producers that one key or address may have on a server."
    )
    subscriptions_of_address: int = shared.SUBSCRIPTIONS_OF_ADDRESS.field()
    waiting_calls_of_address: int = shared.WAITING_CALLS_OF_ADDRESS.field()
    jobs_in_flight_of_address: Count = Field(
        default=1_000_000,
        description="Jobs in flight that one key or address may have from a server by gRPC. Its streams get no more,"
        " and its dequeues are refused, until some of them end.",
    )
    lease_duration: LeaseSeconds = Field(default=30, description="Seconds of a lease of a worker on a stream.")
    delivery_lease_duration: LeaseSeconds = Field(
        default=10, description="Seconds in which a worker on a stream must confirm that it has received a job."
    )
    heartbeat_interval: Seconds = Field(
        default=3.0, description="Seconds between the heartbeats that a worker on a stream is asked for."
    )
    stream_max_age: Seconds = Field(
        default=3600.0, description="Seconds after which a worker is asked to connect again."
    )
    unary_lease_duration: LeaseSeconds = Field(
        default=600,
        description="Seconds of a lease of unary calls and JSON. That of a dequeue that waits has at most 60 until its"
        " worker is heard of again.",
    )
    queue_limit: Count | None = Field(
        default=None,
        description="Pending jobs with which the queue is full: then jobs that add work are refused. The default is no"
        " limit.",
    )
    statement_timeout: Seconds = Field(default=30.0, description="Seconds that PostgreSQL may take for a statement.")
    retry_base: Seconds = Field(
        default=5.0, description="Seconds until the second attempt of a job; each further pause is longer."
    )
    retry_cap: Seconds = Field(default=600.0, description="The longest pause in seconds between two attempts.")
    notification_retention: Seconds = Field(
        default=86_400.0,
        description="Seconds for which notifications are kept; a subscriber that was away for longer is reset.",
    )

    job_retention: Seconds = Field(
        default=30 * 86_400.0,
        description="Seconds for which ended jobs are kept that no model and no version shows; then they are deleted,"
        " with their attempts and events.",
    )
    superseded_grace: Seconds = Field(
        default=86_400.0,
        description="Seconds for which the file of a picture is kept after its model has another one; browsers keep"
        " pictures for a day.",
    )
    audit_retention: Seconds = Field(
        default=90 * 86_400.0, description="Seconds for which the audit log is kept (`thumbq audit`)."
    )
    # Servers remember a worker's number for a day.
    worker_retention: Seconds = Field(
        default=7 * 86_400.0,
        ge=2 * 86_400.0,
        description="Seconds for which workers are kept that are not heard of; at least two days.",
    )

    @field_validator("gateways")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @field_validator("thumbnail_roots")
    @classmethod
    def _are_absolute(cls, value: str) -> str:
        plain_roots(filter(None, value.split(":")))
        return value

    def networks_of_gateways(self) -> tuple[Network, ...]:
        """Return where calls come from that the server does not count."""
        return read_networks(self.gateways)

    def rates(self) -> dict[Kind, float]:
        """Return how often a caller may call."""
        return {
            Kind.WORKER_POLLS: self.rate_of_worker_polls,
            Kind.POLLS: self.rate_of_polls,
            Kind.ENQUEUES: self.rate_of_enqueues,
            Kind.READS: self.rate_of_reads,
        }

    def bounds(self) -> dict[Kind, int]:
        """Return how much a caller may have at the same time."""
        return {
            Kind.STREAMS: self.streams_of_address,
            Kind.WORK_STREAMS: self.work_streams_of_address,
            Kind.ENQUEUE_STREAMS: self.enqueue_streams_of_address,
            Kind.SUBSCRIPTIONS: self.subscriptions_of_address,
            Kind.WAITING_CALLS: self.waiting_calls_of_address,
        }

    def roots(self) -> tuple[str, ...]:
        """Return the folders where workers may put thumbnails."""
        return plain_roots(filter(None, self.thumbnail_roots.split(":")))

    def objects(self) -> Objects | None:
        """Return the object store of the thumbnails, if there is one. Raises InvalidStore."""
        return Objects(self.thumbnail_store) if self.thumbnail_store else None

    def needs_keys(self) -> bool:
        """Return whether callers have to show who they are before there is any key.

        So it is where other machines reach this server on a network that is not trusted, and where certificates have
        roles.
        """
        return bool(self.tls_client_roles) or (not self.insecure and not is_loopback(self.grpc_host))

    def secret_of_gateways(self) -> str | None:
        """Return what gateways show instead of a key. Raises ValueError."""
        return read_secret(self.gateway_secret, self.gateway_secret_file, "THUMBQ_GATEWAY_SECRET", shortest=32)

    def dsn(self) -> str:
        """Return the address of PostgreSQL. Raises ValueError when there is none."""
        if self.database_url_file is not None:
            return read_secret_file(self.database_url_file, "DATABASE_URL_FILE")
        if not self.database_url:
            raise ValueError("DATABASE_URL is not set (thumbq serve brings a PostgreSQL of its own)")
        return self.database_url

    def listen_dsn(self) -> str:
        """Return the address of PostgreSQL at which to LISTEN. Raises ValueError when there is none."""
        if self.listen_url_file is not None:
            return read_secret_file(self.listen_url_file, "THUMBQ_LISTEN_URL_FILE")
        return self.listen_url or self.dsn()
