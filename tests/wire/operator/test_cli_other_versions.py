"""The operator's commands beside a server of another version."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tests.wire.operator.test_admin import enqueue
from tests.wire.operator.test_cli_interventions import thumbq
from thumbq.v1.admin_pb2 import ExplainJobResponse, ListKeysResponse


@asynccontextmanager
async def answering(behind: str, method: str, kind: type[Any], change: Callable[[Any], object]) -> AsyncIterator[str]:
    """Run a server that passes calls on to the one behind, and changes the answers of one method. Yield its address."""

    class PassedOn(grpc.GenericRpcHandler):
        def service(self, call):
            async def pass_on(request, _context):
                answer: bytes = await channel.unary_unary(call.method)(request)
                if not call.method.endswith(f"/{method}"):
                    return answer
                message = kind.FromString(answer)
                change(message)
                return message.SerializeToString()

            return grpc.unary_unary_rpc_method_handler(pass_on)

    async with grpc.aio.insecure_channel(behind) as channel:
        server = grpc.aio.server(handlers=[PassedOn()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


async def test_a_server_that_knows_no_kinds_tells_of_none(server, queue):
    job_id = await enqueue(queue)
    older = answering(server, "ExplainJob", ExplainJobResponse, lambda answer: answer.job.ClearField("asset_type"))
    async with older as address:
        code, output = await thumbq(address, "job", str(job_id))
    assert (code, re.findall("^kind.*", output, re.MULTILINE)) == (0, [])


async def test_a_role_of_a_newer_server_is_a_number(server):
    newer = answering(server, "ListKeys", ListKeysResponse, lambda answer: answer.keys.add(role=99))
    async with newer as address:
        code, output = await thumbq(address, "keys", "list")
    assert (code, output.splitlines()[1].split()[0]) == (0, "99")
