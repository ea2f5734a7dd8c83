"""`python -m thumbq_gateway`: one gateway, configured by environment variables."""

import os
import sys
import warnings

from pydantic import ValidationError

import thumbq_runtime.logs.plain_structlog  # noqa: F401 - before all that logs
from thumbq.tls import UnusableAddress, UnusableCertificate
from thumbq_gateway.access.callers import Unprotected
from thumbq_gateway.app import run
from thumbq_gateway.settings import Settings
from thumbq_runtime.addresses import CannotListen, joined
from thumbq_runtime.logs.setup import configure_logging
from thumbq_runtime.process import event_loop
from thumbq_runtime.process.lifecycle import wait_for_start
from thumbq_runtime.process.open_files import allow_many_open_files
from thumbq_runtime.process.refusal import refuse, sentence_about
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.settings.environment import reach_this_machine_directly, warn_of_strangers
from thumbq_runtime.text import printable
from thumbq_runtime.tls.certificates import InvalidCertificate

_SWITCH = 0.0005  # seconds for which the thread that decodes large bodies keeps the event loop from running


def main() -> None:
    """Run a gateway. Exit with a sentence: with 2 when its settings are wrong, with 1 when it cannot listen."""
    wait_for_start()
    # aiohttp warns of each odd parameter in the headers of an upload, and a caller chooses how many there are.
    warnings.filterwarnings("ignore", module=r"aiohttp\.multipart")
    try:
        level = configure_logging("gateway")
        warn_of_strangers(os.environ)
        reach_this_machine_directly(os.environ)
        settings = Settings()
        secret = settings.secret_of_gateways()
        settings.objects()
        settings.models()
    except ValidationError as error:
        refuse("gateway", sentence_about(error))
    except (ValueError, InvalidSetting) as error:
        refuse("gateway", error)
    host = settings.exposed_host()
    if host is not None and not secret:
        refuse(
            "gateway",
            f"refusing to listen on {host or 'every address'} without API keys: make one with `thumbq keys create`, and"
            " set THUMBQ_GATEWAY_SECRET for this gateway and its server; or set THUMBQ_INSECURE=1 if the network is"
            " trusted",
        )
    allow_many_open_files()
    sys.setswitchinterval(_SWITCH)
    try:
        event_loop.run(run(settings, level.toggle))
    except (InvalidCertificate, Unprotected, UnusableAddress, UnusableCertificate) as problem:
        refuse("gateway", problem)
    except CannotListen as problem:
        sys.exit(printable(f"thumbq gateway: {problem}"))
    except OSError as error:
        # The port may be free in a moment, and the address may come.
        address = joined(settings.http_host, settings.http_port)
        sys.exit(printable(f"thumbq gateway: cannot listen on {address}: {error}"))


if __name__ == "__main__":
    main()
