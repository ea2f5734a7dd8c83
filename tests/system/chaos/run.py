"""One run: cause faults for some cycles, let the queue drain, and check everything that was recorded."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.chaos.checking.checks import check_all
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.checking.history import read_history
from tests.system.chaos.faults import Bag, Strike, carry_out
from tests.system.chaos.restoration import Restoration
from tests.system.chaos.watch import Watch
from tests.system.chaos.world import World

# Share of the cycles with two faults at once.
TWO_AT_ONCE = 0.25


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
        self._watch = Watch(self._world)
        self.outcome = Outcome(problems=self._watch.problems)

    async def go(self) -> Outcome:
        async with self._world as world:
            bag = Bag(world, self._chance)
            await self._watch.all_are_served(time.time(), "the start")
            for cycle in range(1, self._cycles + 1):
                if self.outcome.problems:
                    break
                if cycle == self._copied_in:
                    self._watch.say("a backup is taken")
                    await self._restoration.copy()
                    await self._watch.all_are_served(time.time(), "the backup")
                await self._cycle(cycle, bag)
            self._watch.say("draining")
            await self._watch.drain()
            self._watch.look_for_accidents()
            async with world.database() as connection:
                history = await read_history(connection)
                self.outcome.evidence = Evidence(history, world.journals)
                self.outcome.problems += await check_all(connection, self.outcome.evidence, world.clients.subscribers)
            if not self.outcome.problems:
                await self._restore()
            await asyncio.gather(*map(self._watch.ask_to_end, [worker.program for worker in world.clients.workers]))
            await self._watch.ask_to_end(world.clients.listeners)
            self._watch.read_logs()
        return self.outcome

    async def _restore(self) -> None:
        """Put the backup back under load, and see that it is a new history."""
        self._watch.say("the backup is restored")
        clients = self._world.clients
        await self._world.start_again(clients.producers)
        await self._restoration.restore()
        await self._watch.all_are_served(time.time(), "the restore")
        if not await self._watch.all_are_reset(0.0, "the restore"):
            return
        await self._watch.drain()
        self._watch.look_for_accidents()
        async with self._world.database() as connection:
            self.outcome.problems += await self._restoration.problems(connection)

    async def _cycle(self, number: int, bag: Bag) -> None:
        draws = [bag.draw()]
        if self._chance.random() < TWO_AT_ONCE:
            draws += [draw for draw in [bag.draw()] if draw.victim is not draws[0].victim]
        pause = self._chance.uniform(0, 0.7)
        self._watch.say(f"cycle {number}: {' and '.join(draw.what for draw in draws)}")
        strikes = await asyncio.gather(*(carry_out(draw, self._world, self._watch.wait_for_service) for draw in draws))
        for strike in strikes:
            strike.in_company = len(strikes) > 1
        self.outcome.cycles = number
        self.outcome.strikes += strikes
        self.outcome.problems += [strike.problem for strike in strikes if strike.problem]
        over = max(strike.over for strike in strikes)
        hit = set[str]().union(*(strike.witnesses for strike in strikes))
        await self._watch.wait_for_service(hit, over, f"cycle {number}")
        self._watch.look_for_accidents()
        await asyncio.sleep(pause)
