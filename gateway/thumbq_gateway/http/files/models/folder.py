"""The files of models in a folder."""

import re
from functools import partial
from pathlib import Path

from thumbq_gateway.http.files.open_file import FILE_TIMEOUT, OpenFile, open_content, stalled_file
from thumbq_gateway.http.files.places import NotThere
from thumbq_gateway.http.files.response import Content
from thumbq_runtime.files.threads import FileThreads, Stalled

# Of models, as the reference worker knows them. Materials and pictures may stand beside a model, and unfinished files.
SUFFIXES = (
    "3dm|3ds|3mf|amf|blend|brep|brp|dae|fbx|glb|gltf|ifc|iges|igs|las|laz|obj|off|p21|pcd|ply|pts|ptx|splat|step|stl"
    "|stp|usd|usda|usdc|usdz|vrml|wrl|x|zip"
)


class ModelFolder:
    """A folder as the reference worker has it: `42.glb` or `42-any-name.glb` is model 42.

    A version of a model is `42/versions/7.glb`, likewise.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = FileThreads(timeout=FILE_TIMEOUT)

    async def open(self, model_id: int, version_id: int | None) -> tuple[Content, str]:
        """See ModelPlace."""
        if version_id is None:
            return await self._open(self._root, model_id)
        return await self._open(self._root / str(model_id) / "versions", version_id)

    async def _open(self, folder: Path, number: int) -> tuple[Content, str]:
        try:
            step = partial(_open_newest, self._root, folder, number, self._threads)
            return await self._threads.run(f"{folder}/{number}", step, lambda opened: opened[0].close())
        except (OSError, ValueError, LookupError):
            raise NotThere from None
        except Stalled:
            raise stalled_file() from None


def _open_newest(root: Path, folder: Path, number: int, threads: FileThreads) -> tuple[OpenFile, str]:
    path = _newest(folder, number)
    return open_content(root, str(path.relative_to(root)), threads), path.name


def _newest(folder: Path, number: int) -> Path:
    """Return the model of this number that was changed last. Raises OSError, LookupError."""
    named = re.compile(rf"{number}(-.*)?\.({SUFFIXES})", re.IGNORECASE)
    found = [path for path in folder.iterdir() if named.fullmatch(path.name)]
    if not found:
        raise LookupError(number)
    return max(found, key=lambda path: path.stat().st_mtime)
