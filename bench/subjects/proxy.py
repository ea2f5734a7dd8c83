"""The simplest proxy from JSON to gRPC, as a yardstick for the gateway: `python -m bench.subjects.proxy SERVER`.

It has aiohttp in front and grpc.aio behind, names the fields by hand, checks nothing and translates no error. It prints
its port.
"""

import asyncio
import json
import sys

import grpc
import uvloop
from aiohttp import web

from thumbq.v1.queue_pb2 import CompleteJobRequest, DequeueJobRequest, EnqueueJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub


async def serve(server: str) -> None:
    """Serve until killed."""
    async with grpc.aio.insecure_channel(server) as channel:
        queue = QueueServiceStub(channel)

        async def enqueue(request: web.Request) -> web.Response:
            body = await request.json()
            call = EnqueueJobRequest(model_id=body["modelId"], model_hash=body["modelHash"])
            answer = await queue.EnqueueJob(call, timeout=30)
            return _json({"jobId": answer.job_id, "outcome": answer.outcome})

        async def dequeue(request: web.Request) -> web.Response:
            body = await request.json()
            answer = await queue.DequeueJob(DequeueJobRequest(worker_id=body["workerId"]), timeout=30)
            if not answer.HasField("job"):
                return web.Response(status=204)
            job = answer.job
            return _json(
                {
                    "id": job.id,
                    "modelId": job.model_id,
                    "modelHash": job.model_hash,
                    "status": "Processing",
                    "attemptCount": job.attempt_count,
                    "createdAt": job.created_at.ToJsonString(),
                    "updatedAt": job.updated_at.ToJsonString(),
                }
            )

        async def complete(request: web.Request) -> web.Response:
            body = await request.json()
            call = CompleteJobRequest(
                job_id=int(request.match_info["job_id"]),
                thumbnail_path=body["thumbnailPath"],
                size_bytes=body["sizeBytes"],
                width=body["width"],
                height=body["height"],
            )
            answer = await queue.CompleteJob(call, timeout=30)
            return _json({"modelId": answer.model_id, "status": "Ready", "message": answer.message})

        app = web.Application()
        app.router.add_post("/api/thumbnail-jobs", enqueue)
        app.router.add_post("/api/thumbnail-jobs/dequeue", dequeue)
        app.router.add_post("/api/thumbnail-jobs/{job_id}/complete", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


def _json(fields: dict[str, object]) -> web.Response:
    return web.Response(body=json.dumps(fields).encode(), content_type="application/json")


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
