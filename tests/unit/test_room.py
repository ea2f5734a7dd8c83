"""The room of large bodies: no caller has more of it than is left for others."""

import asyncio

import pytest

from thumbq_gateway.http.bodies.room import NoRoom, Place, Room


async def arrives(room: Room, place: Place, size: int) -> None:
    """Receive a body of this size, and keep it until it is cancelled."""
    try:
        async with place.deadline:
            room.grow(place, size)
            await asyncio.Event().wait()
    finally:
        room.leave(place)


async def test_one_caller_fills_half_of_the_room_and_there_is_always_some_for_another() -> None:
    room = Room(1_600)
    for caller, most in (("greedy", 800), ("second", 400), ("third", 200)):
        places = [Place(caller) for _ in range(16)]
        taken = 0
        for place in places:
            try:
                room.grow(place, 100)
                room.arrived(place)
                taken += 100
            except NoRoom:
                room.leave(place)
        assert taken == most, caller


async def test_a_stalled_body_loses_its_place_first_that_of_the_caller_with_most() -> None:
    room = Room(1_600)
    stalled, fresh, other = Place("greedy"), Place("greedy"), Place("good")
    tasks = [asyncio.create_task(arrives(room, place, size)) for place, size in ((stalled, 400), (fresh, 400))]
    await asyncio.sleep(0)
    room.grow(other, 600)  # no more than is left only without one of the greedy caller's
    assert (stalled.was_taken, fresh.was_taken, other.was_taken) == (True, False, False)
    with pytest.raises(TimeoutError):
        await tasks[0]
    room.leave(other)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    whole = Place("good")
    room.grow(whole, 800)  # everything has been given back


async def test_a_body_whose_time_is_over_in_the_same_moment_loses_its_place_too() -> None:
    room = Room(1_000)
    late, other = Place("slow"), Place("good")
    task = asyncio.create_task(arrives(room, late, 500))
    await asyncio.sleep(0)
    late.deadline.reschedule(asyncio.get_running_loop().time())
    while not late.deadline.expired():
        await asyncio.sleep(0)
    assert not task.done()
    room.grow(other, 400)
    assert late.was_taken
    with pytest.raises(TimeoutError):
        await task


async def test_a_body_that_lost_its_place_takes_none_from_others() -> None:
    room = Room(1_600)
    lost, fresh, other = Place("greedy"), Place("greedy"), Place("good")
    async with lost.deadline:
        room.grow(lost, 400)
        room.grow(fresh, 400)
        room.grow(other, 600)
        with pytest.raises(NoRoom):
            room.grow(lost, 401)  # more of it was there before its task was told
        assert (lost.was_taken, fresh.was_taken) == (True, False)
        lost.deadline.reschedule(None)


async def test_who_has_a_body_that_waits_to_be_decoded_cannot_be_sent_away() -> None:
    room = Room(1_000)
    decoding = Place("greedy")
    room.grow(decoding, 500)
    room.arrived(decoding)
    with pytest.raises(NoRoom):
        room.grow(Place("greedy"), 1)
    room.grow(Place("good"), 200)
    assert not decoding.was_taken
