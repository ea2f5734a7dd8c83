"""The process that owns the PostgreSQL of a run: `python -m tests.system.chaos.postgres FOLDER`.

It ends when the postmaster does. SIGTERM shuts PostgreSQL down in order; SIGUSR1 stops its processes until SIGUSR2.
This process does that instead of the run, so that a killed run leaves no PostgreSQL stopped for ever.
"""

import os
import signal
import sys
from pathlib import Path

from tests.support.programs import say_ready, send_to_descendants
from thumbq_launcher.postgres.embedded import EmbeddedPostgres


def main() -> None:
    postgres = EmbeddedPostgres(Path(sys.argv[1]))

    def end(_number: int, _frame: object) -> None:
        send_to_descendants(os.getpid(), signal.SIGCONT)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGUSR1, lambda *_: send_to_descendants(os.getpid(), signal.SIGSTOP))
    signal.signal(signal.SIGUSR2, lambda *_: send_to_descendants(os.getpid(), signal.SIGCONT))
    with postgres as dsn:
        assert postgres.process is not None
        say_ready(dsn=dsn, postmaster=postgres.process.pid, socket=str(postgres.socket_dir / ".s.PGSQL.5432"))
        postgres.process.wait()


if __name__ == "__main__":
    main()
