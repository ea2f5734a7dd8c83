"""Models and thumbnails of the reference worker in an object store."""

import asyncio
import hashlib
import logging
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import TypeVar

from thumbq.log_events import event
from thumbq.render.child import RenderFailed
from thumbq.render.intake.model import Intake, Model
from thumbq.render.jobs.model_files import other_content, too_large
from thumbq.render.jobs.thumbnails import NotStored, place_of
from thumbq_runtime.files.model_objects import ModelObjects
from thumbq_runtime.files.objects import NoSuchObject, Objects, StoreAway, StoreRefuses, StoreTrouble, is_plain

T = TypeVar("T")

_logger = logging.getLogger("thumbq")

# Seconds for which a job waits for a store that is away: otherwise, an outage of minutes would use up the attempts of
# all jobs.
_PATIENCE = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
# mimetypes of Python 3.11 lacks these.
_TYPES = {".webp": "image/webp", ".avif": "image/avif"}


class ThumbnailObjects:
    """Keeps pictures as `s3://bucket/prefix/ab/cd/abcd…-512.webp`."""

    def __init__(self, address: str, *, patience: float = _PATIENCE) -> None:
        """Raises InvalidStore."""
        self._objects = Objects(address)
        self._patience = patience

    async def keep(self, name: str, picture: bytes) -> str:
        """Keep a picture and return the name of its object. Raises NotStored."""
        suffix = PurePosixPath(name).suffix
        kind = _TYPES.get(suffix) or mimetypes.types_map[suffix]
        try:
            return await _patiently(
                lambda: self._objects.put(place_of(name), picture, kind), self._patience, (StoreAway, StoreRefuses)
            )
        except StoreTrouble as trouble:
            raise NotStored(str(trouble)) from trouble


class ModelsInStore:
    """Objects whose address has `{model_id}` or `{model_hash}` in it.

    What a model refers to is fetched from beside it, never from elsewhere.
    """

    def __init__(self, template: str, *, patience: float = _PATIENCE) -> None:
        """Raises InvalidStore."""
        self._models = ModelObjects(template)
        self._patience = patience

    async def take(self, intake: Intake, model_id: int, model_hash: str) -> Model:
        """See ModelSource."""
        wanted = model_hash.lower()
        key = self._models.key(model_id, wanted)
        fetched = _Fetched(self._models.store, key, intake.incoming, intake.most_bytes, self._patience)
        if await fetched.model() != wanted:
            raise other_content(PurePosixPath(key).name)
        return await intake.take_fetched(fetched.path, PurePosixPath(key).name, fetched.companion)


class _Fetched:
    """The objects of one model, fetched into a folder that is emptied for each."""

    def __init__(self, objects: Objects, key: str, folder: Path, most_bytes: int, patience: float) -> None:
        for old in folder.iterdir():
            old.unlink()
        self._objects = objects
        self._key = key
        self._folder = folder
        self._most_bytes = self._left = most_bytes
        self._patience = patience
        self._count = 0
        self.path = folder / "model"

    async def model(self) -> str:
        """Fetch the model itself, and return the hash of its content."""
        try:
            return await self._get(self._key, self.path)
        except NoSuchObject:
            raise RenderFailed("The object store has no such model file.", retryable=True) from None
        except StoreTrouble as trouble:
            raise RenderFailed(f"The model file could not be fetched: {trouble}", retryable=True) from trouble

    async def companion(self, name: str) -> Path | None:
        """Fetch what the model refers to by a relative name; None when the store does not have it."""
        path = self._folder / f"companion{self._count}"
        self._count += 1
        key = str(PurePosixPath(self._key).parent / name)
        try:
            if is_plain(key):
                await self._get(key, path)
                return path
        except NoSuchObject:
            pass
        except StoreTrouble as trouble:
            raise RenderFailed(f"{name}, which the model refers to, could not be fetched.", retryable=True) from trouble
        return None

    async def _get(self, key: str, path: Path) -> str:
        size, digest = await _patiently(lambda: self._try_to_get(key, path), self._patience)
        self._left -= size
        return digest

    async def _try_to_get(self, key: str, path: Path) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        found = await self._objects.get(key)
        with path.open("wb") as file:
            async for piece in found.pieces():
                size += len(piece)
                if size > self._left:
                    raise too_large(self._most_bytes)
                digest.update(piece)
                file.write(piece)
        return size, digest.hexdigest()


async def _patiently(
    work: Callable[[], Awaitable[T]], patience: float, troubles: tuple[type[StoreTrouble], ...] = (StoreAway,)
) -> T:
    """Return what `work` returns. After these troubles, try again for `patience` seconds. Raises StoreTrouble."""
    until = monotonic() + patience
    pause, is_away = _FIRST_PAUSE, False
    while True:
        try:
            answer = await work()
        except troubles as trouble:
            if monotonic() + pause > until:
                raise
            if not is_away:
                _logger.warning("%s A job waits for it.", trouble, extra=event("store.away"))
            is_away = True
        else:
            if is_away:
                _logger.info("The object store is back.", extra=event("store.back"))
            return answer
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
