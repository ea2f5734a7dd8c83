"""Looks again and again whether the object store answers, for probes and for the log."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from thumbq_runtime.files.objects import Objects, StoreTrouble

log = structlog.get_logger()

_EVERY_SECONDS = 10.0


class StoreWatch:
    """Whether the object store answers, where there is one. `trouble` says why it does not."""

    def __init__(self, objects: Objects | None, *, every: float = _EVERY_SECONDS) -> None:
        self.objects = objects
        self.trouble: str | None = None
        self._every = every

    def duties(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run."""
        return [self._run(self.objects)] if self.objects else []

    async def _run(self, objects: Objects) -> None:
        while True:
            await self._look(objects)
            await asyncio.sleep(self._every)

    async def _look(self, objects: Objects) -> None:
        before = self.trouble
        try:
            await objects.look()
            self.trouble = None
        except StoreTrouble as trouble:
            self.trouble = str(trouble)
        if self.trouble and self.trouble != before:
            log.warning("store.away", store=objects.address, reason=self.trouble)
        elif before and not self.trouble:
            log.info("store.back", store=objects.address)
