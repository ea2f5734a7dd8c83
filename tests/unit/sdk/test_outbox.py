"""Results on their way to the server."""

import asyncio
import logging

import pytest

from thumbq import JobFailed, Thumbnail
from thumbq.outbox import RESULTS_PER_MESSAGE, Outbox
from thumbq.v1.job_pb2 import Result
from thumbq.v1.queue_pb2 import ResultCode, ResultException

PICTURE = Thumbnail("/thumbnails/a.png", 1234, 512, 256)


@pytest.fixture
def wake() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def outbox(wake: asyncio.Event) -> Outbox:
    return Outbox(wake)


def taken(outbox: Outbox) -> list[Result]:
    message = outbox.take()
    return list(message.results.results) if message else []


def test_all_waiting_results_go_into_one_message(outbox: Outbox):
    outbox.complete("1:1", PICTURE)
    outbox.fail("2:1", JobFailed("broken", retryable=False, retry_delay=1.5))
    outbox.release("3:1")

    complete, fail, release = taken(outbox)

    assert complete.lease_token == "1:1"
    assert complete.complete == Result.Complete(
        thumbnail_path="/thumbnails/a.png", size_bytes=1234, width=512, height=256
    )
    assert fail.fail.error_message == "broken"
    assert fail.fail.retryable is False
    assert fail.fail.retry_delay.ToMilliseconds() == 1500
    assert release.WhichOneof("outcome") == "release"
    assert outbox.take() is None


def test_long_errors_go_into_several_messages_which_the_server_takes(outbox: Outbox):
    for number in range(600):
        outbox.fail(f"{number}:1", JobFailed("\N{HAMMER AND WRENCH}" * 2000))
    sizes = []
    while message := outbox.take():
        sizes.append(message.ByteSize())
    assert len(sizes) == 3
    assert max(sizes) < 4 << 20


def test_a_failure_is_retryable_by_default(outbox: Outbox):
    outbox.fail("1:1", JobFailed("broken"))
    (result,) = taken(outbox)
    assert not result.fail.HasField("retryable")
    assert not result.fail.HasField("retry_delay")


def test_the_writer_is_woken_by_the_first_result_of_a_message(outbox: Outbox, wake: asyncio.Event):
    outbox.release("1:1")
    assert wake.is_set()


def test_a_message_holds_a_thousand_results_at_most(outbox: Outbox):
    for number in range(RESULTS_PER_MESSAGE + 1):
        outbox.release(f"{number}:1")
    assert [len(taken(outbox)) for _ in range(3)] == [RESULTS_PER_MESSAGE, 1, 0]


def test_results_are_kept_until_they_are_acknowledged(outbox: Outbox):
    outbox.complete("1:1", PICTURE)
    message = outbox.take()
    assert message is not None
    assert not outbox.empty
    assert outbox.tokens() == ["1:1"]

    outbox.acknowledge(message.results.number, [])

    assert outbox.empty
    assert outbox.tokens() == []


def test_unacknowledged_results_are_sent_again_in_order_under_new_numbers(outbox: Outbox):
    for number in (1, 2, 3):
        outbox.release(f"{number}:1")
        assert outbox.take()
    outbox.acknowledge(1, [])
    outbox.release("4:1")

    outbox.resend()

    again = [outbox.take() for _ in range(3)]
    assert [(m.results.number, m.results.results[0].lease_token) for m in again if m] == [
        (1, "2:1"),
        (2, "3:1"),
        (3, "4:1"),
    ]


def test_a_refused_success_is_reported_as_a_failure(outbox: Outbox, caplog: pytest.LogCaptureFixture):
    outbox.complete("1:1", Thumbnail("/a.png", 1, 0, 0))
    assert outbox.take()
    refusal = ResultException(lease_token="1:1", code=ResultCode.RESULT_CODE_INVALID, message="width must be 1 or more")

    outbox.acknowledge(1, [refusal])

    (result,) = taken(outbox)
    assert result.lease_token == "1:1"
    assert result.fail.error_message == "The worker's result was refused: width must be 1 or more"
    assert "width must be 1 or more" in caplog.text


def test_a_refused_failure_is_dropped_instead_of_sent_forever(outbox: Outbox):
    outbox.fail("1:1", JobFailed("broken"))
    assert outbox.take()
    outbox.acknowledge(1, [ResultException(lease_token="1:1", code=ResultCode.RESULT_CODE_INVALID, message="no")])
    assert outbox.empty


