"""The operator's settings: environment variables with the prefix THUMBQ_, and PORT."""

import secrets
from pathlib import Path
from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from thumbq.tls import Tls
from thumbq_runtime.access.secret_files import read_secret, read_secret_file
from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.files.model_objects import ModelObjects
from thumbq_runtime.files.objects import Objects
from thumbq_runtime.limits.callers import Network, read_networks
from thumbq_runtime.limits.rates import Kind
from thumbq_runtime.settings import shared
from thumbq_runtime.settings.numbers import Bytes, Count, Seconds, WholeSeconds
from thumbq_runtime.tls.settings import TlsSettings


class Settings(TlsSettings):
    """Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="THUMBQ_", env_ignore_empty=True, populate_by_name=True)

    http_host: str = shared.HTTP_HOST.field()
    http_port: int = shared.HTTP_PORT.field()
    reuse_port: bool = shared.REUSE_PORT.field()
    insecure: bool = shared.INSECURE.field()
    ready_fd: int | None = shared.READY_FD.field()
    server: str = shared.SERVER.field()
    ca: Path | None = shared.CA.field()
    cert: Path | None = shared.CERT.field()
    key: Path | None = shared.KEY.field()
    thumbnail_root: Path | None = shared.THUMBNAIL_ROOT.field()
    thumbnail_store: str | None = shared.THUMBNAIL_STORE.field()
    rate_of_worker_polls: float = shared.RATE_OF_WORKER_POLLS.field()
    rate_of_polls: float = shared.RATE_OF_POLLS.field()
    rate_of_enqueues: float = shared.RATE_OF_ENQUEUES.field()
    rate_of_reads: float = shared.RATE_OF_READS.field()
    subscriptions_of_address: int = shared.SUBSCRIPTIONS_OF_ADDRESS.field()
    waiting_calls_of_address: int = shared.WAITING_CALLS_OF_ADDRESS.field()
    gateway_secret: str | None = shared.GATEWAY_SECRET.field()
    gateway_secret_file: Path | None = shared.GATEWAY_SECRET_FILE.field()
    hub_secret: str | None = shared.HUB_SECRET.field()
    hub_secret_file: Path | None = shared.HUB_SECRET_FILE.field()

    cors_origins: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description='Origins whose pages may use the API, as "https://a.example,https://b.example", or "*" for all.',
    )
    allowed_hosts: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description='Names under which clients reach the gateway, as "thumbq.example,queue.example". Addresses, and'
        " names without a dot, always count. The default takes any name, but on a loopback address only those.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description='Proxies whose X-Forwarded-For tells who calls, as "10.0.0.5,192.168.0.0/16". Without it, all'
        " callers behind a proxy count as one, and an application behind the gateway hears nothing that a proxy tells.",
    )
    heartbeat: Seconds = Field(default=15.0, description="Seconds between heartbeats on a stream of notifications.")
    subscriber_limit: Count = Field(
        default=20_000,
        description="Clients on the stream of notifications, and as many connections to hubs; more are answered 503.",
    )
    connections_of_address: Count = Field(
        default=50_000,
        description="Connections that one address may have to a gateway; those of trusted proxies are not counted.",
    )
    subscriber_buffer: Bytes = Field(
        default=256 * 1024, description="Bytes that a client may leave unread before it is cut off."
    )
    subscriber_timeout: Seconds = Field(
        default=30.0, description="Seconds after which a client is dropped that takes nothing of what it is sent."
    )
    idle_timeout: Seconds = Field(
        default=75.0, description="Seconds after which a connection is closed that has not sent a whole request."
    )
    body_timeout: Seconds = Field(default=60.0, description="Seconds in which the body of a request must arrive.")
    ring_notifications: Count = Field(
        default=10_000, description="Recent notifications kept in memory; older ones come from the server's log."
    )
    ring_bytes: Bytes = Field(default=16 * 1024 * 1024, description="Bytes of notifications kept in memory.")
    queue_watch_linger: WholeSeconds = Field(
        default=10, description="Seconds for which the gateway still follows the server after the last page has left."
    )

    peer_host: str | None = Field(
        default=None,
        description="Address at which gateways on other hosts reach this one, for hub clients without WebSockets.",
    )
    model_root: Path | None = Field(
        default=None,
        description="Folder of the models, as 42.glb or 42-any-name.glb, for workers that fetch them here.",
    )
    model_store: str | None = Field(
        default=None,
        description="Instead: the models in an object store, as s3://bucket/{model_hash} or s3://bucket/{model_id}.glb.",
    )
    thumbnail_redirect: bool = Field(
        default=False,
        description="Send clients to the object store for pictures, with an address that is signed for ten minutes,"
        " instead of passing them on. Their browsers must reach the store.",
    )
    upstream: AnyHttpUrl | None = Field(
        default=None,
        description="Application behind the gateway: requests for other paths are passed on to it, as http://10.0.0.1:8080.",
    )
    upstream_verify: bool = Field(
        default=True, description="Check the certificate of the application behind the gateway."
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _read_networks(cls, value: object) -> object:
        return read_networks(value) if isinstance(value, str) else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(host.strip().rstrip(".").lower() for host in value.split(",") if host.strip())
        return value

    @model_validator(mode="after")
    def _take_secret_from_file(self) -> Self:
        if self.hub_secret_file and not self.hub_secret:
            self.hub_secret = read_secret_file(self.hub_secret_file, "THUMBQ_HUB_SECRET_FILE")
        return self

    def exposed_host(self) -> str | None:
        """Return the address at which other machines reach this gateway, unless their network is trusted."""
        hosts = [host for host in (self.http_host, self.peer_host) if host is not None and not is_loopback(host)]
        return hosts[0] if hosts and not self.insecure else None

    def needs_callers_to_prove(self) -> bool:
        """Return whether callers have to show who they are, whatever the server says of keys."""
        return self.exposed_host() is not None or bool(self.tls_client_roles)

    def secret_of_gateways(self) -> str | None:
        """Return what this gateway shows the server. Raises ValueError."""
        return read_secret(self.gateway_secret, self.gateway_secret_file, "THUMBQ_GATEWAY_SECRET", shortest=32)

    def objects(self) -> Objects | None:
        """Return the object store of the pictures, if there is one. Raises InvalidStore."""
        return Objects(self.thumbnail_store) if self.thumbnail_store else None

    def models(self) -> ModelObjects | None:
        """Return the models in an object store, if they are in one. Raises InvalidStore."""
        return ModelObjects(self.model_store) if self.model_store else None

    def names(self) -> frozenset[str]:
        """Return the names of this gateway, that for its neighbours included; none when every name counts."""
        return self.allowed_hosts | {self.peer_host} if self.allowed_hosts and self.peer_host else self.allowed_hosts

    def tls(self) -> Tls:
        """Return whom the gateway trusts as a client, and what it shows."""
        return Tls(self.ca, self.cert, self.key)

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
            Kind.SUBSCRIPTIONS: self.subscriptions_of_address,
            Kind.WAITING_CALLS: self.waiting_calls_of_address,
            Kind.CONNECTIONS: self.connections_of_address,
        }

    def key_of_hubs(self) -> bytes:
        """Return the secret of the hubs: the one that is set, or one of this process alone."""
        return self.hub_secret.encode() if self.hub_secret else secrets.token_bytes(32)
