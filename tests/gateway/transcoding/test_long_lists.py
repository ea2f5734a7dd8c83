"""Long lists are made one after the other, and those who ask for them take turns."""

import asyncio

from tests.support.network.http_client import Answer, Client
from tests.support.service.gateway import running_gateway

LONG = "/api/thumbnail-jobs?pageSize=500"
GREEDY, GOOD = {"X-Forwarded-For": "10.0.0.1"}, {"X-Forwarded-For": "10.0.0.2"}


async def test_a_caller_that_asks_for_many_long_lists_keeps_another_waiting_for_one_or_two(server: str) -> None:
    async with running_gateway(server, trusted_proxies="127.0.0.1") as http:
        client = Client(http)
        await client.enqueue_many(range(1, 501))
        done: list[str] = []

        async def ask(who: str, headers: dict[str, str]) -> Answer:
            answer = await client.get(LONG, headers=headers)
            done.append(who)
            return answer

        greedy = [asyncio.create_task(ask("greedy", GREEDY)) for _ in range(30)]
        await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
        answer = await ask("good", GOOD)
        assert [int(job["modelId"]) for job in answer.json["jobs"]] == list(range(500, 0, -1))
        assert done.index("good") < 15
        answers = await asyncio.gather(*greedy)
        assert {(greedy_answer.status, len(greedy_answer.json["jobs"])) for greedy_answer in answers} == {(200, 500)}
        short = (await client.get("/api/thumbnail-jobs?pageSize=100", headers=GREEDY)).json["jobs"]
        assert short == answer.json["jobs"][:100]
