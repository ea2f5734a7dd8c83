"""Costly work is done in turns of its callers."""

import asyncio

import pytest

from thumbq_gateway.http.turns import Turns


async def work(turns: Turns, caller: str, done: list[str]) -> None:
    async with turns.turn(caller):
        done.append(caller)
        await asyncio.sleep(0)


async def test_a_caller_waits_for_one_piece_of_each_other_however_much_they_ask_for() -> None:
    turns, done = Turns(rest=0.0), list[str]()
    greedy = [asyncio.create_task(work(turns, "greedy", done)) for _ in range(50)]
    await asyncio.sleep(0)
    await work(turns, "good", done)
    assert done.index("good") <= 2
    await asyncio.gather(*greedy)
    assert len(done) == 51


async def test_callers_that_hang_up_while_they_wait_pass_their_turn_on() -> None:
    turns, done = Turns(rest=0.0), list[str]()
    tasks = [asyncio.create_task(work(turns, f"{number % 3}", done)) for number in range(30)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(done) == 15


@pytest.mark.parametrize("steps", range(6))
async def test_one_who_hangs_up_in_the_moment_of_its_turn_keeps_nobody_waiting(steps: int) -> None:
    turns, done = Turns(rest=0.0), list[str]()
    first, second, third = (asyncio.create_task(work(turns, caller, done)) for caller in "abc")
    await first
    for _ in range(steps):
        await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(30):
        await third
    assert done[-1] == "c"


async def test_others_have_as_much_time_as_a_turn_has_taken() -> None:
    loop, turns = asyncio.get_running_loop(), Turns(rest=1.0)
    began = loop.time()
    async with turns.turn("a"):
        await asyncio.sleep(0.05)
    async with turns.turn("b"):
        assert loop.time() - began > 0.09  # timers are exact to a few milliseconds
