"""The process that owns the PostgreSQL of a host in a row: `python -m tests.system.failover.by_hand.host FOLDER`.

SIGTERM kills it with its PostgreSQL. The kernel sends it when the drill dies: a stopped PostgreSQL would stay for ever.
"""

import os
import signal
import sys
from pathlib import Path

from tests.processes import wait_until
from tests.support.programs import say_ready, send_to_descendants
from thumbq_launcher.postgres.embedded import EmbeddedPostgres


def main() -> None:
    def end(_number: int, _frame: object) -> None:
        send_to_descendants(os.getpid(), signal.SIGKILL)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    postgres.launch()
    assert postgres.process is not None
    state = postgres.cluster / "postmaster.pid"

    def answers() -> bool:
        """Say whether it takes connections, as a primary or as a standby."""
        lines = state.read_text().splitlines() if state.exists() else []
        return len(lines) > 7 and lines[7].strip() in {"ready", "standby"}

    wait_until(answers, "PostgreSQL takes connections")
    say_ready()
    postgres.process.wait()


if __name__ == "__main__":
    main()
