"""The queues that are measured, each at its best setting.

The settings of the peers are the fastest that their documentation offers. Tried were claims of 10, 100, 1,000 and 5,000
jobs, 1 to 500 jobs at once, local queues, and one and two processes.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from bench.drivers.program import Options

ROOT = Path(__file__).parents[2]
OUT = ROOT / "bench" / "out"
PEERS = ROOT / "bench" / "peers"
PEERS_PYTHON = OUT / ".peers-python"
OBANS_PYTHON = OUT / ".oban-python"
PEERS_NODE = OUT / "peers-node"


@dataclass(frozen=True)
class Crew:
    """The workers of one measurement: the number of processes, and the options of each."""

    options: Options
    processes: int = 1

    def __str__(self) -> str:
        options = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in self.options.items())
        return f"{self.processes} worker{'s' if self.processes > 1 else ''}, {options}"


@dataclass(frozen=True)
class Contender:
    """A queue and the commands that drive it."""

    name: str
    command: Sequence[str]
    # Query that finds an unfinished job.
    unfinished: str
    # The fastest workers for draining a backlog, and for picking up single jobs.
    drains: Crew
    picks_up: Crew
    # Divisor of the number of jobs, so that a run of a slow queue takes seconds as well.
    slowness: int = 1
    processes: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it is thumbq, which needs a server in front of PostgreSQL."""
        return self.name == "thumbq"

    def with_crew(self, crew: Crew) -> "Contender":
        """Return the same contender with other workers."""
        return replace(self, drains=crew)

    def with_processes(self, count: int) -> "Contender":
        """Return the same contender with several servers."""
        return replace(self, processes=count)


THUMBQ = Contender(
    "thumbq",
    [sys.executable, "-m", "bench.drivers.thumbq"],
    unfinished="SELECT FROM ready UNION ALL SELECT FROM leases",
    drains=Crew({"credits": 4_000}),
    picks_up=Crew({"credits": 10}),
)
# For single jobs only: each has a call of its own.
THUMBQ_UNARY = replace(THUMBQ, environment={"BENCH_UNARY": "yes"})
PGQUEUER = Contender(
    "PgQueuer",
    [str(PEERS_PYTHON / "bin/python"), "-m", "bench.drivers.pgqueuer"],
    unfinished="SELECT FROM pgqueuer",
    drains=Crew({"batch": 1_000}, 2),
    picks_up=Crew({"batch": 10}),
)
GRAPHILE = Contender(
    "graphile-worker",
    ["node", str(ROOT / "bench/drivers/graphile.mjs")],
    unfinished="SELECT FROM graphile_worker._private_jobs",
    drains=Crew({"concurrency": 96, "local_queue": 1_000, "complete_delay": 0}, 2),
    picks_up=Crew({"concurrency": 10}),
    environment={"BENCH_NODE": str(PEERS_NODE)},
)
PG_BOSS = Contender(
    "pg-boss",
    ["node", str(ROOT / "bench/drivers/pgboss.mjs")],
    unfinished="SELECT FROM pgboss.job WHERE name = 'noop' AND state < 'completed'",
    drains=Crew({"batch": 1_000, "concurrency": 1}, 2),
    picks_up=Crew({"batch": 1, "concurrency": 4}),
    environment={"BENCH_NODE": str(PEERS_NODE)},
)
PROCRASTINATE = Contender(
    "Procrastinate",
    [str(PEERS_PYTHON / "bin/python"), "-m", "bench.drivers.procrastinate"],
    unfinished="SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
    drains=Crew({"concurrency": 10}, 2),
    picks_up=Crew({"concurrency": 10}),
    slowness=20,
)
OBAN = Contender(
    "Oban",
    [str(OBANS_PYTHON / "bin/python"), "-m", "bench.drivers.oban"],
    unfinished="SELECT FROM oban_jobs WHERE state <> 'completed'",
    drains=Crew({"limit": 500}, 2),
    picks_up=Crew({"limit": 10}),
    slowness=10,
)
AWA = Contender(
    "awa-pg",
    [str(PEERS_PYTHON / "bin/python"), "-m", "bench.drivers.awa"],
    # Its view of all jobs takes minutes with 100,000 of them.
    unfinished="""
        SELECT FROM (SELECT count(*) FROM awa.ready_entries) AS e (entered),
                    (SELECT coalesce(sum(completed_count), 0) FROM awa.receipt_completion_batches) AS c (completed)
         WHERE entered > completed
    """,
    drains=Crew({"max_workers": 1_000, "claimers": 2, "claim_batch_size": 512}),
    picks_up=Crew({"max_workers": 10, "claimers": 1, "claim_batch_size": 10}),
    slowness=5,
)
RIVALS = (PGQUEUER, GRAPHILE, PG_BOSS, PROCRASTINATE, OBAN, AWA)


def install_peers() -> dict[str, str]:
    """Install the missing peers. Return those that could not be installed, each with the reason."""
    installations = (
        (PEERS / "requirements.txt", PEERS_PYTHON, (PGQUEUER, PROCRASTINATE, AWA)),
        (PEERS / "requirements-oban.txt", OBANS_PYTHON, (OBAN,)),
        (PEERS / "package.json", PEERS_NODE, (GRAPHILE, PG_BOSS)),
    )
    problems: dict[str, str] = {}
    for wanted, folder, peers in installations:
        if not _is_current(wanted, folder) and (problem := _install(wanted, folder)):
            problems |= {peer.name: problem for peer in peers}
    return problems


@cache
def version(name: str) -> str:
    """Return the version of this queue that is measured. Raises KeyError for an unknown name."""
    if name == "thumbq":
        answer = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=9"]
        # Without git, or in an unpacked archive, there is only the version.
        try:
            commit = subprocess.run(answer, capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            commit = ""
        return f"{importlib.metadata.version('thumbq')} ({commit})" if commit else importlib.metadata.version("thumbq")
    wanted = "\n".join(file.read_text() for file in sorted(PEERS.glob("requirements*.txt")))
    pins = dict(line.split("==") for line in wanted.splitlines() if "==" in line)
    pins |= json.loads((PEERS / "package.json").read_text())["dependencies"]
    return str(pins[name.lower()])


def _is_current(wanted: Path, folder: Path) -> bool:
    stamp = folder / "installed"
    return stamp.exists() and stamp.read_bytes() == wanted.read_bytes()


def _install(wanted: Path, folder: Path) -> str:
    """Install what a file asks for into a folder. Return the reason of a failure, or an empty text."""
    environment = dict(os.environ)
    if wanted.suffix == ".json":
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
    else:
        command = ["sh", str(ROOT / "scripts/install.sh"), str(folder), "--requirement", str(wanted)]
        if folder == OBANS_PYTHON:
            environment["PYTHON"] = "python3.12 python3.13 python3.14"  # it does not run on 3.11
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, env=environment)
    except OSError as problem:
        return f"not installed: {command[0]}: {problem.strerror}"
    except subprocess.TimeoutExpired:
        return f"not installed: {command[0]} took too long"
    except subprocess.CalledProcessError as problem:
        return f"not installed: {(problem.stderr.strip().splitlines() or ['no reason given'])[-1][:200]}"
    shutil.copy(wanted, folder / "installed")
    return ""
