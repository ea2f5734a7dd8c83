"""Questions for keys that this gateway does not know. Those that come together leave together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from thumbq_runtime.access.api_keys import Fingerprint
from thumbq_runtime.access.roles import Role

MOST = 1_000  # keys that one question names

Ask = Callable[[Sequence[Fingerprint]], Awaitable[list[Role | None]]]


class Lookups:
    """Asks one question at a time, so that a thousand guesses cost the server not much more than one."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[Fingerprint, asyncio.Future[Role | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def role_of(self, fingerprint: Fingerprint) -> Role | None:
        """Return the role of a key, None for one that is not valid. Raises what `ask` raises."""
        answer = self._waiting.get(fingerprint)
        if answer is None:
            answer = self._waiting[fingerprint] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(_take_note)
        if self._asking is None:
            self._asking = asyncio.create_task(self._run())
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked = dict(islice(self._waiting.items(), MOST))
                for fingerprint in asked:
                    del self._waiting[fingerprint]
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: dict[Fingerprint, asyncio.Future[Role | None]]) -> None:
        try:
            roles = await self._ask(list(asked))
            answers = list(zip(asked.values(), roles, strict=True))
        except Exception as error:  # noqa: BLE001 - each of those that wait raises it
            for answer in asked.values():
                answer.set_exception(error)
        else:
            for answer, role in answers:
                answer.set_result(role)


def _take_note(answer: asyncio.Future[Role | None]) -> None:
    """Take note of an exception: those that asked may have hung up."""
    if not answer.cancelled():
        answer.exception()
