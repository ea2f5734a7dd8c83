"""Watches a run: whether its clients are served, and whether a program ends or complains that should not."""

import asyncio
import re
import signal
import time

from tests.support.programs import Program
from tests.system.chaos.actors.journal import Follower, say
from tests.system.chaos.faults import ended_well
from tests.system.chaos.world import World

# Seconds from the end of a fault until the clients that it hit must be served again.
RECOVERY_LIMIT = 45.0
DRAIN_LIMIT = 60.0
TICK = 0.1
_ERROR = re.compile(r"level='(error|critical)'|never retrieved|never awaited|destroyed but it is pending| ERROR ")

_LEFT = """
    SELECT id, status, attempt_count, run_at, lease_expires_at, worker_id FROM job_states
     WHERE status IN ('Pending', 'Processing') ORDER BY id
"""


class Watch:
    """Follows the journals and the programs of a run, and keeps the problems that it finds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.follower = Follower(world.journals)
        self._started = time.monotonic()
        self.problems: list[str] = []

    async def all_are_served(self, since: float, what: str) -> None:
        """Wait until each client that is always served was served again."""
        await self.wait_for_service({client.name for client in self._world.clients.witnesses}, since, what)

    async def wait_for_service(self, names: set[str], since: float, what: str) -> None:
        """Wait until each of these clients was served again."""
        deadline = time.monotonic() + RECOVERY_LIMIT
        while waiting := {name for name in names if self.follower.last_served(name) <= since}:
            if time.monotonic() > deadline:
                self.problems.append(
                    f"no recovery: {', '.join(sorted(waiting))} not served within {RECOVERY_LIMIT:g} s of {what}"
                )
                return
            await asyncio.sleep(TICK)
            self.follower.catch_up()

    async def all_are_reset(self, since: float, what: str) -> bool:
        """Wait until each subscriber was told of another history. Return whether all were told in time."""
        deadline = time.monotonic() + RECOVERY_LIMIT
        while waiting := [
            each.name for each in self._world.clients.subscribers if not self.follower.was_reset(each.name, since)
        ]:
            if time.monotonic() > deadline:
                self.problems.append(f"not told of {what}: {', '.join(sorted(waiting))}")
                return False
            await asyncio.sleep(TICK)
            self.follower.catch_up()
        return True

    async def drain(self) -> None:
        """Stop the producers. Wait until every job has ended and every subscriber has seen it."""
        await self.ask_to_end(self._world.clients.producers)
        async with self._world.database() as connection:
            deadline = time.monotonic() + DRAIN_LIMIT
            while left := await connection.fetch(_LEFT):
                if time.monotonic() > deadline:
                    self.problems += [f"stuck: {dict(row)}" for row in left[:20]]
                    self.problems.append(f"{len(left)} jobs did not end within {DRAIN_LIMIT:g} s")
                    break
                await asyncio.sleep(TICK)
            for subscriber in self._world.clients.subscribers:
                last = await connection.fetchval(
                    "SELECT coalesce(max(seq), 0) FROM chaos_history"
                    " WHERE step = 'announced' AND (detail::bigint = ANY ($1) OR $2)",
                    subscriber.models,
                    not subscriber.models,
                )
                await self._wait_for_cursor(subscriber.name, last)

    async def _wait_for_cursor(self, name: str, seq: int) -> None:
        deadline = time.monotonic() + RECOVERY_LIMIT
        while self.follower.cursor(name) < seq:
            if time.monotonic() > deadline:
                at = self.follower.cursor(name)
                self.problems.append(f"{name} is at {at} of the log and does not reach {seq}")
                return
            await asyncio.sleep(TICK)
            self.follower.catch_up()

    async def ask_to_end(self, program: Program) -> None:
        """End a program in order, and note when it does not."""
        program.expected_up = False
        program.send(signal.SIGTERM)
        if problem := await ended_well(program):
            self.problems.append(problem)

    def look_for_accidents(self) -> None:
        """Note the programs that ended by themselves."""
        for program in self._world.programs:
            if program.expected_up and not program.running:
                program.expected_up = False
                self.problems.append(f"{program.name} ended by itself:\n{program.messages[-2000:]}")

    def read_logs(self) -> None:
        """Note the errors in the programs' logs, Python's warnings about unretrieved errors of tasks included."""
        for program in self._world.programs:
            lines = [line for line in program.messages.splitlines() if _ERROR.search(line)]
            self.problems += [f"{program.name} says: {line[:300]}" for line in lines[:5]]

    def say(self, sentence: str) -> None:
        """Print a sentence with the time since the start."""
        say(f"{time.monotonic() - self._started:7.1f} s  {sentence}")
