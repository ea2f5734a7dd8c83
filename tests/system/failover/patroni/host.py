"""The first process of a host: it starts Patroni, and ends with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.programs import PROJECT
from tests.system.failover.patroni import rack
from thumbq_launcher.child import ending_with_parent
from thumbq_launcher.postgres.cluster import identity_for, make_private_dir, postgres_environment, programs_for
from thumbq_launcher.postgres.embedded import SETTINGS
from thumbq_launcher.postgres.programs import PostgresPrograms

PATRONI = PROJECT / ".venv-patroni" / "bin" / "patroni"
POSTGRES_PORT, STATUS_PORT, RAFT_PORT = 5432, 8008, 2222

# Patroni takes no shorter ones. A host that is lost, stopped or cut off is replaced when its key has run out.
TIMES = {"ttl": 20, "loop_wait": 1, "retry_timeout": 5}
# No acknowledged job is lost with these: without a synchronous standby the primary acknowledges nothing.
REPLICATION: dict[str, Any] = {
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "primary_start_timeout": 0,
    "maximum_lag_on_failover": 1_000_000_000,
}
_OWN = {"listen_addresses", "unix_socket_permissions", "cluster_name"}
_PARAMETERS = {
    **{name: value for name, value in SETTINGS.items() if name not in _OWN},
    "shared_buffers": "64MB",
    "wal_log_hints": "on",
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "max_wal_senders": 10,
    "log_line_prefix": "%m [%p] ",
}


def main(number: int, folder: Path) -> int:
    sys.stdin.readline()
    rack.set_up_host(number)
    # What a lost PostgreSQL leaves in shared memory goes with the host.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
    data = folder / "data"
    programs = programs_for(data) if (data / "PG_VERSION").exists() else programs_for(folder / "none")
    identity = identity_for(folder / "none", programs)
    # No process outlived the host, and a process of the new one may have the number that this file names.
    (data / "postmaster.pid").unlink(missing_ok=True)
    if not (folder / "raft").exists():
        make_private_dir(folder / "raft", identity)
    settings = folder / "patroni.json"
    settings.write_text(json.dumps(_settings(number, folder, programs)))
    command = ending_with_parent([str(PATRONI), str(settings)], signal.SIGKILL, identity=identity, directory=folder)
    patroni = subprocess.Popen(command, env=postgres_environment())
    while True:
        process, status = os.wait()  # the first process of a host is the parent of all orphans
        if process == patroni.pid:
            return os.waitstatus_to_exitcode(status)


def _settings(number: int, folder: Path, programs: PostgresPrograms) -> dict[str, Any]:
    address = rack.address_of(number)
    others = [rack.address_of(other) for other in rack.NUMBERS if other != number]
    status, postgres = f"{address}:{STATUS_PORT}", f"{address}:{POSTGRES_PORT}"
    user = {"username": "postgres"}
    return {
        "scope": "thumbq",
        "name": f"node-{number}",
        "log": {"level": "INFO"},
        "restapi": {"listen": status, "connect_address": status},
        "raft": {
            "data_dir": str(folder / "raft"),
            "self_addr": f"{address}:{RAFT_PORT}",
            "partner_addrs": [f"{other}:{RAFT_PORT}" for other in others],
        },
        "bootstrap": {
            "dcs": {**TIMES, **REPLICATION, "postgresql": {"use_pg_rewind": True, "parameters": _PARAMETERS}},
            "initdb": ["no-sync", {"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, {"username": "postgres"}],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "data_dir": str(folder / "data"),
            "bin_dir": str(programs.folder),
            "pgpass": str(folder / "raft" / "pgpass"),
            "authentication": {"superuser": user, "replication": user, "rewind": user},
            "parameters": {"unix_socket_directories": ""},
            "pg_hba": ["host all all 0.0.0.0/0 trust", "host replication all 0.0.0.0/0 trust"],
            "remove_data_directory_on_diverged_timelines": True,
            "remove_data_directory_on_rewind_failure": True,
        },
    }


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
