"""`thumbq audit`: who did what to the queue, and which calls were refused."""

from typing import Annotated

import typer

from thumbq.cli.errors import TIMEOUT, run
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.output.as_json import JSON_HELP, print_json
from thumbq.cli.output.formatting import format_text, format_time, out
from thumbq.cli.output.tables import print_list
from thumbq.connection import open_channel
from thumbq.v1.admin_pb2 import ListAuditRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub


def audit(
    who: Annotated[str, typer.Option(help='Only what this caller did, as "key 3fa94c01".')] = "",
    action: Annotated[str, typer.Option(help="Only this action, as PauseQueue.")] = "",
    outcome: Annotated[str, typer.Option(help="Only what is done, refused, failed or begun.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    server: Server = LOCAL,
) -> None:
    """List what operators did and which calls were refused, the newest first.

    Example: thumbq audit --outcome refused
    """
    request = ListAuditRequest(page_size=limit, who=who, action=action, outcome=outcome)
    run(server, _audit(server, request, json))


async def _audit(server: str, request: ListAuditRequest, json: bool) -> None:
    async with open_channel(server) as channel:
        answer = await AdminServiceStub(channel).ListAudit(request, timeout=TIMEOUT)
    if json:
        print_json(answer.entries)
        return
    if not answer.entries:
        out.print("No such entries." if request.who or request.action or request.outcome else "Nothing is recorded.")
        return
    rows = []
    for entry in answer.entries:
        detail = " ".join(filter(None, (entry.reference, entry.detail)))
        texts = map(format_text, (entry.who, entry.address, entry.action, entry.outcome, detail))
        rows.append((format_time(entry.at), *texts))
    print_list(("when", "who", "from", "what", "outcome", "detail"), rows)
