"""Which revision the tables of a database have, and whether this version of thumbq works with them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from alembic.config import Config

# Versions of thumbq that know this revision work with the tables that the newest migration leaves. A migration that
# only adds lets it be; one that takes away what they use puts its own revision here (docs/operations.md). Code from
# before 0011 would ask nobody for a key, and hand jobs of every kind to every worker.
OLDEST_CODE = "0011"

_MARK = "works with thumbq from revision "
_FOUND = "SELECT to_regclass('thumbq_version') IS NOT NULL"
_REVISION = "SELECT version_num, obj_description('thumbq_version'::regclass) FROM thumbq_version"


class State(StrEnum):
    """How the tables stand to this version of thumbq."""

    EMPTY = "Empty"
    OLDER = "Older"
    CURRENT = "Current"
    NEWER = "Newer"
    TOO_NEW = "TooNew"


@dataclass(frozen=True)
class SchemaState:
    """The revision of the tables, None without tables; ours; and the oldest one whose code works with them."""

    found: str | None
    ours: str
    oldest_code: str | None
    state: State

    @property
    def fits(self) -> bool:
        """Whether this version of thumbq works with the tables as they are."""
        return self.state in {State.CURRENT, State.NEWER}

    @property
    def sentence(self) -> str:
        """The state for people, with the way out."""
        match self.state:
            case State.EMPTY:
                return "The database has no tables of thumbq yet: `thumbq db upgrade`, or the next server, makes them."
            case State.OLDER:
                return (
                    f"The tables are of revision {self.found} and this thumbq of {self.ours}: `thumbq db upgrade`, or"
                    " the next server of this version, brings them there."
                )
            case State.CURRENT:
                return f"The tables are of revision {self.found}, as this thumbq needs them."
            case State.NEWER:
                return (
                    f"The tables are of revision {self.found}, newer than this thumbq of {self.ours}, which works with"
                    " them too."
                )
            case State.TOO_NEW:
                return (
                    f"The tables are of revision {self.found}, which a newer thumbq has made; this one of {self.ours}"
                    " does not work with them: install the newer one, or restore the backup from before the upgrade."
                )


def scripts() -> "Config":
    """Return alembic's configuration of our migrations."""
    # A start that migrates nothing does without alembic.
    from alembic.config import Config

    config = Config()
    # A per cent sign begins a reference to another option.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions() -> list[str]:
    """Return all revisions of this version, the newest first. The names of the files begin with them."""
    files = (Path(__file__).parent / "versions").glob("[0-9]*.py")
    return sorted((file.stem.partition("_")[0] for file in files), reverse=True)


def read_state(connection: Connection) -> SchemaState:
    """Return how the tables of a database stand to this version of thumbq."""
    known = revisions()
    found, mark = _revision(connection)
    oldest_code = mark.removeprefix(_MARK) if mark and mark.startswith(_MARK) else None
    if found is None:
        state = State.EMPTY
    elif found == known[0]:
        state = State.CURRENT
    elif found in known:
        state = State.OLDER
    else:
        state = State.NEWER if oldest_code in known else State.TOO_NEW
    return SchemaState(found, known[0], oldest_code, state)


def mark(connection: Connection) -> None:
    """Note at the tables which versions of thumbq work with them."""
    connection.execute(text(f"COMMENT ON TABLE thumbq_version IS '{_MARK}{OLDEST_CODE}'"))


def _revision(connection: Connection) -> tuple[str | None, str | None]:
    if not connection.scalar(text(_FOUND)):
        return None, None
    row = connection.execute(text(_REVISION)).first()
    return (row[0], row[1]) if row else (None, None)
