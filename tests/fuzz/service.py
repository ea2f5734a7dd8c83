"""The service under the fuzz: PostgreSQL, a server, a gateway, the good clients, and what can be seen of them."""

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import aiohttp

from tests.fuzz.company import CLIENTS
from tests.fuzz.play import Addresses
from tests.fuzz.values import Known
from tests.support.network.ports import free_port
from tests.support.postgres.invariants import violations
from tests.support.programs import Program
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_server.storage.postgres.database import Database

MEBIBYTE = 1 << 20
GROWTH_LIMIT = 200 * MEBIBYTE
STOP_LIMIT = 0.25
# Seconds without service after which a good client counts as forgotten.
PATIENCE = 30.0
_END = 30.0
# Bytes of log that the cases of one round may cause.
_LOG_LIMIT = MEBIBYTE
# A traceback with the line before it, or one line that speaks of an error.
_ERROR = re.compile(
    r"^.*\nTraceback \(.*\n(?:[ \t].*\n)*(?P<exception>.*)|"
    r"^(?P<line>.*(?:level='(?:error|critical)'|never retrieved|never awaited|destroyed but it is pending| ERROR ).*)$",
    re.MULTILINE,
)
_SETTINGS = {
    "THUMBQ_LEASE_DURATION": "3",
    "THUMBQ_DELIVERY_LEASE_DURATION": "2",
    "THUMBQ_HEARTBEAT_INTERVAL": "0.5",
    "THUMBQ_UNARY_LEASE_DURATION": "4",
    "THUMBQ_RETRY_BASE": "0.1",
    "THUMBQ_RETRY_CAP": "1",
    "THUMBQ_SHUTDOWN_GRACE": "5",
}


class Problem(NamedTuple):
    """A problem that is not the answer to one case. Equal kinds have the same cause in most cases."""

    kind: str
    text: str


