"""Plans: a statement prepared while the tables were empty serves them when they are full."""

import re
from itertools import pairwise

import pytest

from thumbq_server.domain.job import Revival
from thumbq_server.storage import maintenance, model_versions, removals
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.transitions import (
    cancel,
    claim,
    complete,
    endings,
    enqueue,
    extend,
    fail,
    order,
    release,
    revivals,
    revive,
    verdicts,
)

STATEMENTS = {
    "create": enqueue.CREATE,
    "find": revive.FIND,
    "find models": order.FIND_MODELS,
    "reset": revivals.REVIVE[Revival.RESET],
    "restart": revivals.REVIVE[Revival.RESTART],
    "rerun": revivals.REVIVE[Revival.RERUN],
    "renew": revivals.RENEW,
    "claim": claim.CLAIM,
    "claim of kinds": claim.CLAIM_OF_KINDS,
    "complete": complete.COMPLETE,
    "complete one": complete.COMPLETE_ONE,
    "complete contested": complete.COMPLETE_CONTESTED,
    "lock models": endings.LOCK_MODELS,
    "lock jobs": endings.LOCK_JOBS,
    "expire": fail.EXPIRE,
    "cancel": cancel.CANCEL,
    "fail": fail.FAIL,
    "release": release.RELEASE,
    "extend": extend.EXTEND,
    "states": verdicts.STATES,
    "completed leases": verdicts.COMPLETED,
    "find old jobs": maintenance.FIND_OLD_JOBS,
    "prune jobs": maintenance.PRUNE_JOBS,
    "prune strays": maintenance.PRUNE_STRAYS,
    "write missing versions": model_versions.WRITE_MISSING,
    "find superseded pictures": removals.FIND_SUPERSEDED,
    "list superseded pictures": removals.LIST_SUPERSEDED,
}


@pytest.mark.sessions("prepares statements by hand")
async def test_no_statement_about_single_jobs_reads_a_whole_table(empty_database_url):
    await upgrade(empty_database_url)  # new: what other tests have left in the statistics would decide
    async with Database(empty_database_url) as database:
        lane = database.lane()
        await lane.fetch("SET plan_cache_mode = force_generic_plan")
        scans = {name: await scans_without_key(lane, statement) for name, statement in STATEMENTS.items()}
    assert {name: lines for name, lines in scans.items() if lines} == {}


async def scans_without_key(lane, statement):
    """The scans of tables that do not go by a key, in the plan that will be kept. The head is one row."""
    arguments = ", ".join(["NULL"] * max(int(number) for number in re.findall(r"\$(\d+)", statement.text)))
    await lane.fetch(f"PREPARE statement AS {statement}")
    rows = await lane.fetch(f"EXPLAIN (COSTS OFF) EXECUTE statement ({arguments})")
    await lane.fetch("DEALLOCATE statement")
    plan = [row[0].strip() for row in rows]
    return [
        line
        for line, detail in pairwise([*plan, ""])
        if re.search(r"(Seq|Index|Index Only) Scan ", line)
        and not detail.startswith("Index Cond")
        and " on queue_head " not in line
    ]
