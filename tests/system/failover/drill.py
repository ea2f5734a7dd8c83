"""One drill: let the primary fail in some cycles, and check everything. In the end, lose commits."""

import asyncio
import random
import time
from pathlib import Path
from typing import Generic

from tests.system.chaos.actors.clients import Capacity
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.checking.history import read_history
from tests.system.chaos.restoration import problems_of_new_history
from tests.system.chaos.watch import Watch
from tests.system.chaos.world import World
from tests.system.failover.checks import check_all, check_tokens
from tests.system.failover.faults import Bag, Fault
from tests.system.failover.hosts import Hosts, N
from tests.system.failover.patroni.cluster import Cluster
from tests.system.failover.probe import Probe
from tests.system.failover.steps import Failover

# Seconds from a fault until another host takes writes: Patroni needs 20 to give up a host that is silent.
PROMOTION_LIMIT = 120.0
# Seconds for which the old primary is away after another one took over.
_LONGEST_ABSENCE = 4.0
# Seconds before the cut: a commit that was acknowledged earlier has reached the standbys.
_ON_ITS_WAY = 1.0
# Three hosts share the processors with everything else: no stream may be given up because a heartbeat is late.
_SETTINGS = {"THUMBQ_HEARTBEAT_INTERVAL": "2", "THUMBQ_LEASE_DURATION": "8"}
# All three together work slower than jobs come: the stream of a free one gets each job before a worker that polls.
_ONE_AT_A_TIME = Capacity(concurrency=1, prefetch=0)
_ASYNCHRONOUS = {"synchronous_mode": False, "synchronous_mode_strict": False}


class Drill(Generic[N]):
    """Lets primaries fail, waits, drains and checks."""

    def __init__(self, hosts: Hosts[N], folder: Path, cycles: int, seed: int, rate: float, seconds: float) -> None:
        self._cycles = cycles
        self._deadline = time.monotonic() + seconds
        self._chance = random.Random(seed)
        self._hosts = hosts
        self._world = World(folder, seed, rate, hosts, _ONE_AT_A_TIME, **_SETTINGS)
        self._probe = Probe(hosts, {server.name: server.port for server in self._world.servers})
        self._watch = Watch(self._world)
        self.problems = self._watch.problems
        self.failovers: list[Failover] = []
        self.evidence: Evidence | None = None

    async def go(self) -> None:
        """Run the cycles. The problems are then in `problems`."""
        async with self._world as world:
            try:
                await self._act()
            except AssertionError as problem:
                self.problems.append(str(problem))
            await asyncio.gather(*(self._watch.ask_to_end(worker.program) for worker in world.clients.workers))
            await self._watch.ask_to_end(world.clients.listeners)
            self._watch.read_logs()

    async def _act(self) -> None:
        await self._watch.all_are_served(time.time(), "the start")
        async with self._probe:
            try:
                await self._fail_over_and_over()
            except AssertionError as problem:
                # A host is late, or a client that nobody serves. What was promised of the jobs is checked all the same.
                self.problems.append(str(problem))
        await self._check()
        if not self.problems and isinstance(self._hosts, Cluster):
            async with self._probe:
                await self._lose_commits(self._hosts)

    async def _fail_over_and_over(self) -> None:
        bag = Bag(self._chance, self._hosts.faults)
        for cycle in range(1, self._cycles + 1):
            if self.problems or time.monotonic() > self._deadline:
                break
            await self._fail_over(bag.draw(), f"cycle {cycle} of {self._cycles}")

    async def _fail_over(self, fault: Fault, name: str) -> Failover | None:
        """Let the primary fail until another one is served by all, and until the old one is a standby."""
        old = await self._hosts.whole()
        await asyncio.sleep(self._chance.uniform(0, 2))
        self._watch.say(f"{name}: {old.name} is the primary, and {fault.value}")
        at = time.time()
        await self._hosts.strike(fault, old)
        new = await self._probe.writes(at, old, PROMOTION_LIMIT)
        if new is None:
            self.problems.append(f"{name}: no other host takes writes within {PROMOTION_LIMIT:g} s")
            return None
        failover = Failover(fault, at, new, self._probe.promoted[new], self._probe.written[new])
        self.failovers.append(failover)
        await self._watch.all_are_served(failover.promoted, f"the promotion of {new}")
        await self._watch.all_are_reset(at, f"the promotion of {new}")
        await asyncio.sleep(self._chance.uniform(0, _LONGEST_ABSENCE))
        await self._hosts.repair(fault, old)
        self._watch.look_for_accidents()
        self._watch.follower.catch_up()
        failover.note_steps(self._probe, self._watch.follower, self._world.clients)
        self._watch.say(f"    {new} is promoted after {failover.promoted - at:.1f} s; seconds from there:")
        for line in failover.lines():
            self._watch.say(f"    {line}")
        return failover

    async def _check(self) -> None:
        """Let all jobs end, and check what has happened."""
        self._watch.say("draining")
        await self._hosts.whole()
        await self._watch.drain()
        self._watch.look_for_accidents()
        turns = [(failover.at, failover.writable) for failover in self.failovers]
        async with self._world.database() as connection:
            self.evidence = Evidence(await read_history(connection), self._world.journals, turns)
            self.problems += await check_all(connection, self.evidence, self._world.clients.subscribers)

    async def _lose_commits(self, cluster: Cluster) -> None:
        """Let a standby take over that does not have the last commits, and see that it is one new history."""
        await cluster.change(_ASYNCHRONOUS)
        await self._world.start_again(self._world.clients.producers)
        await self._watch.all_are_served(time.time(), "the end of synchronous replication")
        failover = await self._fail_over(Fault.CUT_OFF, "without synchronous replication")
        if failover is None or self.problems:
            return
        await self._watch.drain()
        kept = failover.at - _ON_ITS_WAY
        async with self._world.database() as connection:
            self.problems += await problems_of_new_history(self._world, connection, kept, failover.writable)
            evidence = Evidence(await read_history(connection), self._world.journals)
        self.problems += check_tokens(evidence, failover.writable)
