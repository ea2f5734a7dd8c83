"""The transcripts of docs/runbook.md: what an operator types, and what the commands must answer."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

RUNBOOK = Path(__file__).parents[3] / "docs/runbook.md"
THUMBQ = Path(sys.executable).with_name("thumbq")
# Lines that are left out of a transcript.
OMITTED = "…"
# What differs from one night to the next, in this order.
_VARIES = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS"),
    (r"\S+@[\w.-]*\w", "SOMEBODY"),
    (r"/\S+/data\b", "FOLDER"),
    (r"\d+(\.\d+)?", "N"),
    (r"N (d|h|min|s)( N (d|h|min|s))*\b", "SPAN"),
)


class Step(NamedTuple):
    """A command, and the lines that it prints."""

    command: str
    printed: Sequence[str]


class Transcript:
    """The commands below a heading, which are typed one after the other. Its end says that none is left."""

    def __init__(self, heading: str, server: str) -> None:
        self._server = server
        self._steps = list(steps(heading))
        assert self._steps, heading

    async def types(self, count: int = 1, **variables: str) -> None:
        """Type the next `count` commands, and compare what they print."""
        for _ in range(count):
            step = self._steps.pop(0)
            printed = await self._run(step.command, variables)
            assert matches(step.printed, printed), f"$ thumbq {step.command}\n" + "\n".join(printed)

    async def sees(self, **variables: str) -> bool:
        """Type the next command, and return whether it prints what it must by now."""
        step = self._steps[0]
        if not matches(step.printed, await self._run(step.command, variables)):
            return False
        del self._steps[0]
        return True

    def ends(self) -> None:
        """Fail when a command was not typed."""
        assert self._steps == []

    async def _run(self, command: str, variables: dict[str, str]) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            THUMBQ,
            *shlex.split(command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"THUMBQ_SERVER": self._server} | variables,
        )
        output, _ = await process.communicate()
        return output.decode().splitlines()


def steps(heading: str) -> list[Step]:
    """Return the commands of the transcripts below a heading."""
    section = RUNBOOK.read_text().partition(f"\n### {heading}\n")[2]
    section = re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0]
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ thumbq "):
                found.append((line.removeprefix("$ thumbq "), []))
            else:
                found[-1][1].append(line)
    return [Step(*each) for each in found]


def matches(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """Return whether the lines are those of a transcript, whatever the times, numbers and names are."""
    left = _constants(printed)
    skips = False
    for line in expected:
        if line == OMITTED:
            skips = True
            continue
        wanted = _constant(line)
        place = left.index(wanted) if skips and wanted in left else 0
        if place >= len(left) or left[place] != wanted:
            return False
        del left[: place + 1]
        skips = False
    return skips or not left


def _constants(printed: Sequence[str]) -> list[str]:
    """Return the lines without what varies. What happens around the end of a minute has a line in each: one is kept."""
    found: list[str] = []
    for line in map(_constant, printed):
        if not (found and line == found[-1] and line.startswith("TIME N completed")):
            found.append(line)
    return found


def _constant(line: str) -> str:
    for pattern, word in _VARIES:
        line = re.sub(pattern, word, line)
    return " ".join(line.split())
