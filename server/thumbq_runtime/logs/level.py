"""How much a program logs, and how that changes while it runs."""

import logging
from collections.abc import Callable

_log = logging.getLogger("thumbq.level")


class LogLevel:
    """The least level that is logged: the one that is set, or `debug` from one SIGHUP to the next."""

    def __init__(self, name: str, apply: Callable[[int], None]) -> None:
        self.name = name
        self._apply = apply
        self._debugging = name == "debug"
        self._put_into_effect()

    def toggle(self) -> None:
        """Turn `debug` on, or go back to the level that is set."""
        # Said while `debug` counts, or a level of `error` would hide it.
        if self._debugging:
            self._tell(self.name)
        self._debugging = not self._debugging
        self._put_into_effect()
        if self._debugging:
            self._tell("debug")

    def _put_into_effect(self) -> None:
        self._apply(logging.getLevelNamesMapping()[("debug" if self._debugging else self.name).upper()])

    def _tell(self, name: str) -> None:
        _log.info("The log begins at level %s now", name, extra={"event": "log.level", "least": name})
