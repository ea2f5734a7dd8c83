"""Several requests for one job in one batch: which of them count."""

from collections.abc import Sequence

from thumbq_server.domain.job import NewJob

# The model and the hash, which make two requests the same job.
Key = tuple[int, bytes]


def key_of(request: NewJob) -> Key:
    """What makes two requests the same job."""
    return request.model_id, request.model_hash


def asks(request: NewJob) -> tuple[object, ...]:
    """The job that a request is for, and what it wants of it."""
    return *key_of(request), request.kind, request.options


def firsts_and_changes(requests: Sequence[NewJob]) -> tuple[dict[Key, NewJob], dict[Key, NewJob]]:
    """For each job the most urgent request, and the last one that asks for something else in a way that counts.

    None counts if the last one asks for what the most urgent one asks for, and has no force of its own.
    """
    firsts: dict[Key, NewJob] = {}
    changes: dict[Key, NewJob] = {}
    for request in sorted(requests, key=lambda request: request.delay):
        firsts.setdefault(key_of(request), request)
    for request in requests:
        key = key_of(request)
        before = changes.get(key) or firsts[key]
        force, matter = before.force or request.force, before.options_matter or request.options_matter
        if asks(request) == asks(before):
            (changes if key in changes else firsts)[key] = before._replace(force=force, options_matter=matter)
        elif request.kind != before.kind or request.force or request.options_matter:
            if asks(request) == asks(firsts[key]) and not request.force:
                firsts[key] = firsts[key]._replace(
                    force=firsts[key].force or force, options_matter=firsts[key].options_matter or matter
                )
                del changes[key]
            else:
                changes[key] = request._replace(force=force, options_matter=matter) if key in changes else request
    return firsts, changes


def several_files(requests: Sequence[NewJob]) -> list[Key]:
    """The jobs of each model of which several are named, in the order in which each is named last."""
    keys = list(dict.fromkeys(map(key_of, reversed(requests))))[::-1]
    models = [model_id for model_id, _ in keys]
    return [key for key in keys if models.count(key[0]) > 1]
