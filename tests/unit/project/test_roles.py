"""The table of roles names every RPC, route and hub method, and nothing else."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.access.table import roles_of_routes
from thumbq_gateway.app import register
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.parts import build
from thumbq_gateway.settings import Settings
from thumbq_gateway.signalr.hubs.page_hub import PageHub
from thumbq_gateway.signalr.hubs.worker_hub import PATHS, WorkerHub, Workers
from thumbq_runtime.access.page import roles_page
from thumbq_runtime.access.roles import HUB_METHODS, HUBS, KEY_ROLES, ROUTES, RPCS, Role, roles_of_method

ROOT = Path(__file__).parents[3]
FILES = (queue_pb2, notification_pb2, admin_pb2, health_pb2, reflection_pb2)
METHODS = [
    (service.full_name, method.name)
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize(("service", "method"), METHODS)
def test_every_rpc_has_a_row(service: str, method: str) -> None:
    assert roles_of_method(f"/{service}/{method}") is not None


def test_every_row_is_an_rpc() -> None:
    rows = {(service, method) for service, methods in RPCS.items() for method in methods}
    # The same service in another version, and a method of health that this version of its package does not declare.
    rows -= {("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo"), ("grpc.health.v1.Health", "List")}
    assert rows == set(METHODS) - {("grpc.health.v1.Health", "List")}


@pytest.fixture(params=["", "http://127.0.0.1:1"], ids=["alone", "before an application"])
async def routes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The routes of a gateway, and the rows of the table."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        settings = Settings(model_root=tmp_path, thumbnail_root=tmp_path, upstream=request.param or None)
        async with aclosing(build(settings, channel)) as parts:
            app: web.Application = register(parts, settings, channel)
            served = {
                ("GET" if route.method == "HEAD" else route.method, route.resource.canonical)
                for route in app.router.routes()
                if route.resource
            }
            return served, set(roles_of_routes(parts.table))


def test_every_route_has_a_row(routes: tuple[set[tuple[str, str]], set[tuple[str, str]]]) -> None:
    served, rows = routes
    assert served - rows == set()


def test_every_row_is_a_route(routes: tuple[set[tuple[str, str]], set[tuple[str, str]]]) -> None:
    served, rows = routes
    by_settings = {("*", "/{path}"), ("GET", "/"), ("GET", "/console"), ("GET", "/static/{path}")}
    assert by_settings <= set(ROUTES)
    assert rows - served <= by_settings


async def test_every_method_of_the_hubs_has_a_row() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        hubs = [PageHub(channel, Metrics().hubs, asyncio.Event().wait), *[WorkerHub(path, Workers()) for path in PATHS]]
    assert {hub.path: hub.method_names for hub in hubs} == HUB_METHODS
    assert HUBS.keys() == HUB_METHODS.keys()


def test_an_admin_may_do_all_but_what_gateways_do() -> None:
    for methods in RPCS.values():
        for method, roles in methods.items():
            assert (Role.ADMIN in roles) == (method not in {"CheckKeys", "CallTogether", "KeepWorkers"}), method


@pytest.mark.parametrize("role", KEY_ROLES)
def test_only_probes_are_open_to_nobody(role: Role) -> None:
    open_to_nobody = {method for methods in RPCS.values() for method, roles in methods.items() if Role.NOBODY in roles}
    assert open_to_nobody == {"Check", "Watch", "List"}
    assert any(role in roles for methods in RPCS.values() for roles in methods.values())


def test_the_documentation_shows_the_table() -> None:
    page = (ROOT / "docs/security.md").read_text()
    assert roles_page() in page, "copy what `python -m thumbq_runtime.access.page` prints into docs/security.md"
