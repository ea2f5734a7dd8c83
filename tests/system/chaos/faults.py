"""The faults of a run: their kinds, their victims, and their repair."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tests.support.programs import Program
from tests.system.chaos.actors.clients import Worker
from tests.system.chaos.proxy import Link, Links
from tests.system.chaos.world import LEASE, Role, World

# Seconds that a program may take to end: its grace, and a reserve for a busy machine.
STOP_TIMEOUT = 30.0

# Seconds in which answers may still come that were under way when a host froze.
ANSWERS_UNDER_WAY = 0.5
# Waits until each of the named clients was served after the time. The last argument names the fault.
Service = Callable[[set[str], float, str], Awaitable[None]]

_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Fault(Enum):
    """How something fails."""

    KILLED = "killed"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    DISCONNECTED = "connections terminated"
    CUT = "cut"
    SLOW = "slow"
    SILENT = "silent"
    FROZEN = "frozen"
    CLOCK = "clock jumped"


_PROGRAM_FAULTS = (Fault.KILLED, Fault.STOPPED, Fault.TERMINATED)
_LINK_FAULTS = (Fault.CUT, Fault.SLOW, Fault.SILENT)
# Every victim with each of its faults.
KINDS = [
    *((victim, fault) for victim in ("worker", "server", "gateway") for fault in _PROGRAM_FAULTS),
    *(("postgres", fault) for fault in (*_PROGRAM_FAULTS, Fault.DISCONNECTED)),
    ("first host of postgres", Fault.FROZEN),
    *((victim, Fault.CLOCK) for victim in ("server", "gateway")),
    *((f"{victim}'s link", fault) for victim in ("worker", "server", "gateway") for fault in _LINK_FAULTS),
]
# The longest that a fault lasts, in seconds; the shortest is a fifth. Half of the stopped workers outlast their leases.
_LONGEST = {
    Fault.CLOCK: 2.0,
    Fault.KILLED: 1.5,
    Fault.STOPPED: LEASE * 1.8,
    Fault.TERMINATED: 1.0,
    Fault.SLOW: 2.0,
    Fault.SILENT: 4.0,
}


class Draw(NamedTuple):
    """A fault before it happens, fully determined by the seed."""

    kind: str
    fault: Fault
    victim: Worker | Role | None
    seconds: float
    # Seconds that a slow link adds to each piece of data.
    delay: float
    # Whether a silent link is cut in the end, so that the data that it held back is lost; whether a clock goes back.
    loses: bool
    # The length of a jump of the clock in seconds.
    jump: float

    @property
    def what(self) -> str:
        name = self.victim.name if self.victim else "postgres"
        return f"{self.kind} {self.fault.value}" + (f": {name}" if self.victim else "")


@dataclass
class Strike:
    """A fault that happened: its times, and the clients that must be served again after it."""

    draw: Draw
    witnesses: set[str]
    at: float
    over: float = 0.0
    # Whether another fault came at the same time: then the recovery cannot be counted for either.
    in_company: bool = False
    problem: str | None = None

    @property
    def kind(self) -> str:
        return f"{self.draw.kind} {self.draw.fault.value}"

    @property
    def worker(self) -> str | None:
        """Whose jobs came into other hands, when it was a worker that failed."""
        return self.draw.victim.name if self.draw.kind == "worker" and self.draw.victim else None


class Bag:
    """Draws from a shuffled bag, so that each kind comes up before any comes again."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._bag: list[tuple[str, Fault]] = []

    def draw(self) -> Draw:
        if not self._bag:
            self._bag = list(KINDS)
            self._chance.shuffle(self._bag)
        kind, fault = self._bag.pop()
        longest = _LONGEST.get(fault, 0.0)
        return Draw(
            kind,
            fault,
            self._victim(kind),
            self._chance.uniform(longest / 5, longest),
            self._chance.uniform(0.02, 0.15),
            self._chance.random() < 0.5,
            self._chance.choice([5.0, 3600.0, 86_400.0 * 400]),
        )

    def _victim(self, kind: str) -> Worker | Role | None:
        match kind.removesuffix("'s link"):
            case "worker":
                return self._chance.choice(self._world.clients.workers)
            case "server":
                return self._chance.choice(self._world.servers)
            case "gateway":
                return self._chance.choice(self._world.gateways)
            case _:
                return None


