"""The table of roles as docs/security.md shows it: `python -m thumbq_runtime.access.page` prints it."""

import sys
from collections.abc import Iterator

from thumbq_runtime.access.roles import GATEWAYS, HUBS, KEY_ROLES, ROUTES, RPCS, Role, Roles


def roles_page() -> str:
    """Return the table."""
    heading = ["what", *KEY_ROLES, "ticket", "no key"]
    lines = [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
    return "\n".join([*lines, *(_row(name, roles) for name, roles in _rows())]) + "\n"


def _rows() -> Iterator[tuple[str, Roles]]:
    for service, methods in RPCS.items():
        for method, roles in methods.items():
            yield f"`{service.rpartition('.')[2]}/{method}`", roles
    for (method, path), roles in ROUTES.items():
        yield f"`{method} {path}`", roles
    for hub, roles in HUBS.items():
        yield f"every method of the hub `{hub}`", roles


def _row(name: str, roles: Roles) -> str:
    if roles == GATEWAYS:
        return f"| {name} (gateways only) |{' – |' * (len(KEY_ROLES) + 2)}"
    cells = ["yes" if role in roles else "–" for role in (*KEY_ROLES, Role.TICKET, Role.NOBODY)]
    return f"| {' | '.join([name, *cells])} |"


if __name__ == "__main__":
    sys.stdout.write(roles_page())
