"""The two event servers that are compared: our gateway, and Debian's nginx with its nchan module, with equal events."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from bench.drivers.http_load import Connection
from bench.lab import Lab
from bench.running import processes, service
from bench.running.processes import Failed, Process
from bench.subjects.contenders import THUMBQ
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import PublishTestNotificationRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import EnqueueJobsRequest, NewJob
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

_URL = "/models/1/thumbnail/file"
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_CONFIGURATION = """
load_module {module};
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /listen {{
            nchan_subscriber eventsource;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval 15;
        }}
        location = /publish {{
            nchan_publisher;
            nchan_channel_id all;
            nchan_message_buffer_length 10000;
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


class Notifier(Protocol):
    """An event server, and the process whose work is measured."""

    process: Process
    address: str
    path: str
    # Regular expression of an event, with groups for its id, its number and its clock.
    pattern: str

    async def publish(self) -> None:
        """Publish one event that carries the time."""

    async def burst(self, events: int) -> None:
        """Publish `events` events at once, all with the same time."""


@dataclass
class Gateway:
    """Publishes test notifications; the model's id is the time."""

    process: Process
    address: str
    channel: grpc.aio.Channel
    path: str = "/api/notifications"
    pattern: str = r'id: (\w+-(\d+))\nevent: thumbnail\ndata: {"modelId":(\d+)'

    async def publish(self) -> None:
        """Publish one event in one call and one commit."""
        request = PublishTestNotificationRequest(
            model_id=clock(), status=ThumbnailStatus.THUMBNAIL_STATUS_READY, thumbnail_url=_URL
        )
        await NotificationServiceStub(self.channel).PublishTestNotification(request, timeout=30)

    async def burst(self, events: int) -> None:
        """Enqueue that many jobs in one call and one commit. Their models differ by microseconds."""
        now = clock()
        jobs = [NewJob(model_id=now + index, model_hash=f"{now:064x}") for index in range(events)]
        await QueueServiceStub(self.channel).EnqueueJobs(EnqueueJobsRequest(jobs=jobs), timeout=30)


class Nchan:
    """Publishes the same JSON; the job's id counts the events."""

    path = "/listen"
    pattern = r'id: (\S+)\ndata: {"modelId":(?=\d+,"jobId":(\d+))(\d+)'

    def __init__(self, process: Process, address: str, connection: Connection) -> None:
        self.process = process
        self.address = address
        self._connection = connection
        self._count = 0

    async def publish(self) -> None:
        """Publish one event in one request."""
        await self._post(clock())

    async def burst(self, events: int) -> None:
        """Publish one event after another: nchan has no request for several."""
        now = clock()
        for _ in range(events):
            await self._post(now)

    async def _post(self, now: int) -> None:
        self._count += 1
        event = (
            f'{{"modelId":{now},"jobId":{self._count},"status":"Ready","thumbnailUrl":"{_URL}","errorMessage":null,'
            '"attemptCount":0,"willRetry":false,"timestamp":"2026-11-23T14:19:09.836482Z","test":true}'
        )
        await self._connection.post("/publish", event.encode())


def clock() -> int:
    """Return the microseconds of CLOCK_MONOTONIC, which all processes share."""
    return time.monotonic_ns() // 1000


@contextlib.asynccontextmanager
async def our_gateway(lab: Lab) -> AsyncIterator[Notifier]:
    """Start a gateway and a server on an empty queue."""
    async with (
        lab.session(THUMBQ) as session,
        service.gateway(session.target, lab.logs) as (process, address),
        grpc.aio.insecure_channel(session.target) as channel,
    ):
        yield Gateway(process, address, channel)


@contextlib.asynccontextmanager
async def nchan(lab: Lab) -> AsyncIterator[Notifier]:
    """Start nginx with one worker process. Raises Failed where it is not installed."""
    port = _free_port()
    command = _nginx_command(lab.logs / "nginx", port)
    # Only on SIGTERM does nginx's master end its worker.
    process = await processes.start(command, lab.logs / "nginx.log", death_signal=signal.SIGTERM)
    try:
        yield Nchan(process, f"127.0.0.1:{port}", await _connected(process, port))
    finally:
        await process.stop()


def _nginx_command(folder: Path, port: int) -> list[str]:
    if not (shutil.which("nginx") and _MODULE.exists()):
        raise Failed("not installed: it needs Debian's nginx and libnginx-mod-nchan")
    folder.mkdir(exist_ok=True)
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(module=_MODULE, folder=folder, port=port))
    return ["nginx", "-p", str(folder), "-c", str(configuration)]


def nchan_version() -> str:
    """Return the versions that the distribution has installed; empty without them."""
    query = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}"]
    try:
        versions = [
            subprocess.run([*query, package], capture_output=True, text=True, check=True).stdout
            for package in ("libnginx-mod-nchan", "nginx")
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{versions[0].split('+')[0]} in nginx {versions[1]}"


async def _connected(process: Process, port: int) -> Connection:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while True:
            process.check()
            try:
                return (await loop.create_connection(lambda: Connection("localhost"), "127.0.0.1", port))[1]
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
