"""The process that reads what strangers have made: finds a model file, checks it, and puts it into the stage.

It gets `{"file": path}`, `{"folder": path, "id": number, "hash": words}` or `{"fetched": path, "companions": {…}}`,
and answers with `{"path", "format", "name", "remarks"}` or with a failure. An answer with `{"wants": [name, …]}` in it
is not the last: these companions are to be fetched first. The process can be ended at any time, since a file that
cannot be read to its end keeps it waiting, and nothing else.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from thumbq.render.files.companions import Companions, FetchedSource, FolderSource, Source
from thumbq.render.files.folder import Folder, copy
from thumbq.render.files.refusal import NoRoom, Refused, needing_room
from thumbq.render.intake.find import find
from thumbq.render.intake.prepare import prepare
from thumbq.render.sandbox import landlock
from thumbq.render.sandbox.limits import end_with_parent, limit_resources
from thumbq.render.sandbox.seccomp import forbid_system_calls

MOST_REMARKS = 10


def main() -> None:
    """Serve until standard input ends: arguments are checked folder, largest file, parent and memory."""
    checked, largest, parent, memory = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    end_with_parent(parent)
    limit_resources(memory, largest_file=4 * largest + (64 << 20))
    # Pictures are decoded here, by libraries in C: they get neither the network nor any other folder to write to.
    landlock.restrict_writing(checked)
    forbid_system_calls()
    _answer({"ready": True})
    for line in sys.stdin.buffer:
        _answer(_outcome(json.loads(line), checked, largest))


def _outcome(request: dict[str, Any], checked: Path, most: int) -> dict[str, Any]:
    try:
        with needing_room():
            return _take(request, checked, most)
    except Refused as refusal:
        return {"failure": str(refusal), "retryable": refusal.retryable}
    except NoRoom as full:
        return {"failure": str(full), "retryable": True, "no_room": True}
    except OSError as error:
        return {"failure": f"The model file cannot be read: {error.strerror}.", "retryable": True}
    except RecursionError:
        return {"failure": "The model file is nested too deeply."}
    except MemoryError:
        raise  # the worker sees why the process ends
    except Exception as error:  # noqa: BLE001 - a number or a mark where the code does not expect it
        what = f"a part of it cannot be read ({type(error).__name__})"
        return {"failure": f"The model file is damaged: {what}."}


def _take(request: dict[str, Any], checked: Path, most: int) -> dict[str, Any]:
    for old in checked.iterdir():
        old.unlink()
    source: Source
    raw = checked / "raw"
    if fetched := request.get("fetched"):
        source = FetchedSource(request["companions"])
        shutil.copyfile(fetched, raw)
        answer = _prepared(raw, request["name"], None, source, most)
        return {**answer, "wants": source.wants}
    folder = _opened(Path(request.get("folder") or Path(request["file"]).parent))
    try:
        source = FolderSource(folder)
        if "file" in request:
            name = Path(request["file"]).name
            with folder.open(name) as file:
                copy(file, raw, most, name)
        else:
            name = find(folder, request["id"], request["hash"], raw, most)
        return _prepared(raw, name, request.get("format"), source, most)
    finally:
        folder.close()


def _opened(path: Path) -> Folder:
    try:
        return Folder(path)
    except OSError as error:
        raise Refused(f"The folder of models cannot be read: {error.strerror}.", retryable=True) from error


def _prepared(raw: Path, name: str, word: str | None, source: Source, most: int) -> dict[str, Any]:
    companions = Companions(source, raw.parent, most)
    path, found = prepare(raw, name, word or None, companions, most)
    return {"path": str(path), "format": found, "name": name, "remarks": _bounded(companions.remarks)}


def _bounded(remarks: list[str]) -> list[str]:
    if len(remarks) <= MOST_REMARKS:
        return remarks
    return [*remarks[: MOST_REMARKS - 1], f"There are {len(remarks) - MOST_REMARKS + 1} more such faults."]


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
