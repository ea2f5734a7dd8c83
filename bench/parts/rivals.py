"""Drain, enqueue and pick-up: thumbq and other queues on the same PostgreSQL, in turns."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bench import measure
from bench.drivers.program import Figures
from bench.lab import Lab
from bench.reporting.results import Entrant, Part
from bench.session import Session
from bench.subjects.contenders import (
    AWA,
    GRAPHILE,
    OBAN,
    PG_BOSS,
    PGQUEUER,
    PROCRASTINATE,
    RIVALS,
    THUMBQ,
    THUMBQ_UNARY,
    Contender,
    Crew,
)

_Measure = Callable[[Session], Awaitable[Figures]]
_TWO_SERVERS = THUMBQ.with_processes(2)
_PLAIN_JOBS = THUMBQ.with_crew(Crew({"credits": 4_000, "columns": False}))
# 200 streams with one credit each, and graphile-worker's drain, on 2026-11-23. The machine has become slower since.
_STREAMS200_BEFORE, _GRAPHILE_BEFORE = 4_007, 69_932  # jobs/s
# Peers that were never the fastest with single jobs; `make bench` leaves them out.
_NEVER_BEST = (GRAPHILE, PG_BOSS, AWA)


async def drain(lab: Lab, part: Part) -> None:
    """Drain a backlog."""

    def entrant(contender: Contender, setting: str = "") -> Entrant:
        jobs = lab.jobs(60_000 if lab.brief else 150_000, contender)
        return _entrant(lab, contender, setting or str(contender.drains), partial(measure.drain, jobs=jobs))

    ours, pgqueuer, graphile = (entrant(one) for one in (THUMBQ, PGQUEUER, GRAPHILE))
    plain = entrant(_PLAIN_JOBS, f"{THUMBQ.drains}, plain Job messages")
    two_servers = entrant(_TWO_SERVERS, f"2 servers, {_TWO_SERVERS.drains}")
    entrants = [ours, plain, pgqueuer, graphile, two_servers]
    if not lab.brief:
        more = [THUMBQ.with_crew(Crew({"credits": 2_000}, 2)), PG_BOSS, PROCRASTINATE, OBAN, AWA]
        entrants += [entrant(one) for one in more]
    await lab.compare(part, entrants)
    lab.results.ratio("drain_vs_graphile", part.ratio(ours.row, graphile.row, "jobs_per_s"))
    lab.results.ratio("drain_plain_vs_graphile", part.ratio(plain.row, graphile.row, "jobs_per_s"))
    lab.results.ratio("drain_vs_pgqueuer", part.ratio(ours.row, pgqueuer.row, "jobs_per_s"))
    lab.results.ratio("two_servers_vs_one", part.ratio(two_servers.row, ours.row, "jobs_per_s"))
    # Bytes a job are megabytes a million jobs.
    lab.results.ratio("disk_mb_per_million", part.values(ours.row, "disk_b_per_job"))
    lab.results.ratio("wal_bytes_per_job", part.values(ours.row, "wal_b_per_job"))


async def enqueue(lab: Lab, part: Part) -> None:
    """Enqueue batches of 1,000 jobs."""

    def entrant(contender: Contender, in_flight: int) -> Entrant:
        setting = _servers(contender) + f"batches of 1,000, {in_flight} in flight"
        jobs = lab.jobs(50_000 if lab.brief else 100_000, contender)
        measured = partial(measure.bulk, jobs=jobs, in_flight=in_flight)
        return _entrant(lab, contender, setting, measured)

    ours = [entrant(THUMBQ, 4)]
    pgqueuer = [entrant(PGQUEUER, in_flight) for in_flight in (4, 1)]
    others: list[Entrant] = []
    if not lab.brief:
        ours.append(entrant(THUMBQ, 1))
        peers = (GRAPHILE, PG_BOSS, PROCRASTINATE, OBAN, AWA)
        others += [entrant(one, in_flight) for one in peers for in_flight in (4, 1)]
        others.append(entrant(_TWO_SERVERS, 4))
    await lab.compare(part, [*ours, *pgqueuer, *others])
    best, peer = (_best(part, rows, "jobs_per_s", max) for rows in (ours, pgqueuer))
    if best and peer:
        lab.results.ratio("enqueue_vs_pgqueuer", part.ratio(best.row, peer.row, "jobs_per_s"))


async def enqueue_one(lab: Lab, part: Part) -> None:
    """Enqueue one job a call. The ratios are those of the SDK, which uses the producer's stream."""
    rivals = [one for one in RIVALS if not (lab.brief and one in _NEVER_BEST)]
    measured = {in_flight: [_single(lab, one, in_flight) for one in (THUMBQ, *rivals)] for in_flight in (64, 1)}
    more = [(THUMBQ_UNARY, 64), (THUMBQ_UNARY, 1), (_TWO_SERVERS, 64)] if not lab.brief else []
    await lab.compare(part, [*measured[64], *measured[1], *(_single(lab, *one) for one in more)])
    for in_flight, (ours, *peers) in measured.items():
        if best := _best(part, peers, "jobs_per_s", max):
            lab.results.ratio(f"enqueue{in_flight}_vs_best", part.ratio(ours.row, best.row, "jobs_per_s"))


