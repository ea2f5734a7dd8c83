"""Keys that a gateway does not know are looked up together."""

import asyncio
from collections.abc import Sequence

import pytest

from thumbq_gateway.access.lookups import MOST, Lookups
from thumbq_runtime.access.api_keys import Fingerprint, fingerprint_of, make_key
from thumbq_runtime.access.roles import Role

RIGHT = Fingerprint("00000000", b"the digest of the right key")


class Server:
    """Answers questions when it is told to."""

    def __init__(self) -> None:
        self.questions: list[int] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self, fingerprints: Sequence[Fingerprint]) -> list[Role | None]:
        self.questions.append(len(fingerprints))
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return [Role.WORKER if one == RIGHT else None for one in fingerprints]


def guesses(count: int) -> list[Fingerprint]:
    return [one for _ in range(count) if (one := fingerprint_of(make_key()))]


async def test_what_comes_while_a_question_is_under_way_is_the_next_question() -> None:
    server = Server()
    lookups = Lookups(server.ask)
    wrong = guesses(MOST + 500)
    tasks = [asyncio.create_task(lookups.role_of(one)) for one in [*wrong, RIGHT, RIGHT]]
    while not server.questions:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(lookups.role_of(one)) for one in guesses(100)]
    await asyncio.sleep(0)
    server.may_answer.set()
    roles = await asyncio.gather(*tasks)
    assert server.questions == [MOST, 601]
    assert [role for role in roles if role] == [Role.WORKER, Role.WORKER]


async def test_a_problem_is_told_to_all_that_wait_and_the_next_question_is_asked() -> None:
    server = Server()
    lookups = Lookups(server.ask)
    server.error = ConnectionError("the server is away")
    hung_up, *waiting = (asyncio.create_task(lookups.role_of(one)) for one in [RIGHT, *guesses(3)])
    while not server.questions:
        await asyncio.sleep(0)
    hung_up.cancel()
    server.may_answer.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ConnectionError}
    server.error = None
    assert await lookups.role_of(RIGHT) is Role.WORKER


async def test_an_answer_that_does_not_fit_the_question_lets_nobody_wait() -> None:
    async def nothing(_fingerprints: Sequence[Fingerprint]) -> list[Role | None]:
        return []

    async with asyncio.timeout(30):
        with pytest.raises(ValueError, match="shorter"):
            await Lookups(nothing).role_of(RIGHT)
