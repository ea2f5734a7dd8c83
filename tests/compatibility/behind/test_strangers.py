"""What strangers send an application behind a gateway: nothing that passes for a proxy's, and no more than is good."""

from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from tests.compatibility.behind.application import LARGE, PARTNER, application
from tests.gateway.test_connections import exchange
from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually

PAGE = "https://page.example"


@pytest.fixture
async def in_front(server: str) -> AsyncIterator[Client]:
    async with application() as address, running_gateway(server, upstream=address) as http:
        yield Client(http)


async def test_the_origins_that_the_application_allows_are_its_own(server: str) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    async with application() as address, running_gateway(server, upstream=address, cors_origins=PAGE) as http:
        for method, headers in (("GET", {"Origin": PAGE}), ("OPTIONS", asked)):
            answer = await ask(http, method, "/own-rules", headers=headers)
            assert (answer.status, answer.headers["X-Method"]) == (204, method)
            assert answer.headers.getall("Access-Control-Allow-Origin") == [PARTNER]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        for method, path, headers, status in (
            ("OPTIONS", "/api/thumbnail-jobs", asked, 204),
            ("GET", "/api/thumbnail-jobs", {"Origin": PAGE}, 200),
        ):
            answer = await ask(http, method, path, headers=headers)
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)


TOLD = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "models.example"}
OTHERS = {"X-Forwarded-Port": "443", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}


async def test_what_a_stranger_tells_of_itself_does_not_reach_the_application(in_front: Client) -> None:
    told = (await in_front.get("/anything", headers=TOLD | OTHERS)).json
    assert (told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert told["X-Forwarded-Host"] == f"127.0.0.1:{port_of(in_front)}"
    assert not OTHERS.keys() & told.keys()


async def test_a_websocket_that_the_application_refuses_is_refused_with_its_status(in_front: Client) -> None:
    for path, status in (("/private", 403), ("/anything", 502)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await in_front.http.ws_connect(path)
        assert refusal.value.status == status, path


async def test_what_a_trusted_proxy_tells_of_its_caller_reaches_the_application(server: str) -> None:
    trusted = {"trusted_proxies": "127.0.0.1"}
    async with application() as address, running_gateway(server, upstream=address, **trusted) as http:
        told = (await Client(http).get("/anything", headers=TOLD | OTHERS)).json
    assert told["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"
    assert {name: told[name] for name in ("X-Forwarded-Proto", "X-Forwarded-Host", *OTHERS)} == {
        name: value for name, value in (TOLD | OTHERS).items() if name != "X-Forwarded-For"
    }


def port_of(client: Client) -> int | None:
    assert client.http._base_url
    return client.http._base_url.port


@pytest.mark.parametrize("target", ["m://x/", "http://127.0.0.1/anything", "//x/anything", "@127.0.0.1/", "*", "x:80"])
async def test_no_target_leads_to_another_host(in_front: Client, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await exchange(in_front, request.encode())
    if target.startswith("//"):
        assert b'"path": "//x/anything"' in answer
    else:
        assert answer[9:12] in {b"400", b"404"}, answer


async def test_a_stranger_s_messages_on_a_websocket_are_bounded_and_the_application_s_are_large(
    in_front: Client,
) -> None:
    async with in_front.http.ws_connect("/talk", compress=15) as socket:
        assert not socket.compress
        await socket.send_str("much")
        assert await socket.receive_bytes() == LARGE
        await socket.send_bytes(b"a" * (1024 * 1024 + 1))
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_a_websocket_of_the_application_counts_as_a_subscription(server: str) -> None:
    bound = {"subscriptions_of_address": 1}
    async with application() as address, running_gateway(server, upstream=address, **bound) as http:
        async with http.ws_connect("/talk"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
                await http.ws_connect("/talk")

        async def talks() -> bool:
            with suppress(aiohttp.WSServerHandshakeError):
                async with http.ws_connect("/talk"):
                    return True
            return False

        assert await eventually(talks)
