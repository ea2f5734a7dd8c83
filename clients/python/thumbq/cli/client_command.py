"""Commands that are clients of a server: all have the options of TLS, and one check of its address."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from typer.models import ArgumentInfo, ParameterInfo

from thumbq.cli.errors import fail
from thumbq.cli.options import LOCAL, option
from thumbq.tls import UnusableAddress, check_address
from thumbq_runtime.settings import shared as settings

_OPTIONS = {"ca": settings.CA, "cert": settings.CERT, "key": settings.KEY}
# Files and folders may have any name.
_PLACES = {"listed", "models"}


def client_command(command: Callable[..., None], refusal: int = 1) -> Callable[..., None]:
    """Return the command with --ca, --cert and --key, which set their variables for whatever opens a connection.

    It exits with `refusal` when its texts or its address cannot be used.
    """
    # typer does not evaluate annotations of a signature that is set
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_tls(**given: Any) -> None:
        for name, setting in _OPTIONS.items():
            if path := given.pop(name):
                os.environ[setting.variable] = str(path)
        _check_texts(given, signature, refusal)
        try:
            check_address(given.get("server", LOCAL))
        except UnusableAddress as problem:
            fail(f"{problem}.", refusal)
        command(**given)

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


def _check_texts(given: Mapping[str, Any], signature: inspect.Signature, refusal: int) -> None:
    """Fail when a text cannot be sent, because the terminal gave bytes that are not UTF-8."""
    for name, value in given.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and name not in _PLACES and not _is_sendable(text):
                fail(f"{_shown(signature.parameters[name])} is not UTF-8.", refusal)


def _is_sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(parameter: inspect.Parameter) -> str:
    """Return the name of an option or an argument on the command line."""
    for about in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(about, ArgumentInfo):
            return parameter.name.upper()
        # Within Annotated, typer keeps the first name as the default.
        if isinstance(about, ParameterInfo) and isinstance(about.default, str):
            return about.default
    return f"--{parameter.name.replace('_', '-')}"
