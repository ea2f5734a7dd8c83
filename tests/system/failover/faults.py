"""The faults of a primary."""

import random
from collections.abc import Sequence
from enum import Enum


class Fault(Enum):
    """How the primary fails."""

    PROCESS_KILLED = "its processes are killed"
    HOST_LOST = "its host is lost"
    STOPPED = "its host stops, and goes on as if nothing had been"
    PARTITIONED = "its cable is pulled out"
    CUT_OFF = "it is cut off from the other hosts, and servers still reach it"


class Bag:
    """Draws from a shuffled bag, so that each fault comes up before any comes again."""

    def __init__(self, chance: random.Random, faults: Sequence[Fault]) -> None:
        self._chance = chance
        self._faults = faults
        self._bag: list[Fault] = []

    def draw(self) -> Fault:
        if not self._bag:
            self._bag = list(self._faults)
            self._chance.shuffle(self._bag)
        return self._bag.pop()
