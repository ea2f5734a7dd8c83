"""Examples of requests and answers, for readers and for the page that tries a call."""

from typing import Any, NamedTuple

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_CURSOR = "532ea9ad-1"
_TIME = "2026-11-23T14:19:09.836482Z"
_MINUTE = "2026-11-23T14:19:00Z"
_JOB = {
    "id": 1,
    "modelId": 42,
    "modelHash": _HASH,
    "status": "Processing",
    "attemptCount": 1,
    "createdAt": _TIME,
    "updatedAt": _TIME,
    "assetType": "Model",
    "priority": 0,
    "maxAttempts": 3,
    "leaseToken": "1-1-532ea9ad",
}
_WAITING = _JOB | {"status": "Pending", "attemptCount": 0, "leaseToken": "", "runAt": _TIME}
_DEAD = _JOB | {
    "status": "Failed",
    "attemptCount": 3,
    "leaseToken": "",
    "errorMessage": "The file has no triangles.",
    "finishedAt": _TIME,
}
_PAUSE = {"pausedAt": _TIME, "pausedBy": "on call", "reason": "a new renderer"}
_PICTURE = {"thumbnailPath": "/srv/thumbnails/42.png", "sizeBytes": 45678, "width": 512, "height": 512}
_PRESENT = {
    "status": "Ready",
    "fileUrl": "/models/42/thumbnail/file?v=660f2470094c2",
    "sizeBytes": 45678,
    "width": 512,
    "height": 512,
    "errorMessage": None,
    "createdAt": _TIME,
    "processedAt": _TIME,
}


class Example(NamedTuple):
    """What a caller may send (None: no body), and what comes back."""

    answer: Any
    request: Any = None


EXAMPLES: dict[str, Example] = {
    "EnqueueJob": Example({"jobId": 1, "outcome": "Created"}, {"modelId": 42, "modelHash": _HASH, "priority": 5}),
    "ForgetThumbnail": Example({"jobIds": [1], "pictures": 1}),
    "EnqueueJobs": Example(
        {"jobs": [{"jobId": 1, "outcome": "Created"}]}, {"jobs": [{"modelId": 42, "modelHash": _HASH}]}
    ),
    "DequeueJob": Example(_JOB, {"workerId": "worker-1", "wait": "20s"}),
    "DequeueJobs": Example({"jobs": [_JOB]}, {"workerId": "worker-1", "maxJobs": 10, "wait": "20s"}),
    "CompleteJob": Example(
        {"modelId": 42, "status": "Ready", "message": "Thumbnail job completed successfully"},
        _PICTURE | {"leaseToken": _JOB["leaseToken"]},
    ),
    "FailJob": Example(
        {"modelId": 42, "status": "Failed", "message": "Thumbnail job marked as failed"},
        {"errorMessage": "The file has no triangles.", "leaseToken": _JOB["leaseToken"], "retryable": False},
    ),
    "ReportResults": Example(
        {"exceptions": []}, {"results": [{"leaseToken": _JOB["leaseToken"], "complete": _PICTURE}]}
    ),
    "ReportProgress": Example(
        {"leaseExpiresAt": _TIME}, {"leaseToken": _JOB["leaseToken"], "progress": 0.4, "progressText": "meshing"}
    ),
    "ExtendLease": Example({"leaseExpiresAt": _TIME}, {"leaseToken": _JOB["leaseToken"], "duration": "60s"}),
    "ReleaseJob": Example({}, {"leaseToken": _JOB["leaseToken"]}),
    "LogJobEvent": Example({"eventId": 1}, {"eventType": "info", "message": "meshing"}),
    "ListJobEvents": Example({"events": [{"id": 1, "createdAt": _TIME, "eventType": "info", "message": "meshing"}]}),
    "KeepWorkers": Example({}, {"workers": [{"workerId": "worker-1", "connectedFor": "60s"}]}),
    "GetStats": Example(
        {
            "pending": 12,
            "processing": 4,
            "completed": 5120,
            "failed": 3,
            "cancelled": 0,
            "oldestPendingAge": "2.5s",
            "paused": False,
            "minutes": [
                {"minute": _MINUTE, "completed": 118, "failed": 1, "expired": 0, "cancelled": 0, "released": 0}
            ],
            "waitTime": {"p50": "0.8s", "p95": "3.1s", "p99": "4.4s", "samples": 500},
            "processingTime": {"p50": "1.2s", "p95": "6.5s", "p99": "9.7s", "samples": 500},
            "workers": 4,
            "queueLimit": 0,
        }
    ),
    "ListWorkers": Example(
        {
            "workers": [
                {
                    "workerId": "worker-1",
                    "sessionId": "",
                    "version": "1.0",
                    "inFlight": 1,
                    "firstSeenAt": _TIME,
                    "lastSeenAt": _TIME,
                    "labels": {"host": "render-1"},
                    "gone": False,
                }
            ]
        }
    ),
    "PauseQueue": Example({"pause": _PAUSE}, {"pausedBy": _PAUSE["pausedBy"], "reason": _PAUSE["reason"]}),
    "ResumeQueue": Example({"pause": _PAUSE}, {}),
    "ListDeadLetters": Example({"jobs": [_DEAD], "nextPageToken": ""}),
    "RedriveDeadLetters": Example({"redriven": 1, "nextPageToken": ""}, {"reason": "no triangles"}),
    "PruneJobs": Example(
        {"prunedJobs": 1000, "prunedNotifications": 2000, "nextPageToken": ""}, {"finishedBefore": "2592000s"}
    ),
    "GetJobHistory": Example(
        {
            "attempts": [
                {
                    "attempt": 1,
                    "workerId": "worker-1",
                    "claimedAt": _TIME,
                    "endedAt": _TIME,
                    "outcome": "Failed",
                    "errorMessage": _DEAD["errorMessage"],
                    "nextAttemptAt": _TIME,
                }
            ]
        }
    ),
    "ExplainJob": Example(
        {
            "job": _WAITING,
            "reason": "NoWorker",
            "sentence": "It is due, but no worker is connected.",
            "ahead": 0,
            "workers": 0,
        }
    ),
    "CancelJobs": Example({"jobIds": [1]}, {"jobIds": [1, 2]}),
    "GetJob": Example(_WAITING),
    "ListJobs": Example({"jobs": [_WAITING], "nextPageToken": "", "cursor": _CURSOR}),
    "CancelJob": Example({"job": _WAITING | {"status": "Cancelled", "finishedAt": _TIME}}, {}),
    "RetryJob": Example({"job": _WAITING}, {}),
    "CancelModelJobs": Example({"jobIds": [1]}, {}),
    "GetThumbnail": Example(_PRESENT | {"cursor": _CURSOR}),
    "GetThumbnails": Example({"thumbnails": [{"modelId": 42} | _PRESENT], "cursor": _CURSOR}, {"modelIds": [42]}),
    "ListAudit": Example(
        {
            "entries": [
                {
                    "id": 1,
                    "at": _TIME,
                    "who": "key 3fa94c01",
                    "address": "10.0.0.5",
                    "action": "PauseQueue",
                    "outcome": "done",
                    "detail": 'reason: "new release"',
                    "reference": "",
                }
            ],
            "nextPageToken": "",
        }
    ),
    "CreateTicket": Example(
        {"ticket": "tt1.5f0c21ab.1764000000.600.…", "expiresAt": _TIME}, {"modelIds": [42], "life": "600s"}
    ),
    "GetNotificationCursor": Example({"cursor": _CURSOR}),
    "PublishTestNotification": Example(
        {"message": "Test notification sent successfully"}, {"status": "Failed", "errorMessage": "Only a test."}
    ),
}
