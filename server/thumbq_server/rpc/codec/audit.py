"""Rows of the audit log as messages."""

from thumbq.v1.admin_pb2 import AuditEntry
from thumbq_server.domain.access.audit import AuditRecord, Deed, Outcome
from thumbq_server.rpc.codec.times import timestamp


def entry(row: AuditRecord) -> AuditEntry:
    """Return a row as a message."""
    return AuditEntry(
        id=row.id,
        at=timestamp(row.at),
        who=row.who,
        address=row.address,
        action=row.action,
        outcome=row.outcome,
        detail=row.detail,
        reference=row.reference,
    )


def deed(message: AuditEntry) -> Deed:
    """Return what a gateway has noted."""
    outcome = Outcome.DONE if message.outcome == Outcome.DONE else Outcome.REFUSED
    return Deed(message.who, message.address, message.action, outcome, message.detail)
