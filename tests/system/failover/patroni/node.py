"""A host with a PostgreSQL under Patroni: `python -m tests.system.failover.patroni.node NUMBER FOLDER`.

The host has namespaces of its own for network and processes, so that it is lost as a whole when this program is killed.
"""

import signal
import subprocess
import sys

from tests.processes import descendants, wait_until
from tests.support.programs import say_ready
from tests.system.failover.patroni import rack
from thumbq_launcher.child import ending_with_parent

_NAMESPACES = ["--net", "--pid", "--ipc", "--mount-proc", "--fork", "--kill-child=KILL"]


def main(number: int, folder: str) -> int:
    program = [sys.executable, "-m", "tests.system.failover.patroni.host", str(number), folder]
    unshare = ["/usr/bin/unshare", *_NAMESPACES, "--", *program]
    with subprocess.Popen(ending_with_parent(unshare, signal.SIGKILL), stdin=subprocess.PIPE, text=True) as host:
        wait_until(lambda: host.poll() is not None or descendants(host.pid), "the first process of the host")
        first = min(descendants(host.pid))
        rack.plug_in(number, first)
        assert host.stdin is not None
        host.stdin.write("plugged in\n")
        host.stdin.flush()
        say_ready(host=first)
        return host.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
