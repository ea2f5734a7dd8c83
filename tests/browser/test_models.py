"""The state of a card, from notifications and snapshots of the queue."""

from typing import Any

from tests.browser.visit import Visit

Json = dict[str, Any]


async def states(visit: Visit, *news: Json) -> list[str]:
    """Return the state of model 1 after each notification or snapshot."""
    result: list[str] = await visit.page.evaluate(
        """async (news) => {
            const { Models } = await import("/static/live/models.js");
            const models = new Models(10);
            return news.map((item) => {
                if (item.status) models.notify(item);
                else models.observe(item);
                return models.view(1)?.state ?? "unknown";
            });
        }""",
        list(news),
    )
    return result


def notified(status: str, second: int) -> Json:
    return {"modelId": 1, "jobId": 5, "status": status, "attemptCount": 1, "timestamp": at(second)}


def queue(second: int, *, claimed: int | None = None) -> Json:
    job = {"modelId": 1, "jobId": 5, "workerId": "worker-1", "attemptCount": 1}
    return {
        "rendering": [] if claimed is None else [job | {"claimedAt": at(claimed)}],
        "timestamp": at(second),
    }


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.250Z"


async def test_a_job_is_rendering_from_the_claim_to_the_outcome(visit: Visit):
    news = [
        notified("Pending", 1),
        queue(2),
        queue(4, claimed=3),
        notified("Ready", 5),
        queue(6),
    ]
    assert await states(visit, *news) == ["waiting", "waiting", "rendering", "ready", "ready"]


async def test_a_claim_may_be_heard_of_before_the_request(visit: Visit):
    assert await states(visit, queue(2, claimed=2), notified("Pending", 1)) == ["unknown", "rendering"]


async def test_a_snapshot_taken_before_the_outcome_says_nothing(visit: Visit):
    news = [notified("Pending", 1), notified("Ready", 5), queue(4, claimed=3)]
    assert await states(visit, *news) == ["waiting", "ready", "ready"]


async def test_a_snapshot_taken_while_the_outcome_was_being_written_says_nothing(visit: Visit):
    news = [notified("Pending", 1), notified("Ready", 5), queue(6, claimed=3), queue(7)]
    assert await states(visit, *news) == ["waiting", "ready", "ready", "ready"]


async def test_a_snapshot_taken_before_a_new_request_says_nothing(visit: Visit):
    news = [notified("Ready", 5), queue(4, claimed=3), notified("Pending", 6)]
    assert await states(visit, *news) == ["ready", "ready", "waiting"]


async def test_a_claim_after_a_failure_is_the_next_attempt(visit: Visit):
    news = [notified("Failed", 5), queue(9, claimed=8), queue(10)]
    assert await states(visit, *news) == ["failed", "rendering", "failed"]
