"""What an operator can set: environment variables with the prefix THUMBQ_, and PORT."""

import ipaddress
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import (
    AliasChoices,
    AnyHttpUrl,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="THUMBQ_", env_ignore_empty=True, populate_by_name=True)

    http_host: str = "127.0.0.1"
    # 0: any free port.
    http_port: int = Field(default=5009, ge=0, le=65535, validation_alias=AliasChoices("THUMBQ_HTTP_PORT", "PORT"))
    # Lets gateways share the port; connections are spread over them.
    reuse_port: bool = False
    # Allows to listen beyond loopback without keys.
    insecure: bool = False
    # host:port of the gRPC server, or any other target of gRPC, as "ipv4:10.0.0.1:50051,10.0.0.2:50051".
    server: str = "127.0.0.1:50051"
    # Files outside this folder are never served; none: no files.
    thumbnail_root: Path | None = None
    # Files of models for workers; none: no files.
    model_root: Path | None = None
    # What is none of the gateway's own is passed on to this server, as "http://127.0.0.1:8080"; none: 404.
    upstream: AnyHttpUrl | None = None
    # Whether the certificate of that server is checked.
    upstream_verify: bool = True
    # Pages of these origins may use the API, as "https://a.example,https://b.example" or "*".
    cors_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    # A pipe to write {"port": N} to when the gateway listens, inherited from the parent.
    ready_fd: int | None = None

    # Of the notification stream.
    heartbeat: PositiveFloat = 15.0
    subscriber_limit: PositiveInt = 20_000
    subscriber_buffer: PositiveInt = 256 * 1024
    subscriber_timeout: PositiveFloat = 30.0
    ring_notifications: PositiveInt = 10_000
    ring_bytes: PositiveInt = 16 * 1024 * 1024
    queue_watch_linger: NonNegativeInt = 10

    # Of the hubs. Gateways that share the secret take each other's connection tokens; unset: this gateway's own only.
    hub_secret: SecretStr | None = None
    hub_secret_file: Path | None = None
    # Address at which the other gateways reach this one, for clients whose requests are spread over all of them.
    peer_host: str | None = None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
        return value

    def read_hub_secret(self) -> bytes:
        """The secret of the hubs. Raises OSError when its file cannot be read."""
        if self.hub_secret:
            return self.hub_secret.get_secret_value().encode()
        if self.hub_secret_file:
            return self.hub_secret_file.read_bytes().strip()
        return secrets.token_bytes(32)

    @property
    def is_for_this_machine_only(self) -> bool:
        """Whether nobody but this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.http_host.strip("[]")).is_loopback
        except ValueError:
            return self.http_host == "localhost"
