"""The operator's settings: environment variables with the prefix THUMBQ_, and PORT."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="THUMBQ_", env_ignore_empty=True, populate_by_name=True)

    http_host: str = "127.0.0.1"
    # 0: any free port.
    http_port: int = Field(default=5009, ge=0, le=65535, validation_alias=AliasChoices("THUMBQ_HTTP_PORT", "PORT"))
    # Share the port with other gateways; the kernel spreads the connections over them.
    reuse_port: bool = False
    # Allow other addresses than loopback without keys.
    insecure: bool = False
    # host:port of the gRPC server, or any other target of gRPC, as "ipv4:10.0.0.1:50051,10.0.0.2:50051".
    server: str = "127.0.0.1:50051"
    # The folder of the pictures. No file outside of it is served, and none at all without it.
    thumbnail_root: Path | None = None
    # Origins whose pages may use the API, such as "https://a.example,https://b.example" or "*".
    cors_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    # A pipe, inherited from the parent, that gets {"port": N} when the gateway listens.
    ready_fd: int | None = None

    # The notification stream.
    heartbeat: PositiveFloat = 15.0
    subscriber_limit: PositiveInt = 20_000
    subscriber_buffer: PositiveInt = 256 * 1024
    subscriber_timeout: PositiveFloat = 30.0
    ring_notifications: PositiveInt = 10_000
    ring_bytes: PositiveInt = 16 * 1024 * 1024
    queue_watch_linger: NonNegativeInt = 10

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
        return value

    @property
    def is_for_this_machine_only(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.http_host.strip("[]")).is_loopback
        except ValueError:
            return self.http_host == "localhost"
