"""SQLAlchemy Core expressions, compiled to statements for asyncpg."""

from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.dialects.postgresql import asyncpg

from thumbq_server.storage.statements import Statement

_DIALECT: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]


class CompiledRead:
    """A read whose filters and order were put together by Core; compile once, run often."""

    def __init__(self, name: str, select: Select[Any]) -> None:
        compiled = select.compile(dialect=_DIALECT)
        self._names: list[str] = compiled.positiontup or []
        types = (compiled.binds[name].type.compile(_DIALECT).lower() for name in self._names)
        parameters = ", ".join(f"{name} {kind}" for name, kind in zip(self._names, types, strict=True))
        self.statement = Statement(name, parameters, "\n".join(map(str.rstrip, str(compiled).splitlines())))

    def arguments(self, **values: object) -> list[object]:
        """Return those of `values` that the statement takes, in its order."""
        return [values[name] for name in self._names]