async def pick_up(lab: Lab, part: Part) -> None:
    """Time the way from the enqueue call to the handler of a waiting worker."""

    def entrant(contender: Contender) -> Entrant:
        measured = partial(measure.pick_up, jobs=200 if lab.brief else 300)
        return _entrant(lab, contender, f"{contender.picks_up}{_way(contender)}", measured)

    ours, *peers = map(entrant, (THUMBQ, PGQUEUER, GRAPHILE) if lab.brief else (THUMBQ, *RIVALS))
    more = [] if lab.brief else [entrant(THUMBQ_UNARY)]
    await lab.compare(part, [ours, *peers, *more])
    for figure in ("p50", "p99"):
        if best := _best(part, peers, f"{figure}_ms", min):
            lab.results.ratio(f"pickup_{figure}_vs_best", part.ratio(ours.row, best.row, f"{figure}_ms"))


async def mixed(lab: Lab, part: Part) -> None:
    """Enqueue and drain at the same time, at full and at half load."""
    seconds = max(1.0, 5.0 * min(lab.scale, 1.0))
    entrants = [
        _entrant(lab, contender, str(contender.drains), partial(measure.mixed, seconds=seconds))
        for contender in (THUMBQ, *RIVALS)
    ]
    await lab.compare(part, entrants)


async def credit(lab: Lab, part: Part) -> None:
    """Drain with different numbers of credits."""
    entrants = []
    for credits_given, jobs in ((1, 3_000), (10, 20_000), (100, 50_000), (2_000, 100_000)):
        contender = THUMBQ.with_crew(Crew({"credits": credits_given}))
        count = lab.jobs(jobs)
        measured = partial(measure.drain, jobs=count)
        entrants.append(_entrant(lab, contender, str(contender.drains), measured))
    await lab.compare(part, entrants)


async def streams(lab: Lab, part: Part) -> None:
    """Compare 200 workers with one job each at a time with one worker that has 200."""
    jobs = lab.jobs(8_000 if lab.brief else 30_000)
    crews = {
        "200 streams, 1 credit each": Crew({"credits": 1, "streams": 200}),
        "1 stream, 200 credits": Crew({"credits": 200, "concurrency": 200}),
    }
    many, one = (
        _entrant(lab, THUMBQ.with_crew(crew), setting, partial(measure.drain, jobs=jobs))
        for setting, crew in crews.items()
    )
    await lab.compare(part, [many, one])
    lab.results.ratio("streams200_vs_one", part.ratio(many.row, one.row, "jobs_per_s"))
    if speed := _speed_of_machine(lab):
        rates = part.values(many.row, "jobs_per_s")
        lab.results.ratio("streams200_vs_before", [rate / (speed * _STREAMS200_BEFORE) for rate in rates])


def _speed_of_machine(lab: Lab) -> float | None:
    """Return how fast graphile-worker drains in this run, beside 2026-11-23; None unless that was measured."""
    drained = lab.results.parts.get("drain")
    rate = drained.median((GRAPHILE.name, str(GRAPHILE.drains)), "jobs_per_s") if drained else None
    return rate / _GRAPHILE_BEFORE if rate else None


def _entrant(lab: Lab, contender: Contender, setting: str, measured: _Measure) -> Entrant:
    async def once() -> Figures:
        async with lab.session(contender) as session:
            return await measured(session)

    return Entrant(contender.name, setting, once)


def _single(lab: Lab, contender: Contender, in_flight: int) -> Entrant:
    jobs = 1_000
    if lab.scale >= 1:
        full, brief = (8_000, 2_000) if in_flight > 1 else (2_000, 1_000)
        jobs = brief if lab.brief else full
    if contender.is_ours and contender is not THUMBQ_UNARY and in_flight > 1:
        jobs = max(5 * jobs, 20_000 if lab.scale >= 1 else 0)  # so that a run takes seconds as well
    setting = _servers(contender) + f"{in_flight} call{'s' if in_flight > 1 else ''} in flight" + _way(contender)
    return _entrant(lab, contender, setting, partial(measure.single, jobs=jobs, in_flight=in_flight))


def _servers(contender: Contender) -> str:
    return f"{contender.processes} servers, " if contender.processes > 1 else ""


def _way(contender: Contender) -> str:
    """Return how a single job travels to our server."""
    if not contender.is_ours:
        return ""
    return ", a call for each job" if contender is THUMBQ_UNARY else ", the SDK's stream"


def _best(
    part: Part, peers: Sequence[Entrant], figure: str, better: Callable[[Sequence[float]], float]
) -> Entrant | None:
    medians = {value: peer for peer in peers if (value := part.median(peer.row, figure)) is not None}
    return medians[better(list(medians))] if medians else None
