"""The channels that workers of a process share."""

from contextlib import AsyncExitStack

from thumbq.working import channels
from thumbq.working.channels import Channels

SERVER = ("127.0.0.1:1", None, None)  # nothing is sent


async def test_streams_share_a_channel_until_one_of_them_leaves_it():
    some = Channels()
    async with some.join(*SERVER) as first:
        async with some.join(*SERVER) as second, some.join("127.0.0.1:2", None, None) as elsewhere:
            assert second is first
            assert elsewhere is not first
        async with some.join(*SERVER) as third, some.join(*SERVER) as fourth:
            assert third is not first
            assert fourth is third


async def test_a_channel_takes_so_many_streams_and_no_more(monkeypatch):
    monkeypatch.setattr(channels, "MOST_STREAMS", 2)
    some = Channels()
    async with AsyncExitStack() as stack:
        joined = [await stack.enter_async_context(some.join(*SERVER)) for _ in range(5)]
    assert len(set(joined)) == 3
