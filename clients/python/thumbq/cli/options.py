"""Options that several commands have, made from the settings that they stand for."""

from pathlib import Path
from typing import Annotated, Any

import typer

from thumbq_runtime.settings import shared as settings
from thumbq_runtime.settings.declaration import Setting


def option(setting: Setting[object], *names: str, show_default: bool = True) -> Any:
    """Return the option that sets a setting, with the setting's sentence, variables and bounds."""
    default = setting.shown_default or str(setting.default)
    return typer.Option(
        *names,
        envvar=list(setting.variables),
        show_default=default if show_default else False,
        min=setting.kind.minimum,
        max=setting.kind.maximum,
        help=setting.sentence,
    )


# An option that is not given leaves the variable alone, so that the process behind the command chooses the default.
DataDir = Annotated[Path | None, option(settings.DATA_DIR)]
HttpPort = Annotated[int | None, option(settings.HTTP_PORT)]
GrpcPort = Annotated[int | None, option(settings.GRPC_PORT)]
Host = Annotated[str | None, typer.Option(show_default=settings.GRPC_HOST.default, help="Address to bind.")]
Insecure = Annotated[bool, option(settings.INSECURE, "--insecure", show_default=False)]
Processes = Annotated[int | None, option(settings.PROCESSES)]
GatewaysServer = Annotated[str | None, option(settings.SERVER)]

# Of the commands that are clients themselves.
Server = Annotated[str, typer.Option(envvar=list(settings.SERVER.variables), help="Address of the server's gRPC API.")]
LOCAL = settings.SERVER.default
LARGEST_ID = 2**63 - 1


def id_argument(metavar: str, meaning: str) -> Any:
    """Return an argument that is the id of a job or a model, or several."""
    return typer.Argument(metavar=metavar, min=1, max=LARGEST_ID, help=meaning)


def id_option(meaning: str, *, show_default: str | bool = True) -> Any:
    """Return an option that is the id of a model."""
    return typer.Option(min=1, max=LARGEST_ID, show_default=show_default, help=meaning)
