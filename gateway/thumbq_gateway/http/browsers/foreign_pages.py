"""Web pages of strangers: what a browser sends for them is refused, before any handler sees it.

A browser sends a form, or a simple request, to any address that a page names, this machine's own ones included. It says
where the page comes from (Origin, Sec-Fetch-Site), and no page can change that. Programs send neither header.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Set
from functools import lru_cache

import grpc
from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.text import printable

_CHANGES_NOTHING = {"GET", "HEAD", "OPTIONS"}
_OWN_SITE = {"same-origin", "none"}  # "none": a person typed the address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def check_origin(request: web.Request, origins: Set[str]) -> None:
    """Refuse a request of a foreign page. `origins` are those whose pages may use the gateway. Raises Refusal."""
    origin = request.headers.get("Origin")
    if "*" in origins or (origin and origin in origins):
        return
    site = request.headers.get("Sec-Fetch-Site")
    own = request.headers.get("X-Forwarded-Host", request.host)  # no page can set that header
    is_foreign = site not in _OWN_SITE if site else origin is not None and not _is_page_of(own, origin)
    if is_foreign:
        whose = printable(origin[:200]) if origin else "other sites"
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"Pages of {whose} may not do this here.")


def check_host(request: web.Request, hosts: Set[str], *, only_this_machine: bool) -> None:
    """Refuse a request to a name that is not the gateway's. Raises Refusal.

    A page can make a name of its own lead to this machine, and is then not foreign to the browser (DNS rebinding). An
    address, or a name without a dot, is nobody's to give away. A gateway that other machines reach has a name that only
    its operator knows, so there every name counts until `hosts` says which.
    """
    try:
        name = (URL(f"http://{request.host}").host or "").rstrip(".").lower()
    except ValueError:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The Host of the request is malformed.") from None
    if name in hosts or not (hosts or only_this_machine) or _is_nobodys(name):
        return
    raise Refusal(
        grpc.StatusCode.PERMISSION_DENIED,
        f"'{printable(name[:200])}' is not a name of this gateway. THUMBQ_ALLOWED_HOSTS can make it one.",
    )


def guard_against_pages(
    origins: Set[str], hosts: Set[str], *, only_this_machine: bool, exempt: str | None
) -> Middleware:
    """Return the middleware that all routes pass, but `exempt`: the application behind has rules of its own."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if exempt is None or resource is None or resource.canonical != exempt:
            check_host(request, hosts, only_this_machine=only_this_machine)
            if request.method not in _CHANGES_NOTHING:
                check_origin(request, origins)
        return await handler(request)

    return guard


def _is_page_of(own: str, origin: str) -> bool:
    """Return whether the gateway at host:port `own` is where a page is from. Browsers leave the usual ports out."""
    try:
        page, gateway = URL(origin), URL(f"{URL(origin).scheme}://{own}")
        # Reading a host decodes it.
        return page.host is not None and (page.host, page.port) == (gateway.host, gateway.port)
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_nobodys(name: str) -> bool:
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
