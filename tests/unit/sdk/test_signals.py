"""A worker ends in order at a signal, also on an event loop that takes no signals."""

import asyncio
import os
import signal

import pytest

from thumbq.worker import _stop_signals


class WindowsLoop(asyncio.SelectorEventLoop):
    """An event loop whose methods for signals do what those of Windows do."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError

    def remove_signal_handler(self, *_: object) -> bool:
        raise NotImplementedError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_that_takes_no_signals_stops_the_worker_nevertheless(number: signal.Signals):
    async def main() -> None:
        stopped = asyncio.Event()
        with _stop_signals(stopped.set):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stopped.wait(), 30)

    before = signal.getsignal(number)
    with asyncio.Runner(loop_factory=WindowsLoop) as runner:
        runner.run(main())
    assert signal.getsignal(number) is before
