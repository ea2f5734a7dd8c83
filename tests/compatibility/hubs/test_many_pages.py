"""What a hub sends to many pages lets other tasks run in between, and heals all of them after a hole in the log."""

import asyncio
from dataclasses import dataclass, field

import grpc
from structlog.testing import capture_logs

from tests.support.service.gateway import RestartableServer
from tests.support.waiting import eventually
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.signalr.hubs.page_hub import ALL_MODELS, PageHub
from thumbq_gateway.signalr.protocol import Record

PAGES, NEWS = 60, 50
MOST_AT_ONCE = 100


@dataclass(eq=False)
class Page:
    """A page, as its hub sees it."""

    groups: set[str] = field(default_factory=set)
    ended: bool = False
    models: frozenset[int] | None = None
    records: int = 0

    def send(self, record: Record) -> None:
        self.records += 1

    async def drained(self) -> None:
        """It reads everything."""


async def test_many_news_for_some_pages_keep_no_other_task_waiting() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:  # nothing is asked
        hub = PageHub(channel, Metrics().hubs, asyncio.Event().wait)
        pages = [Page() for _ in range(PAGES)]
        for page in pages:
            hub.join_group(page, ALL_MODELS)
        news = [
            Notification(model_id=number, status=ThumbnailStatus.THUMBNAIL_STATUS_READY, cursor=f"e-{number}")
            for number in range(1, NEWS + 1)
        ]
        hearing = asyncio.create_task(hub.hear(news))
        sent, before = 0, 0
        while not hearing.done():
            await asyncio.sleep(0)
            sent, before = sum(page.records for page in pages), sent
            assert sent - before <= MOST_AT_ONCE
        await hearing
        assert [page.records for page in pages] == [NEWS] * PAGES


async def test_after_a_hole_in_the_log_each_model_s_pages_are_told_how_it_stands_however_long_the_server_is_away(
    restartable: RestartableServer,
) -> None:
    options = [("grpc.max_reconnect_backoff_ms", 500)]
    async with grpc.aio.insecure_channel(restartable.address, options) as channel:
        hub = PageHub(channel, Metrics().hubs, asyncio.Event().wait)
        pages = [Page() for _ in range(PAGES)]
        for number, page in enumerate(pages[:-1], 1):
            hub.join_group(page, f"model {number}")
        await restartable.stop()
        with capture_logs() as lines:

            async def has_failed_three_times() -> bool:
                return len(lines) >= 3

            hub.log_has_hole()
            await eventually(has_failed_three_times)
        hub.join_group(pages[-1], f"model {PAGES}")
        hub.log_has_hole()
        await restartable.start()

        async def are_all_told() -> bool:
            return all(page.records for page in pages)

        await eventually(are_all_told)
