"""The same client for programs without asyncio: Django, Flask, scripts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from thumbq.client.batches import JOBS_PER_CALL
from thumbq.client.client import Client
from thumbq.client.errors import Unavailable
from thumbq.client.plain import (
    Answer,
    JobEvent,
    JobInfo,
    JobStatusWord,
    Picture,
    Request,
    Seconds,
    ThumbnailStatusWord,
)
from thumbq.tls import Tls

_Result = TypeVar("_Result")


class BlockingClient:
    """Client, with methods that block; any number of threads may use one at the same time.

        with BlockingClient("localhost:50051") as client:
            answer = client.enqueue(model_id=7, model_hash=hash_file("7.glb"))
            picture = client.wait_for(answer.job_id, timeout=60)

    It connects with the first call, in a thread of its own, so a server that forks its workers may make it before.
    Close a client that is connected before a fork, otherwise its calls in the child raise RuntimeError. Iterables are
    read in the caller's thread.
    """

    def __init__(
        self, target: str, *, timeout: Seconds = 30.0, api_key: str | None = None, tls: Tls | None = None
    ) -> None:
        self._target = target
        self._api_key = api_key
        self._tls = tls
        self._timeout = timeout
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection: calls of other threads raise Unavailable, and the next call opens another."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread and thread.process_id == os.getpid():
            thread.stop()

    def enqueue(
        self,
        model_id: int,
        model_hash: str | bytes,
        *,
        priority: int = 0,
        max_attempts: int | None = None,
        delay: Seconds = 0.0,
        force: bool = False,
        model_version_id: int | None = None,
        kind: str = "Model",
        options: Mapping[str, object] | None = None,
        options_matter: bool = False,
    ) -> Answer:
        """Do as Client.enqueue."""
        return self._run(
            lambda client: client.enqueue(
                model_id,
                model_hash,
                priority=priority,
                max_attempts=max_attempts,
                delay=delay,
                force=force,
                model_version_id=model_version_id,
                kind=kind,
                options=options,
                options_matter=options_matter,
            )
        )

    def enqueue_many(
        self, requests: Iterable[Request], *, progress: Callable[[int], object] | None = None
    ) -> list[Answer]:
        """Do as Client.enqueue_many; `progress` is called in the caller's thread."""
        with self._lock:
            connected = self._connected()
        answers: list[Answer] = []
        rest = iter(requests)
        while batch := list(islice(rest, JOBS_PER_CALL)):
            answers += self._run(partial(Client.enqueue_many, requests=batch), connected)
            if progress:
                progress(len(answers))
        return answers

    def job(self, job_id: int, *, wait: Seconds = 0.0) -> JobInfo:
        """Do as Client.job."""
        return self._run(lambda client: client.job(job_id, wait=wait))

    def wait_for(self, job_id: int, *, timeout: Seconds = 3600.0) -> Picture:
        """Do as Client.wait_for."""
        return self._run(lambda client: client.wait_for(job_id, timeout=timeout))

    def jobs(self, *, status: JobStatusWord | None = None, model_id: int = 0) -> Iterator[JobInfo]:
        """Do as Client.jobs."""
        with self._lock:
            connected = self._connected()
        items = connected.client.jobs(status=status, model_id=model_id)

        async def following(_: Client) -> JobInfo | None:
            return await anext(items, None)

        while job := self._run(following, connected):
            yield job

    def cancel(self, job_id: int) -> JobInfo:
        """Do as Client.cancel."""
        return self._run(lambda client: client.cancel(job_id))

    def cancel_model(self, model_id: int) -> list[int]:
        """Do as Client.cancel_model."""
        return self._run(lambda client: client.cancel_model(model_id))

    def forget(self, model_id: int) -> list[int]:
        """Do as Client.forget."""
        return self._run(lambda client: client.forget(model_id))

    def retry(self, job_id: int) -> JobInfo:
        """Do as Client.retry."""
        return self._run(lambda client: client.retry(job_id))

    def thumbnail(self, model_id: int) -> Picture:
        """Do as Client.thumbnail."""
        return self._run(lambda client: client.thumbnail(model_id))

    def version_thumbnail(self, model_version_id: int) -> Picture:
        """Do as Client.version_thumbnail."""
        return self._run(lambda client: client.version_thumbnail(model_version_id))

    def thumbnails(self, model_ids: Iterable[int]) -> list[Picture]:
        """Do as Client.thumbnails."""
        given = list(model_ids)
        return self._run(lambda client: client.thumbnails(given))

    def create_ticket(self, model_ids: Iterable[int] = (), *, all_models: bool = False, life: Seconds = 600.0) -> str:
        """Do as Client.create_ticket."""
        given = list(model_ids)
        return self._run(lambda client: client.create_ticket(given, all_models=all_models, life=life))

    def log_event(self, job_id: int, event_type: str, message: str = "") -> None:
        """Do as Client.log_event."""
        self._run(lambda client: client.log_event(job_id, event_type, message))

    def job_events(self, job_id: int) -> list[JobEvent]:
        """Do as Client.job_events."""
        return self._run(lambda client: client.job_events(job_id))

    def cursor(self) -> str:
        """Do as Client.cursor."""
        return self._run(lambda client: client.cursor())

    def announce_test(self, model_id: int, status: ThumbnailStatusWord, thumbnail_url: str = "") -> None:
        """Do as Client.announce_test."""
        self._run(lambda client: client.announce_test(model_id, status, thumbnail_url))

    def _run(
        self, call: Callable[[Client], Coroutine[Any, Any, _Result]], begun_on: _LoopThread | None = None
    ) -> _Result:
        """Run a call, which continues what was begun on one connection where that is given. Raises ThumbqError."""
        with self._lock:
            if begun_on and (self._thread is not begun_on or begun_on.process_id != os.getpid()):
                raise Unavailable(f"{self._target}: the client was closed")
            future = (begun_on or self._connected()).begin(call)
        try:
            return future.result()
        except CancelledError:
            raise Unavailable(f"{self._target}: the client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def _connected(self) -> _LoopThread:
        """Return the thread of this process; the lock is held."""
        if self._thread is None or self._thread.process_id != os.getpid():
            client = Client(self._target, timeout=self._timeout, api_key=self._api_key, tls=self._tls)
            self._thread = _LoopThread(client)
        return self._thread


_running: set[_LoopThread] = set()


class _LoopThread:
    """An event loop in a thread, and a client that is open on it."""

    def __init__(self, client: Client) -> None:
        self.process_id = os.getpid()
        # A fork inherits gRPC's state, and not the thread that moves it: every call would wait without an end.
        if any(other.process_id != self.process_id for other in list(_running)):
            raise RuntimeError("this process was forked while a BlockingClient was connected: close it before the fork")
        self.client = client
        self._loop = asyncio.new_event_loop()
        self._opened: Future[None] = Future()
        self._stopped = asyncio.Event()
        self._calls: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._serve, name="thumbq-client", daemon=True)
        _running.add(self)
        self._thread.start()
        try:
            self._opened.result()
        except BaseException:
            self.stop()
            raise

    def begin(self, call: Callable[[Client], Coroutine[Any, Any, _Result]]) -> Future[_Result]:
        """Begin a call on the loop; its result is cancelled by `stop`."""
        future = asyncio.run_coroutine_threadsafe(call(self.client), self._loop)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def stop(self) -> None:
        """Cancel the calls under way, close the client, and end the thread."""
        for future in list(self._calls):
            future.cancel()
        with suppress(RuntimeError):  # the loop is closed when the client could not be opened
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        _running.discard(self)

    def _serve(self) -> None:
        # The end of the Runner awaits what still runs.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stay_open())

    async def _stay_open(self) -> None:
        try:
            await self.client.__aenter__()
        except BaseException as error:  # noqa: BLE001 - the caller in the other thread gets it
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        await self._stopped.wait()
        await self.client.__aexit__(None, None, None)
