"""The notification stream, as pages and programs read it."""

import asyncio
import json
import re

import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.notifications.cursor import Cursor


async def test_a_page_sees_a_job_from_its_request_to_its_picture(client: Client) -> None:
    async with client.listen() as page:
        job_id = await client.enqueue(42)
        waiting = await page.event()
        await client.dequeue()
        body = {"thumbnailPath": "/t/42.png", "sizeBytes": 1, "width": 1, "height": 1}
        await client.post(f"/api/thumbnail-jobs/{job_id}/complete", body)
        ready = await page.event()
    timestamp, url = ready.data["timestamp"], ready.data["thumbnailUrl"]
    assert waiting.data["status"] == "Pending"
    assert ready.data == {
        "modelId": 42,
        "jobId": job_id,
        "status": "Ready",
        "thumbnailUrl": url,
        "errorMessage": None,
        "attemptCount": 1,
        "willRetry": False,
        "timestamp": timestamp,
    }
    assert timestamp.endswith("Z")
    assert url == (await client.get("/models/42/thumbnail")).json["fileUrl"]
    assert Cursor.parse(ready.id).seq == Cursor.parse(waiting.id).seq + 1


async def test_a_failed_attempt_tells_when_the_next_one_follows(client: Client) -> None:
    async with client.listen() as page:
        job_id = await client.enqueue(42)
        await page.event()
        await client.dequeue()
        await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no\ntriangles"})
        failed = (await page.event()).data
    assert (failed["status"], failed["errorMessage"], failed["willRetry"]) == ("Failed", "no\ntriangles", True)
    assert failed["nextAttemptAt"] > failed["timestamp"]
    assert "test" not in failed


async def test_a_test_notification_says_that_it_is_one(client: Client) -> None:
    async with client.listen() as page:
        await client.announce(7, "Failed", errorMessage="only a test")
        assert (await page.event()).data["test"] is True


async def test_the_answer_tells_every_cache_and_proxy_to_keep_out_of_it(client: Client) -> None:
    async with client.listen() as page:
        headers = page.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"


async def test_pages_are_told_to_come_back_at_different_times(client: Client) -> None:
    async def retry() -> int:
        async with client.listen() as page:
            return int((await page.frame()).fields["retry"])

    times = {await retry() for _ in range(8)}
    assert len(times) > 1
    assert all(1_000 <= time <= 5_000 for time in times)


async def test_a_new_page_learns_its_cursor_at_once(client: Client) -> None:
    """Without a cursor, it would miss the events between its first connection and its second."""
    cursor = await client.announce_and_arrive(1)
    async with client.listen() as page:
        await page.frame()
        assert (await page.frame()).fields == {"id": cursor}


async def test_by_default_a_page_sees_only_what_comes(client: Client) -> None:
    await client.announce_and_arrive(1)
    async with client.listen() as page, client.listen("after=latest") as other:
        await client.announce(2)
        assert await page.models(1) == [2]
        assert await other.models(1) == [2]


async def test_earliest_is_all_that_there_is(client: Client) -> None:
    for model_id in range(1, 6):
        await client.announce(model_id)
    async with client.listen("after=earliest") as page:
        assert await page.models(5) == [1, 2, 3, 4, 5]


async def test_a_page_goes_on_after_its_cursor(client: Client) -> None:
    await client.announce(1)
    cursor = await client.cursor()
    await client.announce(2)
    await client.announce(3)
    async with client.listen(f"after={cursor}") as page:
        assert await page.models(2) == [2, 3]
        await client.announce(4)
        assert await page.models(1) == [4]


async def test_the_header_of_a_reconnecting_browser_wins_over_its_url(client: Client) -> None:
    await client.announce(1)
    await client.announce(2)
    cursor = await client.cursor()
    await client.announce(3)
    async with client.listen("after=earliest", **{"Last-Event-ID": cursor}) as page:
        assert await page.models(1) == [3]


async def test_a_page_that_loads_and_then_listens_misses_nothing(client: Client) -> None:
    job_id = await client.enqueue(42)
    thumbnail = (await client.get("/models/42/thumbnail")).json
    jobs = (await client.get("/api/thumbnail-jobs")).json
    assert (thumbnail["status"], jobs["jobs"][0]["id"]) == ("Pending", job_id)
    await client.announce(42, "Failed")
    for loaded in (thumbnail, jobs):
        async with client.listen(f"modelId=42&after={loaded['cursor']}") as page:
            assert (await page.event()).data["status"] == "Failed"


