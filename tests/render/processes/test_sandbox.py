"""What a process behind the walls can still do: not much."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thumbq.render.drawing.renderer import WALLS

ATTEMPTS = """
import ctypes, os, socket, sys, threading
from pathlib import Path
from thumbq.render import sandbox
from thumbq.render.sandbox import kernel

def traced(process):
    if ctypes.CDLL(None, use_errno=True).ptrace(16, process, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")

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
attempt("trace", lambda: traced(parent))
attempt("mount", lambda: kernel.mount("none", str(stage), "tmpfs", 0))
attempt("read parent", lambda: Path(f"/proc/{parent}/environ").read_bytes())
attempt("thread", lambda: threading.Thread(target=int).start())
"""


DEVICE_ATTEMPTS = """
import os, sys
from pathlib import Path
from thumbq.render import sandbox

stage, outside = Path(sys.argv[1]), Path(sys.argv[2])
own, device = stage / "checked", stage / "devices" / "card"
print(*sandbox.enter([own, Path("/usr/lib"), Path("/lib")], ["namespaces"], stage / "root", stage / "devices"))

def attempt(name, action):
    try:
        action()
    except OSError:
        print(name, "refused")
    else:
        print(name, "done")

attempt("read own", lambda: (own / "model").read_bytes())
attempt("append own", lambda: open(own / "model", "ab"))
attempt("write device", lambda: device.open("r+b"))
attempt("make device", lambda: (device.parent / "new").touch())
attempt("remove device", lambda: device.unlink())
attempt("read outside", lambda: outside.read_bytes())
attempt("append outside", lambda: open(outside, "ab"))
attempt("fork", lambda: os.fork() or os._exit(0))
"""


def test_a_process_with_a_graphics_card_writes_to_its_device_and_nowhere_else(tmp_path: Path):
    for folder in ("checked", "devices", "root"):
        (tmp_path / "stage" / folder).mkdir(parents=True)
    for name in ("stage/checked/model", "stage/devices/card", "outside"):
        (tmp_path / name).write_text("content")
    arguments = [str(tmp_path / "stage"), str(tmp_path / "outside")]
    ran = subprocess.run(
        [sys.executable, "-c", DEVICE_ATTEMPTS, *arguments], check=True, capture_output=True, text=True
    )
    confined, *lines = ran.stdout.splitlines()
    allowed = {line.removesuffix(" done") for line in lines if line.endswith(" done")}
    if "landlock" in confined.split():
        assert allowed == {"read own", "write device"}
    else:
        # The renderer is then not used: see test_graphics_card.py.
        assert allowed == {"read own", "read outside"}


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


INTAKE_ATTEMPTS = """
import os, socket, sys
from pathlib import Path
from thumbq.render.sandbox import landlock
from thumbq.render.sandbox.limits import limit_resources
from thumbq.render.sandbox.seccomp import forbid_system_calls

checked, outside, parent = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
limit_resources(1 << 30, 1 << 20)
print(landlock.restrict_writing(checked), forbid_system_calls())

def attempt(name, action):
    try:
        action()
    except (OSError, ValueError):
        print(name, "refused")
    else:
        print(name, "done")

attempt("read outside", lambda: outside.read_bytes())
attempt("write own", lambda: (checked / "new").write_text("x"))
attempt("write too much", lambda: (checked / "large").write_bytes(bytes(2 << 20)))
attempt("append outside", lambda: open(outside, "ab"))
attempt("make outside", lambda: outside.with_name("new").touch())
attempt("remove outside", lambda: outside.unlink())
attempt("socket", lambda: socket.socket(socket.AF_INET))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("run", lambda: os.execv("/bin/true", ["true"]))
attempt("signal parent", lambda: os.kill(parent, 0))
"""


def test_the_process_that_reads_models_writes_to_its_stage_and_reaches_nobody(tmp_path: Path):
    (tmp_path / "checked").mkdir()
    (tmp_path / "outside").write_text("content")
    arguments = [str(tmp_path / "checked"), str(tmp_path / "outside"), str(os.getpid())]
    ran = subprocess.run(
        [sys.executable, "-c", INTAKE_ATTEMPTS, *arguments], check=True, capture_output=True, text=True
    )
    confined, *lines = ran.stdout.splitlines()
    allowed = {line.removesuffix(" done") for line in lines if line.endswith(" done")}
    writes = set() if confined.startswith("True") else {"append outside", "make outside", "remove outside"}
    assert allowed == {"read outside", "write own"} | writes
