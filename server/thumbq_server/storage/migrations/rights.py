"""Whether the role of a server may use the tables as they are. Another role may have made them."""

import structlog
from sqlalchemy import Connection, text

from thumbq_server.storage.live_tables import MAY_VACUUM
from thumbq_server.storage.postgres.suitability import Unsuitable
from thumbq_server.storage.schema import beside, metadata, queue
from thumbq_server.storage.views import VIEWS

log = structlog.get_logger()

_OF_TABLES = ("SELECT", "INSERT", "UPDATE", "DELETE")
# An identity column needs no right, but the last value of its sequence is read.
_SEQUENCES = (
    queue.request_seq.name,
    queue.claim_seq.name,
    queue.end_seq.name,
    beside.job_event_seq.name,
    "jobs_id_seq",
)
# What no statement does.
_NEVER = {
    ("queue_head", "INSERT"),
    ("queue_head", "DELETE"),
    ("keys", "DELETE"),
    ("notifications", "UPDATE"),
    ("other_ends", "UPDATE"),
}
_NEEDED = [
    *((table, right) for table in metadata.tables for right in _OF_TABLES if (table, right) not in _NEVER),
    *((view, "SELECT") for view in ("thumbq_version", *VIEWS)),
    *((sequence, "USAGE") for sequence in _SEQUENCES),
]

# What is not there yet is not asked for. Neither is a table of another program that has the name of ours, in another
# schema of the search path.
_MISSING = """
    SELECT quote_ident(current_user) AS role, min(c.relnamespace::regnamespace::text) AS schema,
           string_agg(DISTINCT n.relation, ', ' ORDER BY n.relation) AS relations,
           bool_or(n.needed <> 'USAGE') AS of_tables, bool_or(n.needed = 'USAGE') AS of_sequences
      FROM unnest(CAST(:relations AS text[]), CAST(:needed AS text[])) AS n (relation, needed)
      JOIN pg_class c ON c.oid = to_regclass(n.relation)
       AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('thumbq_version'))
     WHERE NOT CASE n.needed WHEN 'USAGE' THEN has_sequence_privilege(c.oid, 'USAGE')
                               OR has_sequence_privilege(c.oid, 'SELECT') AND has_sequence_privilege(c.oid, 'UPDATE')
                             ELSE has_table_privilege(c.oid, n.needed) END
    HAVING count(*) > 0
"""
_NOT_VACUUMED = f"""
    SELECT quote_ident(current_user) AS role, quote_ident(pg_get_userbyid(c.relowner)) AS owner
      FROM pg_class c JOIN pg_database d ON d.datname = current_database()
     WHERE c.oid IN (to_regclass('ready'), to_regclass('leases')) AND NOT {MAY_VACUUM}
     LIMIT 1
"""


def check_rights(connection: Connection) -> None:
    """Raise Unsuitable, with the GRANT to give, when the role lacks a right on what is there.

    Warn when it may not vacuum: the server works, and claims become slower until autovacuum comes.
    """
    relations, needed = zip(*_NEEDED, strict=True)
    given = {"relations": list(relations), "needed": list(needed)}
    if missing := connection.execute(text(_MISSING), given).one_or_none():
        grants = [f"{', '.join(_OF_TABLES)} ON ALL TABLES"] * missing.of_tables
        grants += ["USAGE ON ALL SEQUENCES"] * missing.of_sequences
        remedy = "; ".join(f"GRANT {grant} IN SCHEMA {missing.schema} TO {missing.role}" for grant in grants)
        raise Unsuitable(f"The role {missing.role} lacks rights on {missing.relations}: {remedy}.")
    if forbidden := connection.execute(text(_NOT_VACUUMED)).one_or_none():
        log.warning("postgres.not_vacuumed", role=forbidden.role, why=f"the tables belong to {forbidden.owner}")