class Service:
    """Runs the programs, and looks for problems."""

    def __init__(self, folder: Path, dsn: str, database: Database) -> None:
        self._database = database
        self._folder = folder
        self._journal = folder / "journal.jsonl"
        ports = Addresses(free_port(), free_port())
        self.addresses = ports
        common = {**_SETTINGS, "DATABASE_URL": dsn, "THUMBQ_SERVER": f"127.0.0.1:{ports.grpc}"}
        self.server = Program(
            "server", "thumbq_server", folder, environment={**common, "THUMBQ_GRPC_PORT": str(ports.grpc)}
        )
        folders = {"THUMBQ_THUMBNAIL_ROOT": str(folder / "thumbnails"), "THUMBQ_MODEL_ROOT": str(folder / "models")}
        for path in folders.values():
            Path(path).mkdir(exist_ok=True)
        self.gateway = Program(
            "gateway", "thumbq_gateway", folder,
            environment={**common, **folders, "THUMBQ_HTTP_PORT": str(ports.http)},
        )  # fmt: skip
        self._read_to: dict[Path, int] = {}
        self._usual_memory: dict[str, int] = {}
        self._served: dict[str, float] = {}
        self.longest_stop = dict.fromkeys(("server", "gateway"), 0.0)
        self.usual_stop = 0.0
        self.highest_growth = dict.fromkeys(("server", "gateway"), 0)

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator[Self]:
        with EmbeddedPostgres(folder / "data") as dsn:
            async with Database(dsn) as database:
                service = cls(folder, dsn, database)
                try:
                    await service.start()
                    yield service
                finally:
                    for program in service.programs:
                        program.kill_all()

    @property
    def programs(self) -> list[Program]:
        return [self.company, self.gateway, self.server] if hasattr(self, "company") else [self.gateway, self.server]

    async def start(self) -> None:
        await self.server.launch()
        await self.gateway.launch()
        self.company = Program(
            "company", "tests.fuzz.company", self._folder, str(self._journal),
            f"127.0.0.1:{self.addresses.http}", f"127.0.0.1:{self.addresses.grpc}",
            str(self.gateway.pid), str(self.server.pid),
        )  # fmt: skip
        await self.company.launch()
        self._served = dict.fromkeys(CLIENTS, time.time())

    async def settle(self, seconds: float) -> None:
        """Let the service run without the fuzz. Take its stops and its memory in this time as its usual ones."""
        await asyncio.sleep(seconds)
        self._read_journal()
        self.usual_stop = max(self.longest_stop.values())
        self.longest_stop = dict.fromkeys(self.longest_stop, 0.0)
        for program in (self.server, self.gateway):
            self._usual_memory[program.name] = _memory(program, "VmRSS")
            _forget_peak(program)

    async def restart(self) -> list[Problem]:
        """End all programs in order, and start them again. Returns the problems with their end."""
        problems = [problem for program in self.programs if (problem := await self._end(program))]
        await self.start()
        await self.settle(2)
        return problems

    async def end(self) -> list[Problem]:
        return [problem for program in self.programs if (problem := await self._end(program))]

    async def _end(self, program: Program) -> Problem | None:
        if not program.running:
            return None
        program.expected_up = False
        program.send(signal.SIGTERM)
        try:
            code = await program.end(_END)
        except TimeoutError as error:
            program.kill_all()
            return Problem(f"the {program.name} did not end", str(error))
        return Problem(f"the end of the {program.name}", f"exit code {code}") if code else None

    async def known(self) -> Known:
        """Return jobs, leases and cursors that exist, and let the queue run, whatever a case did to it."""
        known = Known()
        base = f"http://127.0.0.1:{self.addresses.http}"
        timeout = aiohttp.ClientTimeout(total=10)
        with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
            async with aiohttp.ClientSession(base, timeout=timeout) as http:
                await http.post("/api/admin/resume", json={})
                body = {"workerId": "fuzz-1", "maxJobs": 3}
                claimed = await (await http.post("/api/thumbnail-jobs/dequeue-batch", json=body)).json()
                listed = await (await http.get("/api/thumbnail-jobs?pageSize=50")).json()
                cursor = await (await http.get("/api/notifications/cursor")).json()
                known.tokens = [job["leaseToken"] for job in claimed.get("jobs", [])]
                known.job_ids += [int(job["id"]) for job in listed.get("jobs", [])]
                known.model_ids += [int(job["modelId"]) for job in listed.get("jobs", [])]
                known.cursors = [cursor["cursor"]]
        return known

    async def problems(self) -> list[Problem]:
        """Return the problems since the last look."""
        return [
            *self._deaths(),
            *self._logged(),
            *self._read_journal(),
            *self._growth(),
            *await self._broken_invariants(),
        ]

    def _deaths(self) -> Iterator[Problem]:
        for program in self.programs:
            if program.expected_up and not program.running:
                program.expected_up = False
                yield Problem(f"the {program.name} ended by itself", program.messages[-1500:])

    def _logged(self) -> Iterator[Problem]:
        for program in self.programs:
            text = self._news(self._folder / f"{program.name}.log")
            if len(text) > _LOG_LIMIT:
                yield Problem(f"log of the {program.name} is flooded", f"{len(text):,} bytes in one round")
            for match in _ERROR.finditer(text):
                if match[0].startswith("\n"):
                    continue  # it belongs to the traceback above it
                kind = _kind(match["line"] or match["exception"])
                yield Problem(f"log of the {program.name}: {kind}", text[match.start() :][:2000])

    def _read_journal(self) -> list[Problem]:
        problems: list[Problem] = []
        for line in self._news(self._journal).splitlines():
            at, what, name, *details = json.loads(line)
            if what == "probe":
                problems += self._probed(name, *details)
            elif what == "served":
                self._served[name] = at
            elif what == "complaint":
                problems.append(Problem(f"the good {name}", str(details[0])))
        for client, at in self._served.items():
            if time.time() - at > PATIENCE:
                self._served[client] = time.time()
                problems.append(Problem(f"the good {client} is forgotten", f"not served for {PATIENCE:g} s"))
        return problems

    def _probed(self, name: str, elapsed: float, stop: float) -> Iterator[Problem]:
        self.longest_stop[name] = max(self.longest_stop[name], stop)
        if stop > STOP_LIMIT + self.usual_stop:
            yield Problem(
                f"stop of the {name}'s loop", f"{stop:.2f} s without the machine's own ({elapsed:.2f} s with)"
            )

    def _growth(self) -> Iterator[Problem]:
        for program in (self.server, self.gateway):
            if program.running and (usual := self._usual_memory.get(program.name)):
                growth = _memory(program, "VmHWM") - usual
                self.highest_growth[program.name] = max(self.highest_growth[program.name], growth)
                if growth > GROWTH_LIMIT:
                    self._usual_memory[program.name] += growth
                    yield Problem(f"growth of the {program.name}", f"{growth / MEBIBYTE:,.0f} MiB")

    async def _broken_invariants(self) -> list[Problem]:
        return [Problem("an invariant is broken", text[:1500]) for text in await violations(self._database)]

    def _news(self, path: Path) -> str:
        """Return the whole lines that were written since the last look."""
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(self._read_to.get(path, 0))
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_to[path] = self._read_to.get(path, 0) + len(whole) + len(newline)
        return whole.decode(errors="replace")


def _kind(line: str) -> str:
    """Return what lines of the same cause have in common: no times, references and numbers."""
    exception = line.rpartition("\\n")[2][:100] if "exception=" in line else ""
    return re.sub(r"(timestamp|reference)='[^']*'|\d+", "", line.partition("exception=")[0][:120] + exception).strip()


def _memory(program: Program, name: str) -> int:
    for line in Path(f"/proc/{program.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _forget_peak(program: Program) -> None:
    """Make the kernel count the peak of the memory from now on."""
    Path(f"/proc/{program.pid}/clear_refs").write_text("5")
