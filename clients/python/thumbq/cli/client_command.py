"""Commands that are clients of a server: all have the options of TLS, and one check of its address."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from thumbq.cli.errors import fail
from thumbq.cli.options import LOCAL, option
from thumbq.tls import UnusableAddress, check_address
from thumbq_runtime.settings import shared as settings

_OPTIONS = {"ca": settings.CA, "cert": settings.CERT, "key": settings.KEY}


def client_command(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with --ca, --cert and --key, which set their variables for whatever opens a connection."""

    @functools.wraps(command)
    def with_tls(**given: Any) -> None:
        for name, setting in _OPTIONS.items():
            if path := given.pop(name):
                os.environ[setting.variable] = str(path)
        try:
            check_address(given.get("server", LOCAL))
        except UnusableAddress as problem:
            fail(f"{problem}.")
        command(**given)

    # typer does not evaluate annotations of a signature that is set
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Path | None, option(setting, f"--{name}", show_default=False)],
        )
        for name, setting in _OPTIONS.items()
    ]
    # mypy knows no signature that a function is given.
    with_tls.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    with_tls.__annotations__ = command.__annotations__ | {one.name: one.annotation for one in added}
    return with_tls