def test_a_result_taken_before_is_fine_and_a_stale_one_is_logged(outbox: Outbox, caplog: pytest.LogCaptureFixture):
    outbox.release("1:1")
    outbox.release("2:1")
    assert outbox.take()
    with caplog.at_level(logging.WARNING, "thumbq"):
        outbox.acknowledge(
            1,
            [
                ResultException(lease_token="1:1", code=ResultCode.RESULT_CODE_ALREADY_DONE, message="done"),
                ResultException(lease_token="2:1", code=ResultCode.RESULT_CODE_STALE, message="stale", job_id=2),
            ],
        )
    assert outbox.empty
    assert [record.getMessage() for record in caplog.records] == ["The result of job 2 came too late: stale"]
    assert str(outbox.refused) == "none refused"  # a release that comes too late loses nothing


def test_refused_results_are_counted_once_and_named_by_their_jobs(outbox: Outbox):
    outbox.complete("1:1", Thumbnail("/a.png", 1, 0, 0))
    outbox.complete("2:1", PICTURE)
    outbox.fail("3:1", JobFailed("broken"))
    assert outbox.take()
    outbox.acknowledge(
        1,
        [
            ResultException(lease_token="1:1", code=ResultCode.RESULT_CODE_INVALID, message="no width", job_id=1),
            ResultException(lease_token="2:1", code=ResultCode.RESULT_CODE_STALE, message="stale", job_id=2),
            ResultException(lease_token="3:1", code=ResultCode.RESULT_CODE_STALE, message="stale"),
        ],
    )
    assert (outbox.refused.completed, outbox.refused.failed) == (2, 1)
    assert str(outbox.refused) == "3 refused (jobs 1, 2, 3:1)"

    assert outbox.take()  # job 1 as failed
    outbox.acknowledge(2, [ResultException(lease_token="1:1", code=ResultCode.RESULT_CODE_STALE, job_id=1)])
    assert (outbox.refused.completed, outbox.refused.failed) == (2, 1)


def test_of_many_refused_results_the_first_are_named(outbox: Outbox):
    for number in range(1, 31):
        outbox.complete(f"{number}:1", PICTURE)
    assert outbox.take()
    stale = ResultCode.RESULT_CODE_STALE
    outbox.acknowledge(1, [ResultException(lease_token=f"{n}:1", code=stale, job_id=n) for n in range(1, 31)])
    assert str(outbox.refused).startswith("30 refused (jobs 1, 2, 3, ")
    assert str(outbox.refused).endswith(", 19, 20 and 10 more)")


@pytest.mark.parametrize(
    ("thumbnail", "reason"),
    [
        (Thumbnail("/a.png", 1, 2**40, 1), "ValueError"),
        (Thumbnail("/a.png", 1.5, 1, 1), "TypeError"),  # type: ignore[arg-type]
        (Thumbnail(None, 1, 1, 1), "TypeError"),  # type: ignore[arg-type]
        (Thumbnail("/" + "a" * 500, 1, 1, 1), "longer than 500 characters"),
        (Thumbnail("/\udcff.png", 1, 1, 1), "surrogate"),
    ],
)
def test_a_thumbnail_that_the_protocol_cannot_hold_becomes_a_failure(outbox: Outbox, thumbnail: Thumbnail, reason: str):
    outbox.complete("1:1", thumbnail)
    (result,) = taken(outbox)
    assert result.WhichOneof("outcome") == "fail"
    assert reason in result.fail.error_message
    assert outbox.unfit == 1


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("", "The handler gave no reason."),
        (" \n", "The handler gave no reason."),
        ("no such file: \udcff.glb", "no such file: ?.glb"),
        ("x" * 1_000_000, "x" * 2000),
    ],
)
def test_every_error_text_can_be_sent(outbox: Outbox, text: str, sent: str):
    outbox.fail("1:1", JobFailed(text))
    (result,) = taken(outbox)
    assert result.fail.error_message == sent


@pytest.mark.parametrize("retry_delay", [-1, 86_401, float("nan")])
def test_a_retry_delay_beyond_a_day_is_refused_at_once(retry_delay: float):
    with pytest.raises(ValueError, match="retry_delay"):
        JobFailed("broken", retry_delay=retry_delay)
