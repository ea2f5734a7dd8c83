"""/thumbnailHub: pages join groups of models and get each change of their thumbnails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Any

import grpc

from thumbq.v1.job_pb2 import Thumbnail, ThumbnailStatus
from thumbq.v1.notification_pb2 import GetThumbnailRequest, Notification
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.metrics import HubMetrics
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.framing import notification_data
from thumbq_gateway.notifications.upstream import COMING_BACK, back_off
from thumbq_gateway.protojson.encoder import exact_number
from thumbq_gateway.protojson.values import InvalidValue, whole_number_reader
from thumbq_gateway.signalr.hubs.hub import Body, Hub, Member, Method, Refused
from thumbq_gateway.signalr.hubs.version_groups import VersionGroups
from thumbq_gateway.signalr.protocol import Record, invocation, now
from thumbq_gateway.transcoding.contract import thumbnail_for_pages

PATH = "/thumbnailHub"
ALL_MODELS = "all models"
_TARGET = "ThumbnailStatusChanged"
_DEADLINE = 10.0  # seconds
_MOST_REMEMBERED = 10_000
_PIECE = 100  # records that are sent before other tasks run: about a millisecond
_LONGEST_NAME = 40  # characters of a group's name; longer than any id
_read_id = whole_number_reader(0, 2**63 - 1)

log = LimitedLog()


class Told:
    """The newest notification of a model. It is encoded when a page gets it: most queues have more jobs than pages."""

    def __init__(self, notification: Notification) -> None:
        self.notification = notification

    @cached_property
    def record(self) -> Record:
        """The notification as an event."""
        data = notification_data(self.notification)
        names = ("modelId", "status", "thumbnailUrl", "errorMessage", "timestamp")
        shown = {name: data[name] for name in names} | {"modelVersionId": None}
        if self.notification.status == ThumbnailStatus.THUMBNAIL_STATUS_NONE:
            shown["status"] = "Pending"  # as for a page that joins
        return invocation(_TARGET, shown)

    def is_newer_than(self, cursor: Cursor) -> bool:
        """Whether it came after this position in the log."""
        own = Cursor.parse(self.notification.cursor)
        return own.epoch == cursor.epoch and own.seq > cursor.seq


class PageHub(Hub):
    """Groups of one model each, and of all. A page that joins gets the present status, which heals it."""

    def __init__(
        self, channel: grpc.aio.Channel, metrics: HubMetrics, until_present: Callable[[], Awaitable[object]]
    ) -> None:
        """`until_present` waits until the log is followed, so that no page that has joined misses an event."""
        self._until_present = until_present
        self._service = NotificationServiceStub(channel)
        self._events = metrics.events.labels(_TARGET)
        self._recent: dict[int, Told] = {}  # by model, in the order of the log
        self._reading: dict[int, asyncio.Task[tuple[Cursor, Record]]] = {}
        self._versions = VersionGroups(channel, self._has_version, self._publish_version)
        self._unhealed: dict[str, int] = {}  # models by group, the next first: a dict keeps its order
        self._healing: asyncio.Task[None] | None = None
        methods = {
            "JoinModelGroup": Method(self._join_model, 1),
            "LeaveModelGroup": Method(self._leave_named("model"), 1),
            "JoinAllModelsGroup": Method(self._join_all_models, 0),
            "LeaveAllModelsGroup": Method(self._leave_whole(ALL_MODELS), 0),
        }
        methods["JoinModelVersionGroup"] = Method(self._join_version, 1)
        methods["LeaveModelVersionGroup"] = Method(self._leave_named("version"), 1)
        # Nothing is published to these groups, but a page that joins them must not fail.
        methods["JoinModelActiveVersionGroup"] = Method(self._join_named("active version"), 1)
        methods["LeaveModelActiveVersionGroup"] = Method(self._leave_named("active version"), 1)
        methods["JoinAllEnvironmentMapsGroup"] = Method(self._join_whole("all environment maps"), 0)
        methods["LeaveAllEnvironmentMapsGroup"] = Method(self._leave_whole("all environment maps"), 0)
        super().__init__(PATH, methods)

    async def hear(self, notifications: Sequence[Notification]) -> None:
        """Pass news on to the groups. Other tasks run in between, however much there is to send."""
        written = 0
        for notification in notifications:
            self._recent.pop(notification.model_id, None)  # so that the newest comes last
            told = self._recent[notification.model_id] = Told(notification)
            if pages := self.members((ALL_MODELS, f"model {notification.model_id}")):
                self._events.inc(len(pages))
                for page in pages:
                    page.send(told.record)
                    written += 1
                    if not written % _PIECE:
                        await asyncio.sleep(0)
        self._versions.hear({notification.model_id for notification in notifications})
        self._forget_old()

    def log_has_hole(self) -> None:
        """Tell the groups of single models and versions their present status."""
        self._recent.clear()
        self._versions.log_has_hole()
        for group in self._groups:
            model_id = _number(group.removeprefix("model ")) if group.startswith("model ") else None
            if model_id is not None:
                self._unhealed[group] = model_id
        if self._healing is None or self._healing.done():
            self._healing = asyncio.create_task(self._heal())

    async def _join_model(self, connection: Member, model_id: Any) -> None:
        group = _group("model", model_id)
        number = _number(model_id)
        if connection.models is not None and number not in connection.models:
            raise Refused("The ticket of this connection is for other models.")
        await self._until_present()
        self.join_group(connection, group)
        if number is None:
            return  # ASP.NET lets a page join a group of any name
        try:
            status = await self._present(number)
        except grpc.aio.AioRpcError as error:
            log.warning("hub.status_unknown", model_id=number, problem=error.code().name)
            return  # the page gets the next change
        connection.send(status)
        await connection.drained()

    async def _join_version(self, connection: Member, version_id: Any) -> None:
        _check_sees_all(connection)
        await self._until_present()
        self.join_group(connection, _group("version", version_id))
        number = _number(version_id)
        if not number:
            return
        try:
            thumbnail = await self._versions.read(number)
        except grpc.aio.AioRpcError as error:
            log.warning("hub.status_unknown", version_id=number, problem=error.code().name)
            return
        if thumbnail.model_id:
            connection.send(_status(thumbnail))
            await connection.drained()

    def _has_version(self, version_id: int) -> bool:
        return bool(self.members([f"version {version_id}"]))

    def _publish_version(self, thumbnail: Thumbnail) -> None:
        self._events.inc(self.publish([f"version {thumbnail.model_version_id}"], _status(thumbnail)))

    async def _join_all_models(self, connection: Member) -> None:
        _check_sees_all(connection)
        await self._until_present()
        self.join_group(connection, ALL_MODELS)
        for model_id, told in list(self._recent.items()):
            if self._recent.get(model_id) is told:  # a newer one has been sent meanwhile, as to every member
                connection.send(told.record)
                await connection.drained()

    async def _present(self, model_id: int) -> Record:
        """Return the status of a model. One read serves all that ask at once, and a newer notification wins over it."""
        reading = self._reading.get(model_id)
        if reading is None:
            reading = self._reading[model_id] = asyncio.create_task(self._read(model_id))
            reading.add_done_callback(lambda _: self._reading.pop(model_id, None))
        cursor, status = await asyncio.shield(reading)
        told = self._recent.get(model_id)
        return told.record if told and told.is_newer_than(cursor) else status

    async def _read(self, model_id: int) -> tuple[Cursor, Record]:
        answer = await self._service.GetThumbnail(GetThumbnailRequest(model_id=model_id), timeout=_DEADLINE)
        return Cursor.parse(answer.thumbnail.cursor), _status(answer.thumbnail)

    async def _heal(self) -> None:
        pauses = back_off()
        while self._unhealed:
            group = next(iter(self._unhealed))
            model_id = self._unhealed.pop(group)
            if not self.members([group]):
                continue
            try:
                self.publish([group], await self._present(model_id))
            except grpc.aio.AioRpcError as error:
                log.warning("hub.status_unknown", model_id=model_id, problem=error.code().name)
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    self._unhealed[group] = model_id
                await asyncio.sleep(next(pauses))
            else:
                pauses = back_off()

    def _forget_old(self) -> None:
        """Forget what no page still tries to come back for, and the oldest beyond the limit."""
        newest = next(reversed(self._recent.values())).notification.timestamp.seconds
        while True:
            model_id, told = next(iter(self._recent.items()))
            if newest - told.notification.timestamp.seconds < COMING_BACK and len(self._recent) <= _MOST_REMEMBERED:
                return
            del self._recent[model_id]

    def _join_named(self, kind: str) -> Body:
        async def join(connection: Member, name: Any) -> None:
            self.join_group(connection, _group(kind, name))

        return join

    def _leave_named(self, kind: str) -> Body:
        async def leave(connection: Member, name: Any) -> None:
            self.leave_group(connection, _group(kind, name))

        return leave

    def _join_whole(self, group: str) -> Body:
        async def join(connection: Member) -> None:
            self.join_group(connection, group)

        return join

    def _leave_whole(self, group: str) -> Body:
        async def leave(connection: Member) -> None:
            self.leave_group(connection, group)

        return leave


def _check_sees_all(connection: Member) -> None:
    if connection.models is not None:
        raise Refused("The ticket of this connection is for some models only.")


def _status(thumbnail: Thumbnail) -> Record:
    shown = thumbnail_for_pages(thumbnail)
    is_ready = thumbnail.status == ThumbnailStatus.THUMBNAIL_STATUS_READY
    changed = {
        "modelId": exact_number(thumbnail.model_id),
        "status": shown["status"],
        "thumbnailUrl": shown["fileUrl"] if is_ready else None,
        "errorMessage": shown["errorMessage"],
        "timestamp": shown["processedAt"] or shown["createdAt"] or now(),
        "modelVersionId": shown.get("modelVersionId"),
    }
    return invocation(_TARGET, changed)


def _group(kind: str, name: Any) -> str:
    """Return the name of a group. A page may name one at any length, so it is cut."""
    return f"{kind} {str(name)[:_LONGEST_NAME]}"


def _number(text: object) -> int | None:
    """Return the id, which a page may write as a text or as a number; None for what is no id."""
    try:
        number: int = _read_id(text)
    except InvalidValue:
        return None
    return number