async def test_a_quiet_stream_has_a_heartbeat(server: str) -> None:
    async with running_gateway(server, heartbeat=0.15) as http, Client(http).listen() as page:
        for _ in range(3):
            while not (frame := await page.frame()).comments:
                pass
            assert not frame.fields


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("after=yesterday", 'after must be a cursor such as "5f0c21ab-42", or "earliest", or "latest".'),
        ("modelId=1,x", "modelId must be a whole number."),
        ("modelId=0", "modelId must be between 1 and 9223372036854775807."),
        ("status=Ready,Splendid", "status must be one of None, Pending, Processing, Ready, Failed."),
        ("status=Unspecified", "status must be one of None, Pending, Processing, Ready, Failed."),
        ("queue=perhaps", "queue must be true or false."),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(client: Client, query: str, sentence: str) -> None:
    answer = await client.get(f"/api/notifications?{query}")
    assert (answer.status, answer.json["message"]) == (400, sentence)


async def test_what_the_ring_has_forgotten_comes_from_the_log_without_gap_or_repetition(server: str) -> None:
    async with running_gateway(server, ring_notifications=5) as http:
        client = Client(http)
        for model_id in range(1, 41):
            await client.announce(model_id)
        async with client.listen("after=earliest") as page, client.listen("modelId=3,39&after=earliest") as other:
            assert await page.models(40) == list(range(1, 41))
            assert await other.models(2) == [3, 39]
            await client.announce(41)
            assert await page.models(1) == [41]
        metrics = (await client.get("/metrics")).text
    # Events that arrive while a page catches up may cost it another one.
    (pages,) = re.findall(r"^thumbq_gateway_log_pages_total (.+)$", metrics, re.MULTILINE)
    assert float(pages) >= 2


async def test_a_gateway_that_starts_late_still_serves_old_cursors_from_its_ring(server: str) -> None:
    async with running_gateway(server) as http:
        first = Client(http)
        cursor = await first.cursor()
        for model_id in (1, 2, 3):
            await first.announce(model_id)
    async with running_gateway(server) as http:
        client = Client(http)
        async with client.listen(f"after={cursor}") as page:
            assert await page.models(3) == [1, 2, 3]
        assert "thumbq_gateway_log_pages_total 0.0" in (await client.get("/metrics")).text


async def test_pages_that_come_while_much_happens_miss_nothing(client: Client) -> None:
    """Each page joins at a different moment, some in the middle of a burst."""
    total = 60

    async def announce_all() -> None:
        for model_id in range(1, total + 1):
            await client.announce(model_id)

    async def late_page() -> list[int]:
        async with client.listen("after=earliest") as page:
            return await page.models(total)

    announcing = asyncio.create_task(announce_all())
    pages = [asyncio.create_task(late_page())]
    for seen in range(10, total, 10):
        async with client.listen("after=earliest") as page:
            await page.models(seen)
        pages.append(asyncio.create_task(late_page()))
    for models in await asyncio.gather(*pages):
        assert models == list(range(1, total + 1))
    await announcing


async def test_programs_get_the_same_as_json_lines(client: Client) -> None:
    await client.announce(1)
    async with client.http.get(
        "/api/notifications?after=earliest", headers={"Accept": "application/x-ndjson"}
    ) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        opening, event = [json.loads(await response.content.readline()) for _ in range(2)]
    assert opening["event"] == "open"
    assert (event["event"], event["id"]) == ("thumbnail", await client.cursor())
    assert event["data"]["modelId"] == 1


async def test_an_old_proxy_gets_the_stream_without_chunks(client: Client) -> None:
    """Many proxies speak HTTP/1.0 to their upstream."""
    assert client.http._base_url is not None
    reader, writer = await asyncio.open_connection(client.http._base_url.host, client.http._base_url.port)
    writer.write(b"GET /api/notifications HTTP/1.0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    await reader.readuntil(b"\n\n")
    await reader.readuntil(b"\n\n")
    await client.announce(5)
    assert (await reader.readline()).startswith(b"id: ")
    assert await reader.readline() == b"event: thumbnail\n"
    writer.close()


async def test_who_asks_for_it_also_sees_the_queue(client: Client) -> None:
    async with client.listen("queue=true") as page:
        first = await page.event("queue")
        assert first.data["pending"] == 0
        assert "id" not in first.fields
        await client.enqueue(42)
        while (frame := await page.frame()).name != "queue":
            pass
    assert frame.data["pending"] == 1
    assert frame.data["rendering"] == []


async def test_a_second_watcher_sees_the_queue_at_once(client: Client) -> None:
    async with client.listen("queue=true") as first:
        shown = (await first.event("queue")).data
        async with client.listen("queue=true") as second:
            assert (await second.event("queue")).data == shown


async def test_the_queue_can_be_watched_again_after_nobody_did(client: Client) -> None:
    for _ in range(2):
        async with client.listen("queue=true") as page:
            await page.event("queue")


async def test_a_client_that_goes_is_forgotten(client: Client) -> None:
    async with client.listen(), client.listen("modelId=1"):
        assert "thumbq_gateway_subscribers 2.0" in (await client.get("/metrics")).text

    async def is_forgotten() -> bool:
        return "thumbq_gateway_subscribers 0.0" in (await client.get("/metrics")).text

    assert await eventually(is_forgotten)
