"""Jobs that workers get by JSON count for their key or address, and only a gateway tells for whom it calls."""

from typing import Any

import aiohttp
import grpc

from tests.support.network.http_client import Answer, Client
from tests.support.service.gateway import running_gateway
from tests.support.service.keys import GATEWAY_SECRET, bearer, keyed, make_key, prefix_of
from tests.support.service.server import running_server, status_of
from tests.support.waiting import eventually
from thumbq.v1.queue_pb2 import CallTogetherRequest, DequeueJobRequest, DequeueJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_runtime.access.on_behalf import Origin, told

JOBS = "/api/thumbnail-jobs"
# So that programs of this machine are counted by the server, too.
COUNTED = {"gateways": "192.0.2.1", "gateway_secret": GATEWAY_SECRET}
PICTURE = {"thumbnailPath": "/var/lib/thumbq/1.png", "sizeBytes": 1, "width": 1, "height": 1}
TOGETHER = CallTogetherRequest(
    calls=[CallTogetherRequest.Call(dequeue_job=DequeueJobRequest(worker_id="w"), caller="192.0.2.77")]
)


async def dequeue(http: aiohttp.ClientSession, headers: dict[str, str], path: str = "/dequeue", **body: Any) -> Answer:
    worker = f"worker of {sorted(headers.items())}"[:60]  # leases of one name are told apart by nothing else
    answer = await Client(http).post(f"{JOBS}{path}", {"workerId": worker, **body}, headers=headers)
    assert answer.status in {200, 204, 429}, answer.text
    return answer


def expect_bound(answer: Answer, most: int) -> None:
    assert answer.status == 429, answer.text
    assert answer.headers["Retry-After"] == "5"
    assert f"has {most} jobs in flight, as many as it may have (THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS)" in answer.text


async def test_the_jobs_of_a_key_share_one_bound_by_json_and_by_grpc(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, jobs_in_flight_of_address=3) as address,
        running_gateway(address, gateway_secret=GATEWAY_SECRET) as http,
        grpc.aio.insecure_channel(address) as channel,
    ):
        admin = await make_key(channel, "admin")
        async with keyed(address, admin) as operator:
            hoarder, good = await make_key(operator, "worker"), await make_key(operator, "worker")
        http.headers.update(bearer(admin))
        await Client(http).enqueue_many(range(1, 11))
        mine, theirs = bearer(hoarder), bearer(good)

        kept = (await dequeue(http, mine)).json
        assert (await dequeue(http, mine, wait="1s")).status == 200
        assert len((await dequeue(http, mine, "/dequeue-batch", maxJobs=5)).json["jobs"]) == 1
        expect_bound(await dequeue(http, mine), 3)
        expect_bound(await dequeue(http, mine, wait="1s"), 3)
        expect_bound(await dequeue(http, mine, "/dequeue-batch", maxJobs=5), 3)
        assert (await dequeue(http, theirs)).status == 200

        async with keyed(address, hoarder) as by_grpc, keyed(address, good) as other_by_grpc:
            code, _ = await status_of(QueueServiceStub(by_grpc).DequeueJob(DequeueJobRequest(worker_id="w")))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            claim = DequeueJobsRequest(worker_id="w", max_jobs=1)
            for origin in (Origin(prefix=prefix_of(hoarder)), Origin(address="192.0.2.77")):
                claimed = await QueueServiceStub(other_by_grpc).DequeueJobs(claim, metadata=told(origin))
                assert len(claimed.jobs) == 1, "it was believed"
            call = QueueServiceStub(other_by_grpc).DequeueJobs(claim, metadata=told(Origin(address="192.0.2.78")))
            code, _ = await status_of(call)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, "it has three jobs, and was believed to be another"
            code, _ = await status_of(QueueServiceStub(other_by_grpc).CallTogether(TOGETHER))
            assert code is grpc.StatusCode.PERMISSION_DENIED

        answer = await Client(http).post(f"{JOBS}/{kept['id']}/complete", PICTURE, headers=mine)
        assert answer.status == 200, answer.text

        async def has_room() -> bool:
            return (await dequeue(http, mine)).status == 200

        await eventually(has_room)


async def test_without_keys_the_address_counts_and_nobody_names_another(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, jobs_in_flight_of_address=1) as address,
        running_gateway(address, gateway_secret=GATEWAY_SECRET, trusted_proxies="127.0.0.1") as http,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await Client(http).enqueue_many(range(1, 11))
        for site in ("192.0.2.7", "192.0.2.8"):
            assert (await dequeue(http, {"X-Forwarded-For": site})).status == 200
            expect_bound(await dequeue(http, {"X-Forwarded-For": site}), 1)

        (answer,) = (await QueueServiceStub(channel).CallTogether(TOGETHER)).answers
        assert answer.dequeue_job.HasField("job")
        (answer,) = (await QueueServiceStub(channel).CallTogether(TOGETHER)).answers
        assert "1 jobs in flight" in answer.error.message
