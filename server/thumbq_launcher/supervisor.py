"""Launches child processes, keeps them running, and ends them."""

import asyncio
import subprocess
import time
from collections.abc import Iterable, Sequence

from thumbq_launcher.console import inform, warn
from thumbq_launcher.processes import Child, LaunchFailed, LaunchGivenUp, Program, describe_end, ended
from thumbq_runtime.addresses import free_port
from thumbq_runtime.settings.shared import REUSE_PORT

# Seconds between the end of a child and the first attempt to launch it again; the pauses then double.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
# The pauses start small again for a child that has run for this number of seconds.
SOUND_LIFE = 60.0
START_ATTEMPTS = 3


async def first_launch(child: Child) -> None:
    """Launch a child in a few attempts. Raises LaunchFailed when the last one fails, LaunchGivenUp at once."""
    for attempt in range(1, START_ATTEMPTS):
        try:
            await child.launch()
        except LaunchGivenUp:
            raise
        except LaunchFailed:
            await asyncio.sleep(FIRST_PAUSE * attempt)
        else:
            return
    await child.launch()


async def launch_side_by_side(programs: Sequence[Program], host: str) -> int:
    """Launch programs that share one port, and return the port. Raises LaunchFailed, CannotListen."""
    if len(programs) > 1:
        # A shared port is open to every program that asks to share it, so make sure first that it is free.
        port = free_port(host, programs[0].port)
        for program in programs:
            program.port = port
            program.environment[REUSE_PORT.variable] = "1"
    for program in programs:
        await first_launch(program)
    return programs[0].port


async def keep_running(child: Child) -> None:
    """Launch a child again whenever it ends, with growing pauses, until cancelled."""
    pause = FIRST_PAUSE
    while process := child.process:
        began = time.monotonic()
        code = await ended(process)
        warn(f"the {child.name} {describe_end(code)} and is started again")
        if time.monotonic() - began > SOUND_LIFE:
            pause = FIRST_PAUSE
        pause = await _launch_again(child, pause)


async def end_programs(programs: Iterable[Program], seconds: float, at_once: asyncio.Event) -> None:
    """Ask the programs to end; kill those that still run after `seconds`, or when `at_once` is set."""
    running = [program.process for program in programs if program.process]
    for process in running:
        process.terminate()
    all_ended = asyncio.create_task(_all_ended(running))
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait({all_ended, hurry}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    for process in running:
        process.kill()
    await all_ended


async def _launch_again(child: Child, pause: float) -> float:
    """Launch the child in as many attempts as it takes, and return the pause before the next relaunch."""
    while True:
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        try:
            await child.launch()
        except LaunchFailed as problem:
            warn(f"{problem} The next attempt follows in {pause:g} s.")
        else:
            inform(f"the {child.name} is running again")
            return pause


async def _all_ended(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    await asyncio.gather(*(ended(process) for process in processes))