async def carry_out(draw: Draw, world: World, service: Service) -> Strike:
    """Strike, and put everything right again. `service` returns when these clients were served after this time."""
    strike = Strike(draw, _witnesses(draw, world), time.time())
    victim = draw.victim
    if draw.kind.endswith("link"):
        assert victim is not None
        await _fail_link(draw, victim.link if isinstance(victim, Worker) else victim.upstream)
    elif draw.fault is Fault.FROZEN:
        await _freeze_first_host(world, strike, service)
    elif draw.fault is Fault.CLOCK:
        assert isinstance(victim, Role)
        victim.clock.jump(-draw.jump if draw.loses else draw.jump)
        await asyncio.sleep(draw.seconds)
        victim.clock.jump(0)
    elif victim is None:
        await _fail_postgres(draw, world, strike)
    else:
        await _fail_program(draw, victim.program, world, strike)
    strike.over = time.time()
    return strike


def _witnesses(draw: Draw, world: World) -> set[str]:
    match draw.victim:
        case Worker(program, _):
            return {program.name}
        case Role() as role:
            return world.served_by(role)
        case None:
            return {client.name for client in world.clients.witnesses}


async def _fail_program(draw: Draw, program: Program, world: World, strike: Strike) -> None:
    if draw.fault is Fault.STOPPED:
        program.send(signal.SIGSTOP)
        await asyncio.sleep(draw.seconds)
        program.send(signal.SIGCONT)
        return
    program.expected_up = False
    if draw.fault is Fault.KILLED:
        program.send(signal.SIGKILL)
        await program.end(STOP_TIMEOUT)
    else:
        program.send(signal.SIGTERM)
        strike.problem = await ended_well(program)
    await asyncio.sleep(draw.seconds)
    await world.start_again(program)


async def _fail_postgres(draw: Draw, world: World, strike: Strike) -> None:
    postgres = world.postgres
    match draw.fault:
        case Fault.DISCONNECTED:
            async with world.database() as connection:
                await connection.execute(_TERMINATE)
        case Fault.STOPPED:
            postgres.send(signal.SIGUSR1)
            await asyncio.sleep(draw.seconds)
            postgres.send(signal.SIGUSR2)
        case _:
            postgres.expected_up = False
            if draw.fault is Fault.KILLED:
                os.kill(postgres.ready["postmaster"], signal.SIGKILL)
            else:
                postgres.send(signal.SIGTERM)
            strike.problem = await ended_well(postgres)
            await asyncio.sleep(draw.seconds)
            await world.start_again(postgres)


async def _freeze_first_host(world: World, strike: Strike, service: Service) -> None:
    """Let the first host of every server hang, until the clients are served through the second one."""
    for server in world.servers:
        server.upstream.first.fall_silent()
    await service(strike.witnesses, time.time() + ANSWERS_UNDER_WAY, "the freeze of the first host")
    for server in world.servers:
        server.upstream.first.cut()
        server.upstream.first.speak()


async def _fail_link(draw: Draw, link: Link | Links) -> None:
    match draw.fault:
        case Fault.CUT:
            link.cut()
        case Fault.SLOW:
            link.slow_down(draw.delay)
            await asyncio.sleep(draw.seconds)
            link.slow_down(0)
        case _:
            link.fall_silent()
            await asyncio.sleep(draw.seconds)
            if draw.loses:
                link.cut()
            link.speak()


async def ended_well(program: Program) -> str | None:
    """None when the program, asked to end, does so in time and with exit code 0; the problem otherwise."""
    try:
        code = await program.end(STOP_TIMEOUT)
    except TimeoutError as problem:
        program.kill_all()
        return str(problem)
    return None if code == 0 else f"{program.name} ended with exit code {code} when it was asked to end"
