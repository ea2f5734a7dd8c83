"""Where a subscriber is resumed, and when it has missed something."""

import pytest

from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.readers.cursor import Cursor, ResetReason, head, resume


@pytest.mark.parametrize("cursor", [Cursor("epoch", 0), Cursor("with-hyphens", 7), Cursor("e", 10**18 - 1)])
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor):
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "7", "-7", "epoch", "epoch-", "epoch-x", "epoch-²", f"epoch-{10**18}"])
def test_anything_else_is_no_cursor(text: str):
    assert Cursor.parse(text) is None


@pytest.fixture
async def newest(others: QueueUnderTest) -> Cursor:
    """The head of a log with four notifications."""
    for model_id in range(1, 5):
        await others.enqueue(new_job(model_id))
    return await head(others.database)


@pytest.mark.parametrize("after", ["", "latest"])
async def test_the_latest_is_the_head(others: QueueUnderTest, newest: Cursor, after: str):
    assert newest.seq == 4
    assert await resume(others.database, after) == (newest, None)


async def test_the_earliest_is_before_the_oldest_notification(others: QueueUnderTest, newest: Cursor):
    assert await resume(others.database, "earliest") == (newest._replace(seq=0), None)


@pytest.mark.parametrize("seq", [0, 2, 4])
async def test_a_cursor_inside_the_log_goes_on_from_where_it_is(others: QueueUnderTest, newest: Cursor, seq: int):
    cursor = newest._replace(seq=seq)
    assert await resume(others.database, str(cursor)) == (cursor, None)


async def test_a_cursor_that_cannot_go_on_is_moved_to_the_head_with_the_reason(others: QueueUnderTest, newest: Cursor):
    for after, reason in [
        ("nonsense", ResetReason.MALFORMED),
        ("another-2", ResetReason.OTHER_LOG),
        (str(newest._replace(seq=5)), ResetReason.FUTURE),
    ]:
        assert await resume(others.database, after) == (newest, reason)


async def test_a_cursor_before_the_oldest_notification_is_too_old(others: QueueUnderTest, newest: Cursor):
    await others.sql("DELETE FROM notifications WHERE seq_last <= 2")
    try:
        assert await resume(others.database, str(newest._replace(seq=1))) == (newest, ResetReason.TOO_OLD)
        assert await resume(others.database, str(newest._replace(seq=2))) == (newest._replace(seq=2), None)
        assert await resume(others.database, "earliest") == (newest._replace(seq=2), None)
    finally:
        await others.sql("DELETE FROM notifications")
        await others.sql("UPDATE queue_head SET seq = 0")
