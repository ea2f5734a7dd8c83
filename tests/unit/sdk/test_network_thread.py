"""The thread on which all workers of a process talk to their servers."""

import asyncio
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
