"""What a process behind the walls can still do: not much."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thumbq.render.drawing.renderer import WALLS

ATTEMPTS = """
import os, socket, sys, threading
from pathlib import Path
from thumbq.render import sandbox

stage, wall, outside, parent = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
own = stage / "checked"
encoding = "x".encode("idna")
print(*sandbox.enter([own, Path("/usr/lib"), Path("/lib"), Path("/proc/self")], [wall], stage / "root"))

def attempt(name, action):
    try:
        action()
    except (OSError, ValueError):
        print(name, "refused")
    else:
        print(name, "done")

attempt("read own", lambda: (own / "model").read_bytes())
attempt("read outside", lambda: Path(outside).read_bytes())
attempt("see outside", lambda: os.listdir(Path(outside).parent).index("outside"))
attempt("write own", lambda: (own / "new").write_text("x"))
attempt("append own", lambda: open(own / "model", "ab"))
attempt("remove own", lambda: (own / "model").unlink())
attempt("write temporary", lambda: Path("/tmp/thumbq-test-escape").write_text("x"))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9), timeout=1))
attempt("socket", lambda: socket.socket(socket.AF_UNIX))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("run", lambda: os.execv("/bin/true", ["true"]))
attempt("signal parent", lambda: os.kill(parent, 0))
attempt("read parent", lambda: Path(f"/proc/{parent}/environ").read_bytes())
attempt("thread", lambda: threading.Thread(target=int).start())
"""


@pytest.mark.parametrize("wall", [*WALLS, "none"])
def test_a_confined_process_reads_its_own_models_and_nothing_more(tmp_path: Path, wall: str):
    for folder in ("checked", "root"):
        (tmp_path / "stage" / folder).mkdir(parents=True)
    (tmp_path / "stage" / "checked" / "model").write_text("v 0 0 0")
    (tmp_path / "outside").write_text("secret")
    code = ATTEMPTS.replace("[wall]", "[]") if wall == "none" else ATTEMPTS
    arguments = [str(tmp_path / "stage"), wall, str(tmp_path / "outside"), str(os.getpid())]
    ran = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    confined, *lines = ran.stdout.splitlines()
    said = dict(line.rsplit(" ", 1) for line in lines)
    if wall != "none" and wall not in confined.split():
        pytest.skip(f"this kernel has no {wall}")
    allowed = {name for name, outcome in said.items() if outcome == "done"}
    # Without a wall, seccomp alone still forbids to write, to connect, to start anything and to reach others.
    reads = {"read outside", "see outside", "read parent"} if wall == "none" else set()
    assert allowed == {"read own", "thread"} | reads
