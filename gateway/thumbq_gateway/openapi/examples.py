"""Examples of requests and answers, for readers and for the page that tries a call."""

from typing import Any, NamedTuple

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_CURSOR = "532ea9ad-1"
_TIME = "2026-11-23T14:19:09.836482Z"
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
