"""The process that draws: reads one request a line, answers one line and the picture, and may die of any model.

`renderer.py` starts it and says what the lines hold. f3d has to be imported before anything that loads the
system's OpenSSL (hashlib, asyncio), because it brings a newer one of the same name.
"""

import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from thumbq.render import sandbox
from thumbq.render.drawing.graphics_card import DESCRIPTIONS
from thumbq.render.sandbox.limits import end_with_parent, limit_resources
from thumbq.render.sandbox.readable import readable

LARGEST_LOG = 16 << 20


def main() -> None:
    """Serve until standard input ends; arguments are stage, walls, devices, parent and memory."""
    stage, walls = Path(sys.argv[1]), sys.argv[2].split()
    devices = Path(sys.argv[3]) if sys.argv[3] else None
    parent, memory = map(int, sys.argv[4:6])
    end_with_parent(parent)
    limit_resources(memory, LARGEST_LOG)
    # f3d and the graphics driver write to standard output as they like: that joins the log, which is the parent's.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        from PIL import Image

        # Everything that Python loads late is loaded before the door shuts.
        Image.init()
        import thumbq.render.drawing.scene  # noqa: F401

        described = DESCRIPTIONS if devices else ()
        confined = sandbox.enter([*readable(stage), *described], walls, stage / "root", devices)
        _serve(answers, confined)


def _serve(answers: IO[bytes], confined: list[str]) -> None:
    from thumbq.render.drawing.scene import CannotDraw, Studio
    from thumbq.render.outputs import Outputs

    studio = Studio(log=2)
    _answer(answers, {"ready": True, "confined": confined})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            outputs = Outputs.from_json(request["outputs"])
            drawing = studio.draw(Path(request["model"]), request["format"], outputs)
        except CannotDraw as error:
            _answer(answers, {"failure": str(error)})
        except OSError as error:
            _answer(answers, {"failure": f"The model file cannot be read: {error.strerror}."})
        else:
            content = b"".join(drawing.pictures)
            sizes = [len(picture) for picture in drawing.pictures]
            _answer(answers, {"bytes": len(content), "pictures": sizes, "seconds": drawing.seconds}, content)


def _answer(answers: IO[bytes], header: dict[str, Any], content: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + content)
    answers.flush()
