"""The command line: one module for each group of commands, each command registered here by one line."""

try:
    import typer
except ModuleNotFoundError:
    raise SystemExit("thumbq: the command line needs its extra: pip install 'thumbq[cli]'") from None

import logging
import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from thumbq.cli.client_command import client_command
from thumbq.cli.enqueue import command as enqueue
from thumbq.cli.errors import output_is_written
from thumbq.cli.operating import audit, interventions, jobs, keys, observe, operate, top
from thumbq.cli.setup import database, demo, doctor, serve, tls
from thumbq.cli.worker import command as worker
from thumbq_runtime.logs.lines import LineFormatter, lines_handler
from thumbq_runtime.settings.environment import reach_this_machine_directly, warn_of_strangers
from thumbq_runtime.settings.shared import API_KEY, API_KEY_FILE

app = typer.Typer(
    help="A durable queue that hands thumbnail jobs to workers.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"thumbq {version('thumbq')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and end.")
    ] = False,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that holds the API key; else THUMBQ_API_KEY or THUMBQ_API_KEY_FILE.")
    ] = None,
) -> None:
    if api_key_file:
        os.environ.pop(API_KEY.variable, None)
        os.environ[API_KEY_FILE.variable] = str(api_key_file)


app.command("serve")(serve.serve)
app.command("server")(serve.server)
app.command("gateway")(serve.gateway)
app.command("worker", help=worker.HELP)(client_command(worker.worker, worker.WRONG_SETTING))
app.command("demo")(demo.demo)
app.command("enqueue")(client_command(enqueue.enqueue))
app.command("jobs")(client_command(jobs.jobs))
app.command("job")(client_command(jobs.job))
app.command("stats")(client_command(operate.stats))
app.command("top")(client_command(top.top))
app.command("workers")(client_command(operate.workers))
app.command("dead")(client_command(operate.dead))
app.command("pause")(client_command(operate.pause))
app.command("resume")(client_command(operate.resume))
app.command("cancel")(client_command(interventions.cancel))
app.command("retry")(client_command(interventions.retry))
app.command("forget")(client_command(interventions.forget))
app.add_typer(keys.app, name="keys")
app.command("audit")(client_command(audit.audit))
app.command("watch")(client_command(observe.watch))
app.command("health")(client_command(observe.health))
app.command("doctor")(client_command(doctor.doctor))
app.command("tls")(tls.tls)
app.add_typer(database.app, name="db")


def main() -> None:
    """Run the command line."""
    if sys.stdin is None:
        # Whoever starts a program may close it. Then there is nobody to answer.
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - it stays open until the end
    if isinstance(sys.stdout, TextIOWrapper):
        # Not every terminal has the letters of every text.
        sys.stdout.reconfigure(errors="backslashreplace")
    # A terminal obeys nothing in what a server says.
    logging.basicConfig(handlers=[lines_handler("command", LineFormatter("%(message)s"), json_lines=False)])
    warn_of_strangers(os.environ)
    reach_this_machine_directly(os.environ)
    with output_is_written():
        app()
