"""Groups of single versions of models. The log names models, so a version is read again when its model is named.

It is read twice: the queue notes the picture of a version a moment after the end of its job. The second status is
published only when it is another one.
"""

import asyncio
from collections.abc import Callable, Set

import grpc

from thumbq.v1.job_pb2 import Thumbnail
from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.notifications.upstream import back_off

_TIMEOUT = 10.0  # seconds
_PAUSE = 0.5  # seconds between two rounds of reading
_MOST_WATCHED = 10_000  # versions, before those that no page shows any more are forgotten
_UNKNOWN = 0  # the model of a version that no producer has named yet

log = LimitedLog()


class VersionGroups:
    """Reads the thumbnails of versions that pages have joined, and publishes them."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        is_joined: Callable[[int], bool],
        publish: Callable[[Thumbnail], None],
    ) -> None:
        """`publish` takes the thumbnail of a version whose group `is_joined`."""
        self._service = NotificationServiceStub(channel)
        self._is_joined = is_joined
        self._publish = publish
        self._models: dict[int, int] = {}  # by version
        self._stale: set[int] = set()
        self._once_more: set[int] = set()
        self._published: dict[int, Thumbnail] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, version_id: int) -> Thumbnail:
        """Return the thumbnail of a version, and watch the version from now on. Raises AioRpcError."""
        if len(self._models) > _MOST_WATCHED:
            self._models = {version: model for version, model in self._models.items() if self._is_joined(version)}
            self._published = {version: told for version, told in self._published.items() if version in self._models}
        self._models.setdefault(version_id, _UNKNOWN)
        answer = await self._service.GetThumbnail(GetThumbnailRequest(model_version_id=version_id), timeout=_TIMEOUT)
        self._models[version_id] = answer.thumbnail.model_id
        return answer.thumbnail

    def hear(self, model_ids: Set[int]) -> None:
        """Read again the versions of these models, and those whose model is unknown."""
        self._read_again(
            {version for version, model in self._models.items() if model in model_ids or model == _UNKNOWN}
        )

    def log_has_hole(self) -> None:
        """Read all versions again."""
        self._read_again(set(self._models))

    def _read_again(self, stale: set[int]) -> None:
        self._stale |= stale
        if stale and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read_stale())

    async def _read_stale(self) -> None:
        pauses = back_off()
        while self._stale or self._once_more:
            first, second = self._stale, self._once_more - self._stale
            self._stale, self._once_more = set(), set(first)
            if unread := await self._read_round(first | second):
                self._stale |= unread
                await asyncio.sleep(next(pauses))
            else:
                pauses = back_off()
                await asyncio.sleep(_PAUSE)

    async def _read_round(self, versions: set[int]) -> set[int]:
        """Read the versions once. Return those that are still to be read; a server that is away is asked for one."""
        unread = set(versions)
        for version_id in versions:
            try:
                await self._tell(version_id)
            except grpc.aio.AioRpcError as error:
                log.warning("hub.version_unread", version_id=version_id, problem=error.code().name)
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    break
            else:
                unread.discard(version_id)
        return unread

    async def _tell(self, version_id: int) -> None:
        if not self._is_joined(version_id):
            self._models.pop(version_id, None)
            self._published.pop(version_id, None)
            return
        known = self._models.get(version_id, _UNKNOWN)
        thumbnail = await self.read(version_id)
        thumbnail.cursor = ""  # it moves all the time
        if thumbnail.model_id == _UNKNOWN:
            thumbnail.model_id = known  # it was forgotten, and its pages are told so once
        if thumbnail.model_id != _UNKNOWN and thumbnail != self._published.get(version_id):
            self._published[version_id] = thumbnail
            self._publish(thumbnail)
