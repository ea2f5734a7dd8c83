"""Lines of the standard library's log."""

import logging
from types import TracebackType

from thumbq_runtime.text import printable


class LineFormatter(logging.Formatter):
    """Keeps a message on its line, whatever text of strangers is in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the message with its control characters escaped."""
        return printable(super().formatMessage(record))

    def formatException(  # noqa: N802 - the library's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback with all control characters but its line breaks escaped."""
        return printable(super().formatException(ei), keep="\n")
