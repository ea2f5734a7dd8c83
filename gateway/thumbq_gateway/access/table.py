"""The table of roles for the routes of this gateway."""

from collections.abc import Mapping

from thumbq_gateway.access.door import RouteKey
from thumbq_gateway.transcoding.contract import other_paths
from thumbq_gateway.transcoding.routes import Table
from thumbq_runtime.access.roles import HUBS, ROUTES, Roles, roles_of_method


def roles_of_routes(table: Table) -> Mapping[RouteKey, Roles]:
    """Return who may use each route: those of RPCs have the roles of their RPC. Raises LookupError."""
    rows: dict[RouteKey, Roles] = dict(ROUTES)
    for routes in table.values():
        for route in routes:
            roles = roles_of_method(f"/{route.rpc.containing_service.full_name}/{route.rpc.name}")
            if roles is None:
                raise LookupError(f"{route.name} has no row in the table of roles")
            for path in (route.path, *other_paths(route.path)):
                rows[route.http_method, path] = roles
    for hub, roles in HUBS.items():
        for row in (("POST", f"{hub}/negotiate"), ("GET", hub), ("POST", hub), ("DELETE", hub)):
            rows[row] = roles
    return rows
