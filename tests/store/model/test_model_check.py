"""The store against a model of the state diagram: any verbs in any order, one by one and at once.

After each step all that can be seen of the store is as the model says. When verbs are said at once, some order of them
explains what they answered and what came of them.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.store.model.model_comparison import Observation, adopt, compare, observe
from tests.store.model.model_records import Job, Refuted
from tests.store.model.picks import few, picks, requests, some_kinds, wishes
from tests.store.model.queue_model import LIVE, QueueModel
from tests.store.model.queue_verbs import (
    LATER,
    Before,
    Cancel,
    Claim,
    Complete,
    CompleteColumns,
    Enqueue,
    EnqueueAndClaim,
    Expire,
    Extend,
    Fail,
    Forget,
    Prune,
    Release,
    Retry,
    Verb,
)
from tests.store.model.requests_of_a_batch import key_of
from tests.store.model.store_under_check import AT_ONCE, OBSTACLES, WORKERS, Store, stories
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, failure, picture
from thumbq_server.domain.job import MODEL, Completion, Failure, NewJob, Token

UNKNOWN = 2**40


class QueueMachine(RuleBasedStateMachine):
    """The store and the model, taken from one step to the next."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.seen: Observation = store.run(store.empty())
        self.model = QueueModel()
        self.pictures = 0

    # one verb at a time

    @rule(requests=st.lists(requests, min_size=1, max_size=4))
    def enqueue(self, requests: list[NewJob]) -> None:
        self.say(Enqueue(tuple(requests)))
        self.stand_in_order(requests)

    @rule(requests=st.lists(requests, min_size=1, max_size=4), index=few, count=st.integers(1, 3))
    def enqueue_and_claim(self, requests: list[NewJob], index: int, count: int) -> None:
        self.say(EnqueueAndClaim(tuple(requests), self.worker(index), count))
        self.stand_in_order(requests)

    @precondition(lambda self: self.model.jobs)
    @rule(index=few, request=requests)
    def ask_for_another_file_and_then_again(self, index: int, request: NewJob) -> None:
        again = self.job(index, "Pending").request._replace(force=False, delay=0.0)
        self.say(Enqueue((request._replace(model_id=again.model_id),)))
        self.say(Enqueue((again,)))

    @rule(index=few, count=st.integers(1, 4), seconds=st.sampled_from([LATER, LATER, 0]), kinds=some_kinds)
    def claim(self, index: int, count: int, seconds: int, kinds: tuple[str, ...]) -> None:
        self.say(Claim(self.worker(index), count, seconds, kinds))

    @precondition(lambda self: self.model.jobs)
    @rule(picked=st.lists(picks, min_size=1, max_size=4), twice=st.booleans(), columns=st.booleans())
    def complete(self, picked: list[tuple[int, str]], twice: bool, columns: bool) -> None:
        items = [self.completion(token) for token in self.tokens(picked)]
        self.say((CompleteColumns if columns else Complete)(tuple(items + items[:twice])))

    @precondition(lambda self: self.model.jobs)
    @rule(
        picked=st.lists(st.tuples(picks, st.booleans(), st.sampled_from([None, 0.0])), min_size=1, max_size=4),
        twice=st.booleans(),
    )
    def fail(self, picked: list[tuple[tuple[int, str], bool, float | None]], twice: bool) -> None:
        tokens = self.tokens([pick for pick, _, _ in picked])
        items = [
            self.failure(token, retryable, retry_delay)
            for token, (_, retryable, retry_delay) in zip(tokens, picked, strict=False)
        ]
        self.say(Fail(tuple(items + items[:twice])))

    @rule(limit=st.sampled_from([1, 2, 100]))
    def expire(self, limit: int) -> None:
        self.say(Expire(limit))

    @precondition(lambda self: self.model.jobs)
    @rule(picked=st.lists(picks, min_size=1, max_size=4), twice=st.booleans())
    def release(self, picked: list[tuple[int, str]], twice: bool) -> None:
        tokens = self.tokens(picked)
        self.say(Release(tuple(tokens + tokens[:twice])))

    @precondition(lambda self: self.model.jobs)
    @rule(picked=st.lists(picks, min_size=1, max_size=4), twice=st.booleans())
    def extend(self, picked: list[tuple[int, str]], twice: bool) -> None:
        tokens = self.tokens(picked)
        self.say(Extend(tuple(tokens + tokens[:twice])))

    @precondition(lambda self: self.model.jobs)
    @rule(indexes=st.lists(few, min_size=1, max_size=3), unknown=st.booleans())
    def cancel(self, indexes: list[int], unknown: bool) -> None:
        self.say(Cancel((*[self.job(index, *LIVE).id for index in indexes], *[UNKNOWN] * unknown)))

    @precondition(lambda self: self.model.jobs)
    @rule(indexes=st.lists(few, min_size=1, max_size=3), unknown=st.booleans())
    def retry(self, indexes: list[int], unknown: bool) -> None:
        ended = ("Completed", "Failed", "Cancelled")
        self.say(Retry((*{self.job(index, *ended).id for index in indexes}, *[UNKNOWN] * unknown)))

    @rule(model_id=st.integers(1, 3))
    def forget(self, model_id: int) -> None:
        self.say(Forget(model_id))

    @rule()
    def prune(self) -> None:
        self.say(Prune())

    def say(self, verb: Verb) -> None:
        """Say it to the store and to the model, and compare."""
        answer = self.store.run(verb.say(self.store.lanes[0]))
        self.look()
        model = self.model.copy()
        model.announced = []
        expected = verb.predict(model, answer, Before(self.before, self.store.worker_names, alone=True))
        assert answer == expected
        compare(model, self.seen, [model.announced], self.model.last_number, in_order=False)
        self.accept(model)

    # time: the outcome of a race decides whether there is such a job, so the rules below check that themselves

    @precondition(lambda self: self.model.jobs)
    @rule(index=few, seconds_ago=st.sampled_from([0, 100, 400]))
    def fall_due(self, index: int, seconds_ago: int) -> None:
        job = self.job(index, "Pending")
        if job.status == "Pending":
            self.store.run(self.queue.make_due(job.id, seconds_ago=seconds_ago))
            job.run_at = -float(seconds_ago)
            self.nothing_else()

    @precondition(lambda self: self.model.jobs)
    @rule(index=few)
    def run_out(self, index: int) -> None:
        job = self.job(index, "Processing")
        if job.status == "Processing":
            self.store.run(self.queue.let_run_out(job.token))
            job.overdue = True
            self.nothing_else()

    def nothing_else(self) -> None:
        """The model has been told; nothing but that has happened."""
        self.look()
        compare(self.model, self.seen, [], self.model.last_number, in_order=False)
        self.accept(self.model)

    # several verbs at once

    @precondition(lambda self: self.model.jobs)
    @rule(wished=st.lists(wishes, min_size=2, max_size=AT_ONCE), obstacle=st.sampled_from(sorted(OBSTACLES)))
    def at_once(self, wished: list[Any], obstacle: str) -> None:
        verbs = [self.verb(*wish) for wish in wished]
        answers = self.store.run(self.store.say_at_once(verbs, obstacle))
        self.look()
        refutations = []
        for story in stories(verbs, answers):
            try:
                model = self.explain(story)
            except Refuted as refuted:
                refutations.append(f"  {[verbs.index(verb) for verb, _ in story if verb in verbs]}: {refuted}")
            else:
                self.accept(model)
                return
        said = [f"  {verb} -> {answer}" for verb, answer in zip(verbs, answers, strict=True)]
        pytest.fail("\n".join(["no order explains", *said, f"behind {obstacle}", *refutations]))

    def explain(self, story: Sequence[tuple[Verb, Any]]) -> QueueModel:
        """The model after these verbs, one after the other; raises Refuted when the answers or the store differ."""
        model = self.model.copy()
        announced = []
        for verb, answer in story:
            model.announced = []
            expected = verb.predict(model, answer, Before(self.before, self.store.worker_names, alone=False))
            if answer != expected:
                raise Refuted(f"{verb} should have answered {expected}")
            announced.append(model.announced)
        compare(model, self.seen, announced, self.model.last_number, in_order=True)
        return model

    def verb(self, name: str, pick: tuple[int, str], request: NewJob, yes: bool, also: bool) -> Verb:
        index, _ = pick
        (token,) = self.tokens([pick])
        choices: dict[str, Callable[[], Verb]] = {
            "enqueue": partial(Enqueue, (request,)),
            "enqueue and claim": partial(EnqueueAndClaim, (request,), self.worker(index), 1),
            "claim": partial(Claim, self.worker(index), 1 + index, LATER * yes, (MODEL, "Sound") if also else ()),
            "complete": lambda: (CompleteColumns if also else Complete)((self.completion(token),)),
            "fail": lambda: Fail((self.failure(token, yes, 0.0 if also else None),)),
            "expire": partial(Expire, 1 + index),
            "release": partial(Release, (token,)),
            "extend": partial(Extend, (token,)),
            "cancel": partial(Cancel, (token.job_id,)),
            "retry": partial(Retry, (token.job_id,)),
            "forget": partial(Forget, request.model_id),
        }
        return choices[name]()

    # what the rules have in common

    @property
    def queue(self) -> QueueUnderTest:
        return QueueUnderTest(self.store.database, self.store.lanes[0], self.worker(0))

    def stand_in_order(self, requests: list[NewJob]) -> None:
        """The jobs of these requests are the newest of their models in the store, in the order of the requests."""
        keys = [key_of(request) for request in requests]
        for model_id in {request.model_id for request in requests}:
            jobs = [job for job in self.seen.jobs.values() if job.request.model_id == model_id]
            in_store = [key_of(job.request) for job in sorted(jobs, key=lambda job: job.last_number)]
            asked = list(dict.fromkeys(key for key in reversed(keys) if key[0] == model_id))[::-1]
            assert in_store[-len(asked) :] == asked

    def look(self) -> None:
        """Look at the store; it must be sound."""
        self.before = self.seen
        self.seen = self.store.run(observe(self.store.database, self.before.head))
        self.store.run(assert_sound(self.store.database))

    def accept(self, model: QueueModel) -> None:
        adopt(model, self.seen)
        self.model = model

    def worker(self, index: int) -> int:
        return sorted(self.store.worker_names)[index % len(WORKERS)]

    def job(self, index: int, *preferred: str) -> Job:
        """One of the jobs; those in a preferred status come first."""
        ordered = sorted(self.model.jobs.values(), key=lambda job: (job.status not in preferred, job.id))
        return ordered[index % len(ordered)]

    def tokens(self, picked: Sequence[tuple[int, str]]) -> list[Token]:
        """A lease for each pick, of each job at most one."""
        tokens: dict[int, Token] = {}
        for index, which in picked:
            job = self.job(index, "Processing")
            earlier = job.lease_seq - 1 if job.lease_seq > 1 else job.lease_seq + 1
            token = {
                "present": job.token,
                "earlier": Token(job.id, earlier),
                "whichever": Token(job.id, 0),
                "unknown": Token(UNKNOWN, 1),
            }[which]
            tokens.setdefault(token.job_id, token)
        return list(tokens.values())

    def completion(self, token: Token) -> Completion:
        self.pictures += 1
        return picture(token, f"/thumbnails/{self.pictures}.webp")

    def failure(self, token: Token, retryable: bool, retry_delay: float | None) -> Failure:
        return failure(token, retryable=retryable, retry_delay=retry_delay)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("no_second_try")
def test_the_store_does_what_the_state_diagram_says(database_url: str):
    with closing(Store(database_url)) as store:
        run_state_machine_as_test(
            partial(QueueMachine, store),  # type: ignore[arg-type]  # it is only called
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
