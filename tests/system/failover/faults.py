"""The faults of a primary, and their repair."""

import asyncio
import contextlib
import os
import random
import signal
from enum import Enum

from tests.support.programs import send_to_descendants
from tests.system.failover import rack
from tests.system.failover.cluster import Node


class Fault(Enum):
    """How the primary fails."""

    PROCESS_KILLED = "its processes are killed"
    HOST_LOST = "its host is lost"
    STOPPED = "its host stops, and goes on as if nothing had been"
    PARTITIONED = "its cable is pulled out"
    CUT_OFF = "it is cut off from the other hosts, and servers still reach it"


class Bag:
    """Draws from a shuffled bag, so that each fault comes up before any comes again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._bag: list[Fault] = []

    def draw(self) -> Fault:
        if not self._bag:
            self._bag = list(Fault)
            self._chance.shuffle(self._bag)
        return self._bag.pop()


def strike(fault: Fault, node: Node) -> None:
    """Let the primary fail."""
    match fault:
        case Fault.PROCESS_KILLED:
            for process in node.processes_of_postgres:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        case Fault.HOST_LOST:
            node.program.expected_up = False
            node.program.kill_all()
        case Fault.STOPPED:
            send_to_descendants(node.host, signal.SIGSTOP)
        case Fault.PARTITIONED:
            rack.pull_out(node.host)
        case Fault.CUT_OFF:
            rack.cut_off(node.number)


async def repair(fault: Fault, node: Node) -> None:
    """Put it right again. The host then joins the others as a standby."""
    match fault:
        case Fault.PROCESS_KILLED:
            pass  # Patroni starts it again
        case Fault.HOST_LOST:
            await node.program.launch()
        case Fault.STOPPED:
            await asyncio.to_thread(send_to_descendants, node.host, signal.SIGCONT)
        case Fault.PARTITIONED:
            rack.put_in(node.number, node.host)
        case Fault.CUT_OFF:
            rack.connect(node.number)
