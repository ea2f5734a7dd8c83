"""The renderer's own process: reads one request a line, answers one line and the picture, and may die of any model.

`renderer.py` starts it and says what the lines hold. f3d has to be imported before anything that loads the
system's OpenSSL (hashlib, asyncio), because it brings a newer one of the same name.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1
LARGEST_LOG = 16 << 20


def main() -> None:
    """Serve until standard input ends; the arguments are the parent's process id and the memory limit in bytes."""
    _end_with(parent=int(sys.argv[1]))
    _limit(memory=int(sys.argv[2]))
    # f3d and the graphics driver write to standard output as they like: that joins the log, which is the parent's.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        _serve(answers)


def _serve(answers: IO[bytes]) -> None:
    from thumbq.render.scene import CannotDraw, Studio

    studio = Studio(log=2)
    _answer(answers, {"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            picture = studio.draw(Path(request["model"]), request["format"])
        except CannotDraw as error:
            _answer(answers, {"failure": str(error)})
        except OSError as error:
            _answer(answers, {"failure": f"The model file cannot be read: {error.strerror}."})
        else:
            _answer(answers, {"bytes": len(picture)}, picture)


def _answer(answers: IO[bytes], header: dict[str, Any], content: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + content)
    answers.flush()


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker has ended")


def _limit(memory: int) -> None:
    """Bound what this process writes to its own memory; address space that a driver only reserves is free."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_LOG, LARGEST_LOG))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # When the machine runs out of memory, this process goes first.
        Path("/proc/self/oom_score_adj").write_text("500")
