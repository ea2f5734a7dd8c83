"""Which role the name of a client's certificate has."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from thumbq_runtime.access.roles import KEY_ROLES, Role


class ClientRoles(NamedTuple):
    """Patterns of names and their roles; the first that fits counts."""

    rows: tuple[tuple[str, Role], ...] = ()

    @classmethod
    def parsed(cls, text: str) -> "ClientRoles":
        """Return what a text such as "render-*=worker,ci=producer" says. Raises ValueError."""
        rows = []
        for row in filter(None, map(str.strip, text.split(","))):
            pattern, _, word = (part.strip() for part in row.rpartition("="))
            if not pattern or word not in KEY_ROLES:
                words = ", ".join(KEY_ROLES)
                raise ValueError(f"THUMBQ_TLS_CLIENT_ROLES has {row!r}: write NAME=ROLE, with a role of {words}.")
            rows.append((pattern, Role(word)))
        return cls(tuple(rows))

    def role_of(self, name: str | None) -> Role | None:
        """Return the role of a name, or None for a stranger's and where there is no certificate."""
        if name:
            for pattern, role in self.rows:
                if fnmatchcase(name, pattern):
                    return role
        return None


def name_in_call(properties: Mapping[str, list[bytes]]) -> str | None:
    """Return the common name of the certificate that a gRPC client has shown: `context.auth_context()`."""
    found = properties.get("x509_common_name")
    return found[0].decode(errors="replace") if found else None


def name_in_request(certificate: Mapping[str, object] | None) -> str | None:
    """Return the common name of the certificate that an HTTP client has shown: `getpeercert()`."""
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple)
    return next((value for group in subject for key, value in group if key == "commonName"), None)
