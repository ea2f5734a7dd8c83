"""Contexts of Python's own TLS that show the current certificate in each handshake."""

import ssl

from thumbq_runtime.tls.certificates import Certificates


def context_of_current(certificates: Certificates) -> ssl.SSLContext:
    """Return a context that looks for the current certificate whenever a client says hello."""
    context = certificates.current().context

    def take_current(handshake: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = certificates.current().context

    context.sni_callback = take_current
    return context
