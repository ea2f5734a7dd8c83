"""The intake as the worker sees it: it asks for a model, and gets one that is checked and ready to be drawn."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbq.render.child import Child, Limits

# What a model refers to may refer to more, as a material file does to textures, and that is where it ends.
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model in the stage; `remarks` say in sentences what had to be left out."""

    path: Path
    format: str
    name: str
    remarks: tuple[str, ...]


class Intake:
    """Reads and checks one model at a time, in a process of its own."""

    def __init__(self, stage: Path, limits: Limits) -> None:
        self.checked = stage / "checked"
        self.incoming = stage / "incoming"
        self.most_bytes = limits.file << 20
        code = "from thumbq.render.intake.process import main; main()"
        self._child = Child("Reading the model", code, [str(self.checked), str(self.most_bytes)], limits, {})

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._child.pid

    async def start(self) -> None:
        """Start a fresh process; raises RenderFailed."""
        await self._child.start()

    async def close(self) -> None:
        """End the process for good."""
        await self._child.close()

    async def take_file(self, file: Path, model_format: str | None = None) -> Model:
        """Take a file that lies anywhere, with companions from its folder; raises RenderFailed."""
        return _model(await self._ask({"file": str(file), "format": model_format}))

    async def take_from_folder(self, folder: Path, model_id: int, model_hash: str) -> Model:
        """Take the file of a model in a folder; raises RenderFailed."""
        return _model(await self._ask({"folder": str(folder), "id": model_id, "hash": model_hash}))

    async def take_fetched(self, file: Path, name: str, fetch: Callable[[str], Awaitable[Path | None]]) -> Model:
        """Take a file that was fetched into `incoming`; `fetch` gets its companions, by relative names."""
        companions: dict[str, str | None] = {}
        request = {"fetched": str(file), "name": name, "companions": companions}
        answer = await self._ask(request)
        for turn in range(ROUNDS):
            wants = answer.get("wants", ())
            for wanted in wants:
                path = await fetch(wanted) if turn < ROUNDS - 1 else None
                companions[wanted] = str(path) if path else None
            if wants:
                answer = await self._ask(request)
        return _model(answer)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        answer, _ = await self._child.ask(request, "path", "format", "name", "remarks")
        return answer


def _model(answer: dict[str, Any]) -> Model:
    return Model(Path(answer["path"]), answer["format"], answer["name"], tuple(answer["remarks"]))
