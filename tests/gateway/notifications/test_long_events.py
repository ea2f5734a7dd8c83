"""Events with long texts: what one client holds in the gateway is counted in bytes, not in events."""

from collections.abc import AsyncIterator

import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq.v1.notification_pb2 import Notification
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.page import PageBuilder
from thumbq_gateway.notifications.ring import Event, in_pieces

LONG = "\N{FIRE}" * 1_000
COUNT = 300


@pytest.fixture
async def burnt(server: str) -> AsyncIterator[Client]:
    """Run a gateway whose memory is shorter than the log, which is full of long errors."""
    async with running_gateway(server, ring_notifications=20) as http:
        client = Client(http)
        for model_id in range(1, COUNT + 1):
            await client.announce(model_id, "Failed", errorMessage=LONG)
        yield client


async def test_long_events_of_the_past_arrive_whole(burnt: Client) -> None:
    async with burnt.listen("after=earliest") as page:
        assert await page.models(COUNT) == list(range(1, COUNT + 1))
    async with burnt.listen(f"after=earliest&modelId={COUNT // 2}") as page:
        assert await page.models(1) == [COUNT // 2]


def notification(seq: int) -> Notification:
    return Notification(cursor=f"a-{seq}", model_id=seq, error_message=LONG)


async def test_a_page_of_the_log_ends_at_its_bytes_and_the_next_begins_there() -> None:
    log = [notification(seq) for seq in range(1, 1_001)]
    page = PageBuilder(lambda _: True)
    await page.take(log, Cursor("a", 1_000))
    first = page.built()
    assert first is not None
    assert page.is_full
    assert first.cursor == Cursor("a", first.events[-1].seq)
    assert 256 * 1024 <= sum(event.size for event in first.events) < 300 * 1024


async def test_a_page_that_wants_nothing_ends_after_what_was_read() -> None:
    page = PageBuilder(lambda _: False)
    await page.take([notification(seq) for seq in range(1, 5_001)], Cursor("a", 5_000))
    nothing = page.built()
    assert nothing is not None
    assert (nothing.events, nothing.cursor) == ([], Cursor("a", 2_000))


def test_events_are_written_in_pieces_of_64_kibibytes() -> None:
    events = [Event(seq, 1, 1, b"x" * size, b"") for seq, size in enumerate([30_000, 30_000, 30_000, 200_000, 5, 5])]
    assert [[event.seq for event in piece] for piece in in_pieces(events)] == [[0, 1], [2], [3], [4, 5]]
    assert list(in_pieces([])) == []
