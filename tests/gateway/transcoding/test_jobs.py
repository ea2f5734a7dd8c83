"""The JSON routes that the contract document does not name."""

import asyncio

from tests.support.network.http_client import Client, digest
from tests.support.waiting import eventually

RESULT = {"thumbnailPath": "/var/lib/thumbs/a.png", "sizeBytes": 45678, "width": 512, "height": 512}


async def test_one_job_or_many_are_enqueued_at_one_address(client: Client) -> None:
    one = await client.post("/api/thumbnail-jobs", {"modelId": 1, "modelHash": digest(1)})
    many = await client.post(
        "/api/thumbnail-jobs", {"Jobs": [{"modelId": model_id, "modelHash": digest(model_id)} for model_id in (1, 2)]}
    )
    same, other = many.json["jobs"]
    assert one.json.keys() == {"jobId", "outcome"}
    assert [found["outcome"] for found in (one.json, same, other)] == ["Created", "Existing", "Created"]
    assert one.json["jobId"] == same["jobId"] != other["jobId"]


async def test_jobs_are_listed_by_status_and_page_by_page(client: Client) -> None:
    for model_id in range(1, 6):
        await client.enqueue(model_id)
    await client.dequeue()
    waiting = (await client.get("/api/thumbnail-jobs?status=pending")).json
    assert [job["modelId"] for job in waiting["jobs"]] == [5, 4, 3, 2]
    first = (await client.get("/api/thumbnail-jobs?pageSize=3")).json
    second = (
        await client.get("/api/thumbnail-jobs", params={"page_size": "3", "pageToken": first["nextPageToken"]})
    ).json
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == [5, 4, 3, 2, 1]
    assert second["nextPageToken"] == ""
    assert [job["modelId"] for job in (await client.get("/api/thumbnail-jobs?modelId=2")).json["jobs"]] == [2]


async def test_a_job_is_read_without_the_token_of_its_lease(client: Client) -> None:
    job_id = await client.enqueue()
    claimed = await client.dequeue()
    shown = await client.job(job_id)
    assert claimed["leaseToken"]
    assert shown["leaseToken"] == ""
    assert (shown["status"], shown["workerId"]) == ("Processing", "worker-001")


async def one_waits(client: Client) -> None:
    """Return when one call waits for a job, or for the end of one."""

    async def is_shown() -> bool:
        return "thumbq_gateway_long_polls 1.0" in (await client.get("/metrics")).text

    await eventually(is_shown)


async def test_a_long_poll_is_answered_when_a_job_comes(client: Client) -> None:
    polling = asyncio.create_task(client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "wait": "20s"}))
    await one_waits(client)
    await client.enqueue(42)
    answer = await polling
    assert (answer.status, answer.json["modelId"]) == (200, 42)


async def test_a_long_poll_ends_without_a_job(client: Client) -> None:
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "wait": 0.05})
    assert answer.status == 204


async def test_a_worker_that_hangs_up_while_it_waits_takes_no_job_with_it(client: Client) -> None:
    impatient = asyncio.create_task(client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "wait": "30s"}))
    await one_waits(client)
    impatient.cancel()
    await client.enqueue(42)
    # The server may learn of it after the enqueue; then it gives the job back.
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "another", "wait": "30s"})
    assert answer.json["modelId"] == 42


async def test_who_waits_for_a_job_is_told_when_it_has_ended(client: Client) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    waiting = asyncio.create_task(client.get(f"/api/thumbnail-jobs/{job_id}?wait=30s"))
    await one_waits(client)
    await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    async with asyncio.timeout(20):  # below the wait, after which it is answered however the job stands
        assert (await waiting).json["status"] == "Completed"


async def test_a_lease_can_be_extended_and_given_back(client: Client) -> None:
    job_id = await client.enqueue()
    job = await client.dequeue()
    token = {"leaseToken": job["leaseToken"]}
    extended = await client.post(f"/api/thumbnail-jobs/{job_id}/extend", token | {"duration": "3600s"})
    assert extended.json["leaseExpiresAt"] > job["leaseExpiresAt"]
    released = await client.post(f"/api/thumbnail-jobs/{job_id}/release", token)
    assert (released.status, released.json) == (200, {})
    stale = await client.post(f"/api/thumbnail-jobs/{job_id}/extend", token)
    assert (stale.status, stale.json["code"]) == (400, 9)


async def test_results_of_several_jobs_are_reported_at_once(client: Client) -> None:
    for model_id in (1, 2):
        await client.enqueue(model_id)
    batch = (await client.post("/api/thumbnail-jobs/dequeue-batch", {"workerId": "w", "maxJobs": 5})).json["jobs"]
    results = [
        {"leaseToken": batch[0]["leaseToken"], "complete": RESULT},
        {"leaseToken": batch[1]["leaseToken"], "fail": {"errorMessage": "no triangles", "retryable": False}},
        {"leaseToken": "99-99", "release": {}},
    ]
    answer = await client.post("/api/thumbnail-jobs/results", {"results": results})
    assert [(found["leaseToken"], found["code"]) for found in answer.json["exceptions"]] == [("99-99", "Stale")]
    states = [await client.job(job["id"]) for job in batch]
    assert [job["status"] for job in states] == ["Completed", "Failed"]


async def test_twenty_at_once_who_want_the_same_get_the_same(client: Client) -> None:
    body = {"modelId": 1, "modelHash": digest(1)}
    answers = await asyncio.gather(*[client.post("/api/thumbnail-jobs", body) for _ in range(20)])
    assert len({answer.json["jobId"] for answer in answers}) == 1
    assert sorted(answer.json["outcome"] for answer in answers) == ["Created"] + ["Existing"] * 19


async def test_requests_are_counted_by_rpc_and_status(client: Client) -> None:
    await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w"})
    await client.post("/api/thumbnail-jobs/dequeue", {})

    async def are_counted() -> bool:
        text = (await client.get("/metrics")).text
        return all(
            f'thumbq_gateway_requests_total{{rpc="DequeueJob",status="{status}"}} 1.0' in text for status in (204, 400)
        )

    assert await eventually(are_counted)


async def test_a_request_whose_client_hangs_up_and_one_for_an_impossible_id_are_counted_too(client: Client) -> None:
    impatient = asyncio.create_task(client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "wait": "30s"}))
    await one_waits(client)
    impatient.cancel()
    assert (await client.get(f"/api/thumbnail-jobs/{10**19}")).status == 404

    async def are_counted() -> bool:
        lines = (await client.get("/metrics")).text.splitlines()
        return all(
            f'thumbq_gateway_requests_total{{rpc="{rpc}",status="{status}"}} 1.0' in lines
            for rpc, status in (("DequeueJob", 499), ("GetJob", 404))
        )

    assert await eventually(are_counted)
