"""What an operator can set: environment variables with the prefix THUMBQ_, plus DATABASE_URL."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="THUMBQ_", env_ignore_empty=True)

    database_url: str = Field(default="", validation_alias=AliasChoices("DATABASE_URL", "THUMBQ_DATABASE_URL"))
    # A file that holds the URL, as container platforms hand secrets over.
    database_url_file: Path | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL_FILE", "THUMBQ_DATABASE_URL_FILE")
    )
    grpc_host: str = "127.0.0.1"
    # 0: any free port
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    # Lets servers share the port; connections are spread over them.
    reuse_port: bool = False
    # Allows to listen beyond loopback without keys.
    insecure: bool = False
    # A pipe to write {"port": N} to when the server is ready, inherited from the parent.
    ready_fd: int | None = None
    # Where workers may put thumbnails, separated by ":". None: anywhere.
    thumbnail_roots: Annotated[tuple[str, ...], NoDecode] = ()

    lease_duration: PositiveInt = 30
    delivery_lease_duration: PositiveInt = 10
    heartbeat_interval: PositiveFloat = 3.0
    stream_max_age: PositiveFloat = 3600.0
    # Of workers that use unary calls or JSON.
    unary_lease_duration: PositiveInt = 600
    statement_timeout: PositiveFloat = 30.0
    retry_base: PositiveFloat = 5.0
    retry_cap: PositiveFloat = 600.0
    # How long notifications are kept: a subscriber that was away for longer has to load anew.
    notification_retention: PositiveFloat = 86_400.0
    # How long a shutdown waits for workers to hand in what they have.
    shutdown_grace: PositiveFloat = 10.0

    @field_validator("thumbnail_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(":"))) if isinstance(value, str) else value

    def dsn(self) -> str:
        """The address of PostgreSQL. Raises ValueError when there is none."""
        if self.database_url_file is not None:
            return self.database_url_file.read_text().strip()
        if not self.database_url:
            raise ValueError("DATABASE_URL is not set (thumbq serve brings a PostgreSQL of its own)")
        return self.database_url
