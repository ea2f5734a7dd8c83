"""Connections to a server: the settings of a channel, and the pauses between attempts."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import random
import re
import socket
from contextlib import suppress
from pathlib import Path
from time import monotonic

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from thumbq.keyed_channel import KeyedChannel
from thumbq.log_events import event
from thumbq.tls import Tls, UnusableCertificate, bare, channel_to, explain, signature

_logger = logging.getLogger("thumbq")

# A connection that lasts longer than this (seconds) counts as a good one.
_LASTING = 5.0

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Each channel opens a connection of its own. gRPC otherwise shares connections within the process, and a worker
    # that is asked to reconnect would reach the same server again.
    ("grpc.use_local_subchannel_pool", 1),
    # Of the servers that an address names, each channel takes one at random: gRPC otherwise takes the first.
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}'),
]


# The variables from which gRPC takes a proxy, in their order; no_proxy excepts hosts from it.
PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


class UnreadableKey(ValueError):
    """What is given as the API key, in a file, a variable or an argument, cannot be one."""


def open_channel(target: str, api_key: str | None = None, tls: Tls | None = None) -> grpc.aio.Channel:
    """Open a channel to `host:port`, `grpcs://host:port` or `unix:path`; nothing is sent before the first call.

    Where the address names several servers (`ipv4:10.0.0.1:50051,10.0.0.2:50051`, or `dns:///name:50051` with a name of
    several addresses), each channel goes to one of them, and to another when that is gone.
    Calls carry the key, and TLS takes the files; without them, those in the environment count. No proxy is asked for a
    server on this machine, which it could not reach. Raises UnreadableKey, UnusableCertificate.
    """
    # First: a channel that is opened has to be closed.
    key = _checked(api_key, "api_key") if api_key else key_in_environment()
    proxy = [("grpc.enable_http_proxy", 0)] if is_local(target) else []
    channel = channel_to(target, [*_CHANNEL_OPTIONS, *proxy], tls)
    return KeyedChannel(channel, key) if key else channel


def key_in_environment() -> str | None:
    """Return the API key in THUMBQ_API_KEY, or in the file that THUMBQ_API_KEY_FILE names. Raises UnreadableKey."""
    if key := os.environ.get("THUMBQ_API_KEY", "").strip():
        return _checked(key, "THUMBQ_API_KEY")
    name = os.environ.get("THUMBQ_API_KEY_FILE")
    if not name:
        return None
    try:
        key = Path(name).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise UnreadableKey(f"THUMBQ_API_KEY_FILE cannot be read: {problem}") from None
    return _checked(key, f"THUMBQ_API_KEY_FILE names {name}, which")


def _checked(key: str, where: str) -> str:
    """Return the key. gRPC would raise an error of its own for other characters."""
    if not key.isascii() or not key.isprintable() or not key:
        raise UnreadableKey(f"{where} holds no key")
    return key


class RenewedChannel:
    """A channel, and another one in its place when a call fails and files of the key or of TLS have changed.

    gRPC shows for good what a channel was opened with.
    """

    def __init__(self, target: str, api_key: str | None = None, tls: Tls | None = None) -> None:
        """Do as `open_channel`."""
        self._target = target
        self._api_key = api_key
        self._tls = tls
        self._files = self._seen()
        self.channel = open_channel(target, api_key, tls)
        # Calls may be under way on them.
        self._former: list[grpc.aio.Channel] = []

    def renew(self) -> bool:
        """Open another channel when files have changed and can be used, and return whether there is another."""
        files = self._seen()
        if files == self._files:
            return False
        try:
            channel = open_channel(self._target, self._api_key, self._tls)
        except (UnreadableKey, UnusableCertificate):
            return False
        self._former.append(self.channel)
        self.channel, self._files = channel, files
        return True

    async def close(self) -> None:
        """Close the channel, and those before it."""
        for channel in (*self._former, self.channel):
            await channel.close()

    def _seen(self) -> list[tuple[int, ...]]:
        return signature(self._tls, os.environ.get("THUMBQ_API_KEY_FILE"))


def is_local(target: str) -> bool:
    """Return whether all addresses of a target are on this machine."""
    address = bare(target)
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    return all(map(_is_local_address, re.sub(r"^(dns:(//[^/]*/)?|ipv[46]:)", "", address).split(",")))


def _is_local_address(address: str) -> bool:
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", address)
    # An IPv6 address may stand without brackets where no port follows.
    return is_local_host(
        bracketed[1] if bracketed else address if address.count(":") > 1 else address.partition(":")[0]
    )


def is_local_host(host: str) -> bool:
    """Return whether a name or an address, without brackets, is of this machine, in any form that a resolver takes."""
    host = host.rstrip(".").lower()
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            number = ipaddress.ip_address(socket.inet_aton(host))  # IPv4 in fewer parts, as in 127.1
        except (OSError, ValueError):
            return False
    # IPv4 within IPv6, as in ::ffff:127.0.0.1.
    plain = getattr(number, "ipv4_mapped", None) or number
    return plain.is_loopback or plain.is_unspecified


def describe(error: grpc.aio.AioRpcError, target: str = "") -> str:
    """Return in a few words why a call failed: "UNAVAILABLE: failed to connect to all addresses"."""
    if reason := explain(error.details() or "", target):
        return reason
    details = (error.details() or "").split(";")[0].strip()
    return f"{error.code().name}: {details}" if details else error.code().name


def told_to_wait(error: grpc.aio.AioRpcError) -> float:
    """Return the seconds after which the server allows another attempt; 0.0 when it does not say."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return 0.0
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.RetryInfo()
                    if detail.Unpack(info):
                        return max(0.0, info.retry_delay.ToTimedelta().total_seconds())
    return 0.0


def task_is_cancelled() -> bool:
    """Return whether a CancelledError was meant for this task. gRPC raises one also when a channel is closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Backoff:
    """Pauses between attempts; they double up to a limit, and vary so that clients do not all return at once."""

    def __init__(self, first: float = 0.2, limit: float = 5.0) -> None:
        self._first = first
        self._limit = limit
        self._next = first

    def pause(self) -> float:
        """Return the seconds to wait now, between half and the whole of the current step."""
        step = self._next
        self._next = min(step * 2, self._limit)
        return step * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._next = self._first


class Link:
    """The connection to a server over its outages; each outage is logged when it begins and when it is over."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._backoff = Backoff()
        self._up_since: float | None = None
        self._down_since: float | None = None

    def up(self) -> None:
        """Note that the server answers, for the first time or again."""
        now = monotonic()
        if self._up_since is None:
            self._up_since = now
        if self._down_since is not None:
            _logger.warning("%s is back after %.1f s", self._target, now - self._down_since, extra=event("server.back"))
            self._down_since = None

    def down(self, reason: str) -> float:
        """Note a broken connection or a failed attempt, and return the seconds to wait before the next one."""
        if self._down_since is None:
            self._down_since = monotonic()
            _logger.warning(
                "%s is away (%s); trying again until it is back", self._target, reason, extra=event("server.away")
            )
        return self.pause()

    def pause(self) -> float:
        """Return the seconds to wait, the shortest again if the last connection was a good one."""
        if self._up_since is not None and monotonic() - self._up_since > _LASTING:
            self._backoff.reset()
        self._up_since = None
        return self._backoff.pause()
