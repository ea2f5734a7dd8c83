"""Refusals: a caller that does not hold the lease, or holds it no longer, changes nothing."""

import pytest

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import DELAYS, STATES, new_job, untold
from thumbq_server.domain.job import LostReason, Token, Verdict
from thumbq_server.storage.reads.leases import why_lost
from thumbq_server.storage.transitions.fail import expire

OK, ALREADY_DONE, STALE = Verdict.OK, Verdict.ALREADY_DONE, Verdict.STALE
NOT_PROCESSING, NOT_FOUND = Verdict.NOT_PROCESSING, Verdict.NOT_FOUND

NOT_UNDER_WAY = [state for state in STATES if state != "Processing"]
ENDING = pytest.mark.parametrize("verb", ["complete", "fail", "release"])


@pytest.fixture(params=["complete", "fail", "release", "extend"])
def verb(request):
    return request.param


@pytest.fixture
def report(verb, queue):
    """Each verb in turn, called with tokens; it answers their verdicts."""
    return getattr(queue, verb)


async def test_the_holder_of_the_lease_is_heard(queue, report):
    (token,) = await queue.claimed(new_job(7))
    assert await report(token) == [OK]


async def test_who_names_no_lease_is_heard_while_the_job_is_processing(queue, report):
    (token,) = await queue.claimed(new_job(7))
    assert await report(untold(token)) == [OK]


async def test_a_lease_that_ran_out_but_was_not_taken_away_still_holds(queue, report):
    (token,) = await queue.claimed(new_job(7))
    await queue.let_run_out(token)
    assert await report(token) == [OK]
    assert await queue.expire() == []


@pytest.mark.parametrize("state", NOT_UNDER_WAY)
async def test_a_lease_that_is_gone_changes_nothing(queue, verb, report, state):
    token = await queue.job_in(state, new_job(7))
    done = (verb, state) in {("complete", "Completed"), ("fail", "Failed")}
    async with queue.unchanged():
        assert await report(token) == [ALREADY_DONE if done else STALE]


@pytest.mark.parametrize("state", NOT_UNDER_WAY)
async def test_who_names_no_lease_changes_nothing_unless_the_job_is_processing(queue, report, state):
    token = await queue.job_in(state, new_job(7))
    async with queue.unchanged():
        assert await report(untold(token)) == [NOT_PROCESSING]


@pytest.mark.parametrize("lost_by", ["fail", "release", "expired"])
async def test_an_older_lease_is_refused_while_another_holds_the_job(queue, report, lost_by):
    (old,) = await queue.claimed(new_job(7))
    await getattr(queue, lost_by)(old)
    await queue.make_due(old.job_id)
    (new,) = await queue.claim()
    async with queue.unchanged():
        assert await report(old) == [STALE]
    assert await report(new) == [OK]


async def test_an_older_lease_is_refused_after_another_completed_the_job(queue, report):
    (old,) = await queue.claimed(new_job(7))
    await queue.release(old)
    await queue.complete(*await queue.claim())
    async with queue.unchanged():
        assert await report(old) == [STALE]


async def test_an_older_lease_is_refused_after_the_job_started_anew(queue, report):
    old = await queue.job_in("Failed", new_job(7))
    await queue.enqueue(new_job(7, force=True))
    async with queue.unchanged():
        assert await report(old) == [STALE]


@pytest.mark.parametrize("state", ["Completed", "Processing"])
async def test_a_completion_that_comes_again_was_taken_before_whatever_the_job_does_since(queue, state):
    """The job starts again: after the completion, or at once with it."""
    token = await queue.job_in(state, new_job(7))
    await queue.enqueue(new_job(7, force=True))
    await queue.complete(token)
    for _ in range(2):
        async with queue.unchanged():
            assert await queue.complete(token, token) == [ALREADY_DONE] * 2
            assert await queue.release(token) == [STALE]
        await queue.claim()


async def test_a_lease_that_was_never_given_is_refused(queue, report):
    (token,) = await queue.claimed(new_job(7))
    async with queue.unchanged():
        assert await report(token._replace(lease_seq=token.lease_seq + 1)) == [STALE]


