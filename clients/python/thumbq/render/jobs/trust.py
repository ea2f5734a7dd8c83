"""What a worker trusts and shows when it fetches models over HTTPS: it reads its files again when they have changed."""

import asyncio
import logging
import ssl
import threading

from thumbq.log_events import event
from thumbq.tls import Tls, UnusableCertificate, signature

_logger = logging.getLogger("thumbq.render")


class Trust:
    """The newest files that can be used. Those that do not fit together leave the former in use."""

    def __init__(self, tls: Tls) -> None:
        """Raises UnusableCertificate."""
        self._tls = tls
        self._lock = threading.Lock()
        self._seen = signature(tls)
        self._context: ssl.SSLContext | bool = tls.context() if tls else True

    async def current(self) -> ssl.SSLContext | bool:
        """Return what aiohttp takes for a connection that is opened now."""
        if self._tls:
            await asyncio.to_thread(self._look)
        return self._context

    def _look(self) -> None:
        with self._lock:
            seen = signature(self._tls)
            if seen == self._seen:
                return
            self._seen = seen
            try:
                self._context = self._tls.context()
            except (UnusableCertificate, OSError) as problem:
                _logger.warning("The former certificate stays in use: %s", problem, extra=event("tls.not_reloaded"))
