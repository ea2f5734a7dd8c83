"""`thumbq tls`: makes a private certificate authority and certificates for a test set-up."""

from pathlib import Path
from typing import Annotated

import typer

from thumbq.cli.errors import fail
from thumbq.cli.output.formatting import format_text, out


def tls(
    folder: Annotated[Path, typer.Option(help="Folder of the authority, made if it is missing.")] = Path("thumbq-tls"),
    host: Annotated[
        list[str] | None,
        typer.Option(show_default="only this machine", help="Name or address of the server; give it again for more."),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(show_default="none", help="Name of a client, such as render-1; give it again for more."),
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="Days for which the certificates are valid.")] = 90,
) -> None:
    """Make a private certificate authority, a server's certificate, and one for each client.

    Run again, it keeps the authority and makes new certificates.
    Example: thumbq tls --host queue.example --client render-1
    """
    try:
        from thumbq_runtime.tls.authority import Authority
    except ModuleNotFoundError:
        fail("This command needs the extra 'tls': pip install 'thumbq[tls]'")
    try:
        authority = Authority(folder)
        server = authority.server(host or (), days)
        clients = [authority.client(name, days) for name in client or ()]
    except (OSError, ValueError) as problem:
        fail(f"The certificates cannot be made: {problem}.")
    ca = folder.absolute() / "ca.pem"
    _show("For the server", THUMBQ_TLS_CERT_FILE=server, THUMBQ_TLS_KEY_FILE=server.with_suffix(".key"))
    if clients:
        _show("For the server, to ask clients for certificates", THUMBQ_TLS_CLIENT_CA_FILE=ca)
    else:
        _show("For clients", THUMBQ_CA=ca)
    for path in clients:
        _show(f"For the client {path.stem}", THUMBQ_CA=ca, THUMBQ_CERT=path, THUMBQ_KEY=path.with_suffix(".key"))


def _show(heading: str, **variables: Path) -> None:
    out.print(f"[bold]{format_text(heading)}[/]")
    for name, path in variables.items():
        out.print(f"  {name}={format_text(str(path.absolute()))}", soft_wrap=True)
