"""One run: rounds of cases, a look at everything after each round, and the search for the case behind each problem."""

import asyncio
import random
import time
from collections.abc import Sequence

from tests.fuzz.case import Answer, Case
from tests.fuzz.findings import Finding, complaint, shrink
from tests.fuzz.http_cases import http_case
from tests.fuzz.play import play
from tests.fuzz.rpc_cases import rpc_case
from tests.fuzz.service import Problem, Service
from tests.fuzz.values import Known, Values
from tests.system.chaos.actors.journal import say

CASES_A_ROUND = 100
AT_ONCE = 8
# Cases above this size are sent one at a time: the limits are those of one message.
_LARGE = 300_000
# The run ends after this number of kinds of findings. It searches for the cause of one kind this number of times.
_ENOUGH, _SEARCHES = 25, 2
_OBSERVE = 0.3


def case_of(seed: int, number: int, index: int, known: Known) -> Case:
    """Return a case that depends on nothing but these."""
    chance = random.Random(f"{seed}/{number}/{index}")
    values = Values(chance, known, oddness=chance.choice([0.0, 0.1, 0.4]))
    return http_case(values) if index % 2 else rpc_case(values)


class Run:
    """Fuzzes the service for some time, or for a number of rounds."""

    def __init__(self, service: Service, seed: int, seconds: float, rounds: int | None = None) -> None:
        self._service = service
        self._seed = seed
        self._seconds = seconds
        self._most_rounds = rounds
        self._exclusive = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._searched: dict[str, int] = {}
        self.findings: dict[str, Finding] = {}
        self.played = 0
        self.rounds = 0

    async def go(self) -> None:
        await self._service.settle(5)
        end = time.monotonic() + self._seconds
        while self.rounds != self._most_rounds and len(self.findings) < _ENOUGH:
            if self._most_rounds is None and time.monotonic() > end:
                break
            self.rounds += 1
            await self._round(self.rounds)
        self._note(await self._service.end(), [])
        self._note(await self._service.problems(), [])

    async def replay(self, case: Case) -> None:
        """Play one case alone, and look for everything that may be wrong."""
        await self._service.settle(3)
        answer = await play(case, self._service.addresses)
        say(f"{case.show()}\n  answer: {answer.status or 'none'} {answer.text[:500]}")
        self._judge(case, answer)
        await asyncio.sleep(_OBSERVE)
        self._note(await self._service.problems(), [case])

    async def _round(self, number: int) -> None:
        known = await self._service.known()
        cases = [case_of(self._seed, number, index, known) for index in range(CASES_A_ROUND)]
        answers = await asyncio.gather(*(self._play(case) for case in cases))
        for case, answer in zip(cases, answers, strict=True):
            if self._judge(case, answer):
                await self._make_smaller(case, answer)
        await asyncio.sleep(_OBSERVE)
        for problem in await self._service.problems():
            await self._trace(problem, cases)

    async def _play(self, case: Case) -> Answer:
        self.played += 1
        if case.size < _LARGE:
            async with self._slots:
                return await play(case, self._service.addresses)
        async with self._exclusive:
            return await play(case, self._service.addresses)

    def _judge(self, case: Case, answer: Answer) -> bool:
        """Note a finding when the answer is bad. Return whether it is the first of its kind."""
        kind = complaint(case, answer)
        return kind is not None and self._add(Finding(kind, answer.text[:800], [case]))

    async def _make_smaller(self, case: Case, answer: Answer) -> None:
        kind = complaint(case, answer)
        assert kind is not None

        async def shows(smaller: Case) -> bool:
            return complaint(smaller, await play(smaller, self._service.addresses)) == kind

        self.findings[kind].cases = [await shrink(case, shows)]

    async def _trace(self, problem: Problem, cases: Sequence[Case]) -> None:
        """Look for the one case of the round that causes the problem, and make it small."""
        self._searched[problem.kind] = self._searched.get(problem.kind, 0) + 1
        if self._searched[problem.kind] > _SEARCHES:
            self._note([problem], cases)
            return
        say(f"  round {self.rounds}: {problem.kind}; looking for its case")
        few = list(cases)
        while len(few) > 1:
            half = len(few) // 2
            few = few[:half] if await self._cause(few[:half], problem.kind) else few[half:]
        if await self._cause(few, problem.kind):
            small = await shrink(few[0], lambda smaller: self._cause([smaller], problem.kind))
            self._add(Finding(f"{problem.kind}, by {small.channel} {small.target}", problem.text, [small]))
        else:
            self._note([problem], cases)

    async def _cause(self, cases: Sequence[Case], kind: str) -> bool:
        """Return whether these cases cause this kind of problem."""
        if kind.startswith(("growth", "the ")):
            self._note(await self._service.restart(), [])
        await asyncio.gather(*(self._play(case) for case in cases))
        await asyncio.sleep(_OBSERVE)
        return any(problem.kind == kind for problem in await self._service.problems())

    def _note(self, problems: Sequence[Problem], cases: Sequence[Case]) -> None:
        for problem in problems:
            self._add(Finding(problem.kind, problem.text, list(cases)))

    def _add(self, finding: Finding) -> bool:
        known = self.findings.setdefault(finding.kind, finding)
        if known is finding:
            say(f"  {time.strftime('%H:%M:%S')} round {self.rounds}: {finding.kind}: {finding.text[:150]!r}")
        else:
            known.times += 1
        return known is finding
