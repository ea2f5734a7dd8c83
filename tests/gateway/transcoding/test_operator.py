"""What an operator sees and does, over JSON."""

from tests.support.network.http_client import Client


async def test_a_queue_is_paused_seen_and_resumed(client: Client) -> None:
    paused = await client.post("/api/admin/pause", {"pausedBy": "ada", "reason": "a disk is full"})
    assert (paused.status, paused.json["pause"]["reason"]) == (200, "a disk is full")
    job_id = await client.enqueue()
    assert (await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w1"})).status == 204
    stats = (await client.get("/api/admin/stats")).json
    assert (stats["pending"], stats["paused"], stats["pause"]["pausedBy"]) == (1, True, "ada")
    why = (await client.get(f"/api/thumbnail-jobs/{job_id}/why")).json
    assert why["reason"] == "Paused"
    await client.post("/api/admin/resume", {})
    assert (await client.dequeue())["id"] == job_id
    workers = (await client.get("/api/admin/workers")).json["workers"]
    [worker] = [worker for worker in workers if worker["inFlight"]]
    assert [worker[figure] for figure in ("completed", "failed", "completedPerMinute")] == [0, 0, 0]


async def test_a_dead_letter_is_found_by_its_reason_and_started_again(client: Client) -> None:
    job_id = await client.enqueue()
    job = await client.dequeue()
    failure = {"errorMessage": "no texture", "leaseToken": job["leaseToken"], "retryable": False}
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/fail", failure)).status == 200
    [attempt] = (await client.get(f"/api/thumbnail-jobs/{job_id}/attempts")).json["attempts"]
    assert (attempt["outcome"], attempt["errorMessage"]) == ("Failed", "no texture")
    [letter] = (await client.get("/api/admin/dead-letters?reason=Texture")).json["jobs"]
    assert letter["id"] == job_id
    assert (await client.get("/api/admin/dead-letters?reason=mesh")).json["jobs"] == []
    assert (await client.post("/api/admin/dead-letters/redrive", {"reason": "texture"})).json["redriven"] == 1
    assert (await client.dequeue())["id"] == job_id


async def test_pruning_and_cancelling_work_over_json(client: Client) -> None:
    job_id = await client.enqueue()
    assert (await client.post("/api/admin/cancel-jobs", {"jobIds": [job_id]})).json["jobIds"] == [job_id]
    assert (await client.post("/api/admin/prune", {"finishedBefore": "60s"})).json["prunedJobs"] == 0
    assert (await client.post("/api/admin/prune", {})).status == 400
