"""The thread on which all workers of a process talk to their servers."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest

from thumbq.working.network_thread import NetworkThread

KIND = asyncio.SelectorEventLoop


class User:
    """Has a thread, and work on it that lasts until it is released."""

    def __init__(self) -> None:
        self.thread = NetworkThread.join(KIND)
        self.began: Future[threading.Thread] = Future()
        self.ended: Future[BaseException | None] = Future()
        self._released = asyncio.Event()

    def ask(self) -> None:
        self.thread.run(self._work(), self.ended.set_result)

    def start(self) -> threading.Thread:
        self.ask()
        return self.began.result(30)

    async def _work(self) -> None:
        self.began.set_result(threading.current_thread())
        await self._released.wait()

    def release(self) -> BaseException | None:
        self.thread.post(self._released.set)
        return self.ended.result(30)


def test_users_share_a_thread_that_ends_with_the_last_of_them():
    first, second = User(), User()
    thread = first.start()
    assert second.start() is thread
    assert first.release() is None

    late = User()
    assert late.start() is thread
    late.release()
    second.release()
    thread.join(30)
    assert not thread.is_alive()
    assert second.thread.loop.is_closed()

    next_one = User()
    assert next_one.start() is not thread
    next_one.release()


def test_an_error_reaches_its_own_user_alone():
    user = User()
    thread = user.start()

    async def fail() -> None:
        raise LookupError("nothing there")

    other = NetworkThread.join(KIND)
    error: Future[BaseException | None] = Future()
    other.run(fail(), error.set_result)

    assert isinstance(error.result(30), LookupError)
    assert thread.is_alive()
    assert user.release() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_all_users_learn_of_the_end_of_the_whole_loop():
    def end_it() -> None:
        raise SystemExit

    working, late = User(), User()
    thread = working.start()
    working.thread.post(end_it)
    assert working.ended.result(30) is None
    thread.join(30)

    late.ask()
    assert late.ended.result(30) is None


FORK = """
import asyncio, os
from concurrent.futures import Future
from thumbq.working.network_thread import NetworkThread

def work(lasting):
    thread, began, ended = NetworkThread.join(asyncio.SelectorEventLoop), Future(), Future()
    async def main():
        began.set_result(None)
        await asyncio.Event().wait() if lasting else None
    thread.run(main(), ended.set_result)
    began.result(30)

work(lasting=True)
child = os.fork()
work(lasting=False)
if child == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_of_a_process_whose_worker_runs_has_a_thread_of_its_own():
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=False)
    assert ended.stdout == "7\n", ended.stderr
