"""`python -m thumbq_gateway`: one gateway, configured by environment variables."""

import resource
import sys
from typing import NoReturn

import uvloop
from pydantic import ValidationError

from thumbq_gateway.app import run
from thumbq_gateway.settings import Settings
from thumbq_runtime.addresses import is_loopback
from thumbq_runtime.logging import configure_logging


def main() -> None:
    """Run a gateway. Exits with 2 and a sentence when its settings are wrong."""
    configure_logging()
    try:
        settings = Settings()
    except ValidationError as error:
        _refuse(str(error))
    for host in filter(None, [settings.http_host, settings.peer_host]):
        if not is_loopback(host) and not settings.insecure:
            _refuse(f"refusing to listen on {host} without API keys; set THUMBQ_INSECURE=1 if the network is trusted")
    _allow_many_connections()
    try:
        uvloop.run(run(settings))
    except OSError as error:
        _refuse(f"cannot listen on {settings.http_host}:{settings.http_port}: {error}")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"thumbq gateway: {sentence}\n")
    sys.exit(2)


def _allow_many_connections() -> None:
    """Raise the soft limit of open files, since each connected page is one. Its default of 1024 is for select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
