"""One timer for many answers: each that takes too long gets its own error, and the others are left alone."""

import asyncio
import gc
import weakref

import pytest

from thumbq.client.deadlines import Deadlines


async def test_answers_that_take_too_long_get_an_error_each_and_no_other():
    errors = iter(TimeoutError(f"the {place}. is late") for place in (1, 2, 3))
    deadlines = Deadlines(0.01, lambda: next(errors))
    loop = asyncio.get_running_loop()
    first, answered, given_up, second = (loop.create_future() for _ in range(4))
    for answer in (first, answered, given_up, second):
        deadlines.add(answer)
    answered.set_result("here")
    given_up.cancel()
    for answer, error in ((first, "1. is late"), (second, "2. is late")):
        with pytest.raises(TimeoutError, match=error):
            await asyncio.wait_for(answer, 30)
    assert (answered.result(), given_up.cancelled()) == ("here", True)

    third = loop.create_future()
    deadlines.add(third)
    with pytest.raises(TimeoutError, match=r"3\. is late"):
        await asyncio.wait_for(third, 30)


async def test_no_answer_is_ended_after_the_end():
    deadlines = Deadlines(0, TimeoutError)
    answer = asyncio.get_running_loop().create_future()
    deadlines.add(answer)
    deadlines.close()
    after = asyncio.get_running_loop().create_future()
    Deadlines(0, TimeoutError).add(after)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(after, 30)
    assert not answer.done()


async def test_an_answer_that_never_comes_keeps_few_of_those_that_came():
    deadlines = Deadlines(3600, TimeoutError)
    loop = asyncio.get_running_loop()
    lost = loop.create_future()
    deadlines.add(lost)

    def add_an_answered_one() -> weakref.ref[asyncio.Future[int]]:
        answer = loop.create_future()
        deadlines.add(answer)
        answer.set_result(1)
        return weakref.ref(answer)

    answered = [add_an_answered_one() for _ in range(20_000)]
    gc.collect()
    assert sum(kept() is not None for kept in answered) < 2_100
    deadlines.close()


async def test_answers_that_still_wait_are_ended_after_others_were_dropped():
    deadlines = Deadlines(0.2, TimeoutError)
    loop = asyncio.get_running_loop()
    waiting = []
    for number in range(5_000):
        answer = loop.create_future()
        deadlines.add(answer)
        if number % 100:
            answer.set_result(number)
        else:
            waiting.append(answer)
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert [type(error) for error in ended] == [TimeoutError] * 50
