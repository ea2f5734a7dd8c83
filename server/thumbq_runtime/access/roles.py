"""Which role may call which RPC, route and hub method: the one table. docs/security.md shows it.

A test compares it with the protocol, with the gateway's routes and with its hubs, so that nothing can be added without
a row. Without any key in the database, everything here is open.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias


class Role(StrEnum):
    """What a caller is."""

    WORKER = "worker"
    PRODUCER = "producer"
    VIEWER = "viewer"
    ADMIN = "admin"
    # Knows THUMBQ_GATEWAY_SECRET. It has checked the key of each caller before it calls.
    GATEWAY = "gateway"
    # A page with a ticket, at a gateway: it sees the models that its ticket names.
    TICKET = "ticket"
    # Shows no key.
    NOBODY = "nobody"


Roles: TypeAlias = frozenset[Role]

KEY_ROLES = (Role.WORKER, Role.PRODUCER, Role.VIEWER, Role.ADMIN)

ADMINS: Roles = frozenset({Role.ADMIN, Role.GATEWAY})
# Keys are the operator's alone: the secret of a gateway makes none.
KEEPERS: Roles = frozenset({Role.ADMIN})
GATEWAYS: Roles = frozenset({Role.GATEWAY})
WORKERS: Roles = ADMINS | {Role.WORKER}
PRODUCERS: Roles = ADMINS | {Role.PRODUCER}
READERS: Roles = ADMINS | {Role.WORKER, Role.PRODUCER, Role.VIEWER}
PAGES: Roles = READERS | {Role.TICKET}
EVERYONE: Roles = frozenset(Role)

RPCS: Mapping[str, Mapping[str, Roles]] = {
    "thumbq.v1.QueueService": {
        "EnqueueJob": PRODUCERS,
        "EnqueueJobs": PRODUCERS,
        "EnqueueColumns": PRODUCERS,
        "EnqueueStream": PRODUCERS,
        "DequeueJob": WORKERS,
        "DequeueJobs": WORKERS,
        "CompleteJob": WORKERS,
        "FailJob": WORKERS,
        "ReportResults": WORKERS,
        "ExtendLease": WORKERS,
        "ReportProgress": WORKERS,
        "ReleaseJob": WORKERS,
        "LogJobEvent": WORKERS,
        "ListJobEvents": READERS,
        "KeepWorkers": GATEWAYS,
        "GetJob": READERS,
        "ListJobs": READERS,
        "StreamJobs": WORKERS,
        "CallTogether": GATEWAYS,
    },
    "thumbq.v1.NotificationService": {
        "Subscribe": READERS,
        "GetNotificationCursor": PAGES,
        "WatchQueue": READERS,
        "PublishTestNotification": ADMINS,
        "GetThumbnail": PAGES,
        "GetThumbnails": PAGES,
        "CreateTicket": READERS,
    },
    "thumbq.v1.AdminService": {
        "GetStats": READERS,
        "ListWorkers": READERS,
        "PauseQueue": ADMINS,
        "ResumeQueue": ADMINS,
        "RetryJob": PRODUCERS,
        "CancelJob": PRODUCERS,
        "CancelModelJobs": PRODUCERS,
        "ForgetThumbnail": PRODUCERS,
        "ListDeadLetters": READERS,
        "RedriveDeadLetters": ADMINS,
        "PruneJobs": ADMINS,
        "GetJobHistory": READERS,
        "ExplainJob": READERS,
        "CancelJobs": ADMINS,
        "CreateKey": KEEPERS,
        "ListKeys": KEEPERS,
        "RevokeKey": KEEPERS,
        "ListAudit": ADMINS,
        "CheckKeys": GATEWAYS,
    },
    # Probes of orchestrators have no key, and learn nothing but whether the server is there.
    "grpc.health.v1.Health": {"Check": EVERYONE, "Watch": EVERYONE, "List": EVERYONE},
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": READERS},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": READERS},
}

# Routes of the gateway that are no RPC, as aiohttp shows their paths. HEAD counts as GET.
ROUTES: Mapping[tuple[str, str], Roles] = {
    # A page loads these before it can show a key, and they show nothing of the queue.
    ("GET", "/"): EVERYONE,
    ("GET", "/console"): EVERYONE,
    ("GET", "/static/{path}"): EVERYONE,
    ("GET", "/docs"): EVERYONE,
    ("GET", "/openapi.json"): EVERYONE,
    ("GET", "/openapi/v1.json"): EVERYONE,
    ("POST", "/api/session"): EVERYONE,
    ("DELETE", "/api/session"): EVERYONE,
    # Probes.
    ("GET", "/health"): EVERYONE,
    ("GET", "/healthz"): EVERYONE,
    ("GET", "/readyz"): EVERYONE,
    ("GET", "/metrics"): READERS,
    ("GET", "/api/notifications"): PAGES,
    ("POST", "/api/notifications"): PAGES,
    ("POST", "/api/notifications/models"): PAGES,
    ("GET", "/models/{model_id}/thumbnail/file"): PAGES,
    ("GET", "/model-versions/{model_version_id}/thumbnail/file"): PAGES,
    ("GET", "/models/{model_id}/file"): WORKERS,
    ("GET", "/models/{model_id}/versions/{version_id}/file"): WORKERS,
    ("POST", "/models/{model_id}/thumbnail/upload"): WORKERS,
    ("POST", "/models/{model_id}/thumbnail/png-upload"): WORKERS,
    ("POST", "/thumbnail-jobs/{job_id}/finish"): WORKERS,
    ("POST", "/api/thumbnail-jobs/{job_id}/finish"): WORKERS,
    ("POST", "/models/{model_id}/thumbnail/regenerate"): PRODUCERS,
    # Always answered by 404: there are no such jobs.
    ("*", "/thumbnail-jobs/{kind}/{rest}"): EVERYONE,
    ("*", "/api/thumbnail-jobs/{kind}/{rest}"): EVERYONE,
    # The application behind the gateway has rules of its own.
    ("*", "/{path}"): EVERYONE,
}

# Each hub with who may connect. A connection may call every method of its hub.
HUBS: Mapping[str, Roles] = {
    "/thumbnailHub": PAGES,
    "/thumbnailJobHub": WORKERS,
    "/jobProcessingHub": WORKERS,
}
HUB_METHODS: Mapping[str, frozenset[str]] = {
    "/thumbnailHub": frozenset(
        {
            *("joinmodelgroup", "leavemodelgroup", "joinallmodelsgroup", "leaveallmodelsgroup"),
            *("joinmodelversiongroup", "leavemodelversiongroup"),
            *("joinmodelactiveversiongroup", "leavemodelactiveversiongroup"),
            *("joinallenvironmentmapsgroup", "leaveallenvironmentmapsgroup"),
        }
    ),
    "/thumbnailJobHub": frozenset({"registerworker", "unregisterworker", "acknowledgejobprocessing"}),
    "/jobProcessingHub": frozenset({"registerworker", "unregisterworker", "acknowledgejobprocessing"}),
}


def roles_of_method(path: str) -> Roles | None:
    """Return who may call the RPC at "/package.Service/Method", or None for one without a row."""
    service, _, method = path.removeprefix("/").partition("/")
    return RPCS.get(service, {}).get(method)