@pytest.mark.parametrize("lease_seq", [0, 1])
async def test_an_unknown_job_is_not_found(queue, report, lease_seq):
    async with queue.unchanged():
        assert await report(Token(999_999_999, lease_seq)) == [NOT_FOUND]


async def test_a_mixed_batch_is_judged_item_by_item(queue, report):
    stale = await queue.job_in("Failed", new_job(1))
    await queue.enqueue(new_job(1, force=True))
    gone = await queue.job_in("Cancelled", new_job(2))
    ids = await queue.enqueued(new_job(3, priority=9), new_job(4, priority=9))
    good, also_good = await queue.claim(2)
    assert [good.job_id, also_good.job_id] == ids
    batch = [stale, also_good, Token(999_999_999, 3), untold(good), untold(gone)]
    assert await report(*batch) == [STALE, OK, NOT_FOUND, OK, NOT_PROCESSING]


async def test_an_empty_batch_is_nothing(queue, report):
    await queue.claimed(new_job(7))
    async with queue.unchanged():
        assert await report() == []


@ENDING
async def test_a_report_is_taken_once_from_twenty_at_once(queue, lanes, verb):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    verdicts = await at_once(*[getattr(queue.on(lane), verb)(token) for lane in lanes])
    later = ALREADY_DONE if verb == "complete" else STALE
    assert sorted(verdict.name for [verdict] in verdicts) == sorted([OK.name] + [later.name] * 19)
    assert len(await queue.news()) == (0 if verb == "release" else 1)


@ENDING
async def test_of_an_ending_and_an_expiry_at_once_one_takes_place(queue, lanes, verb):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 31)])
    await queue.let_run_out(*tokens)
    expiring = [expire(lane, 10, DELAYS, 1.0) for lane in lanes[1:5]]
    verdicts, *expiries = await at_once(getattr(queue, verb)(*tokens), *expiring)
    expired = {row.job_id for rows in expiries for row in rows}
    heard = {token.job_id for token, verdict in zip(tokens, verdicts, strict=True) if verdict is OK}
    assert not expired & heard
    assert expired | heard == {token.job_id for token in tokens}


async def test_reports_of_the_same_jobs_do_not_block_each_other(queue, lanes, verb, no_second_try):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 501)])
    batches = [tokens, tokens[::-1]] * 4
    await at_once(*[getattr(queue.on(lane), verb)(*batch) for lane, batch in zip(lanes, batches, strict=False)])


async def test_reports_of_all_kinds_on_the_same_jobs_do_not_block_each_other(queue, lanes, no_second_try):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 101)])
    verbs = ["complete", "extend", "fail", "extend", "release", "extend"]
    reports = [getattr(queue.on(lane), verb) for lane, verb in zip(lanes, verbs, strict=False)]
    await at_once(*[report(*tokens[:: (-1) ** n]) for n, report in enumerate(reports)])


@pytest.mark.parametrize(
    ("lost_by", "reason"),
    [
        ("Completed", None),
        ("Waiting", LostReason.EXPIRED),
        ("Failed", LostReason.EXPIRED),
        ("Cancelled", LostReason.CANCELLED),
    ],
)
async def test_why_a_lease_is_gone_can_be_told(queue, lost_by, reason):
    (token,) = await queue.claimed(new_job(7, max_attempts=1 if lost_by == "Failed" else 3))
    if lost_by == "Completed":
        await queue.complete(token)
    elif lost_by == "Cancelled":
        await queue.cancel(token.job_id)
    else:
        await queue.expired(token)
    assert await why_lost(queue.database, [token]) == ({token: reason} if reason else {})


async def test_a_lease_that_another_holds_now_was_taken_over(queue):
    (old,) = await queue.claimed(new_job(7))
    await queue.release(old)
    (new,) = await queue.claim()
    await queue.complete(new)
    reasons = await why_lost(queue.database, [old, new, Token(999_999_999, 1)])
    assert reasons == {old: LostReason.TAKEN_OVER, Token(999_999_999, 1): LostReason.EXPIRED}
