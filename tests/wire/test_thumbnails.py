"""GetThumbnails: what pages show for many models, in one answer."""

import grpc

from tests.support.server import status_of
from tests.wire.test_notifications import PENDING, READY, Subscriber, present_cursor, render, seen
from thumbq.v1 import job_pb2, notification_pb2


def asked(*model_ids):
    return notification_pb2.GetThumbnailsRequest(model_ids=model_ids)


async def test_the_thumbnails_come_in_the_order_of_the_request_each_as_get_thumbnail_answers(queue, notifications):
    await render(queue, 1)
    await render(queue, 2, error="no")
    answer = await notifications.GetThumbnails(asked(3, 2, 1))
    assert [(one.model_id, one.status) for one in answer.thumbnails] == [
        (3, job_pb2.THUMBNAIL_STATUS_NONE),
        (2, job_pb2.THUMBNAIL_STATUS_FAILED),
        (1, READY),
    ]
    for one in answer.thumbnails:
        alone = await notifications.GetThumbnail(notification_pb2.GetThumbnailRequest(model_id=one.model_id))
        assert alone.thumbnail == one


async def test_who_follows_from_the_cursor_of_the_answer_misses_nothing(queue, notifications):
    await render(queue, 1)
    answer = await notifications.GetThumbnails(asked(1, 2))
    assert answer.cursor == answer.thumbnails[0].cursor == await present_cursor(notifications)
    await render(queue, 2)
    subscriber = Subscriber(notifications, after=answer.cursor)
    assert seen(await subscriber.next(2)) == [(2, PENDING), (2, READY)]


async def test_a_thousand_models_are_taken_and_one_more_is_refused(notifications):
    assert len((await notifications.GetThumbnails(asked(*range(1, 1001)))).thumbnails) == 1000
    code, details = await status_of(notifications.GetThumbnails(asked(*range(1, 1002))))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == "modelIds has 1001 items; at most 1000 are taken at once"


async def test_no_models_are_an_answer_with_a_cursor_only(notifications):
    answer = await notifications.GetThumbnails(asked())
    assert (list(answer.thumbnails), answer.cursor) == ([], await present_cursor(notifications))
