"""One run: cause faults for some cycles, let the queue drain, and check everything that was recorded."""

import asyncio
import random
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import Program
from tests.system.chaos.actors.journal import Follower, say
from tests.system.chaos.checking.checks import check_all
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.checking.history import read_history
from tests.system.chaos.faults import Bag, Strike, carry_out, ended_well
from tests.system.chaos.restoration import Restoration
from tests.system.chaos.world import World

# Share of the cycles with two faults at once.
TWO_AT_ONCE = 0.25
# Seconds from the end of a fault until the clients that it hit must be served again.
RECOVERY_LIMIT = 45.0
DRAIN_LIMIT = 60.0
_TICK = 0.1
_ERROR = re.compile(r"level='(error|critical)'|never retrieved|never awaited|destroyed but it is pending| ERROR ")

_LEFT = """
    SELECT id, status, attempt_count, run_at, lease_expires_at, worker_id FROM job_states
     WHERE status IN ('Pending', 'Processing') ORDER BY id
"""


@dataclass
class Outcome:
    """The result of a run."""

    cycles: int = 0
    strikes: list[Strike] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    evidence: Evidence | None = None


class Run:
    """Causes faults, waits, drains and checks."""

    def __init__(self, folder: Path, cycles: int, seed: int, rate: float) -> None:
        self._cycles = cycles
        self._chance = random.Random(seed)
        self._world = World(folder, seed, rate)
        self._restoration = Restoration(self._world, folder)
        self._copied_in = random.Random(f"backup {seed}").randint(1, cycles)
        self._follower = Follower(self._world.journals)
        self._started = time.monotonic()
        self.outcome = Outcome()

    async def go(self) -> Outcome:
        async with self._world as world:
            bag = Bag(world, self._chance)
            await self._all_are_served(time.time(), "the start")
            for cycle in range(1, self._cycles + 1):
                if self.outcome.problems:
                    break
                if cycle == self._copied_in:
                    self._say("a backup is taken")
                    await self._restoration.copy()
                    await self._all_are_served(time.time(), "the backup")
                await self._cycle(cycle, bag)
            self._say("draining")
            await self._drain()
            self._look_for_accidents()
            async with world.database() as connection:
                history = await read_history(connection)
                self.outcome.evidence = Evidence(history, world.journals)
                self.outcome.problems += await check_all(connection, self.outcome.evidence, world.clients.subscribers)
            if not self.outcome.problems:
                await self._restore()
            await asyncio.gather(*map(self._ask_to_end, [worker.program for worker in world.clients.workers]))
            await self._ask_to_end(world.clients.listeners)
            self._read_logs()
        return self.outcome

    async def _restore(self) -> None:
        """Put the backup back under load, and see that it is a new history."""
        self._say("the backup is restored")
        clients = self._world.clients
        await self._world.start_again(clients.producers)
        await self._restoration.restore()
        await self._all_are_served(time.time(), "the restore")
        deadline = time.monotonic() + RECOVERY_LIMIT
        while waiting := {each.name for each in clients.subscribers if not self._follower.was_reset(each.name)}:
            if time.monotonic() > deadline:
                self.outcome.problems.append(f"not told of the restore: {', '.join(sorted(waiting))}")
                return
            await asyncio.sleep(_TICK)
            self._follower.catch_up()
        await self._drain()
        self._look_for_accidents()
        async with self._world.database() as connection:
            self.outcome.problems += await self._restoration.problems(connection)

    async def _cycle(self, number: int, bag: Bag) -> None:
        draws = [bag.draw()]
        if self._chance.random() < TWO_AT_ONCE:
            draws += [draw for draw in [bag.draw()] if draw.victim is not draws[0].victim]
        pause = self._chance.uniform(0, 0.7)
        self._say(f"cycle {number}: {' and '.join(draw.what for draw in draws)}")
        strikes = await asyncio.gather(*(carry_out(draw, self._world, self._wait_for_service) for draw in draws))
        for strike in strikes:
            strike.in_company = len(strikes) > 1
        self.outcome.cycles = number
        self.outcome.strikes += strikes
        self.outcome.problems += [strike.problem for strike in strikes if strike.problem]
        over = max(strike.over for strike in strikes)
        await self._wait_for_service(set().union(*(strike.witnesses for strike in strikes)), over, f"cycle {number}")
        self._look_for_accidents()
        await asyncio.sleep(pause)

    async def _all_are_served(self, since: float, what: str) -> None:
        await self._wait_for_service({client.name for client in self._world.clients.witnesses}, since, what)

    async def _wait_for_service(self, names: set[str], since: float, what: str) -> None:
        """Wait until each of these clients was served again."""
        deadline = time.monotonic() + RECOVERY_LIMIT
        while waiting := {name for name in names if self._follower.last_served(name) <= since}:
            if time.monotonic() > deadline:
                self.outcome.problems.append(
                    f"no recovery: {', '.join(sorted(waiting))} not served within {RECOVERY_LIMIT:g} s of {what}"
                )
                return
            await asyncio.sleep(_TICK)
            self._follower.catch_up()

    async def _drain(self) -> None:
        """Stop the producers. Wait until every job has ended and every subscriber has seen it."""
        await self._ask_to_end(self._world.clients.producers)
        async with self._world.database() as connection:
            deadline = time.monotonic() + DRAIN_LIMIT
            while left := await connection.fetch(_LEFT):
                if time.monotonic() > deadline:
                    self.outcome.problems += [f"stuck: {dict(row)}" for row in left[:20]]
                    self.outcome.problems.append(f"{len(left)} jobs did not end within {DRAIN_LIMIT:g} s")
                    break
                await asyncio.sleep(_TICK)
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
        while self._follower.cursor(name) < seq:
            if time.monotonic() > deadline:
                at = self._follower.cursor(name)
                self.outcome.problems.append(f"{name} is at {at} of the log and does not reach {seq}")
                return
            await asyncio.sleep(_TICK)
            self._follower.catch_up()

    async def _ask_to_end(self, program: Program) -> None:
        program.expected_up = False
        program.send(signal.SIGTERM)
        if problem := await ended_well(program):
            self.outcome.problems.append(problem)

    def _look_for_accidents(self) -> None:
        """Note the programs that ended by themselves."""
        for program in self._world.programs:
            if program.expected_up and not program.running:
                program.expected_up = False
                self.outcome.problems.append(f"{program.name} ended by itself:\n{program.messages[-2000:]}")

    def _read_logs(self) -> None:
        """Note the errors in the programs' logs, Python's warnings about unretrieved errors of tasks included."""
        for program in self._world.programs:
            lines = [line for line in program.messages.splitlines() if _ERROR.search(line)]
            self.outcome.problems += [f"{program.name} says: {line[:300]}" for line in lines[:5]]

    def _say(self, sentence: str) -> None:
        say(f"{time.monotonic() - self._started:7.1f} s  {sentence}")
